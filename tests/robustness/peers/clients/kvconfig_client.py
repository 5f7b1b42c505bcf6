"""Our own client. Its user enters an informer and looks at its items: there is no more to do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kvconfig.etcd import Access, EtcdStore, connect
from kvconfig.informer import Batch, Informer
from kvconfig.keys import prefix as all_below
from kvconfig.model import KeyValue
from kvconfig.store import list_all
from kvconfig.txn import Put, Txn, absent
from tests.robustness.peers.clients.job import Job, calling, say

__all__ = ["follow", "open_client"]


class Client:
    def __init__(self, store: EtcdStore) -> None:
        self.store = store

    async def list(self, prefix: str) -> tuple[dict[str, str], int]:
        page = await list_all(self.store, all_below(prefix.encode()))
        return {kv.key.decode(): kv.value.decode() for kv in page.items}, page.revision

    async def create(self, key: str) -> bool:
        txn = Txn((absent(key.encode()),), (Put(key.encode(), b"created"),))
        return (await self.store.commit(txn)).succeeded


@asynccontextmanager
async def open_client(job: Job) -> AsyncIterator[Client]:
    access = Access(endpoints=job.endpoints, user=job.user, password=job.password)
    async with connect(access) as store:
        yield Client(store)


async def follow(client: Client, job: Job) -> None:
    async with Informer(client.store, all_below(job.prefix.encode()), _text) as informer:
        informer.subscribe(_say)
        with calling("synced"):
            await informer.synced()
        say("watching", True)
        await asyncio.Event().wait()


def _text(kv: KeyValue) -> str:
    return kv.value.decode()


def _say(batch: Batch[str]) -> None:
    for change in batch.changes:
        say("change", (change.key.decode(), change.new.value if change.new else None))
