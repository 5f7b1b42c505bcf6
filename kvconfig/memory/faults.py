"""Faults by dice around a memory store: what a network, a server and its operator do to a client.

One seed is one run: all chance comes from the ``Random`` that is given, and delays are sleeps of
the event loop. On a loop whose time is virtual a run repeats exactly, and takes milliseconds.

A journal is kept of what the store really went through, compactions and restores
notwithstanding, so that what clients were told can be held against it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Self

import msgspec

from kvconfig.errors import Compacted, OutcomeUnknown, StoreError, Unavailable
from kvconfig.keys import Range, everything
from kvconfig.memory.store import Fate, MemoryStore, Moment, Snapshot
from kvconfig.model import KeyValue, LeaseId, Page, Revision, WatchBatch
from kvconfig.store import Watch
from kvconfig.txn import Commit, Txn

__all__ = ["CALM", "FaultyStore", "Rates", "Restored"]

_WRITES = frozenset({"commit", "revoke"})
_FATES: tuple[Fate, ...] = ("applied", "late", "dropped")


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How likely each fault is, from 0 to 1.

    ``delay``, ``refused``: at each request and each reply. ``lost``: for each commit. ``lag`` and
    ``repeated``: for each batch of a watch. The others are the server's, and may happen whenever a
    request or a reply of anybody is on its way.
    """

    delay: float = 0.0
    """It takes up to ``delay_s`` more."""
    refused: float = 0.0
    """``Unavailable``, or where a write has happened already, ``OutcomeUnknown``."""
    outage: float = 0.0
    """Every watch ends, and for up to ``outage_s`` every call fails."""
    lost: float = 0.0
    """No answer: the commit was done, will be later, or never."""
    lag: float = 0.0
    """The batch, and all behind it, come up to ``delay_s`` later."""
    repeated: float = 0.0
    """It, or one of the last before it, comes once more: a store that breaks its promise."""
    cut: float = 0.0
    progress: float = 0.0
    compact: float = 0.0
    snapshot: float = 0.0
    restore: float = 0.0
    """Back to one of the last snapshots, revision and all."""
    late: float = 0.0
    """What was to be done later is done now."""
    delay_s: float = 0.1
    outage_s: float = 1.0

    @classmethod
    def drawn(cls, rng: Random) -> Self:
        """A mix of some faults, with the others left out: each mix finds what another hides."""
        most = {
            "delay": 0.6,
            "refused": 0.05,
            "outage": 0.01,
            "lost": 0.2,
            "lag": 0.2,
            "repeated": 0.05,
            "cut": 0.03,
            "progress": 0.05,
            "compact": 0.03,
            "snapshot": 0.1,
            "restore": 0.03,
            "late": 0.1,
        }
        return cls(
            **{name: rng.uniform(0, top) for name, top in most.items() if rng.random() < 0.7}
        )


CALM = Rates()
"""No faults."""


class Restored(msgspec.Struct, frozen=True):
    """In a journal: the store went back to ``revision``, and held ``items`` again."""

    revision: Revision
    items: tuple[KeyValue, ...]


