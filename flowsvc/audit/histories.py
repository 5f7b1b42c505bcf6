"""Whether the history of each flow, and of each that is gone, tells all of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flowsvc.audit.anomaly import Anomaly, anomaly, unchanged
from flowsvc.audit.system import Entry, Flow, System, value_of
from flowsvc.masking import texts_in_flow
from kvconfig.codec import encode
from kvconfig.errors import TooManyOperations
from kvconfig.records import HistoryRecord
from kvconfig.txn import Compare, Guarded, Put, Txn, absent, assemble

__all__ = ["check_histories"]


def check_histories(system: System) -> Iterator[Anomaly]:
    """The entry of each flow's last operation, the end of each flow that is gone, and the rest."""
    for flow in system.flows.values():
        if flow.unwritten is not None:
            yield _history_unwritten(flow, flow.unwritten, system)
    for id_, past in system.keys.history.items():
        flow_or_none = system.flows.get(id_)
        if flow_or_none is None:
            yield from _ended(id_, past, system)
        yield from _broken_history(flow_or_none, past)


def _history_unwritten(flow: Flow, guard: Compare, system: System) -> Anomaly:
    """No entry tells of the operation that the record names, or none that can be read."""
    missing = guard == absent(guard.key)
    what = "is missing" if missing else "cannot be read"
    return anomaly(
        "history-missing" if missing else "broken-history",
        guard.key,
        f"{what}, though the record of flow {flow.id!r} names its operation",
        _rewritten(flow, guard, system),
        does="writes it anew, from the record and the variants that stand",
        cure="some of its variants do not stand either, or hold what is a secret by now: update "
        "the flow, or stop it",
    )


def _rewritten(flow: Flow, guard: Compare, system: System) -> Txn | None:
    """The history entry that would tell what stands; ``None`` where not all of it does."""
    variants, guards = {}, []
    for name in (*flow.own, *flow.shared):
        kv = system.keys.active.get(name)
        value = None if kv is None else value_of(kv)
        if kv is None or value is None:
            return None
        variants[name] = value
        guards.append(Guarded((unchanged(kv),)))
    if flow.record is not None and texts_in_flow(flow.id, flow.record, system.secrets, variants):
        return None
    after = {"record": flow.record, "variants": variants}
    head = Guarded((guard, flow.guard), (Put(guard.key, _entry(after, system)),))
    try:
        return assemble(head, guards)
    except TooManyOperations:
        return None


def _ended(id_: str, past: Sequence[Entry], system: System) -> Iterator[Anomaly]:
    """A flow that does not exist: its history ends by saying so."""
    newest = next((entry for entry in reversed(past) if entry.said is not None), None)
    if newest is None or newest.said is None or newest.said.gone:
        return
    keyspace = system.keyspace
    key = keyspace.history("flow", id_, f"fsck-{newest.kv.mod_revision}")
    guards = (absent(keyspace.flow(id_)), unchanged(newest.kv), absent(key))
    yield anomaly(
        "history-differs",
        newest.kv.key,
        f"flow {id_!r} does not exist, and its history does not say so (a stop while etcd was out "
        "of space leaves it so)",
        Txn(guards, (Put(key, _entry(None, system)),)),
        does="adds an entry that says that it is gone",
    )


def _broken_history(flow: Flow | None, past: Sequence[Entry]) -> Iterator[Anomaly]:
    for entry in past:
        if entry.said is None and (flow is None or _names(flow) != entry.op):
            yield anomaly(
                "broken-history",
                entry.kv.key,
                f"is no history entry ({entry.reason}); it is left out of the history",
                cure="delete it with etcdctl",
                severity="warning",
            )


def _names(flow: Flow) -> str:
    return "" if flow.record is None else flow.record.op


def _entry(after: object, system: System) -> bytes:
    why = "the history was not complete"
    return encode(
        HistoryRecord(action="repair", by="flowctl fsck", at=system.at, why=why, after=after)
    )
