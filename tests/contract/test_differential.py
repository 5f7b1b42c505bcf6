"""The proof that the memory store is honest: random histories, the same on it and on real etcd.

A history is a list of transactions over five keys. It is written without a prefix and with
revisions counted from its start, so that one history fits both stores, wherever they are by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kvconfig.errors import StoreError
from kvconfig.etcd import connect
from kvconfig.keys import prefix
from kvconfig.memory import MemoryStore
from kvconfig.model import Event, KeyValue, Revision, WatchBatch
from kvconfig.store import Store, list_all
from kvconfig.txn import (
    Commit,
    Compare,
    Delete,
    DeleteResult,
    Operation,
    Put,
    PutResult,
    Read,
    ReadResult,
    Result,
    Txn,
)
from tests.contract.support import next_events

T = TypeVar("T")

FAR = 2**62

KEYS = [bytes([byte]) for byte in b"abcdefghijkl"] + [b"b\0"]


class Dice:
    """Makes histories out of small numbers; hypothesis draws them, and shrinks them to zeros."""

    def __init__(self, draw: Callable[[st.SearchStrategy[int]], int]) -> None:
        self._draw = draw

    def upto(self, most: int) -> int:
        return self._draw(st.integers(0, most))

    def one_in(self, count: int) -> bool:
        return self.upto(count - 1) == count - 1

    def pick(self, options: Sequence[T]) -> T:
        return options[self.upto(len(options) - 1)]

    def end(self) -> bytes:
        return self.pick([b"a", b"c", b"e", b"h", b"z"]) if self.one_in(4) else b""

    def compare(self) -> Compare:
        op: Any = self.pick(["=", "!=", "<", ">"])
        target: Any = self.pick(["create_revision", "mod_revision", "version", "value"])
        value: int | bytes = self.upto(4)
        if target == "value":
            value = self.pick([b"", b"1", b"2"])
        return Compare(self.pick(KEYS), target, op, value, self.end())

    def op(self, depth: int, keys: list[bytes]) -> Operation:
        """``keys`` are those left to write: mostly apart, for what is refused shows little."""
        kind = self.upto(7 if depth else 6)
        key = self.pick(KEYS) if self.one_in(12) else keys.pop(self.upto(len(keys) - 1))
        if kind <= 3:
            return Put(key, self.pick([b"", b"1", b"2"]))
        if kind == 4:
            return Delete(key, self.end())
        if kind == 7:
            return self.txn(depth - 1, keys)
        revision = self.pick([1, 2, 4, FAR]) if self.one_in(3) else 0
        keys_only = self.one_in(2)
        return Read(self.pick(KEYS), self.end(), self.upto(2), keys_only, Revision(revision))

    def txn(self, depth: int, keys: list[bytes]) -> Txn:
        compares = tuple(self.compare() for _ in range(self.upto(2)))
        mine = keys.copy()
        then, otherwise = (
            tuple(self.op(depth, left) for _ in range(self.upto(2) + 1)) for left in (keys, mine)
        )
        return Txn(compares, then, otherwise)


@st.composite
def histories(draw: Callable[[st.SearchStrategy[int]], int]) -> list[Txn]:
    dice = Dice(draw)
    return [dice.txn(2, KEYS * 2) for _ in range(dice.upto(8) + 4)]


class Placed:
    """A history's transactions on one store, and its answers back in the history's own terms."""

    def __init__(self, store: Store, base: bytes, start: Revision) -> None:
        self._store = store
        self._base = base
        self._start = start

    async def commit(self, txn: Txn) -> Commit | type[StoreError]:
        try:
            answer = await self._store.commit(self._txn(txn))
        except StoreError as error:
            return type(error)
        return self._commit(answer)

    async def contents(self) -> tuple[KeyValue, ...]:
        page = await list_all(self._store, prefix(self._base))
        return tuple(map(self._kv, page.items))

    async def changes(self, count: int) -> list[WatchBatch]:
        """What a watch from the start of the history says: ``count`` batches of it."""
        start = Revision(self._start + 1)
        async with self._store.watch(prefix(self._base), start=start) as watch:
            return [self._batch(await next_events(watch)) for _ in range(count)]

    # -- there --------------------------------------------------------------------------------

    def _txn(self, txn: Txn) -> Txn:
        then, otherwise = (tuple(map(self._op, ops)) for ops in (txn.then, txn.otherwise))
        return Txn(tuple(map(self._compare, txn.compares)), then, otherwise)

    def _op(self, op: Operation) -> Operation:
        if isinstance(op, Txn):
            return self._txn(op)
        if isinstance(op, Put):
            return Put(self._base + op.key, op.value)
        key, end = self._base + op.key, op.end and self._base + op.end
        if isinstance(op, Delete):
            return Delete(key, end)
        return Read(key, end, op.limit, op.keys_only, self._later(op.revision))

    def _compare(self, compare: Compare) -> Compare:
        key, end = self._base + compare.key, compare.end and self._base + compare.end
        value = compare.value
        if compare.target.endswith("revision") and isinstance(value, int):
            value = self._later(Revision(value))
        return Compare(key, compare.target, compare.op, value, end)

    def _later(self, revision: Revision) -> Revision:
        return Revision(revision + self._start) if 0 < revision < FAR else revision

    # -- and back -----------------------------------------------------------------------------

    def _commit(self, answer: Commit) -> Commit:
        results = tuple(map(self._result, answer.results))
        return Commit(answer.succeeded, self._since(answer.revision), results)

    def _result(self, result: Result) -> Result:
        if isinstance(result, Commit):
            return self._commit(result)
        if isinstance(result, ReadResult):
            return ReadResult(tuple(map(self._kv, result.items)), result.count)
        assert isinstance(result, PutResult | DeleteResult)
        return result

    def _kv(self, kv: KeyValue) -> KeyValue:
        created, changed = self._since(kv.create_revision), self._since(kv.mod_revision)
        return KeyValue(self._key(kv.key), kv.value, created, changed, kv.version, kv.lease)

    def _batch(self, batch: WatchBatch) -> WatchBatch:
        events = (
            Event(self._key(event.key), event.kv and self._kv(event.kv)) for event in batch.events
        )
        return WatchBatch(self._since(batch.revision), tuple(events))

    def _key(self, key: bytes) -> bytes:
        assert key.startswith(self._base)
        return key[len(self._base) :]

    def _since(self, revision: Revision) -> Revision:
        return Revision(revision - self._start)


async def place(store: Store, base: bytes) -> Placed:
    """Make one revision, from which the history's are counted."""
    answer = await store.commit(Txn(then=(Put(base.rstrip(b"/"), b""),)))
    return Placed(store, base, answer.revision)


