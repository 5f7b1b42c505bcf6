"""A small world of flows for the state machine: what can be asked for, and what must then hold.

Every blueprint here has something to do with the others: they share variants, want the same ones
for themselves, or give them another value, so that whoever forgets a compare does harm.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from typing import Any

import msgspec

from flowsvc.audit import audit
from flowsvc.model import (
    Change,
    DeleteDefinition,
    PauseFlow,
    PutDefinition,
    ResumeFlow,
    RollBackFlow,
    RollOut,
    StartFlow,
    StopFlow,
    UpdateFlow,
)
from flowsvc.plan import ABANDONED
from flowsvc.target import VERBS, target_of
from kvconfig.keyspace import Keyspace
from kvconfig.memory.faults import FaultyStore, Restored
from kvconfig.model import KeyValue, Revision, WatchBatch
from kvconfig.records import decode_history
from kvconfig.txn import Commit, Compare, Txn, may_write

__all__ = [
    "BLUEPRINTS",
    "FLOWS",
    "NAMES",
    "TYPES",
    "Asked",
    "Forgetful",
    "Heard",
    "as_json",
    "check_invariants",
    "drawn",
    "forgets",
]

FLOWS = ("f1", "f2", "f3")
NAMES = ("b1", "b2")
TYPES: dict[str, tuple[dict[str, Any], ...]] = {
    "limit": ({"type": "integer", "default": 1}, {"type": "integer", "default": 2}),
    "size": ({"type": "integer", "default": 1}, {"type": "integer", "default": 3}),
}

_LIMIT = {"parameters": {"limit": "{limit}"}}
_SIZE = {"parameters": {"size": "{size}"}}
_PARAMETERS = {"limit": {"type": "limit"}, "size": {"type": "size"}}

BLUEPRINTS: tuple[dict[str, Any], ...] = (
    {
        "blueprint": {"query:common": _LIMIT},
        "flow": {"chunker:{id}": _SIZE},
        "parameters": _PARAMETERS,
    },
    {
        "blueprint": {"query:common": _LIMIT, "index:{blueprint}": {}},
        "flow": {"loader:{id}": {}},
        "parameters": _PARAMETERS,
    },
    {"flow": {"query:common": _LIMIT, "chunker:{id}": {}}, "parameters": _PARAMETERS},
    {"blueprint": {"chunker:f1": {}}, "flow": {"query:{id}": _SIZE}, "parameters": _PARAMETERS},
    {  # more than fits side by side: nested transactions
        "blueprint": {f"s{i}:common": _LIMIT for i in range(30)},
        "flow": {f"p{i}:{{id}}": _SIZE for i in range(70)},
        "parameters": _PARAMETERS,
    },
)


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def forgets(
    keyspace: Keyspace, type_: str, target: str, op: str, *, range_: bool = False
) -> Callable[[Compare], bool]:
    """A mutant: it forgets such compares of keys of one type."""
    keys = keyspace.type_range(type_)

    def forgotten(compare: Compare) -> bool:
        same = (compare.target, compare.op, bool(compare.end)) == (target, op, range_)
        return same and compare.key in keys

    return forgotten


class Forgetful(FaultyStore):
    """A store to which compares do not get through: those of a mutant that left them out.

    ``first`` is done once, before the next transaction: after it was planned, that is.
    """

    forgets: Callable[[Compare], bool] | None = None
    first: Callable[[], Awaitable[object]] | None = None

    async def commit(self, txn: Txn) -> Commit:
        first, self.first = self.first, None
        if first is not None and may_write(txn):
            await first()
        elif first is not None:
            self.first = first
        return await super().commit(txn if self.forgets is None else self._forget(txn))

    def _forget(self, txn: Txn) -> Txn:
        return Txn(
            tuple(c for c in txn.compares if self.forgets is None or not self.forgets(c)),
            tuple(self._forget(op) if isinstance(op, Txn) else op for op in txn.then),
            txn.otherwise,
        )


class Asked(msgspec.Struct, kw_only=True):
    """A request and what became of it, as far as the one who asked knows."""

    request: Change
    restart: bool = False
    """Whether a ``PauseFlow`` stands for a restart, and ends with the resume."""
    outcome: str = "unknown"
    """"done" at ``revision``, "refused", or "unknown"."""
    revision: Revision = Revision(0)


def check_invariants(keyspace: Keyspace, items: Iterable[KeyValue], asked: Iterable[Asked]) -> None:
    """Nothing is wrong in the store; what is acknowledged is there, and what is refused is not."""
    found = tuple(items)
    wrong = [anomaly for anomaly in audit(keyspace, found) if anomaly.severity == "error"]
    assert not wrong, wrong
    entries = {kv.key: kv for kv in found if kv.key in keyspace.type_range("history")}
    for one in asked:
        target = target_of(one.request)
        verb, op = target.verb, one.request.op
        if one.restart:  # one that is refused may have paused the flow all the same
            verb, op = "resume", f"{op}.resume"
        entry = entries.get(keyspace.history(target.kind, target.name, op))
        action = "" if entry is None else decode_history(entry.value).action
        if one.outcome == "done" and entry is not None:
            assert (action, entry.create_revision) == (verb, one.revision), one
        elif one.outcome == "done":
            # It found everything as it was asked to be, and so wrote nothing.
            assert verb not in ("start", "stop", "pause", "resume", "delete"), one
        elif one.outcome == "refused":
            assert action in ("", ABANDONED), one
        assert action in ("", ABANDONED, *VERBS.values())


class Heard:
    """Goes through what a watch of all variants would hear."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._range = keyspace.type_range("active-flow")
        self._stood: dict[bytes, bytes] = {}
        self._read = 0

    def check(self, journal: Sequence[WatchBatch | Restored]) -> None:
        """No variant is put with the value that it has: nobody hears of what does not change."""
        for batch in journal[self._read :]:
            assert not isinstance(batch, Restored)
            for event in batch.events:
                if event.key not in self._range:
                    continue
                if event.kv is None:
                    self._stood.pop(event.key, None)
                else:
                    assert self._stood.get(event.key) != event.kv.value, f"equal: {event.key!r}"
                    self._stood[event.key] = event.kv.value
        self._read = len(journal)


