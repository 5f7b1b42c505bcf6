"""From a commit to whom it concerns: how soon, how fast in bulk, and how it is caught up with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import grpc.aio

from kvconfig.etcd import EtcdStore, connect
from kvconfig.keys import Range, prefix
from kvconfig.keyspace import Keyspace
from kvconfig.model import Revision
from tests.bench.bare import bare_channel, bare_transact, bare_watch, puts
from tests.bench.clients.noting import PROCESSORS
from tests.bench.goals import NOISE, Figures, Row, Scenario, at_least, at_most
from tests.bench.places import child, etcd, percentile

__all__ = ["CATCH_UP", "LATENCY"]

# -- how soon ------------------------------------------------------------------------------------

PAIRS = 200


async def _latency(rounds: int) -> AsyncGenerator[Figures, None]:
    """One put after the other, in turn for a bare watch, a processor and the bare watch again."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(etcd())
        channel = await stack.enter_async_context(bare_channel(server.endpoint))
        transact = bare_transact(channel)
        noting = {}
        for kind in PROCESSORS:
            started = child("tests.bench.clients.noting", kind, server.endpoint)
            noting[kind] = await stack.enter_async_context(started)
            await noting[kind].ask()
        ranges = {kind: Keyspace().active_flow_range(name) for kind, name in PROCESSORS.items()}
        turns = ("bare", "processor", "bare")
        count = 0
        for _ in range(rounds):
            sent: list[dict[str, float]] = [{} for _ in turns]
            for _ in range(PAIRS):
                for times, kind in zip(sent, turns, strict=True):
                    data = puts(ranges[kind], range(count, count + 1))
                    times[f"{count:07}"] = time.perf_counter()
                    await transact(data)
                    count += 1
            heard: dict[str, float] = {}
            for kind, process in noting.items():
                heard |= await process.ask(PAIRS * turns.count(kind))
            yield _delays([[heard[name] - at for name, at in each.items()] for each in sent])


def _delays(delays_s: list[list[float]]) -> Figures:
    bare, ours, again = delays_s
    figures = {}
    for percent in (50, 99):
        both = percentile([*bare, *again], percent)
        figures[f"bare_p{percent}_ms"] = both * 1e3
        figures[f"p{percent}"] = percentile(ours, percent) / both
    figures[NOISE] = percentile(again, 50) / percentile(bare, 50)
    figures[f"{NOISE}_of_p99"] = percentile(again, 99) / percentile(bare, 99)
    return figures


LATENCY = Scenario(
    name="latency",
    about="from the sending of a put until a processor enters the variant, by a bare watch",
    rounds=_latency,
    rows=(
        Row(
            what="commit to handler entered, p50, by a bare watch",
            measure="p50",
            goal=at_most(1.15),
        ),
        Row(
            what="commit to handler entered, p99, by a bare watch", measure="p99", goal=at_most(1.3)
        ),
        Row(what="… the bare watch, p50", measure="bare_p50_ms", unit="ms"),
        Row(what="… the bare watch, p99", measure="bare_p99_ms", unit="ms"),
        Row(what="… noise of the bare watch, p99", measure=f"{NOISE}_of_p99"),
    ),
)

# -- how it is caught up with --------------------------------------------------------------------

REVISIONS, WRITERS = 6_000, 64


async def _catch_up(rounds: int) -> AsyncGenerator[Figures, None]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(etcd())
        channel = await stack.enter_async_context(bare_channel(server.endpoint))
        store = await stack.enter_async_context(connect([server.endpoint], timeout_s=30))
        starts = {}
        for events in (1, 10):
            range_ = prefix(b"/%d/" % events)
            starts[events] = range_, await _written(channel, range_, events)
        for _ in range(rounds):
            figures: dict[str, float] = {}
            for events, (range_, start) in starts.items():
                bare_s = await _caught_up_bare(channel, range_, start, events)
                ours_s = await _caught_up(store, range_, start, events)
                again_s = await _caught_up_bare(channel, range_, start, events)
                figures |= {
                    f"of_the_cap_at_{events}": (bare_s + again_s) / 2 / ours_s,
                    f"revisions_per_s_at_{events}": REVISIONS / ours_s,
                    f"events_per_s_at_{events}": REVISIONS * events / ours_s,
                    NOISE: again_s / bare_s,
                }
            yield figures


async def _written(channel: grpc.aio.Channel, range_: Range, events: int) -> Revision:
    """So many revisions of so many events each; the first of them."""
    transact = bare_transact(channel)
    first = (await transact(puts(range_, range(events)))).header.revision
    ahead = iter(range(1, REVISIONS))

    async def work() -> None:
        for _ in ahead:
            await transact(puts(range_, range(events)))

    await asyncio.gather(*(work() for _ in range(WRITERS)))
    return Revision(first)


async def _caught_up_bare(
    channel: grpc.aio.Channel, range_: Range, start: Revision, events: int
) -> float:
    """The seconds until all have come."""
    begun, left = time.perf_counter(), REVISIONS * events
    answers = bare_watch(channel, range_, start=start)
    async for answer in answers:
        left -= len(answer.events)
        if left <= 0:
            break
    await answers.aclose()
    return time.perf_counter() - begun


async def _caught_up(store: EtcdStore, range_: Range, start: Revision, events: int) -> float:
    begun, left = time.perf_counter(), REVISIONS * events
    async with store.watch(range_, start=start) as watch:
        async for batch in watch:
            left -= len(batch.events)
            if left <= 0:
                break
    return time.perf_counter() - begun


CATCH_UP = Scenario(
    name="catch-up",
    about=f"a watch from {REVISIONS:,} revisions ago, by a bare one, which etcd slows down",
    rounds=_catch_up,
    rows=(
        Row(
            what="watch catch-up, 1 event a revision, of the server's own cap",
            measure="of_the_cap_at_1",
            goal=at_least(0.95),
        ),
        Row(
            what="watch catch-up, 10 events a revision, of the server's own cap",
            measure="of_the_cap_at_10",
            goal=at_least(0.95),
        ),
        Row(
            what="watch catch-up, 10 events a revision",
            measure="events_per_s_at_10",
            goal=at_least(60_000),
            unit="events/s",
            digits=0,
        ),
        Row(
            what="… 1 event a revision",
            measure="revisions_per_s_at_1",
            unit="revisions/s",
            digits=0,
        ),
    ),
)