@pytest.fixture
async def etcd(etcd_endpoint: str) -> AsyncIterator[Store]:
    async with connect([etcd_endpoint]) as store:
        yield store


@pytest.fixture(scope="module")
def seen() -> Iterator[Counter[str]]:
    """What the histories held: all that can differ has to occur, or nothing was shown."""
    counter: Counter[str] = Counter()
    yield counter
    print(f"\nhistories: {dict(counter)}")
    for kind in ("moved", "True", "False", "DuplicateKey", "TransactionAborted"):
        assert counter[kind] > 10, f"{kind}: {dict(counter)}"


@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(histories())
async def test_same_answers(
    etcd: Store, base: bytes, seen: Counter[str], history: list[Txn]
) -> None:
    """Memory and etcd give every transaction the same answer or error, and end up the same."""
    seen["histories"] += 1
    below = base + b"%d/" % seen["histories"]
    real, fake = await place(etcd, below), await place(MemoryStore(), below)
    revision = 0
    for txn in history:
        expected = await real.commit(txn)
        assert await fake.commit(txn) == expected, str(txn)
        if isinstance(expected, Commit):
            seen["moved"] += expected.revision > revision
            revision = expected.revision
        seen[expected.__name__ if isinstance(expected, type) else f"{expected.succeeded}"] += 1
    assert await fake.contents() == await real.contents()
    assert await fake.changes(revision) == await real.changes(revision)