def drawn(rng: Random, op: str, known: Sequence[Asked]) -> Change:
    """Some change; a rollback goes to something that was asked for before."""
    flow, name = rng.choice(FLOWS), rng.choice(NAMES)
    parameters = {key: rng.randint(1, 2) for key in TYPES if rng.random() < 0.3}
    past = [one.request.op for one in known if getattr(one.request, "flow", "") == flow]
    type_ = rng.choice(sorted(TYPES))
    start = StartFlow(flow=flow, blueprint_name=name, parameters=parameters, op=op)
    update = UpdateFlow(flow=flow, parameters=parameters, op=op)
    choices: list[Change] = [
        start,
        start,
        StopFlow(flow=flow, op=op),
        update,
        msgspec.structs.replace(update, blueprint_name=name),
        PauseFlow(flow=flow, op=op),
        ResumeFlow(flow=flow, op=op),
        RollBackFlow(flow=flow, to=rng.choice(past or ["none"]), op=op),
        RollOut(blueprint_name=name, parameters=parameters, op=op),
        PutDefinition(
            kind="flow-blueprint",
            name=name,
            definition=as_json(rng.choice(BLUEPRINTS)),
            force=True,
            op=op,
        ),
        PutDefinition(
            kind="parameter-type",
            name=type_,
            definition=as_json(rng.choice(TYPES[type_])),
            force=rng.random() < 0.5,
            op=op,
        ),
        DeleteDefinition(kind="flow-blueprint", name=name, op=op),
    ]
    return rng.choice(choices)
