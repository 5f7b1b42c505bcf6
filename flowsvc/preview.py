"""What a transaction would do, as text, as JSON, and as what processors would see. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from flowsvc.model import VariantChange
from flowsvc.plain import masked
from kvconfig.codec import parse_json
from kvconfig.errors import InvalidName, InvalidValue, show_key
from kvconfig.keys import Range
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue
from kvconfig.txn import Compare, Delete, Put, Read, Txn

__all__ = ["as_json", "seen", "written"]


def as_json(txn: Txn) -> dict[str, Any]:
    """The transaction as plain JSON: ``{"compares": […], "then": […], "otherwise": […]}``."""
    return {
        "compares": [_compare(compare) for compare in txn.compares],
        "then": [_operation(op) for op in txn.then],
        "otherwise": [_operation(op) for op in txn.otherwise],
    }


def written(txn: Txn) -> Iterator[Put | Delete]:
    """All that its success branch writes, nested ones included."""
    for op in txn.then:
        if isinstance(op, Txn):
            yield from written(op)
        elif isinstance(op, Put | Delete):
            yield op


def seen(
    txn: Txn,
    keyspace: Keyspace,
    before: Mapping[bytes, KeyValue],
    texts: Collection[str] = (),
) -> tuple[VariantChange, ...]:
    """What processors would see, by key; ``before``: the variants that stand and are written.

    ``texts`` are masked in what stands; in ``txn`` they are already.
    """
    changes = []
    for op in sorted(written(txn), key=lambda op: op.key):
        try:
            name = keyspace.parse_active_flow(op.key)
        except InvalidName:
            continue
        stands = before.get(op.key)
        if stands is None and isinstance(op, Delete):
            continue
        changes.append(
            VariantChange(
                processor=name.processor,
                variant=name.variant,
                before=None if stands is None else masked(_value(stands.value), texts),
                after=_value(op.value) if isinstance(op, Put) else None,
            )
        )
    return tuple(changes)


def _value(value: bytes) -> Any:
    """JSON, or where somebody wrote something else, the text itself as a person reads it."""
    try:
        return parse_json(value)
    except InvalidValue:
        return show_key(value)


def _compare(compare: Compare) -> dict[str, Any]:
    value = compare.value
    return {
        **_where(compare.key, compare.end),
        "target": compare.target,
        "op": compare.op,
        "value": _value(value) if isinstance(value, bytes) else value,
    }


def _operation(op: Put | Delete | Read | Txn) -> dict[str, Any]:
    if isinstance(op, Txn):
        return {"txn": as_json(op)}
    if isinstance(op, Put):
        return {"put": {"key": show_key(op.key), "value": _value(op.value)}}
    word = "delete" if isinstance(op, Delete) else "get"
    return {word: _where(op.key, op.end)}


def _where(key: bytes, end: bytes) -> dict[str, str]:
    return {"range": str(Range(key, end))} if end else {"key": show_key(key)}
