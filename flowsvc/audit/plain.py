"""Whether a value stands in etcd, as it is, where only a reference to a secret may stand.

Its type was marked after it was written, or somebody wrote it by hand. Messages name the parameter,
never the value. What the history keeps of it is masked by a repair: such an entry cannot be rolled
back to anyway, and says all else as before. What stands is somebody's to change, with a reference.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import msgspec

from flowsvc.audit.anomaly import Anomaly, anomaly, unchanged
from flowsvc.audit.system import Entry, Flow, System, value_of
from flowsvc.masking import after_of
from flowsvc.parameters import ParameterType
from flowsvc.plain import (
    MASK,
    Plain,
    masked_after,
    masked_definition,
    plain_in_definition,
    texts_of,
)
from flowsvc.plan.secret import readable_type
from kvconfig.codec import encode, parse_json
from kvconfig.errors import InvalidValue
from kvconfig.model import KeyValue
from kvconfig.records import decode_flow
from kvconfig.txn import Put, Txn

__all__ = ["check_plain_values", "without"]

Mask: TypeAlias = Callable[[Mapping[str, Any], Collection[str]], dict[str, Any]]


def check_plain_values(system: System) -> Iterator[Anomaly]:
    """In records, variants, parameter types, blueprints, and in the history of flows and types."""
    types = {name: readable_type(name, kv.value) for name, kv in system.keys.types.items()}
    secret = {name: type_ for name, type_ in types.items() if type_ is not None and type_.secret}
    if not secret:
        return
    for flow in system.flows.values():
        yield from _in_flow(flow, system)
    for id_, past in system.keys.history.items():
        yield from _in_history(id_, past, system)
    for name, type_ in secret.items():
        yield from _in_type(name, type_, system)
    for name, kv in system.keys.blueprints.items():
        yield from _in_blueprint(name, kv, system)


def _in_flow(flow: Flow, system: System) -> Iterator[Anomaly]:
    """In its record as it stands, and in what it has in ``/active-flow/``."""
    try:
        record = decode_flow(flow.kv.value, key=flow.kv.key)
    except InvalidValue:
        return
    stand = {name: system.keys.active[name] for name in flow.names if name in system.keys.active}
    values = {name: value for name, kv in stand.items() if (value := value_of(kv)) is not None}
    values.update(record.paused or {})
    places: dict[bytes, tuple[KeyValue, list[Plain]]] = {}
    secrets = system.secrets(record.blueprint_name)
    for plain in _unmasked(secrets.plain_in(flow.id, record, values)):
        kv = stand.get(plain.variant, flow.kv)
        places.setdefault(kv.key, (kv, []))[1].append(plain)
    for kv, found in places.values():
        given = " ".join(f"--param {name}=env:NAME" for name in _names(found))
        yield _told(kv, found, cure=f"`flowctl flow update {flow.id} {given}` gives a reference")


def _in_history(id_: str, past: Iterable[Entry], system: System) -> Iterator[Anomaly]:
    """What one entry holds is masked in each. That of the record stays, while the record does."""
    flow = system.flows.get(id_)
    holding: list[tuple[Entry, list[Plain]]] = []
    for entry in past:
        after = after_of(_after(entry.kv))
        if after is not None:
            secrets = system.secrets(after.record.blueprint_name)
            found = secrets.plain_in(id_, after.record, after.values())
            holding.append((entry, _unmasked(found)))
    texts = texts_of([plain for _, found in holding for plain in found])
    for entry, found in holding:
        stands = flow is not None and (flow.record is None or flow.record.op == entry.op)
        if found:
            yield _told(
                entry.kv,
                found,
                repair=None if stands else _repair(entry.kv, texts),
                cure=f"it tells of flow {id_!r} as it stands: update that, then repair this",
            )


def _in_type(name: str, type_: ParameterType, system: System) -> Iterator[Anomaly]:
    """As its default or in its enum, and in its history."""
    kv = system.keys.types[name]
    if found := _unmasked(plain_in_definition(_json(kv), type_)):
        yield _told(kv, found, cure="put the type anew, with a reference or without a default")
    for kv in system.keys.type_history.get(name, ()):
        if found := _unmasked(plain_in_definition(_after(kv), type_)):
            yield _told(kv, found, repair=_repair(kv, texts_of(found), masked_definition))


def _in_blueprint(name: str, kv: KeyValue, system: System) -> Iterator[Anomaly]:
    """Where a parameter has a default beside its type, which does nothing there."""
    definition = _json(kv)
    declared = definition.get("parameters") if isinstance(definition, dict) else None
    found = [
        msgspec.structs.replace(plain, parameter=parameter)
        for parameter, type_ in system.secrets(name).types.items()
        if isinstance(declared, dict)
        for plain in plain_in_definition(declared.get(parameter), type_)
    ]
    if found:
        cure = "put the blueprint without it: a default is the type's, and a reference"
        yield _told(kv, found, cure=cure)


def _told(
    kv: KeyValue, found: Iterable[Plain], *, repair: Txn | None = None, cure: str = ""
) -> Anomaly:
    types = ", ".join(sorted({plain.type for plain in found}))
    return anomaly(
        "plain-secret",
        kv.key,
        f"holds a plain value of {', '.join(_names(found))}, and type {types} is secret: change "
        "that secret, since whoever can read etcd or a backup may know it",
        repair,
        does="masks it there; etcd keeps it until it compacts",
        cure=cure,
    )


def _names(found: Iterable[Plain]) -> list[str]:
    return sorted({plain.parameter for plain in found})


def without(kv: KeyValue, texts: Collection[str], mask: Mask = masked_after) -> Put:
    """A history entry with ``***`` for each of ``texts`` in what it says that stood after it.

    It keeps its place, which is by its create_revision. Raises :class:`InvalidValue`.
    """
    entry = parse_json(kv.value, key=kv.key)
    return Put(kv.key, encode({**entry, "after": mask(entry["after"], texts)}))


def _repair(kv: KeyValue, texts: Collection[str], mask: Mask = masked_after) -> Txn:
    return Txn((unchanged(kv),), (without(kv, texts, mask),))


def _after(kv: KeyValue) -> Any:
    entry = _json(kv)
    return entry.get("after") if isinstance(entry, dict) else None


def _unmasked(found: Iterable[Plain]) -> list[Plain]:
    """Those that tell something: an empty text is no reference, and nobody's secret either."""
    return [plain for plain in found if plain.value not in ("", MASK)]


def _json(kv: KeyValue) -> Any:
    try:
        return parse_json(kv.value)
    except InvalidValue:
        return None
