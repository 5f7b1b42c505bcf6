"""Clients that write at random, remember what they were told of each write, and are held to it.

Every write puts a number of its own under the writer's name in the same transaction, so etcd's
history tells which writes were done, and at which revision.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from kvconfig.errors import OutcomeUnknown, StoreError
from kvconfig.store import Store
from kvconfig.txn import Compare, Delete, Put, Txn, absent
from tests.robustness.history import Changes, History

Outcome = Literal["done", "not done", "refused", "unknown", "under way"]
PACE_S = 0.01
KEYS = 12


@dataclass(kw_only=True)
class Write:
    """One transaction, and what its writer was told of it."""

    marker: bytes
    number: int
    effects: Changes
    sent_s: float
    ended_s: float = 0.0
    outcome: Outcome = "under way"  # and so it stays where the writer is ended
    revision: int = 0
    error: str = ""


@dataclass
class Writer:
    """Writes below ``bases``, one transaction after the other, until ``stopped`` is set."""

    store: Store
    name: str
    bases: Sequence[bytes]
    log: bytes
    random: random.Random
    writes: list[Write] = field(default_factory=list)
    pace_s: float = PACE_S
    stopped: bool = False

    @property
    def outcomes(self) -> Counter[Outcome]:
        """How its writes ended."""
        return Counter(write.outcome for write in self.writes)

    @property
    def errors(self) -> set[str]:
        """What it was told of writes that were not answered, or not well."""
        return {write.error for write in self.writes if write.error}

    async def run(self) -> None:
        """Returns when the write that is under way has ended."""
        while not self.stopped:
            await self.write()
            await asyncio.sleep(self.pace_s * self.random.uniform(0.5, 1.5))

    async def write(self) -> Write:
        """One more; its fate is in what is returned."""
        txn, effects = self._invent()
        marker = self.log + self.name.encode()
        number = len(self.writes) + 1
        txn = Txn(txn.compares, (*txn.then, Put(marker, b"%d" % number)))
        write = Write(marker=marker, number=number, effects=effects, sent_s=time.monotonic())
        write.effects[marker] = b"%d" % number
        self.writes.append(write)
        try:
            commit = await self.store.commit(txn)
            write.outcome = "done" if commit.succeeded else "not done"
            write.revision = commit.revision
        except OutcomeUnknown as error:
            write.outcome, write.error = "unknown", str(error)
        except StoreError as error:
            write.outcome, write.error = "refused", str(error)
        write.ended_s = time.monotonic()
        return write

    def _invent(self) -> tuple[Txn, Changes]:
        """Some puts and deletes of different keys; now and then under a condition."""
        rng = self.random
        count = rng.choice((1, 1, 1, 2, 3, 6))
        keys = rng.sample([(base, n) for base in self.bases for n in range(KEYS)], count)
        effects: Changes = {}
        for base, n in keys:
            value = f"{self.name} {len(self.writes)} {rng.randrange(10**9)}".encode()
            effects[base + b"k%d" % n] = None if rng.random() < 0.3 else value
        ops = tuple(
            Delete(key) if value is None else Put(key, value) for key, value in effects.items()
        )
        compares: tuple[Compare, ...] = ()
        if rng.random() < 0.2:
            compares = (absent(next(iter(effects))),)
        return Txn(compares, ops), effects


def check_writes(writes: Sequence[Write], history: History) -> None:
    """What writers were told is what etcd did.

    A write that was acknowledged is in the history once, whole, at the revision that was told;
    one that was refused is not; one whose outcome is unknown is there once and whole, or not.
    And a write that was sent after another was answered has the higher revision.
    """
    done_at: dict[tuple[bytes, int], int] = {}
    markers = {write.marker for write in writes}
    for revision, changes in history.revisions.items():
        for marker in markers & changes.keys():
            number = int(changes[marker] or 0)
            assert (marker, number) not in done_at, f"{marker!r} {number} was done twice"
            done_at[marker, number] = revision
    for write in writes:
        revision = done_at.get((write.marker, write.number), 0)
        if write.outcome == "done":
            assert revision == write.revision, f"acknowledged, yet not there: {write}"
        elif write.outcome in {"not done", "refused"}:
            assert not revision, f"said to be {write.outcome}, yet written at {revision}: {write}"
        if revision:
            _check_whole(write, history.revisions[revision])
    _check_order([write for write in writes if write.outcome == "done"])


def _check_whole(write: Write, changes: Changes) -> None:
    """Deletes of what was absent leave no trace; all else does."""
    puts = {key: value for key, value in write.effects.items() if value is not None}
    assert puts.items() <= changes.items() <= write.effects.items(), f"torn apart: {write}"


def _check_order(writes: Sequence[Write]) -> None:
    ended = sorted(writes, key=lambda write: write.ended_s)
    highest = at = 0
    for write in sorted(writes, key=lambda write: write.sent_s):
        while at < len(ended) and ended[at].ended_s < write.sent_s:
            highest = max(highest, ended[at].revision)
            at += 1
        assert write.revision > highest, f"older than what was acknowledged before: {write}"
