"""Many processors in one process, each with a client and a connection of its own.

    python -m tests.bench.clients.fleet ENDPOINT FIRST LAST

Processors ``pFIRST`` to ``pLAST - 1`` watch their variants. Says true once all do. A line that
comes in asks how many of them have heard something since the last.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack

from kvconfig.etcd import connect
from kvconfig.informer import Informer
from kvconfig.keyspace import Keyspace
from kvconfig.records import VariantRecord
from tests.bench.clients.kvconfig_client import variant

AT_ONCE = 32
SILENCE_S = 3600.0
"""So long that none asks for a sign of life: what is received is events, and nothing else."""


async def _main(endpoint: str, first: str, last: str) -> None:
    async with AsyncExitStack() as stack:
        gate = asyncio.Semaphore(AT_ONCE)

        async def watching(number: int) -> Informer[VariantRecord]:
            async with gate:
                opened = connect([endpoint], timeout_s=30, silence_s=SILENCE_S)
                store = await stack.enter_async_context(opened)
                range_ = Keyspace().active_flow_range(f"p{number}")
                informer = Informer(store, range_, variant)
                await stack.enter_async_context(informer)
                await informer.synced()
                return informer

        numbers = range(int(first), int(last))
        informers = await asyncio.gather(*map(watching, numbers))
        _say(True)
        before = [informer.stats.events for informer in informers]
        while await asyncio.to_thread(sys.stdin.readline):
            after = [informer.stats.events for informer in informers]
            _say(sum(now > then for now, then in zip(after, before, strict=True)))
            before = after


def _say(what: object) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
