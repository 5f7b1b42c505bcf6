"""What became of a migration: thing by thing, and what ended it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from flowsvc.errors import Finding, PlanStale
from flowsvc.migrate.reading import Style
from flowsvc.model import OldKey
from kvconfig.errors import Conflict, show_key

__all__ = ["OldKeysStand", "OldKeysWritten", "Outcome", "Report"]

Outcome: TypeAlias = Literal["created", "converted", "equal", "different", "failed"]
"""Of one thing: ``converted`` in place, ``different``: there with another value and left."""


class OldKeysStand(Conflict):
    """A document shall go into an etcd where flows of an older layout stand."""

    def __init__(self, found: Sequence[OldKey]) -> None:
        super().__init__(found[0].key, expected=0, actual=found[0].mod_revision)
        shown = ", ".join(show_key(old.key) for old in found[:3]) + (", …" if found[3:] else "")
        self.args = (f"flows of an older layout stand in this etcd: {shown}; migrate these first",)


class OldKeysWritten(Conflict):
    """Somebody writes the keys of the older layout while they are migrated."""

    def __init__(self, stale: PlanStale) -> None:
        key = stale.key.encode()
        super().__init__(key, expected=stale.check_revision, actual=stale.revision)
        said = f"{stale.key} was written while it was migrated: stop the flow service of the old "
        self.args = (f"{said}system, and run this again; it goes on where it has ended",)


class Report(msgspec.Struct, kw_only=True):
    """What became of each thing, by what it is called: ``flow/default``.

    ``findings`` are about all that is not carried over as it was: errors where it is not carried
    over, warnings where it is another, or needs somebody to look.
    """

    style: Style
    outcomes: dict[str, Outcome] = {}
    findings: list[Finding] = []

    def counts(self) -> dict[str, Counter[Outcome]]:
        """How many of each type had which outcome."""
        counts: dict[str, Counter[Outcome]] = {}
        for what, outcome in self.outcomes.items():
            counts.setdefault(what.partition("/")[0], Counter())[outcome] += 1
        return counts

    @property
    def is_whole(self) -> bool:
        """Whether all of it is carried over."""
        return not any(finding.severity == "error" for finding in self.findings)
