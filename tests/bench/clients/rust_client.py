"""etcd-client-py: a client written in Rust, on a runtime of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import etcd_client  # type: ignore[import-not-found]  # in .peers only, and without types

from tests.bench.clients.job import Heard

__all__ = ["opened"]


class Client:
    def __init__(self, etcd: Any, tasks: set[asyncio.Task[None]]) -> None:
        self._etcd = etcd
        self._tasks = tasks

    async def watch(self, prefix: str, heard: Heard) -> None:
        ready = etcd_client.CondVar()
        watch = self._etcd.watch_prefix(prefix.encode(), ready_event=ready)

        async def read() -> None:
            async for event in watch:
                _ = event.key, event.value
                heard(1)

        self._tasks.add(asyncio.create_task(read()))
        await ready.wait()

    async def put(self, keys: Sequence[str], value: str) -> None:
        put = etcd_client.TxnOp.put
        ops = [put(key.encode(), value.encode()) for key in keys]
        await self._etcd.txn(etcd_client.Txn().and_then(ops))

    async def list(self, prefix: str) -> int:
        return len(await self._etcd.get_prefix(prefix.encode()))


@asynccontextmanager
async def opened(endpoint: str) -> AsyncIterator[Client]:
    tasks: set[asyncio.Task[None]] = set()
    async with etcd_client.Client([f"http://{endpoint}"]).connect() as etcd:
        yield Client(etcd, tasks)
        for task in tasks:
            task.cancel()
