"""What became of the things of a seed: counted by type, named where somebody may have to act."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Literal

from flowsvc.errors import Finding
from flowsvc.seed.watching import UNWATCHED, WRITTEN, Outcome, Step, Watcher

__all__ = ["MOST_NAMED", "Report"]

MOST_NAMED = 100
"""So many of those that were left are named; the rest is counted."""


class Report:
    """What a seed comes to. While it is compared, what will be done; then, what was.

    ``counts`` are by type and outcome, ``findings`` by what they are about
    (``flow-blueprint/document-index``), ``written`` by type, as far as the work has come.
    """

    def __init__(self, watcher: Watcher = UNWATCHED) -> None:
        self.counts: defaultdict[str, Counter[Outcome]] = defaultdict(Counter)
        self.findings: dict[str, tuple[Finding, ...]] = {}
        self.written: Counter[str] = Counter()
        self._named: dict[Outcome, dict[str, None]] = {"different": {}, "left": {}}
        self._watcher = watcher

    def note(
        self,
        type_: str,
        key: str,
        outcome: Outcome,
        *,
        before: bytes | None = None,
        after: bytes | None = None,
        revision: int = 0,
    ) -> None:
        """What will become of one thing; see :class:`Step`."""
        self.counts[type_][outcome] += 1
        self._watcher.noted(Step(outcome, type_, key, before, after, revision))
        if outcome in ("different", "left") and len(self._named[outcome]) < MOST_NAMED:
            self._named[outcome][f"{type_}/{key}"] = None

    def correct(self, type_: str, key: str, was: Outcome, outcome: Outcome) -> None:
        """It came otherwise: somebody else wrote meanwhile."""
        self.counts[type_][was] -= 1
        self.note(type_, key, outcome)

    def wrote(self, type_: str, count: int = 1) -> None:
        """So many were written."""
        self.written[type_] += count
        self._watcher.advance(count)

    def warn(self, what: str, findings: Iterable[Finding]) -> None:
        """Something is to be said about ``what``."""
        if found := tuple(findings):
            self.findings[what] = (*self.findings.get(what, ()), *found)

    def named(self, outcome: Literal["different", "left"]) -> list[str]:
        """Those that were left, the first :data:`MOST_NAMED` of them."""
        return list(self._named[outcome])

    def total(self, *outcomes: Outcome) -> int:
        """How many had one of these outcomes, whatever their type."""
        return sum(counts[outcome] for counts in self.counts.values() for outcome in outcomes)

    def so_far(self) -> str:
        """What was written, for when the work has broken off."""
        parts = ", ".join(f"{count} {type_}" for type_, count in self.written.items())
        return (
            f"finished before that: {parts or 'nothing'}, of {self.total(*WRITTEN)} in all; "
            "run it again, and it goes on from there"
        )
