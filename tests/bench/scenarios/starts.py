"""What a start costs: to plan, to carry out, over gRPC, and among thousands of others."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import mean, median
from typing import Any, cast

from flowsvc.client import Client
from flowsvc.model import Flows, StopFlow
from flowsvc.plan import Operation, Plan, plan
from flowsvc.service import FlowService
from flowsvc.view import Holders, View
from kvconfig.codec import encode
from kvconfig.etcd import EtcdStore, connect
from kvconfig.keys import Range
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue, Revision
from kvconfig.store import Store
from kvconfig.txn import Commit, Txn
from kvconfig.wire import txn_bytes
from tests.bench.bare import bare_channel, bare_transact
from tests.bench.flows import NAME, Everything, everything, small
from tests.bench.goals import NOISE, Figures, Row, Scenario, at_least, at_most
from tests.bench.places import at_once, child, etcd, wiped

__all__ = ["FLAT", "PLAN", "START"]

Send = Callable[[int], Awaitable[object]]
"""Does it once more, for the number given."""

# -- the plan ------------------------------------------------------------------------------------

PLANS = 100


async def _plan(rounds: int) -> AsyncGenerator[Figures, None]:
    flow, keyspace = everything(), Keyspace()
    known = _Known(flow, keyspace)
    operation = Operation(op="018f0000-0000-7000-8000-000000000000", at="2026-01-01T00:00:00.000Z")

    def planned(number: int) -> Plan:
        view = View(keyspace, known, Holders(), {})
        made = plan(flow.start(f"f{number}"), operation, view)
        assert isinstance(made, Plan)
        return made

    planned(0)  # compiles the blueprint
    for turn in range(rounds):
        numbers = range(turn * PLANS, (turn + 1) * PLANS)
        begun = time.process_time()
        for number in numbers:
            planned(number)
        planned_s = time.process_time() - begun
        plans = [planned(number) for number in numbers]
        begun = time.process_time()
        messages = [txn_bytes(each.txn) for each in plans]
        encoded_s = time.process_time() - begun
        yield {
            "plan_us": planned_s / PLANS * 1e6,
            "message_us": encoded_s / PLANS * 1e6,
            "message_bytes": mean(map(len, messages)),
        }


class _Known:
    """:class:`flowsvc.view.Cache` of one blueprint and its types."""

    def __init__(self, flow: Everything, keyspace: Keyspace) -> None:
        values = {keyspace.flow_blueprint(NAME): flow.blueprint}
        values |= {keyspace.parameter_type(name): type_ for name, type_ in flow.types.items()}
        self._items = {
            key: KeyValue(key, encode(value), Revision(1), Revision(1), 1)
            for key, value in values.items()
        }

    def key(self, key: bytes) -> KeyValue | None:
        return self._items.get(key)

    def range(self, range_: Range) -> tuple[KeyValue, ...]:
        raise AssertionError(f"a start asks for no range: {range_}")


PLAN = Scenario(
    name="plan",
    about="a start of `2.8-everything`, 36 variants, planned; CPU without I/O",
    rounds=_plan,
    rows=(
        Row(
            what="plan of a start, `2.8-everything`, CPU",
            measure="plan_us",
            goal=at_most(400),
            unit="µs",
            digits=0,
        ),
        Row(what="… its message made and serialised", measure="message_us", unit="µs", digits=0),
        Row(what="… of so many bytes", measure="message_bytes", unit="B", digits=0),
    ),
)

# -- the start -----------------------------------------------------------------------------------

ALONE, TOGETHER, WORKERS = 40, 256, 64
"""Starts one after the other, and at once by so many workers."""

RAW, OURS, SERVED = Keyspace("@raw1"), Keyspace("@ours"), Keyspace("@grpc")
"""Of one length, so that one and the same transaction has as many bytes below each."""


async def _start(rounds: int) -> AsyncGenerator[Figures, None]:
    flow = everything()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(etcd())
        store = await stack.enter_async_context(connect([server.endpoint], timeout_s=30))
        recorded = await _recorded(store, flow)
        channel = await stack.enter_async_context(bare_channel(server.endpoint))
        transact = bare_transact(channel)
        served = await stack.enter_async_context(_served(server.endpoint, flow))
        service = await stack.enter_async_context(FlowService(store, OURS))
        await flow.put(service)

        async def raw(number: int) -> None:
            assert (await transact(recorded[number])).succeeded

        def start(flows: Flows) -> Send:
            return lambda number: flows.start_flow(flow.start(_name(number)))

        async def clean() -> None:
            for keyspace in (RAW, OURS, SERVED):
                await wiped(store, keyspace)
            await service.flows.until(lambda items: not items)

        for _ in range(rounds):
            alone = await _turns(
                [raw, start(service), start(served), lambda number: raw(number + ALONE)]
            )
            await clean()
            together = []
            for send in (raw, start(service), start(served), raw):
                together.append(await _together(send))
                await clean()
            yield {**_ratios("1", alone), **_ratios("64", together)}


def _ratios(concurrency: str, times_s: list[float]) -> Figures:
    raw_s, ours_s, served_s, again_s = times_s
    ceiling_s = (raw_s + again_s) / 2
    return {
        f"raw_at_{concurrency}_ms": ceiling_s * 1e3,
        f"in_process_at_{concurrency}": ceiling_s / ours_s,
        f"over_grpc_at_{concurrency}": ceiling_s / served_s,
        NOISE if concurrency == "1" else f"{NOISE}_at_{concurrency}": again_s / raw_s,
    }


def _name(number: int) -> str:
    return f"f{number:06}"


async def _turns(sends: list[Send]) -> list[float]:
    """Each in its turn, again and again: what machine and disk do to one, they do to all.

    The median seconds of each.
    """
    spent: list[list[float]] = [[] for _ in sends]
    for number in range(ALONE):
        for send, times in zip(sends, spent, strict=True):
            begun = time.perf_counter()
            await send(number)
            times.append(time.perf_counter() - begun)
    return list(map(median, spent))


async def _together(send: Send) -> float:
    """Many at once; the seconds for each."""
    begun = time.perf_counter()
    await at_once(send, range(TOGETHER), WORKERS)
    return (time.perf_counter() - begun) / TOGETHER


async def _recorded(store: EtcdStore, flow: Everything) -> list[bytes]:
    """The very bytes of starts that were done once, and undone."""
    tape = _Tape(store)
    async with FlowService(cast(Store, tape), RAW) as service:
        await flow.put(service)
        tape.sent.clear()
        for number in range(TOGETHER):
            await service.start_flow(flow.start(_name(number)))
    await wiped(store, RAW)
    assert len(tape.sent) == TOGETHER
    return [txn_bytes(txn) for txn in tape.sent]


class _Tape:
    """A store that remembers what was committed."""

    def __init__(self, store: EtcdStore) -> None:
        self._store = store
        self.sent: list[Txn] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, txn: Txn) -> Commit:
        self.sent.append(txn)
        return await self._store.commit(txn)


@asynccontextmanager
async def _served(endpoint: str, flow: Everything) -> AsyncIterator[Client]:
    """``flowctl serve`` as a process of its own, and a client of it."""
    async with (
        child("tests.bench.clients.served", endpoint, SERVED.root) as server,
        Client(await server.ask(), timeout_s=30) as client,
    ):
        for name, definition in flow.types.items():
            await client.put_parameter_type(name, encode(definition))
        await client.put_blueprint(NAME, encode(flow.blueprint))
        yield client


START = Scenario(
    name="start",
    about="`FlowService.start_flow`, in process and over gRPC, by the raw transaction",
    rounds=_start,
    rows=(
        Row(
            what="start in process, one at a time, of the raw transaction",
            measure="in_process_at_1",
            goal=at_least(0.90),
        ),
        Row(
            what="start in process, 64 at once, of the raw transaction",
            measure="in_process_at_64",
            goal=at_least(0.80),
        ),
        Row(
            what="start over gRPC, one at a time, of the raw transaction",
            measure="over_grpc_at_1",
            goal=at_least(0.55),
        ),
        Row(
            what="start over gRPC, 64 at once, of the raw transaction",
            measure="over_grpc_at_64",
            goal=at_least(0.50),
        ),
        Row(what="… the raw transaction, one at a time", measure="raw_at_1_ms", unit="ms"),
        Row(what="… the raw transaction, 64 at once, each", measure="raw_at_64_ms", unit="ms"),
        Row(what="… noise of the raw transaction, 64 at once", measure=f"{NOISE}_at_64"),
    ),
)

# -- the start among many ------------------------------------------------------------------------

FEW, MANY, MEASURED = 10, 10_000, 60


async def _flat(rounds: int) -> AsyncGenerator[Figures, None]:
    flow = small(20, shared=2)
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(_running(flow, flows)) for flows in (FEW, MANY, FEW)
        ]
        for turn in range(rounds):
            starts: list[list[float]] = [[] for _ in services]
            stops: list[list[float]] = [[] for _ in services]
            for number in range(MEASURED):
                for service, started, stopped in zip(services, starts, stops, strict=True):
                    begun = time.perf_counter()
                    name = f"x{turn}-{number}"
                    done = await service.start_flow(flow.start(name))
                    started.append(time.perf_counter() - begun)
                    await _seen(service, done.revision)
                    begun = time.perf_counter()
                    done = await service.stop_flow(StopFlow(flow=name))
                    stopped.append(time.perf_counter() - begun)
                    await _seen(service, done.revision)
            few, many, again = map(median, starts)
            few_stop, many_stop, again_stop = map(median, stops)
            yield {
                "start_among_10_ms": few * 1e3,
                "start": many * 2 / (few + again),
                "stop": many_stop * 2 / (few_stop + again_stop),
                NOISE: again / few,
            }


async def _seen(service: FlowService, revision: Revision) -> None:
    await service.flows.until(lambda _: service.flows.revision >= revision)


@asynccontextmanager
async def _running(flow: Everything, flows: int) -> AsyncIterator[FlowService]:
    """A service on an etcd of its own where so many flows run."""
    async with (
        etcd() as server,
        connect([server.endpoint], timeout_s=30) as store,
        FlowService(store, Keyspace()) as service,
    ):
        await flow.put(service)
        await service.start_flow(flow.start(_name(0)))
        await at_once(
            lambda number: service.start_flow(flow.start(_name(number))), range(1, flows), WORKERS
        )
        await service.flows.until(lambda items: len(items) == flows)
        yield service


FLAT = Scenario(
    name="flat",
    about="a start and a stop among 10 flows and among 10,000, of 20 variants and 2 shared ones",
    rounds=_flat,
    rows=(
        Row(what="start among 10,000 flows, by one among 10", measure="start", goal=at_most(1.15)),
        Row(what="stop among 10,000 flows, by one among 10", measure="stop", goal=at_most(1.15)),
        Row(what="… a start among 10", measure="start_among_10_ms", unit="ms"),
    ),
)
