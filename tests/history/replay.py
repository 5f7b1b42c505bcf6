"""What really happened, as states one can look up; and what a transaction does to a state.

It knows nothing of :mod:`kvconfig.memory`: that store is one of those that are judged by it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import msgspec

from kvconfig.keys import Range
from kvconfig.memory.faults import Restored
from kvconfig.model import Event, KeyValue, LeaseId, Revision
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
    abort,
)
from tests.history.record import Journal

__all__ = ["Changes", "Effect", "State", "Step", "Truth", "changes_of", "part", "perform"]

State: TypeAlias = Mapping[bytes, KeyValue]
Changes: TypeAlias = Mapping[bytes, tuple[bytes, LeaseId] | None]
"""What is put (value, lease) or deleted (``None``) at one revision."""


class Step(msgspec.Struct, frozen=True):
    """The store changed: ``events`` at ``revision``; none where it began, or was restored."""

    revision: Revision
    events: tuple[Event, ...]
    before: State
    after: State


class Truth:
    """All steps of a run in order; a position is an index into them. The first is the beginning."""

    def __init__(self, first: Revision, journal: Journal) -> None:
        self.steps = [Step(first, (), {}, {})]
        self._eras: list[int] = [0]
        for entry in journal:
            before = self.steps[-1].after
            if isinstance(entry, Restored):
                self._eras.append(len(self.steps))
                after = {kv.key: kv for kv in entry.items}
                self.steps.append(Step(entry.revision, (), before, after))
            else:
                after = dict(before)
                for event in entry.events:
                    after.pop(event.key, None)
                    if event.kv is not None:
                        after[event.key] = event.kv
                self.steps.append(Step(entry.revision, entry.events, before, after))
        self._bounds = list(pairwise([*self._eras, len(self.steps)]))

    def at(self, revision: Revision) -> list[int]:
        """The positions at which the store was at that revision: one at most from each restore
        to the next."""
        found = []
        for start, end in self._bounds:
            index = bisect_right(self.steps, revision, start, end, key=lambda step: step.revision)
            if index > start:
                found.append(index - 1)
        return found

    def era(self, place: int) -> int:
        """How many restores there were up to it."""
        return bisect_right(self._eras, place) - 1

    def concerning(self, range_: Range) -> list[int]:
        """The positions that a watch of the range hears of, and those where every watch ends."""
        return [
            index
            for index, step in enumerate(self.steps)
            if index and (not step.events or any(event.key in range_ for event in step.events))
        ]

    def kept(self, places: Sequence[int]) -> list[int]:
        """Those of the places that no restore came between and the last of them."""
        return [place for place in places if self.era(place) == self.era(places[-1])]


def part(state: State, range_: Range) -> State:
    """What of a state lies in a range."""
    return {key: kv for key, kv in state.items() if key in range_}


def changes_of(events: Iterable[Event]) -> Changes:
    """What a step did, in the terms of what a transaction does."""
    return {e.key: None if e.kv is None else (e.kv.value, e.kv.lease) for e in events}


class Effect(msgspec.Struct, frozen=True):
    """What a transaction does to a state, and answers."""

    succeeded: bool
    changes: Changes
    results: tuple[Result, ...]


def perform(txn: Txn, state: State, revision: Revision) -> Effect | None:
    """Its effect on ``state``, answered at ``revision``; ``None`` where it is aborted.

    Reads after writes of the same transaction are not told apart: don't use them here.
    """
    succeeded = all(_holds(compare, state) for compare in txn.compares)
    changes: dict[bytes, tuple[bytes, LeaseId] | None] = {}
    results: list[Result] = []
    for op in txn.then if succeeded else txn.otherwise:
        if isinstance(op, Txn):
            inner = perform(op, state, revision)
            if inner is None:
                return None
            changes |= inner.changes
            results.append(Commit(inner.succeeded, revision, inner.results))
        elif op == abort(op.key):
            return None
        elif isinstance(op, Put):
            changes[op.key] = (op.value, op.lease)
            results.append(PutResult())
        elif isinstance(op, Delete):
            gone = [kv.key for kv in _present(state, op.key, op.end)]
            changes |= dict.fromkeys(gone)
            results.append(DeleteResult(len(gone)))
        else:
            results.append(_read(op, state))
    return Effect(succeeded, changes, tuple(results))


def _present(state: State, key: bytes, end: bytes) -> Sequence[KeyValue]:
    if not end:
        return [state[key]] if key in state else []
    return [state[found] for found in sorted(state) if key <= found < end]


def _read(op: Read, state: State) -> ReadResult:
    assert op == Read(op.key, op.end), "nothing else is used in histories"
    items = tuple(_present(state, op.key, op.end))
    return ReadResult(items, len(items))


def _holds(compare: Compare, state: State) -> bool:
    found: list[Any] = [
        getattr(kv, compare.target) for kv in _present(state, compare.key, compare.end)
    ]
    if not found and compare.target == "value":
        return False
    wanted: Any = compare.value
    tests = {
        "=": lambda is_: is_ == wanted,
        "!=": lambda is_: is_ != wanted,
        "<": lambda is_: is_ < wanted,
        ">": lambda is_: is_ > wanted,
    }
    return all(map(tests[compare.op], found or [0]))
