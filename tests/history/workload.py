"""What clients do: random requests, one after another, on few keys, so that they meet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from random import Random

from kvconfig.codec import encode
from kvconfig.errors import KvError
from kvconfig.keyspace import Keyspace
from kvconfig.model import LeaseId, Revision
from kvconfig.txn import (
    Compare,
    Delete,
    Guarded,
    Put,
    Read,
    Txn,
    absent,
    assemble,
    at_revision,
    exists,
    holds,
)
from tests.history.record import Write
from tests.history.recorder import Recorder

__all__ = ["TYPES", "Client", "last_write"]

TYPES = ("t", "u", "counter")
LEASE_S = 3


class Client:
    """Does things at random; what comes of them is in the recorder's history."""

    def __init__(self, recorder: Recorder, keyspace: Keyspace, rng: Random) -> None:
        self._do = recorder
        self._ks = keyspace
        self._rng = rng
        self._keys = [keyspace.item(type_, f"k{n}") for type_ in ("t", "u") for n in range(5)]
        self._counters = [keyspace.item("counter", f"c{n}") for n in range(2)]
        self._known: dict[bytes, Revision] = {}
        self._lease = LeaseId(0)

    async def work(self, going_on: Callable[[], bool], *, pause_s: float) -> None:
        """One request after another while ``going_on``."""
        actions: Sequence[tuple[Callable[[], Awaitable[object]], int]] = (
            (self._put, 3),
            (self._guarded, 4),
            (self._nested, 2),
            (self._touch, 2),
            (self._set, 2),
            (self._count, 3),
            (self._read, 3),
            (self._list, 1),
            (self._lend, 1),
        )
        kinds, weights = zip(*actions, strict=True)
        while going_on():
            await asyncio.sleep(self._rng.uniform(0, pause_s))
            (action,) = self._rng.choices(kinds, weights)
            with suppress(KvError):  # of a read; of writes they are in the record
                await action()

    async def _put(self) -> None:
        """Some keys, whatever is there."""
        keys = self._some()
        await self._do.commit(lambda id_: Txn(then=tuple(_put(key, id_) for key in keys)))

    async def _guarded(self) -> None:
        """Puts and deletes on conditions, some of which don't hold; then what stands is read."""
        kept, *others = keys = self._some()
        compares = tuple(map(self._condition, keys))
        reads = tuple(map(Read, keys))

        def make(id_: str) -> Txn:
            return Txn(compares, (_put(kept, id_), *map(Delete, others)), reads)

        await self._do.commit(make)

    async def _nested(self) -> None:
        """As a large one is put together: a guard that fails inside aborts the whole."""
        first, *others = self._some(most=6)
        conditions = [self._condition(key) for key in others]

        def make(id_: str) -> Txn:
            puts = [_put(key, id_) for key in others]
            parts = [Guarded((c,), (put,)) for c, put in zip(conditions, puts, strict=True)]
            return assemble(Guarded(ops=(_put(first, id_),)), parts, limit=4)

        await self._do.commit(make)

    async def _touch(self) -> None:
        """Put what stands there already: another revision of the same value."""
        key, other = self._rng.sample(self._keys, 2)
        found = await self._do.read(key)
        if found is not None:
            same, still = Put(key, found.value), holds(key, found.value)
            await self._do.commit(lambda id_: Txn((still,), (same, _put(other, id_))))

    async def _set(self) -> None:
        """One key through the config layer, whatever is there."""
        await self._do.put(self._rng.choice(self._keys))

    async def _count(self) -> None:
        """Raise a counter by one through the config layer; read again after a conflict."""
        key = self._rng.choice(self._counters)
        outcome = "refused"
        while outcome == "refused":
            era = self._do.restores()
            item = await self._do.get(key)
            n = item.value["n"] if item else 0
            at = item.mod_revision if item else Revision(0)
            outcome = (await self._do.put(key, at, era=era, n=n + 1)).outcome

    async def _read(self) -> None:
        """One key, remembered for later conditions."""
        key = self._rng.choice(self._keys)
        found = await self._do.read(key)
        self._known[key] = found.mod_revision if found else Revision(0)

    async def _list(self) -> None:
        """Everything, or one type."""
        ranges = [self._ks.everything(), self._ks.type_range("t")]
        for kv in await self._do.list(self._rng.choice(ranges)):
            self._known[kv.key] = kv.mod_revision

    async def _lend(self) -> None:
        """A key under a lease; an older lease is ended, or left to end by itself."""
        if self._lease and self._rng.random() < 0.5:
            lease, self._lease = self._lease, LeaseId(0)
            await self._do.store.revoke(lease)
        self._lease = self._lease or await self._do.store.grant(LEASE_S)
        key, lease = self._rng.choice(self._keys), self._lease
        write = await self._do.commit(lambda id_: Txn(then=(_put(key, id_, lease),)))
        if write.outcome == "refused":
            self._lease = LeaseId(0)

    def _some(self, *, most: int = 3) -> list[bytes]:
        return self._rng.sample(self._keys, self._rng.randint(1, most))

    def _condition(self, key: bytes) -> Compare:
        known = at_revision(key, self._known.get(key, Revision(0)))
        return self._rng.choice([known, known, absent(key), exists(key), exists(key)])


async def last_write(recorder: Recorder, keyspace: Keyspace) -> Write:
    """One transaction that every watcher hears of, whichever type it watches.

    It takes the leases off all keys, so that nothing happens after it.
    """
    keys = [keyspace.item(type_, "end") for type_ in TYPES]
    while True:
        lent = [kv for kv in await recorder.list(keyspace.everything()) if kv.lease]
        compares = tuple(at_revision(kv.key, kv.mod_revision) for kv in lent)
        kept = tuple(Put(kv.key, kv.value) for kv in lent)
        write = await recorder.commit(
            lambda id_: Txn(compares, (*kept, *(_put(key, id_) for key in keys)))  # noqa: B023
        )
        if write.commit is not None and write.commit.succeeded:
            return write


def _put(key: bytes, by: str, lease: LeaseId = LeaseId(0)) -> Put:
    return Put(key, encode({"by": by}), lease)
