"""etcd3 or python3-etcd3, whichever is on the path: both block, and watch in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import etcd3  # type: ignore[import-not-found]  # in .peers only, and without types

from tests.bench.clients.job import Heard

__all__ = ["opened"]

THREADS = 64


class Client:
    def __init__(self, etcd: Any, pool: ThreadPoolExecutor) -> None:
        self._etcd = etcd
        self._pool = pool

    async def watch(self, prefix: str, heard: Heard) -> None:
        def count(answer: Any) -> None:
            for event in answer.events:
                _ = event.key, event.value
            heard(len(answer.events))

        await self._apart(partial(self._etcd.add_watch_prefix_callback, prefix, count))

    async def put(self, keys: Sequence[str], value: str) -> None:
        put = self._etcd.transactions.put
        success = [put(key, value) for key in keys]
        await self._apart(partial(self._etcd.transaction, compare=[], success=success, failure=[]))

    async def list(self, prefix: str) -> int:
        found = await self._apart(lambda: list(self._etcd.get_prefix(prefix)))
        return len(found)

    async def _apart(self, call: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)


@asynccontextmanager
async def opened(endpoint: str) -> AsyncIterator[Client]:
    host, _, port = endpoint.rpartition(":")
    options = {"grpc.max_receive_message_length": 64 * 2**20}.items()
    # Neither is ever closed: its watch thread would fail aloud. They end with the process.
    etcd = etcd3.client(host=host, port=int(port), timeout=30, grpc_options=options)
    yield Client(etcd, ThreadPoolExecutor(THREADS))
