"""Which processors there are, and which types of configuration each reads. Pure.

The first follows from blueprints and flows; the second only the processors' classes know:
``processors describe`` prints it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from flowsvc.blueprint import parse_blueprint
from flowsvc.errors import BlueprintInvalid, Finding, InvalidInput
from kvconfig.errors import InvalidName, InvalidValue, show_key
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.model import KeyValue
from kvconfig.records import decode_flow

__all__ = ["described", "processors_in"]


class _Described(msgspec.Struct, frozen=True):
    id: str
    config: tuple[str, ...] = ()


def described(data: bytes, origin: str) -> dict[str, tuple[str, ...]]:
    """What ``processors describe`` printed: the types of configuration by processor.

    Raises :class:`InvalidInput`, with where it was found.
    """
    try:
        found = msgspec.json.decode(data, type=tuple[_Described, ...])
    except msgspec.MsgspecError as error:
        reason, _, place = str(error).partition(" - at ")
        finding = Finding(place.strip("`") or "$", f"{reason}: not what `processors describe` says")
        raise InvalidInput(origin, [finding]) from error
    return {each.id: each.config for each in found}


def processors_in(
    keyspace: Keyspace, blueprints: Iterable[KeyValue], flows: Iterable[KeyValue]
) -> tuple[frozenset[str], list[Finding]]:
    """The processors that any blueprint, or any flow as it stands, has a variant of.

    Flows too: a blueprint may have been changed since. The findings are warnings, of what cannot
    be read, and is left out.
    """
    found: set[str] = set()
    findings: list[Finding] = []
    for kv in (*blueprints, *flows):
        read = _of_flow if kv.key in keyspace.type_range("flow") else _of_blueprint
        try:
            found.update(read(keyspace, kv))
        except (BlueprintInvalid, InvalidName, InvalidValue):
            message = "cannot be read, so its processors are left out: see flowctl fsck"
            findings.append(Finding(show_key(kv.key), message, "warning"))
    return frozenset(found), findings


def _of_blueprint(keyspace: Keyspace, kv: KeyValue) -> Iterator[str]:
    blueprint = parse_blueprint(keyspace.parse_named(kv.key, "flow-blueprint"), kv.value)
    yield from (entry.processor for entry in (*blueprint.shared, *blueprint.own))


def _of_flow(_keyspace: Keyspace, kv: KeyValue) -> Iterator[str]:
    variants = decode_flow(kv.value, key=kv.key).variants
    yield from (VariantName.parse(text).processor for text in (*variants.own, *variants.shared))
