"""Each flow that exists: what it should be, by its record and its history."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flowsvc.audit.anomaly import Anomaly, anomaly, reason_of, unchanged
from flowsvc.audit.plain import without
from flowsvc.audit.system import Entry, Flow, active
from flowsvc.masking import SecretsOf, texts_in_flow
from flowsvc.plain import masked_record
from kvconfig.codec import Decoder, encode, parse_json
from kvconfig.errors import InvalidName, InvalidValue
from kvconfig.keys import check_name
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue
from kvconfig.records import FlowRecord, VariantRecord, decode_flow, is_older_flow
from kvconfig.txn import Put, Txn, absent

__all__ = ["judged"]


class _RawAfter(msgspec.Struct, frozen=True):
    record: msgspec.Raw
    variants: dict[str, VariantRecord] = {}


class _After(msgspec.Struct, frozen=True, kw_only=True):
    """What a history entry says of a flow. ``value`` is the record as it would stand in etcd."""

    record: FlowRecord
    value: bytes
    variants: dict[str, VariantRecord]


_decode_after = Decoder(_RawAfter).decode


def judged(
    keyspace: Keyspace,
    id_: str,
    kv: KeyValue,
    past: Sequence[Entry],
    found: list[Anomaly],
    *,
    secrets: SecretsOf,
) -> Flow:
    """What the flow should be; what is wrong with its record or its history goes to ``found``.

    No repair puts back a plain value of what is a secret by now.
    """
    flow = Flow(id=id_, kv=kv)
    try:
        record = flow.record = _read_record(kv.value, kv.key)
    except InvalidValue as error:
        _restore(flow, past, error, found, secrets)
        return flow
    past = [entry for entry in past if entry.said is not None or entry.op == record.op]
    entry = next((entry for entry in past if entry.op == record.op), None)
    if entry is None:
        flow.unwritten = absent(keyspace.history("flow", id_, record.op))
        return flow
    try:
        after = _read_after(entry, kv.value, record)
    except InvalidValue:
        flow.unwritten = unchanged(entry.kv)
        return flow
    if after is None or entry is not past[-1]:
        _dispute(flow, record, past[-1], found)
        return flow
    if after.record != record:
        flow.record = after.record
        found.append(_wrong_record(flow, entry, after, secrets))
    flow.values = after.variants
    return flow


def _read_record(value: bytes, key: bytes) -> FlowRecord:
    """A record on which operations can rest. Raises :class:`InvalidValue`."""
    record = decode_flow(value, key=key)
    path = "$"
    try:
        path = "$.op"
        check_name(record.op, "op")
        path = "$.blueprint-name"
        check_name(record.blueprint_name, "blueprint name")
        path = "$.variants"
        names = {*record.variants.own_names(), *record.variants.shared_names()}
    except InvalidName as error:
        raise InvalidValue(f"{error.what} does not follow the rule: {error.rule}", path=path) from (
            error
        )
    if record.paused is not None and record.paused.keys() != set(map(str, names)):
        raise InvalidValue("does not hold just the variants of the flow", path="$.paused")
    return record


def _read_after(
    entry: Entry, known: bytes = b"", record: FlowRecord | None = None
) -> _After | None:
    """What the entry says; ``None``: the flow was gone. Raises :class:`InvalidValue`.

    Most entries hold the very ``record`` that stands: ``known`` is read already.
    """
    if entry.said is None:
        raise InvalidValue(entry.reason)
    if entry.said.gone:
        return None
    raw = _decode_after(bytes(entry.said.after))
    value = bytes(raw.record)
    if record is None or value != known:
        record = _read_record(value, b"")
    if record.op != entry.op:
        raise InvalidValue("is not that of this operation", path="$.after.record.op")
    names = active(record)
    if raw.variants.keys() != {*names.own, *names.shared}:
        raise InvalidValue("does not hold just the variants of the flow", path="$.after.variants")
    return _After(record=record, value=value, variants=raw.variants)


def _known_after(entry: Entry) -> _After | None:
    """What the entry says; ``None`` too where it cannot be read."""
    try:
        return _read_after(entry)
    except InvalidValue:
        return None


def _plain_texts(flow: Flow, after: _After, secrets: SecretsOf) -> frozenset[str]:
    """What the history says and nobody may put anywhere again."""
    return texts_in_flow(flow.id, after.record, secrets, after.variants)


def _restore(
    flow: Flow,
    past: Sequence[Entry],
    error: InvalidValue,
    found: list[Anomaly],
    secrets: SecretsOf,
) -> None:
    """The record cannot be read: the history may know what it was."""
    if not past and is_older_flow(flow.kv.value):
        cure = "`flowctl migrate --from-etcd` takes it over"
        said = "is a flow as an older version kept it"
        found.append(anomaly("old-layout", flow.kv.key, said, cure=cure))
        return
    repair = None
    after = _known_after(past[-1]) if past else None
    if after is not None:
        flow.record, flow.values = after.record, after.variants
        guards = (flow.guard, unchanged(past[-1].kv))
        texts = _plain_texts(flow, after, secrets)
        value, entry = after.value, list[Put]()
        if texts:  # masked in both, so that they agree
            value = encode(masked_record(parse_json(value), texts))
            entry.append(without(past[-1].kv, texts))
        repair = Txn(guards, (Put(flow.kv.key, value), *entry))
    found.append(
        anomaly(
            "broken-flow-record",
            flow.kv.key,
            f"is no record of a flow ({reason_of(error)}); the flow cannot be stopped",
            repair,
            does="puts the record of its newest history entry",
            cure="the history does not know it either: put back a record that names its variants, "
            "or delete the key, and what it had is an orphan; repairs of orphans wait for that",
        )
    )


def _dispute(flow: Flow, record: FlowRecord, newest: Entry, found: list[Anomaly]) -> None:
    """Record and history name different operations as the last: either may be right."""
    flow.record = record
    after = _known_after(newest)
    if after is None:
        said = "says that the flow is gone"
    else:
        said = f"is another one than {record.op!r}, which its record names"
        flow.disputed = [*after.record.variants.own, *after.record.variants.shared]
    found.append(
        anomaly(
            "history-differs",
            newest.kv.key,
            f"the newest history entry of flow {flow.id!r} {said}",
            cure=f"roll the flow back to an operation (`flowctl flow rollback`), or stop it "
            f"(`flowctl flow stop {flow.id}`)",
        )
    )


def _wrong_record(flow: Flow, entry: Entry, after: _After, secrets: SecretsOf) -> Anomaly:
    repair = Txn((flow.guard, unchanged(entry.kv)), (Put(flow.kv.key, after.value),))
    return anomaly(
        "wrong-record",
        flow.kv.key,
        f"differs from what operation {entry.op!r}, which it names, has written",
        None if _plain_texts(flow, after, secrets) else repair,
        does="puts the record of that history entry",
        cure="that holds what is a secret by now: update the flow, with a reference",
    )
