"""Keys with all their versions, and transactions over them. No loop, no clock, no I/O.

Rules of etcd's storage (``server/storage/mvcc``): the empty store is at revision 1; a transaction
that changed anything makes one new revision, whatever its size; a delete of nothing is no change;
a read inside a transaction sees what was done before it there, a compare never does.
"""

from __future__ import annotations

import operator
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

from kvconfig.errors import Compacted, FutureRevision, LeaseNotFound, TransactionAborted
from kvconfig.keys import Range
from kvconfig.model import Event, KeyValue, LeaseId, Page, Revision, WatchBatch
from kvconfig.txn import (
    Commit,
    Compare,
    Delete,
    DeleteResult,
    Put,
    PutResult,
    Read,
    ReadResult,
    Result,
    Txn,
)

__all__ = ["Mvcc", "covers", "matching"]

_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_NOTHING = KeyValue(b"", b"", Revision(0), Revision(0), 0)
_FROM_KEY_ON = b"\0"

_Leaf: TypeAlias = Put | Delete | Read
_LeafResult: TypeAlias = PutResult | DeleteResult | ReadResult
_Version: TypeAlias = tuple[Revision, KeyValue | None]


class _Taken(NamedTuple):
    """A transaction once its compares are decided: what is left to do."""

    succeeded: bool
    ops: tuple[_Leaf | _Taken, ...]

    def leaves(self) -> Iterator[_Leaf]:
        for op in self.ops:
            if isinstance(op, _Taken):
                yield from op.leaves()
            else:
                yield op


def covers(key: bytes, end: bytes, candidate: bytes) -> bool:
    """Whether a range holds ``candidate``; an ``end`` of ``\\0`` means all from ``key`` on."""
    if not end:
        return candidate == key
    return key <= candidate and (end == _FROM_KEY_ON or candidate < end)


