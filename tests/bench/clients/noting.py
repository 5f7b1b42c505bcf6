"""A process that notes when it hears of a key: a bare watch, or a processor that enters a variant.

    python -m tests.bench.clients.noting bare|processor ENDPOINT

Says true once it watches. Each line that comes in is a number of keys: they and the times at which
they were heard of go out once there are as many. Times are of the machine's monotonic clock, which
all its processes share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from processors import FlowProcessor, Tasks, Variant, running
from tests.bench.bare import bare_channel, bare_watch

__all__ = ["PROCESSORS"]

PROCESSORS = {"bare": "bare", "processor": "noting"}
"""Whose variants each of the two hears of."""


class _Notes:
    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._moved = asyncio.Event()

    def add(self, name: str) -> None:
        self._times[name] = time.perf_counter()
        self._moved.set()

    async def tell(self, names: int) -> None:
        """Say what was noted, once there is so much."""
        while len(self._times) < names:
            self._moved.clear()
            await self._moved.wait()
        _say(self._times)
        self._times = {}


class _Noting(FlowProcessor):
    """Notes when a variant is entered."""

    id = PROCESSORS["processor"]

    def __init__(self, notes: _Notes) -> None:
        self._notes = notes

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        self._notes.add(variant.name)
        yield


async def _bare(endpoint: str, notes: _Notes) -> None:
    range_ = Keyspace().active_flow_range(PROCESSORS["bare"])
    async with bare_channel(endpoint) as channel:
        async for answer in bare_watch(channel, range_):
            if answer.created:
                _say(True)
            for event in answer.events:
                notes.add(event.kv.key[len(range_.start) :].decode())


async def _processor(endpoint: str, notes: _Notes) -> None:
    async with (
        connect([endpoint]) as store,
        running(store, [_Noting(notes)], instance="i") as [instance],
    ):
        await instance.settled()
        _say(True)
        await asyncio.Event().wait()


async def _answer(notes: _Notes) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        await notes.tell(int(line))


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


async def _main(kind: str, endpoint: str) -> None:
    notes = _Notes()
    work = asyncio.create_task({"bare": _bare, "processor": _processor}[kind](endpoint, notes))
    await _answer(notes)
    work.cancel()
    await asyncio.wait([work])


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