class FaultyStore:
    """:class:`kvconfig.store.Store` on a :class:`MemoryStore` that is struck at random.

    It keeps the port's promises, with one exception: ``Rates.repeated``. The memory store's gate is
    taken; its other hands may be used too, but ``compact`` and ``restore`` only through here, or
    the journal has gaps. ``struck`` counts the faults by name.
    """

    def __init__(self, memory: MemoryStore, rng: Random, rates: Rates) -> None:
        self.memory = memory
        self.rates = rates
        self.struck: Counter[str] = Counter()
        self._rng = rng
        self._down_until_s = 0.0
        self._snapshots: deque[Snapshot] = deque(maxlen=3)
        self._journal: list[WatchBatch | Restored] = []
        self._noted = memory.revision
        memory.gate = self._on_the_way

    def heal(self) -> None:
        """From now on nothing fails any more; what was to be done later is done now."""
        self.rates = CALM
        self._down_until_s = 0.0
        self.memory.deliver_late()

    def journal(self) -> tuple[WatchBatch | Restored, ...]:
        """All revisions and restores since the start, in the order in which they happened."""
        self._note()
        return tuple(self._journal)

    # -- the port -----------------------------------------------------------------------------

    async def read(self, key: bytes, *, revision: Revision = Revision(0)) -> KeyValue | None:
        """See :meth:`kvconfig.store.Store.read`."""
        return await self.memory.read(key, revision=revision)

    def list(
        self, range_: Range, *, revision: Revision = Revision(0), keys_only: bool = False
    ) -> AsyncIterator[Page]:
        """See :meth:`kvconfig.store.Store.list`."""
        return self.memory.list(range_, revision=revision, keys_only=keys_only)

    async def commit(self, txn: Txn) -> Commit:
        """See :meth:`kvconfig.store.Store.commit`."""
        return await self.memory.commit(txn)

    @asynccontextmanager
    async def watch(self, range_: Range, *, start: Revision) -> AsyncIterator[Watch]:
        """See :meth:`kvconfig.store.Store.watch`."""
        async with self.memory.watch(range_, start=start) as batches:
            yield _Unsteady(batches, self)

    async def grant(self, ttl_s: int) -> LeaseId:
        """See :meth:`kvconfig.store.Store.grant`."""
        return await self.memory.grant(ttl_s)

    async def keep_alive(self, lease: LeaseId) -> int:
        """See :meth:`kvconfig.store.Store.keep_alive`."""
        return await self.memory.keep_alive(lease)

    async def revoke(self, lease: LeaseId) -> None:
        """See :meth:`kvconfig.store.Store.revoke`."""
        await self.memory.revoke(lease)

    async def close(self) -> None:
        """See :meth:`kvconfig.store.Store.close`."""
        await self.memory.close()

    # -- the server's faults ------------------------------------------------------------------

    def compact(self, revision: Revision) -> None:
        """See :meth:`MemoryStore.compact`; what it forgets the journal keeps."""
        self._note()
        self.memory.compact(revision)

    def restore(self, snapshot: Snapshot) -> None:
        """See :meth:`MemoryStore.restore`; the journal says so.

        What was still on its way reaches the old server; the new one hears nothing of it.
        """
        self.memory.deliver_late()
        self._note()
        self.memory.restore(snapshot)
        self._noted = self.memory.revision
        page, _ = snapshot.mvcc.page(everything(), Revision(0), limit=2**31, keys_only=False)
        self._journal.append(Restored(self._noted, page.items))

    # -- inside -------------------------------------------------------------------------------

    def _hit(self, fault: str, rate: float) -> bool:
        """Throw the dice once. A rate of 0 throws none."""
        if not rate or self._rng.random() >= rate:
            return False
        self.struck[fault] += 1
        return True

    async def _delay(self) -> None:
        """Sleep as long as the dice say."""
        await asyncio.sleep(self._rng.uniform(0, self.rates.delay_s))

    async def _on_the_way(self, call: str, moment: Moment) -> None:
        """What befalls a request ("before") or its reply ("after")."""
        self._strike()
        if self._hit("delay", self.rates.delay):
            await self._delay()
        if asyncio.get_running_loop().time() < self._down_until_s:
            raise _failure(call, moment, "down")
        if self._hit("refused", self.rates.refused):
            raise _failure(call, moment, "refused")
        if call == "commit" and moment == "before" and self._hit("lost", self.rates.lost):
            self.memory.lose_next_reply(self._rng.choice(_FATES))

    def _strike(self) -> None:
        """What happens to the server at just this moment."""
        rates, memory = self.rates, self.memory
        if self._hit("cut", rates.cut):
            memory.cut_watches("cut")
        if self._hit("progress", rates.progress):
            memory.progress()
        if self._hit("late", rates.late):
            memory.deliver_late()
        if self._hit("snapshot", rates.snapshot):
            self._snapshots.append(memory.snapshot())
        if self._hit("compact", rates.compact):
            with suppress(Compacted):
                self.compact(Revision(self._rng.randint(1, memory.revision)))
        if self._snapshots and self._hit("restore", rates.restore):
            self.restore(self._rng.choice(self._snapshots))
        if self._hit("outage", rates.outage):
            now_s = asyncio.get_running_loop().time()
            self._down_until_s = now_s + self._rng.uniform(0, rates.outage_s)
            memory.cut_watches("down")

    def _note(self) -> None:
        """Write down what happened since the last note, before the store forgets it."""
        start = Revision(self._noted + 1)
        self._journal += self.memory.snapshot().mvcc.history(everything(), start)
        self._noted = self.memory.revision


class _Unsteady(Watch):
    """A watch whose batches come late, or again. Cancelled while it waits, it loses nothing."""

    def __init__(self, batches: Watch, store: FaultyStore) -> None:
        self._batches = batches
        self._store = store
        self._last: deque[WatchBatch] = deque(maxlen=3)
        self._again: WatchBatch | None = None

    @property
    def ended(self) -> Exception | None:
        """See :class:`kvconfig.store.Watch`."""
        return self._batches.ended

    async def __anext__(self) -> WatchBatch:
        if self._again is not None:
            batch, self._again = self._again, None
            return batch
        store = self._store
        if store._hit("lag", store.rates.lag):
            await store._delay()
        batch = await anext(self._batches)
        if batch.events:
            self._last.append(batch)
            if store._hit("repeated", store.rates.repeated):
                self._again = store._rng.choice(self._last)
        return batch


def _failure(call: str, moment: Moment, reason: str) -> StoreError:
    if call in _WRITES and moment == "after":
        return OutcomeUnknown(reason)
    return Unavailable(reason)
