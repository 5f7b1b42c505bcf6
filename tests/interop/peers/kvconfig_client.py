"""Our own client, as one of those that :mod:`tests.interop.peers.serve` drives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from kvconfig.errors import KvError
from kvconfig.etcd import EtcdStore, connect
from kvconfig.keys import prefix as all_below
from kvconfig.model import Revision, WatchBatch
from kvconfig.store import list_all
from kvconfig.txn import Put, Txn, absent
from tests.interop.peers.log import Log

__all__ = ["open_client"]


class Client:
    def __init__(self, store: EtcdStore, stack: AsyncExitStack) -> None:
        self._store = store
        self._stack = stack

    async def watch(self, prefix: str, log: Log) -> None:
        range_ = all_below(prefix.encode())
        listed = await list_all(self._store, range_)
        watch = self._store.watch(range_, start=Revision(listed.revision + 1))
        batches = await self._stack.enter_async_context(watch)
        reader = asyncio.create_task(_read(batches, log), name=f"reader of {prefix}")
        self._stack.callback(reader.cancel)

    async def create(self, values: Mapping[str, str]) -> bool:
        txn = Txn(
            tuple(absent(key.encode()) for key in values),
            tuple(Put(key.encode(), value.encode()) for key, value in values.items()),
        )
        return (await self._store.commit(txn)).succeeded


@asynccontextmanager
async def open_client(endpoint: str) -> AsyncIterator[Client]:
    async with AsyncExitStack() as stack:
        yield Client(await stack.enter_async_context(connect([endpoint])), stack)


async def _read(batches: AsyncIterator[WatchBatch], log: Log) -> None:
    try:
        async for batch in batches:
            log.add(
                (batch.revision, event.key.decode(), event.kv.value.decode() if event.kv else None)
                for event in batch.events
            )
    except KvError as error:
        log.fail(error)
