"""aetcd (asyncio on grpc.aio, as ours is), as :mod:`tests.interop.peers.serve` drives it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aetcd  # type: ignore[import-not-found]  # in .peers only, and without types

from tests.interop.peers.log import Log

__all__ = ["open_client"]

TIMEOUT_S = 10


class Client:
    def __init__(self, etcd: Any, stack: AsyncExitStack) -> None:
        self._etcd = etcd
        self._stack = stack

    async def watch(self, prefix: str, log: Log) -> None:
        watch = await self._etcd.watch_prefix(prefix.encode())
        reader = asyncio.create_task(_read(watch, log), name=f"reader of {prefix}")
        self._stack.callback(reader.cancel)

    async def create(self, values: Mapping[str, str]) -> bool:
        make = self._etcd.transactions
        succeeded, _ = await self._etcd.transaction(
            compare=[make.version(key.encode()) == 0 for key in values],
            success=[make.put(key.encode(), value.encode()) for key, value in values.items()],
            failure=[],
        )
        return bool(succeeded)


@asynccontextmanager
async def open_client(endpoint: str) -> AsyncIterator[Client]:
    host, _, port = endpoint.rpartition(":")
    async with AsyncExitStack() as stack:
        etcd = aetcd.Client(host=host, port=int(port), timeout=TIMEOUT_S)
        yield Client(await stack.enter_async_context(etcd), stack)


async def _read(watch: Any, log: Log) -> None:
    try:
        async for event in watch:
            value = event.kv.value.decode() if event.kind == aetcd.rtypes.EventKind.PUT else None
            log.add([(event.kv.mod_revision, event.kv.key.decode(), value)])
    except Exception as error:  # noqa: BLE001  # whatever ends it, whoever waits hears of it
        log.fail(error)
