"""Plays what an informer hands out, and holds it to the informer's promises.

An informer swallows what its handlers raise, so findings are collected in ``findings``; a run is
good where there are none.
"""

from __future__ import annotations

from kvconfig.informer import Batch, Informer
from kvconfig.model import KeyValue
from tests.robustness.history import Changes


def raw(kv: KeyValue) -> bytes:
    """The decoder of these tests: a value is what it is."""
    return kv.value


class Recorder:
    """Subscribed to one informer from before its start."""

    def __init__(self, informer: Informer[bytes]) -> None:
        self.informer = informer
        self.built: dict[bytes, bytes] = {}
        self.batches: list[Batch[bytes]] = []
        self.findings: list[str] = []
        self._watches = 0
        self._resyncs = 0
        informer.subscribe(self._handle)

    # -- as it happens -----------------------------------------------------------------------

    def _handle(self, batch: Batch[bytes]) -> None:
        stats = self.informer.stats
        if batch.resync:
            self._resyncs += 1
            if stats.watches <= self._watches:
                self._find(batch, "is a resync although the watch lives")
            if stats.lists != self._resyncs:
                self._find(batch, f"is resync {self._resyncs}, but {stats.lists} lists were made")
            self._watches = stats.watches
        else:
            if stats.watches != self._watches:
                self._find(batch, "came from a watch before its list")
            if batch.revision <= self.batches[-1].revision:
                self._find(batch, f"came after {self.batches[-1].revision}")
            if not batch.changes:
                self._find(batch, "has no changes")
        self.batches.append(batch)
        for change in batch.changes:
            self._check_change(batch, change.key)
        self._apply(batch)
        if batch.resync and self.built != self._cached():
            self._find(batch, "does not lead to what is cached")

    def _check_change(self, batch: Batch[bytes], key: bytes) -> None:
        changes = [change for change in batch.changes if change.key == key]
        if len(changes) != 1:
            self._find(batch, f"names {key!r} {len(changes)} times")
        change = changes[0]
        old = change.old.value if change.old else None
        new = change.new.value if change.new else None
        if old != self.built.get(key):
            self._find(batch, f"gives a wrong old value of {key!r}")
        if batch.resync and old == new:
            self._find(batch, f"holds {key!r}, which is as it was")
        if change.new is not None:
            at = change.new.mod_revision
            if at > batch.revision or not (batch.resync or at == batch.revision):
                self._find(batch, f"holds {key!r} as of {at}")

    def _apply(self, batch: Batch[bytes]) -> None:
        for change in batch.changes:
            if change.new is None or change.new.value is None:
                self.built.pop(change.key, None)
            else:
                self.built[change.key] = change.new.value

    def _cached(self) -> dict[bytes, bytes | None]:
        return {key: item.value for key, item in self.informer.items.items()}

    def _find(self, batch: Batch[bytes], what: str) -> None:
        self.findings.append(f"{self.informer.name}: batch {batch.revision} {what}")

    # -- when all is over ----------------------------------------------------------------------

    def check_end(self) -> None:
        """What was handed out adds up to what is cached."""
        assert not self.findings, self.findings[:10]
        assert self.built == self._cached(), f"{self.informer.name}: batches do not add up"
        assert self.informer.stats.handler_errors == 0
        assert self.informer.stats.differences == 0, "anti-entropy found what the watch missed"

    def check_against(self, history: list[tuple[int, Changes]]) -> None:
        """Between lists, batches are exactly etcd's revisions: whole, in order, none left out.

        A list is exactly the state at its revision. ``history``: from the first revision on.
        """
        state: dict[bytes, bytes] = {}
        played: dict[bytes, bytes] = {}
        at = 0
        for batch in self.batches:
            changes: Changes = {
                change.key: change.new.value if change.new else None for change in batch.changes
            }
            if batch.resync:
                while at < len(history) and history[at][0] <= batch.revision:
                    _play(state, history[at][1])
                    at += 1
            else:
                assert at < len(history), f"batch {batch.revision} is none of etcd's"
                assert (batch.revision, changes) == history[at], f"{self.informer.name}: "
                _play(state, history[at][1])
                at += 1
            _play(played, changes)
            assert played == state, f"{self.informer.name}: not what etcd had at {batch.revision}"
        assert at == len(history), f"{self.informer.name}: misses {history[at:][:3]}"


def _play(state: dict[bytes, bytes], changes: Changes) -> None:
    for key, value in changes.items():
        if value is None:
            state.pop(key, None)
        else:
            state[key] = value
