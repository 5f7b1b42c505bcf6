"""aetcd, on grpc.aio as ours is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aetcd  # type: ignore[import-not-found]  # in .peers only, and without types

from tests.bench.clients.job import Heard

__all__ = ["opened"]


class Client:
    def __init__(self, etcd: Any, tasks: set[asyncio.Task[None]]) -> None:
        self._etcd = etcd
        self._tasks = tasks

    async def watch(self, prefix: str, heard: Heard) -> None:
        watch = await self._etcd.watch_prefix(prefix.encode())

        async def read() -> None:
            async for event in watch:
                _ = event.kv.key, event.kv.value
                heard(1)

        self._tasks.add(asyncio.create_task(read()))

    async def put(self, keys: Sequence[str], value: str) -> None:
        put = self._etcd.transactions.put
        success = [put(key.encode(), value.encode()) for key in keys]
        await self._etcd.transaction(compare=[], success=success, failure=[])

    async def list(self, prefix: str) -> int:
        return len(list(await self._etcd.get_prefix(prefix.encode())))


@asynccontextmanager
async def opened(endpoint: str) -> AsyncIterator[Client]:
    host, _, port = endpoint.rpartition(":")
    tasks: set[asyncio.Task[None]] = set()
    options = {"grpc.max_receive_message_length": 64 * 2**20}
    async with aetcd.Client(host=host, port=int(port), timeout=30, options=options) as etcd:
        yield Client(etcd, tasks)
        for task in tasks:
            task.cancel()
