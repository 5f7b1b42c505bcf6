"""Each key in its place, by its name alone; of values only the frame of history entries is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flowsvc.audit.anomaly import Anomaly, anomaly, reason_of, unchanged
from flowsvc.audit.system import Entry, Keys, Said
from flowsvc.plan import ABANDONED
from kvconfig.codec import Decoder
from kvconfig.errors import InvalidName, InvalidValue
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue
from kvconfig.txn import Delete, Txn

__all__ = ["AUDITED_TYPES", "sorted_out"]

AUDITED_TYPES = (
    "active-flow",
    "flow",
    "flow-ref",
    "flow-blueprint",
    "blueprint-use",
    "parameter-type",
    "processor",
)
"""The types that are looked at; and of ``history`` that of flows and of parameter types."""


def sorted_out(keyspace: Keyspace, items: Iterable[KeyValue]) -> tuple[Keys, list[Anomaly]]:
    """Each key in its place, and those that have none though their type is ours."""
    keys, found = Keys(), list[Anomaly]()
    start = len(keyspace.everything().start)
    for kv in items:
        type_ = kv.key[start:].partition(b"/")[0]
        place = _PLACES.get(type_)
        if place is None:
            continue
        try:
            place(keys, keyspace, kv)
        except InvalidName as error:
            found.append(_unreadable_name(kv, type_, error))
    for entries in keys.history.values():
        entries.sort(key=lambda entry: entry.kv.create_revision)  # callers may choose the ids
    return keys, found


def _place_variant(keys: Keys, keyspace: Keyspace, kv: KeyValue) -> None:
    keys.active[str(keyspace.parse_active_flow(kv.key))] = kv


def _place_flow(keys: Keys, keyspace: Keyspace, kv: KeyValue) -> None:
    keys.flows[keyspace.parse_named(kv.key, "flow")] = kv


def _place_ref(keys: Keys, keyspace: Keyspace, kv: KeyValue) -> None:
    name, flow = keyspace.parse_flow_ref(kv.key)
    keys.refs.setdefault(str(name), {})[flow] = kv


def _place_use(keys: Keys, keyspace: Keyspace, kv: KeyValue) -> None:
    keys.uses[keyspace.parse_blueprint_use(kv.key)] = kv


def _place_blueprint(keys: Keys, keyspace: Keyspace, kv: KeyValue) -> None:
    keys.blueprints[keyspace.parse_named(kv.key, "flow-blueprint")] = kv


def _place_parameter_type(keys: Keys, keyspace: Keyspace, kv: KeyValue) -> None:
    keys.types[keyspace.parse_named(kv.key, "parameter-type")] = kv


def _place_instance(_keys: Keys, keyspace: Keyspace, kv: KeyValue) -> None:
    keyspace.parse_processor(kv.key)


def _place_history(keys: Keys, keyspace: Keyspace, kv: KeyValue) -> None:
    """Of flows and parameter types only; an operation that was given up did nothing."""
    type_, flow, op = keyspace.parse_history(kv.key)
    if type_ == "parameter-type":
        keys.type_history.setdefault(flow, []).append(kv)
    if type_ != "flow":
        return
    try:
        said = _decode_said(kv.value, key=kv.key)
    except InvalidValue as error:
        entry = Entry(op=op, kv=kv, said=None, reason=reason_of(error))
    else:
        if said.action == ABANDONED:
            return
        entry = Entry(op=op, kv=kv, said=said)
    keys.history.setdefault(flow, []).append(entry)


_PLACES: dict[bytes, Callable[[Keys, Keyspace, KeyValue], None]] = {
    b"active-flow": _place_variant,
    b"flow": _place_flow,
    b"flow-ref": _place_ref,
    b"blueprint-use": _place_use,
    b"flow-blueprint": _place_blueprint,
    b"parameter-type": _place_parameter_type,
    b"processor": _place_instance,
    b"history": _place_history,
}
_HOLDING_NOTHING = frozenset({b"active-flow", b"flow-ref", b"blueprint-use"})
"""Types whose keys follow from the records: one that no record can name is of no use."""

_decode_said = Decoder(Said).decode


def _unreadable_name(kv: KeyValue, type_: bytes, error: InvalidName) -> Anomaly:
    if type_ == b"active-flow" and b"/" not in kv.key.partition(b"/active-flow/")[2]:
        return anomaly(
            "old-layout",
            kv.key,
            "holds variants as an older version kept them",
            cure="`flowctl migrate --from-etcd` takes them over",
        )
    useless = type_ in _HOLDING_NOTHING
    return anomaly(
        "unreadable-name",
        kv.key,
        f"{error.what} does not follow the rule: {error.rule}",
        Txn((unchanged(kv),), (Delete(kv.key),)) if useless else None,
        does="deletes the key",
        cure="somebody wrote it by hand: read it, and delete it with etcdctl",
    )
