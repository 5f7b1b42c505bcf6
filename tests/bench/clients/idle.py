"""A process that waits for events and gets none: a bare watch, or a processor with ten variants.

    python -m tests.bench.clients.idle bare|processor ENDPOINT

Says true once it waits.
"""

from __future__ import annotations

import asyncio
import json
import sys


async def _bare(endpoint: str) -> None:
    # Imported here, so that the one process does not hold what the other needs.
    from kvconfig.keys import prefix
    from tests.bench.bare import bare_channel, bare_watch

    async with bare_channel(endpoint) as channel:
        async for answer in bare_watch(channel, prefix(b"/active-flow/idle/")):
            if answer.created:
                _say()


async def _processor(endpoint: str) -> None:
    from collections.abc import AsyncIterator
    from contextlib import asynccontextmanager

    from kvconfig.etcd import connect
    from processors import FlowProcessor, Tasks, Variant, running

    class Idle(FlowProcessor):
        id = "idle"

        @asynccontextmanager
        async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
            yield

    async with (
        connect([endpoint]) as store,
        running(store, [Idle()], instance="i") as [instance],
    ):
        await instance.settled()
        _say()
        await asyncio.Event().wait()


def _say() -> None:
    print(json.dumps(True), flush=True)


if __name__ == "__main__":
    asyncio.run({"bare": _bare, "processor": _processor}[sys.argv[1]](sys.argv[2]))
