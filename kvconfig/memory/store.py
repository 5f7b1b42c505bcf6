"""The memory store itself: a loop, a clock and faults around :class:`kvconfig.memory.mvcc.Mvcc`."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal, TypeAlias, TypeVar

import msgspec

from kvconfig.errors import (
    Compacted,
    NoSpace,
    OutcomeUnknown,
    RequestRefused,
    StoreError,
    WatchEnded,
)
from kvconfig.keys import Range
from kvconfig.memory.leases import Leases
from kvconfig.memory.mvcc import Mvcc
from kvconfig.memory.requests import check_key, check_txn, puts
from kvconfig.memory.watches import Subscription
from kvconfig.model import KeyValue, LeaseId, Page, Revision, WatchBatch
from kvconfig.txn import Commit, Txn

__all__ = ["Gate", "MemoryStore", "Moment", "Snapshot"]

T = TypeVar("T")

Moment: TypeAlias = Literal["before", "after"]
Gate: TypeAlias = Callable[[str, Moment], Awaitable[None]]
"""Awaited with the name of the call when its request is on the way ("before": nothing has happened
yet) and when its reply is ("after"). What it raises, the call raises."""

Fate: TypeAlias = Literal["applied", "late", "dropped"]


class Snapshot(msgspec.Struct, frozen=True):
    """A whole store at one moment; made by :meth:`MemoryStore.snapshot`, otherwise opaque."""

    mvcc: Mvcc
    ttls_s: tuple[tuple[LeaseId, int], ...]


class MemoryStore:
    """:class:`kvconfig.store.Store` in memory, and the hands to break it with.

    Promises what the port promises; each call gives way to other tasks at least twice, once before
    and once after it takes effect, so that races are real. Equal calls in equal order give equal
    answers: nothing is random, and time is only what ``clock`` says.

    Leases end when their time by ``clock`` is over *and* somebody looks: with the next call, or
    :meth:`expire_leases`. ``gate`` may hold calls back, and so order them; see :data:`Gate`.
    ``calls`` counts round trips by the name of the method, each page of a list as one, those that
    failed too.

    Faults: :meth:`fail_next`, :meth:`lose_next_reply`, :meth:`cut_watches`, :meth:`compact`,
    :meth:`snapshot` and :meth:`restore`, ``out_of_space``, and whatever the gate raises.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        gate: Gate | None = None,
        page_size: int = 5_000,
        max_backlog: int = 10_000,
    ) -> None:
        self.calls: Counter[str] = Counter()
        self.gate = gate
        self.out_of_space = False
        """As etcd under its NOSPACE alarm: transactions with a put and new leases are refused."""
        self._clock = clock
        self._page_size = page_size
        self._max_backlog = max_backlog
        self._mvcc = Mvcc()
        self._leases = Leases()
        self._watches: list[Subscription] = []
        self._failures: list[tuple[StoreError, str]] = []
        self._fates: deque[Fate] = deque()
        self._late: list[Txn] = []
        self._closed = False

    @property
    def revision(self) -> Revision:
        """The revision now, without a call."""
        return self._mvcc.revision

    # -- the port -----------------------------------------------------------------------------

    async def read(self, key: bytes, *, revision: Revision = Revision(0)) -> KeyValue | None:
        """See :meth:`kvconfig.store.Store.read`."""
        return await self._call("read", lambda: self._read(key, revision))

    async def list(
        self, range_: Range, *, revision: Revision = Revision(0), keys_only: bool = False
    ) -> AsyncIterator[Page]:
        """See :meth:`kvconfig.store.Store.list`."""
        more = True
        while more:
            ask = partial(self._page, range_, revision, keys_only)
            page, more = await self._call("list", ask)
            yield page
            if more:
                range_, revision = range_.after(page.items[-1].key), page.revision

    async def commit(self, txn: Txn) -> Commit:
        """See :meth:`kvconfig.store.Store.commit`."""
        return await self._call("commit", lambda: self._commit(txn))

    @asynccontextmanager
    async def watch(self, range_: Range, *, start: Revision) -> AsyncIterator[Subscription]:
        """See :meth:`kvconfig.store.Store.watch`."""
        watch = Subscription(range_, start, max_backlog=self._max_backlog)
        try:
            await self._call("watch", lambda: self._open(watch))
            yield watch
        finally:
            if watch in self._watches:
                self._watches.remove(watch)
            watch.end(WatchEnded("left"))

    async def grant(self, ttl_s: int) -> LeaseId:
        """See :meth:`kvconfig.store.Store.grant`. No least time to live, other than in etcd."""
        return await self._call("grant", lambda: self._grant(ttl_s))

    async def keep_alive(self, lease: LeaseId) -> int:
        """See :meth:`kvconfig.store.Store.keep_alive`."""
        return await self._call(
            "keep_alive", lambda: self._leases.renew(lease, now_s=self._clock())
        )

    async def revoke(self, lease: LeaseId) -> None:
        """See :meth:`kvconfig.store.Store.revoke`. All keys go at one revision."""
        await self._call("revoke", lambda: self._end_lease(lease))

    async def close(self) -> None:
        """See :meth:`kvconfig.store.Store.close`."""
        self._closed = True
        self.cut_watches("the store was closed")

    # -- what an operator, the time, or a fault does --------------------------------------------

    def compact(self, revision: Revision) -> None:
        """Forget what was before ``revision``; ``Compacted`` where that was done already.

        Watches that are open have seen it, or will: etcd had sent it to them.
        """
        self._mvcc.compact(revision)

    def progress(self) -> None:
        """Every watch gets a batch without events: a sign of life at the revision now."""
        for watch in self._watches:
            watch.progress(self.revision)

    def expire_leases(self) -> None:
        """End the leases whose time is over, each at its own revision."""
        for lease in self._leases.expired(now_s=self._clock()):
            self._end_lease(lease)

    def cut_watches(self, reason: str) -> None:
        """All watches end with ``WatchEnded``, after what has reached them already."""
        for watch in self._watches:
            watch.end(WatchEnded(reason))

    def fail_next(self, error: StoreError, call: str = "") -> None:
        """The next call (named ``call``, if that is given) does nothing and raises ``error``."""
        self._failures.append((error, call))

    def lose_next_reply(self, fate: Fate = "applied") -> None:
        """The next commit raises ``OutcomeUnknown``, whatever comes of it.

        Its fate: it was ``applied``; or it is on the way still, until :meth:`deliver_late`; or it
        was ``dropped``.
        """
        self._fates.append(fate)

    def deliver_late(self) -> tuple[Commit | StoreError, ...]:
        """Now the transactions arrive whose replies were lost before; what comes of each."""
        late, self._late = self._late, []
        return tuple(map(self._outcome, late))

    def snapshot(self) -> Snapshot:
        """All there is now, to come back to any number of times."""
        return Snapshot(self._mvcc.copy(), self._leases.ttls_s())

    def restore(self, snapshot: Snapshot) -> None:
        """Go back, revision and all, as an etcd does that is restored from a snapshot.

        Another server answers after that: every watch ends. Nothing tells a client that the
        revision went back, and a watch from a revision that is now in the future stays silent.
        """
        self.cut_watches("the server was restarted")
        self._mvcc = snapshot.mvcc.copy()
        self._leases.restore(snapshot.ttls_s, now_s=self._clock())

    # -- inside -------------------------------------------------------------------------------

    async def _call(self, name: str, action: Callable[[], T]) -> T:
        """One round trip; ``action`` is what happens at the server, at one moment."""
        self.calls[name] += 1
        await self._pause(name, "before")
        try:
            self._fail(name)
            self.expire_leases()
            return action()
        finally:
            await self._pause(name, "after")

    async def _pause(self, name: str, moment: Moment) -> None:
        await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate(name, moment)

    def _fail(self, name: str) -> None:
        if self._closed:
            raise RequestRefused("this store is closed")
        for index, (error, call) in enumerate(self._failures):
            if call in ("", name):
                del self._failures[index]
                raise error

    def _read(self, key: bytes, revision: Revision) -> KeyValue | None:
        check_key(key)
        return self._mvcc.get(key, revision)

    def _page(self, range_: Range, revision: Revision, keys_only: bool) -> tuple[Page, bool]:
        check_key(range_.start)
        return self._mvcc.page(range_, revision, limit=self._page_size, keys_only=keys_only)

    def _commit(self, txn: Txn) -> Commit:
        fate = self._fates.popleft() if self._fates else None
        if fate is None:
            return self._do(txn)
        if fate == "applied":
            self._outcome(txn)
        elif fate == "late":
            self._late.append(txn)
        raise OutcomeUnknown("the reply was lost")

    def _outcome(self, txn: Txn) -> Commit | StoreError:
        try:
            return self._do(txn)
        except StoreError as error:
            return error

    def _do(self, txn: Txn) -> Commit:
        if self.out_of_space and puts(txn):
            raise NoSpace
        check_txn(txn)
        commit, changed = self._mvcc.commit(txn, leases=self._leases)
        self._announce(changed)
        return commit

    def _announce(self, changed: WatchBatch) -> None:
        if changed.events:
            for watch in self._watches:
                watch.see(changed)

    def _open(self, watch: Subscription) -> None:
        check_key(watch.range.start)
        self._watches.append(watch)
        if 0 < watch.start < self._mvcc.compacted:
            watch.end(Compacted(compact_revision=self._mvcc.compacted))
        elif watch.start:
            watch.catch_up(self._mvcc.history(watch.range, watch.start))

    def _grant(self, ttl_s: int) -> LeaseId:
        if self.out_of_space:
            raise NoSpace
        return self._leases.grant(ttl_s, now_s=self._clock())

    def _end_lease(self, lease: LeaseId) -> None:
        self._leases.check(lease)
        self._leases.end(lease)
        self._announce(self._mvcc.delete(self._mvcc.keys_under(lease)))
