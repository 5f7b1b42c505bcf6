"""The flow service in a process of its own, as ``flowctl serve`` runs it.

    python -m tests.bench.clients.served ENDPOINT ROOT

It says on standard output where it listens, and ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import sys

from flowsvc.server import serve
from flowsvc.service import FlowService
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace


async def _main(endpoint: str, root: str) -> None:
    async with (
        connect([endpoint]) as store,
        FlowService(store, Keyspace(root)) as service,
        serve(service) as port,
    ):
        print(json.dumps(f"127.0.0.1:{port}"), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
