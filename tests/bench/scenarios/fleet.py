"""Many processors, of which few are concerned; and one that nothing concerns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from flowsvc.model import StopFlow
from flowsvc.service import FlowService
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from tests.bench.bare import bare_puts
from tests.bench.flows import Everything, small
from tests.bench.goals import NOISE, Figures, Row, Scenario, at_most
from tests.bench.places import Child, child, counted, etcd, resident_mb, spent_cpu_s

__all__ = ["IDLE", "WATCHING"]

CPU = "process_cpu_seconds_total"
SENT = "etcd_network_client_grpc_sent_bytes_total"
WRITTEN = "etcd_server_proposals_committed_total"

# -- 1,000 processors ----------------------------------------------------------------------------

CONCERNED, ALL, PROCESSES, STARTS = 20, 1_000, 4, 150


class _Site:
    """An etcd, the flow service in this process, and processors that watch."""

    def __init__(
        self, flow: Everything, endpoint: str, service: FlowService, children: Sequence[Child]
    ) -> None:
        self._flow, self._endpoint = flow, endpoint
        self._service, self._children = service, children
        self._count = 0

    async def starts(self) -> Figures:
        """What starts and stops cost the server, each; and how many processors heard of them.

        What it spends while nothing happens is measured, for as long, and taken off.
        """
        idle_s, _ = await self._spent(asyncio.sleep(1.0))
        begun = time.perf_counter()
        cpu_s, sent = await self._spent(self._start_and_stop())
        cpu_s -= idle_s * (time.perf_counter() - begun)
        heard = [await child_.ask("heard") for child_ in self._children]
        return {"cpu_us": cpu_s / STARTS * 1e6, "bytes": sent / STARTS, "heard": sum(heard)}

    async def _start_and_stop(self) -> None:
        for _ in range(STARTS):
            self._count += 1
            await self._service.start_flow(self._flow.start(f"f{self._count:06}"))
            await self._service.flows.until(lambda items: len(items) == 1)
            await self._service.stop_flow(StopFlow(flow=f"f{self._count:06}"))
            await self._service.flows.until(lambda items: not items)

    async def _spent(self, work: object) -> tuple[float, float]:
        before = await counted(self._endpoint)
        assert asyncio.iscoroutine(work)
        await work
        after = await counted(self._endpoint)
        return after[CPU] - before[CPU], after[SENT] - before[SENT]


@asynccontextmanager
async def _site(flow: Everything, processors: int) -> AsyncIterator[_Site]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(etcd())
        opened = connect([server.endpoint], timeout_s=30, silence_s=3600)
        store = await stack.enter_async_context(opened)
        service = await stack.enter_async_context(FlowService(store, Keyspace()))
        await flow.put(service)
        children = []
        each = -(-processors // PROCESSES)
        for first in range(0, processors, each):
            where = (server.endpoint, first, min(first + each, processors))
            children.append(
                await stack.enter_async_context(child("tests.bench.clients.fleet", *where))
            )
        for each_child in children:
            await each_child.ask()
        yield _Site(flow, server.endpoint, service, children)


async def _watching(rounds: int) -> AsyncGenerator[Figures, None]:
    flow = small(CONCERNED)
    async with _site(flow, CONCERNED) as few, _site(flow, ALL) as all_:
        for _ in range(rounds):
            alone, among, again = await few.starts(), await all_.starts(), await few.starts()
            yield {
                "heard": among["heard"],
                "cpu": among["cpu_us"] * 2 / (alone["cpu_us"] + again["cpu_us"]),
                "bytes": among["bytes"] * 2 / (alone["bytes"] + again["bytes"]),
                "cpu_us": alone["cpu_us"],
                "bytes_sent": alone["bytes"],
                NOISE: again["cpu_us"] / alone["cpu_us"],
            }


WATCHING = Scenario(
    name="watching",
    about=f"{ALL:,} processors watch, each with a client of its own; a flow of {CONCERNED} starts",
    rounds=_watching,
    rows=(
        Row(
            what="1,000 processors watch, a flow of 20 starts: how many hear of it",
            measure="heard",
            goal=at_most(CONCERNED),
            unit="",
            digits=0,
        ),
        Row(what="… the server's CPU, by 20 watching", measure="cpu", goal=at_most(1.3)),
        Row(
            what="… bytes that etcd sends to all clients, by 20 watching",
            measure="bytes",
            goal=at_most(1.05),
        ),
        Row(what="… the server's CPU of a start and a stop", measure="cpu_us", unit="µs", digits=0),
        Row(
            what="… bytes sent for a start and a stop, 20 watching",
            measure="bytes_sent",
            unit="B",
            digits=0,
        ),
    ),
)

# -- one that is idle ----------------------------------------------------------------------------

VARIANTS, LOOK_S = 10, 6.0


async def _idle(rounds: int) -> AsyncGenerator[Figures, None]:
    for _ in range(rounds):
        async with etcd() as server:
            await bare_puts(server.endpoint, Keyspace().active_flow_range("idle"), VARIANTS)
            async with (
                child("tests.bench.clients.idle", "bare", server.endpoint) as bare,
                child("tests.bench.clients.idle", "processor", server.endpoint) as ours,
            ):
                await bare.ask()
                await ours.ask()
                await asyncio.sleep(1.0)  # the first status is written a moment later
                before, cpu_s = await counted(server.endpoint), spent_cpu_s(ours.pid)
                await asyncio.sleep(LOOK_S)
                after, spent_s = await counted(server.endpoint), spent_cpu_s(ours.pid) - cpu_s
                rss_mb, bare_mb = resident_mb(ours.pid), resident_mb(bare.pid)
            yield {
                "rss": rss_mb / bare_mb,
                "rss_mb": rss_mb,
                "cpu_percent": spent_s / LOOK_S * 100,
                "writes": after[WRITTEN] - before[WRITTEN],
            }


IDLE = Scenario(
    name="idle",
    about=f"a processor with {VARIANTS} variants for {LOOK_S:.0f} s, by a bare watcher",
    rounds=_idle,
    rows=(
        Row(what="idle processor, RSS, by a bare watcher", measure="rss", goal=at_most(1.25)),
        Row(what="… its RSS", measure="rss_mb", unit="MB", digits=0),
        Row(
            what="idle processor, CPU",
            measure="cpu_percent",
            goal=at_most(1),
            unit="%",
        ),
        Row(
            what="idle processor, what etcd writes (keep-alive is no write)",
            measure="writes",
            goal=at_most(0),
            unit="",
            digits=0,
        ),
    ),
)
