"""What every planner takes and gives, and what they share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from flowsvc.errors import Finding, FlowServiceError, FlowTooLarge, InvalidInput, RequestReused
from flowsvc.model import NOBODY, Actor
from flowsvc.view import View
from kvconfig.codec import encode, encode_parts
from kvconfig.errors import TooManyOperations
from kvconfig.model import Revision
from kvconfig.records import FlowRecord, HistoryRecord, VariantRecord, decode_history
from kvconfig.txn import Guarded, Read, Txn, assemble

__all__ = [
    "ABANDONED",
    "NONE",
    "After",
    "Operation",
    "Plan",
    "Repeated",
    "Unproven",
    "counted",
    "done_before",
    "fitted",
    "history_entry",
    "mild",
]

ABANDONED = "abandoned"
"""The action, in the history, of an operation that was given up and can no longer commit."""

NONE = Revision(0)
"""The mod_revision of a key that is absent."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What makes one request recognisable, and who is behind it. ``at`` is RFC 3339 in UTC.

    ``resent``: an earlier request with this ``op`` may still be on its way. ``check_revision``:
    the plan may rest on nothing that was written later (0: on anything). ``recorded``: whether it
    goes into the history; without, it cannot be recognised when it is repeated.
    """

    op: str
    at: str
    resent: bool = False
    check_revision: Revision = NONE
    actor: Actor = NOBODY
    recorded: bool = True

    def entry(self, action: str, after: object) -> bytes:
        """The value of its history key."""
        return encode(self._record(action, after))

    def flow_entry(self, action: str, record: bytes, variants: Mapping[str, msgspec.Raw]) -> bytes:
        """The same for a flow: what it is after, in canonical JSON already."""
        after = {"record": msgspec.Raw(record), "variants": variants}
        return encode_parts(self._record(action, after))

    def _record(self, action: str, after: object) -> HistoryRecord:
        by, why = self.actor.by, self.actor.why
        return HistoryRecord(action=action, by=by, at=self.at, why=why, after=after)


class After(msgspec.Struct, frozen=True):
    """``after`` in the history of a flow, as :meth:`Operation.flow_entry` has written it."""

    record: FlowRecord
    variants: dict[str, VariantRecord] = {}

    def values(self) -> dict[str, VariantRecord]:
        """The variants that stood, or that were kept while it was paused."""
        return self.variants if self.record.paused is None else self.record.paused


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction to commit; ``findings`` are warnings about what it is made from."""

    txn: Txn
    findings: tuple[Finding, ...] = ()


class Repeated(msgspec.Struct, frozen=True, kw_only=True):
    """The same request was carried out before, at ``revision``."""

    revision: Revision


class Unproven(FlowServiceError):
    """The plan needs to know what stands, and the caches do not hold it: read what was asked."""


def done_before(view: View, history_key: bytes, op: str, action: str) -> Repeated | None:
    """The operation's own history entry, where a proof shows one. Raises ``RequestReused``."""
    found = view.shown(history_key)
    if found is None:
        return None
    was = decode_history(found.value, key=history_key).action
    if was != action:
        raise RequestReused(op, was=was)
    return Repeated(revision=found.create_revision)  # fsck may have written it again since


def history_entry(view: View, history_key: bytes) -> HistoryRecord | None:
    """The entry to go back to, or ``None`` where there is none that did something."""
    found = view.shown(history_key)
    if found is None:
        return None
    entry = decode_history(found.value, key=history_key)
    return None if entry.action == ABANDONED else entry


def counted(view: View, type_: str, name: str) -> Read:
    """A read, for the end of a transaction: how many history entries there are by now.

    Its answer comes with the commit, so that history can be kept short without a read before.
    """
    entries = view.keyspace.history_range(type_, name)
    return Read(entries.start, entries.end, limit=1, keys_only=True)


def fitted(name: str, head: Guarded, parts: Sequence[Guarded], view: View) -> Txn:
    """The transaction; its failure branch reads all that the plan rests on.

    Raises ``FlowTooLarge`` where it does not fit into one, and is never split.
    """
    try:
        return assemble(head, parts, otherwise=view.asked)
    except TooManyOperations as error:
        count, limit = error.count or 0, error.limit or 0
        raise FlowTooLarge(name, count=count, limit=limit) from error


def mild(
    error: type[InvalidInput], subject: str, findings: Iterable[Finding], *, strict: bool
) -> tuple[Finding, ...]:
    """The warnings of a plan; a refusal where the request is ``strict`` and there are any."""
    found = tuple(findings)
    if strict and found:
        raise error(subject, [msgspec.structs.replace(f, severity="error") for f in found])
    return found
