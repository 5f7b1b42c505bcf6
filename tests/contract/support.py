"""The two stores that the contract suite runs against, behind one face; and shorthands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import grpc.aio

from kvconfig.etcd import connect
from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.memory import MemoryStore
from kvconfig.model import Event, Page, Revision, WatchBatch
from kvconfig.store import Store
from kvconfig.txn import Commit, Put, Txn

PATIENCE_S = 20
"""For what is certain to come; a lease of etcd's takes a few seconds to go."""


class Backend(Protocol):
    """A store, and what its operator can do."""

    def open(self, *, page_size: int = 5_000) -> AbstractAsyncContextManager[Store]:
        """A client. In memory client and store are one: open one for each test."""
        ...

    async def compact(self, revision: Revision) -> None: ...

    def let_time_pass(self, seconds: float) -> None:
        """In memory time passes now; in etcd it has to be waited for."""
        ...


class MemoryBackend:
    """:mod:`kvconfig.memory` with a clock that stands still."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._store = MemoryStore()

    @asynccontextmanager
    async def open(self, *, page_size: int = 5_000) -> AsyncIterator[Store]:
        self._store = MemoryStore(clock=lambda: self._now_s, page_size=page_size)
        yield self._store
        await self._store.close()

    async def compact(self, revision: Revision) -> None:
        self._store.compact(revision)

    def let_time_pass(self, seconds: float) -> None:
        self._now_s += seconds
        self._store.expire_leases()


class EtcdBackend:
    """:mod:`kvconfig.etcd` on a server that other tests use too."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint

    def open(self, *, page_size: int = 5_000) -> AbstractAsyncContextManager[Store]:
        return connect([self._endpoint], page_size=page_size)

    async def compact(self, revision: Revision) -> None:
        async with grpc.aio.insecure_channel(self._endpoint) as channel:
            call = channel.unary_unary(
                "/etcdserverpb.KV/Compact",
                request_serializer=pb.CompactionRequest.SerializeToString,
                response_deserializer=pb.CompactionResponse.FromString,
            )
            await call(pb.CompactionRequest(revision=revision), timeout=PATIENCE_S)

    def let_time_pass(self, seconds: float) -> None:
        pass


async def put(store: Store, *pairs: tuple[bytes, bytes]) -> Revision:
    """Put keys in one transaction; its revision."""
    return (await store.commit(Txn(then=tuple(Put(key, value) for key, value in pairs)))).revision


async def put_each(store: Store, keys: Iterable[bytes], value: bytes = b"v") -> list[Revision]:
    """Put keys in a transaction each; their revisions."""
    return [await put(store, (key, value)) for key in keys]


async def next_events(watch: AsyncIterator[WatchBatch]) -> WatchBatch:
    """The next batch that holds events: signs of life come when they like."""
    async with asyncio.timeout(PATIENCE_S):
        while not (batch := await anext(watch)).events:
            pass
    return batch


def changes(events: Sequence[Event]) -> list[tuple[bytes, bytes | None]]:
    """Keys with their new values; ``None`` where they were deleted."""
    return [(event.key, event.kv.value if event.kv else None) for event in events]


async def decide(store: Store, txn: Txn) -> bool:
    """Whether the compares of a transaction held."""
    answer: Commit = await store.commit(txn)
    return answer.succeeded


def keys_of(page: Page) -> list[bytes]:
    """The keys of a list, in its order."""
    return [kv.key for kv in page.items]
