"""The port: all that this project asks of a store, in its own words.

Two implementations pass one contract suite (``tests/contract``): :mod:`kvconfig.etcd` on gRPC and
:mod:`kvconfig.memory` in memory. Nothing here knows gRPC, and nothing above here does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import NoReturn, Protocol

from kvconfig.keys import Range
from kvconfig.model import KeyValue, LeaseId, Page, Revision, WatchBatch
from kvconfig.txn import Commit, Txn

__all__ = ["Store", "Watch", "ahead", "list_all"]


class Watch(Protocol):
    """An open watch: iterate over its batches, or have each handed over.

    It never ends by itself, it raises.
    """

    @property
    def ended(self) -> Exception | None:
        """Why it ended, from the moment that is known: earlier than iterating gets there."""
        ...

    def __aiter__(self) -> AsyncIterator[WatchBatch]:
        """Itself."""
        return self

    async def __anext__(self) -> WatchBatch:
        """The next batch. Cancelled while it waits, it loses nothing."""
        ...

    async def each(self, take: Callable[[WatchBatch], object]) -> NoReturn:
        """Hand every batch to ``take``, in the caller's context, which must not block.

        A store that can does so in the turn of the loop in which the batch comes. Raises what ended
        the watch, or what ``take`` raised. Cancelled, it loses nothing.
        """
        async for batch in self:
            take(batch)
        raise AssertionError("unreachable: a watch never ends by itself")


class Store(Protocol):
    """Keys with revisions, transactions, watches and leases, as etcd means them.

    Promises: reads and transactions are linearizable. Every call ends within a deadline. A call
    that only reads is tried again (bounded) where that can help; one that writes is sent once.

    Every method raises :class:`kvconfig.errors.StoreError`: ``Unavailable`` where nothing was
    written, ``OutcomeUnknown`` where a write may have been, a ``RequestRefused`` where sending it
    again is useless.
    """

    async def read(self, key: bytes, *, revision: Revision = Revision(0)) -> KeyValue | None:
        """The key as it stands now, or as it stood at ``revision``; ``None`` where absent."""
        ...

    def list(
        self, range_: Range, *, revision: Revision = Revision(0), keys_only: bool = False
    ) -> AsyncIterator[Page]:
        """All keys of the range, in key order, in pages at ONE revision.

        At least one page comes, so that an empty range has a revision too. Raises ``Compacted``
        where that revision is, or goes in the middle of the list; then list again.
        """
        ...

    async def commit(self, txn: Txn) -> Commit:
        """Do a transaction: at once, at one revision, or not at all. Sent once.

        Linearizable where it reads or writes something, in either branch: etcd answers one that
        only compares from a member that may lag.

        Raises ``OutcomeUnknown`` where no answer came, ``TransactionAborted`` where a nested guard
        did not hold, ``TooManyOperations``, ``RequestTooLarge``, ``DuplicateKey``, ``NoSpace``,
        ``LeaseNotFound`` and ``PermissionDenied`` as they say.
        """
        ...

    def watch(self, range_: Range, *, start: Revision) -> AbstractAsyncContextManager[Watch]:
        """All changes of the range from ``start`` on, one batch per revision, in order, each once.

        ``start`` 0 is now: changes later than any read that is made after entering. Entering
        returns when the server has confirmed the watch. Batches without events are signs of life.
        The iteration never ends by itself: it raises ``Compacted`` (with the revision to go on
        from), ``WatchEnded`` (stream lost, cancelled, no leader, consumer too slow) or
        ``PermissionDenied``. A watch says nothing of a store restored to an older state: after
        any end, list again.
        """
        ...

    async def grant(self, ttl_s: int) -> LeaseId:
        """A new lease. It ends ``ttl_s`` after the last keep-alive, and its keys with it."""
        ...

    async def keep_alive(self, lease: LeaseId) -> int:
        """Renew once; the seconds left, counted from when it was *sent*. Or ``LeaseNotFound``."""
        ...

    async def revoke(self, lease: LeaseId) -> None:
        """End a lease, and its keys with it. Or ``LeaseNotFound``."""
        ...

    async def close(self) -> None:
        """End all watches and connections. Calls made after that raise ``RequestRefused``."""
        ...


async def list_all(
    store: Store, range_: Range, *, revision: Revision = Revision(0), keys_only: bool = False
) -> Page:
    """A whole list as one page. For ranges known to be small; others go page by page."""
    items: list[KeyValue] = []
    found = revision
    async for page in store.list(range_, revision=revision, keys_only=keys_only):
        items.extend(page.items)
        found = page.revision
    return Page(tuple(items), found)


async def ahead(pages: AsyncIterator[Page]) -> AsyncGenerator[Page, None]:
    """The same pages; while one is worked on, the next is on its way. Who stops early closes it."""
    pages = aiter(pages)
    coming = asyncio.ensure_future(anext(pages, None))
    try:
        while (page := await coming) is not None:
            coming = asyncio.ensure_future(anext(pages, None))
            for _ in range(3):  # so many rounds of the loop until the request has left
                await asyncio.sleep(0)
            yield page
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