class Mvcc:
    """Every version of every key since the last compaction."""

    def __init__(self) -> None:
        self.revision = Revision(1)
        self.compacted = Revision(0)
        self._keys: list[bytes] = []  # sorted; those that are gone too, until compaction
        self._versions: dict[bytes, list[_Version]] = {}
        self._log: list[WatchBatch] = []  # one entry per revision, without gaps

    def copy(self) -> Mvcc:
        """An independent store in the same state."""
        other = Mvcc()
        other.revision, other.compacted = self.revision, self.compacted
        other._keys = self._keys.copy()
        other._versions = {key: versions.copy() for key, versions in self._versions.items()}
        other._log = self._log.copy()
        return other

    # -- reading ------------------------------------------------------------------------------

    def check_revision(self, revision: Revision) -> None:
        """Raises where that revision cannot be read: at the compacted one itself it can."""
        if revision > self.revision:
            raise FutureRevision
        if 0 < revision < self.compacted:
            raise Compacted(compact_revision=self.compacted)

    def get(self, key: bytes, revision: Revision) -> KeyValue | None:
        """The key as it stood at ``revision`` (0: now)."""
        self.check_revision(revision)
        return self._at(key, revision or self.revision)

    def page(
        self, range_: Range, revision: Revision, *, limit: int, keys_only: bool
    ) -> tuple[Page, bool]:
        """The first keys of a range at ``revision`` (0: now), and whether there are more."""
        self.check_revision(revision)
        revision = revision or self.revision
        found = list(islice(self._present(range_.start, range_.end, revision), limit + 1))
        items = found[:limit]
        page = Page(tuple(map(_without_value, items) if keys_only else items), revision)
        return page, len(found) > limit

    def keys_under(self, lease: LeaseId) -> list[bytes]:
        """The keys that are attached to a lease, in order."""
        now = ((key, self._at(key, self.revision)) for key in self._keys)
        return [key for key, kv in now if kv is not None and kv.lease == lease]

    def history(self, range_: Range, start: Revision) -> list[WatchBatch]:
        """What happened in a range from ``start`` on."""
        first = bisect_left(self._log, start, key=operator.attrgetter("revision"))
        seen = (matching(batch, range_) for batch in self._log[first:])
        return [batch for batch in seen if batch.events]

    # -- writing ------------------------------------------------------------------------------

    def commit(self, txn: Txn, *, leases: Container[LeaseId]) -> tuple[Commit, WatchBatch]:
        """Do all of a transaction or, where it raises, nothing of it.

        Returns the answer, and what changed: no events, no new revision.
        """
        taken = self._decide(txn)
        self._check(taken, leases)
        return self._apply(taken)

    def delete(self, keys: Iterable[bytes]) -> WatchBatch:
        """Delete keys at one revision; what changed."""
        return self._apply(_Taken(True, tuple(map(Delete, keys))))[1]

    def compact(self, revision: Revision) -> None:
        """Forget all versions that nothing from ``revision`` on can see."""
        if revision <= self.compacted:
            raise Compacted(compact_revision=self.compacted)
        if revision > self.revision:
            raise FutureRevision
        self.compacted = revision
        for key, versions in list(self._versions.items()):
            seen = bisect_right(versions, revision, key=itemgetter(0))
            del versions[: max(0, seen - 1)]
            if versions[0][0] <= revision and versions[0][1] is None:
                del versions[0]
            if not versions:
                del self._versions[key]
        self._keys = sorted(self._versions)
        first = bisect_left(self._log, revision, key=operator.attrgetter("revision"))
        del self._log[:first]

    # -- inside -------------------------------------------------------------------------------

    def _at(self, key: bytes, revision: Revision) -> KeyValue | None:
        versions = self._versions.get(key, ())
        for written, kv in reversed(versions):
            if written <= revision:
                return kv
        return None

    def _present(self, key: bytes, end: bytes, revision: Revision) -> Iterator[KeyValue]:
        first = bisect_left(self._keys, key)
        if not end:
            last = first + (key in self._versions)
        elif end == _FROM_KEY_ON:
            last = len(self._keys)
        else:
            last = bisect_left(self._keys, end)
        for candidate in self._keys[first:last]:
            kv = self._at(candidate, revision)
            if kv is not None:
                yield kv

    def _decide(self, txn: Txn) -> _Taken:
        succeeded = all(map(self._holds, txn.compares))
        ops = txn.then if succeeded else txn.otherwise
        decided = (self._decide(op) if isinstance(op, Txn) else op for op in ops)
        return _Taken(succeeded, tuple(decided))

    def _holds(self, compare: Compare) -> bool:
        """Of every key in the range; an empty one is compared like an absent key."""
        found = list(self._present(compare.key, compare.end, self.revision))
        if not found and compare.target == "value":
            return False
        holds = _OPERATORS[compare.op]
        return all(holds(getattr(kv, compare.target), compare.value) for kv in found or (_NOTHING,))

    def _check(self, taken: _Taken, leases: Container[LeaseId]) -> None:
        """All that can go wrong, before anything is done: puts first, as in etcd 3.5."""
        for op in taken.leaves():
            if isinstance(op, Put) and op.lease and op.lease not in leases:
                raise LeaseNotFound(op.lease)
        for op in taken.leaves():
            if isinstance(op, Read):
                try:
                    self.check_revision(op.revision)
                except FutureRevision as error:
                    raise TransactionAborted from error

    def _apply(self, taken: _Taken) -> tuple[Commit, WatchBatch]:
        next_revision = Revision(self.revision + 1)
        events: list[Event] = []
        results = [self._do(op, next_revision, events) for op in taken.leaves()]
        if events:
            self.revision = next_revision
            self._log.append(WatchBatch(next_revision, tuple(events)))
        changed = WatchBatch(self.revision, tuple(events))
        return _answer(taken, iter(results), self.revision), changed

    def _do(self, op: _Leaf, revision: Revision, events: list[Event]) -> _LeafResult:
        """One operation at ``revision``, the one being made."""
        if isinstance(op, Put):
            self._write(_put(self._at(op.key, revision), op, revision), events)
            return PutResult()
        if isinstance(op, Delete):
            gone = [kv.key for kv in self._present(op.key, op.end, revision)]
            for key in gone:
                self._versions[key].append((revision, None))
                events.append(Event(key, None))
            return DeleteResult(len(gone))
        found = tuple(self._present(op.key, op.end, op.revision or revision))
        items = found[: op.limit] if op.limit else found
        return ReadResult(tuple(map(_without_value, items)) if op.keys_only else items, len(found))

    def _write(self, kv: KeyValue, events: list[Event]) -> None:
        if kv.key not in self._versions:
            insort(self._keys, kv.key)
            self._versions[kv.key] = []
        self._versions[kv.key].append((kv.mod_revision, kv))
        events.append(Event(kv.key, kv))


def matching(batch: WatchBatch, range_: Range) -> WatchBatch:
    """The part of a batch that a watch of ``range_`` sees."""
    events = (event for event in batch.events if covers(range_.start, range_.end, event.key))
    return WatchBatch(batch.revision, tuple(events))


def _put(before: KeyValue | None, op: Put, revision: Revision) -> KeyValue:
    created = before.create_revision if before else revision
    version = before.version + 1 if before else 1
    return KeyValue(op.key, op.value, created, revision, version, op.lease)


def _without_value(kv: KeyValue) -> KeyValue:
    return KeyValue(kv.key, b"", kv.create_revision, kv.mod_revision, kv.version, kv.lease)


def _answer(taken: _Taken, results: Iterator[_LeafResult], revision: Revision) -> Commit:
    answers: list[Result] = [
        _answer(op, results, revision) if isinstance(op, _Taken) else next(results)
        for op in taken.ops
    ]
    return Commit(taken.succeeded, revision, tuple(answers))
