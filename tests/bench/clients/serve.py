"""A process with one client in it, which is asked for one thing at a time.

    python -m tests.bench.clients.serve MODULE ENDPOINT

Words come in, a line of JSON for each goes out:

``watch PREFIX``
    true, once it watches.
``expect N``
    true; and, once so many events more have come, the CPU in µs that each of them cost.
``put PREFIX TXNS WORKERS``
    transactions of 10 puts, by so many workers: CPU and wall in µs for each.
``list PREFIX``
    all keys: how many, and CPU and wall in µs for each.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.bench.clients.job import Client

PUTS = 10
VALUE = '{"parameters":{"chunk-size":"2000"},"topics":{"input":"flow:a","output":"flow:b"}}'


class _Counter:
    """Counts events until there are as many as expected."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reached = asyncio.Event()
        self._left = 0

    def heard(self, events: int) -> None:
        self._left -= events
        if self._left <= 0:
            self._loop.call_soon_threadsafe(self._reached.set)

    def expect(self, events: int) -> None:
        self._left = events
        self._reached.clear()

    async def reached(self) -> None:
        await self._reached.wait()


async def _put(client: Client, prefix: str, txns: int, workers: int) -> None:
    ahead: Iterator[int] = iter(range(txns))

    async def work() -> None:
        for number in ahead:
            await client.put([f"{prefix}{number:05}-{put}" for put in range(PUTS)], VALUE)

    await asyncio.gather(*(work() for _ in range(workers)))


async def _serve(client: Client) -> None:
    counter = _Counter()
    while words := (await asyncio.to_thread(sys.stdin.readline)).split():
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        match words:
            case ["watch", prefix]:
                await client.watch(prefix, counter.heard)
                _say(True)
            case ["expect", events]:
                counter.expect(int(events))
                _say(True)
                await counter.reached()
                _say((time.process_time() - cpu_s) / int(events) * 1e6)
            case ["put", prefix, txns, workers]:
                await _put(client, prefix, int(txns), int(workers))
                _say(_spent(cpu_s, wall_s, int(txns)))
            case ["list", prefix]:
                keys = await client.list(prefix)
                _say([keys, *_spent(cpu_s, wall_s, keys)])
            case _:
                raise SystemExit(f"unknown words {words}")


def _spent(cpu_s: float, wall_s: float, times: int) -> list[float]:
    cpu, wall = time.process_time() - cpu_s, time.perf_counter() - wall_s
    return [cpu / times * 1e6, wall / times * 1e6]


def _say(what: Any) -> None:
    print(json.dumps(what), flush=True)


async def _main(module: str, endpoint: str) -> None:
    async with importlib.import_module(f"tests.bench.clients.{module}").opened(endpoint) as client:
        _say(True)
        await _serve(client)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
