"""What is written down of a run: who asked what when, who was told what, and what really happened.

Moments are numbers from one counter: an event with a lower number came before. Everything here is
data; :mod:`tests.history.checker` judges it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from kvconfig.informer import Batch
from kvconfig.keys import Range
from kvconfig.memory.faults import Restored
from kvconfig.model import KeyValue, Revision, WatchBatch
from kvconfig.txn import Commit, Txn

__all__ = [
    "Change",
    "History",
    "Journal",
    "Looked",
    "Read",
    "Seen",
    "Told",
    "Watcher",
    "Write",
    "seen",
    "told",
]

Journal: TypeAlias = Sequence[WatchBatch | Restored]
"""Every revision that the store made and every restore of it, in the order of events."""

Seen: TypeAlias = tuple[bytes, bytes, Revision]
"""What a reader sees of a key: itself, its value, its mod_revision."""

Change: TypeAlias = tuple[bytes, KeyValue | None, KeyValue | None]
"""A key, before and after."""


def seen(kv: KeyValue) -> Seen:
    """That part of it."""
    return kv.key, kv.value, kv.mod_revision


class Write(msgspec.Struct, kw_only=True):
    """One request to write. Every value that ``txn`` puts holds ``id`` as ``by``."""

    id: str
    txn: Txn
    sent: int
    done: int | None = None
    outcome: Literal["acked", "refused", "unknown"] = "unknown"
    error: str = ""
    commit: Commit | None = None
    """The answer in full, where it was a commit."""
    revision: Revision = Revision(0)
    """The revision that was answered."""
    era: int = 0
    """How many restores there had been when the value that it rests on was read."""


class Read(msgspec.Struct, kw_only=True):
    """One read that was answered. ``revision`` is 0 where the answer does not tell it."""

    id: str
    range: Range
    sent: int
    done: int
    found: tuple[Seen, ...]
    revision: Revision = Revision(0)


class Told(msgspec.Struct, kw_only=True):
    """A handler was called: with what, and what the cache held at that moment."""

    revision: Revision
    resync: bool
    changes: tuple[Change, ...]
    cache: Mapping[bytes, KeyValue]


class Looked(msgspec.Struct, kw_only=True):
    """Somebody looked into the cache at some other moment."""

    cache: Mapping[bytes, KeyValue]


class Watcher(msgspec.Struct, kw_only=True):
    """One informer: all it said, in order, and how it ended."""

    name: str
    range: Range
    log: list[Told | Looked] = []
    settled: bool = False
    """It caught up with the last write, once the faults were over."""
    differences: int = 0
    """How often it reported a defect of its own (anti-entropy)."""
    died: str = ""


class History(msgspec.Struct, kw_only=True):
    """A whole run."""

    name: str
    first: Revision
    """The store's revision before it; nothing of ours was there then."""
    journal: Journal = ()
    writes: list[Write] = []
    reads: list[Read] = []
    watchers: list[Watcher] = []
    faults: dict[str, int] = {}
    clock: int = 0

    def now(self) -> int:
        """The next moment."""
        self.clock += 1
        return self.clock


def told(batch: Batch[Any], cache: Mapping[bytes, KeyValue]) -> Told:
    """A batch as it is written down."""
    changes = tuple(
        (
            change.key,
            change.old.kv if change.old else None,
            change.new.kv if change.new else None,
        )
        for change in batch.changes
    )
    return Told(revision=batch.revision, resync=batch.resync, changes=changes, cache=dict(cache))
