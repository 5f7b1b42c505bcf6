"""Ours: an informer that decodes each value to what a processor is given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from kvconfig.etcd import EtcdStore, connect
from kvconfig.informer import Batch, Informer
from kvconfig.keys import prefix as all_below
from kvconfig.model import KeyValue
from kvconfig.records import VariantRecord, decode_variant
from kvconfig.store import list_all
from kvconfig.txn import Put, Txn
from tests.bench.clients.job import Heard

__all__ = ["opened", "variant"]


def variant(kv: KeyValue) -> VariantRecord:
    """As processors decode it."""
    return decode_variant(kv.value, key=kv.key)


class Client:
    def __init__(self, store: EtcdStore, stack: AsyncExitStack) -> None:
        self._store = store
        self._stack = stack

    async def watch(self, prefix: str, heard: Heard) -> None:
        def count(batch: Batch[VariantRecord]) -> None:
            heard(len(batch.changes))

        informer = Informer(self._store, all_below(prefix.encode()), variant)
        await self._stack.enter_async_context(informer)
        await informer.synced()
        informer.subscribe(count)

    async def put(self, keys: Sequence[str], value: str) -> None:
        await self._store.commit(Txn(then=tuple(Put(key.encode(), value.encode()) for key in keys)))

    async def list(self, prefix: str) -> int:
        return len((await list_all(self._store, all_below(prefix.encode()))).items)


@asynccontextmanager
async def opened(endpoint: str) -> AsyncIterator[Client]:
    async with AsyncExitStack() as stack:
        yield Client(await stack.enter_async_context(connect([endpoint], timeout_s=30)), stack)
