"""What is told of flows and of their past, without plain values of what is secret by now. Pure.

What stands in etcd is not touched: ``flowctl fsck`` finds that. Everything here takes the
:class:`~flowsvc.plan.secret.Secrets` of a blueprint by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from flowsvc.model import Flow, HistoryEntry
from flowsvc.parameters import ParameterType
from flowsvc.plain import (
    masked,
    masked_after,
    masked_definition,
    masked_record,
    plain_in_definition,
    texts_of,
)
from flowsvc.plan.core import After
from flowsvc.plan.secret import Secrets
from kvconfig.codec import encode, parse_json
from kvconfig.errors import InvalidValue
from kvconfig.records import FlowRecord, VariantRecord
from kvconfig.txn import Compare, Operation, Put, Txn

__all__ = [
    "SecretsOf",
    "after_of",
    "masked_definitions",
    "masked_flow",
    "masked_history",
    "masked_txn",
    "texts_in_flow",
]

SecretsOf: TypeAlias = Callable[[str], Secrets]


def texts_in_flow(
    flow: str,
    record: FlowRecord,
    secrets_of: SecretsOf,
    variants: Mapping[str, VariantRecord] = {},
) -> frozenset[str]:
    """The plain values in a record, in what it keeps while paused, and in ``variants``."""
    secrets = secrets_of(record.blueprint_name)
    if not secrets.types:
        return frozenset()
    return texts_of(secrets.plain_in(flow, record, {**variants, **(record.paused or {})}))


def after_of(value: object) -> After | None:
    """What a history entry of a flow says; ``None``: it was gone, or that is none of a flow."""
    try:
        return msgspec.convert(value, After)
    except msgspec.ValidationError:
        return None


def masked_flow(flow: Flow, secrets_of: SecretsOf) -> Flow:
    """The flow as it is shown."""
    texts = texts_in_flow(flow.id, flow.record, secrets_of)
    if not texts:
        return flow
    record = msgspec.convert(masked_record(msgspec.to_builtins(flow.record), texts), FlowRecord)
    return msgspec.structs.replace(flow, record=record)


def masked_history(
    flow: str, entries: Sequence[HistoryEntry], secrets_of: SecretsOf
) -> list[HistoryEntry]:
    """The history of a flow as it is shown: what one entry holds is masked in all."""
    texts = frozenset[str]()
    for entry in entries:
        if (after := after_of(entry.after)) is not None:
            texts |= texts_in_flow(flow, after.record, secrets_of, after.variants)
    return [_masked_entry(entry, texts, masked_after) for entry in entries]


def masked_definitions(
    entries: Sequence[HistoryEntry], type_: ParameterType | None
) -> list[HistoryEntry]:
    """The history of a parameter type that is ``type_`` now, as it is shown."""
    if type_ is None or not type_.secret:
        return list(entries)
    found = [plain for entry in entries for plain in plain_in_definition(entry.after, type_)]
    return [_masked_entry(entry, texts_of(found), masked_definition) for entry in entries]


def _masked_entry(
    entry: HistoryEntry,
    texts: frozenset[str],
    mask: Callable[[Mapping[str, Any], frozenset[str]], dict[str, Any]],
) -> HistoryEntry:
    if not (texts and isinstance(entry.after, dict)):
        return entry
    return msgspec.structs.replace(entry, after=mask(entry.after, texts))


def masked_txn(txn: Txn, texts: frozenset[str]) -> Txn:
    """A transaction to be looked at, and never to be sent."""
    if not texts:
        return txn

    def compare(each: Compare) -> Compare:
        value = each.value
        if not isinstance(value, bytes):
            return each
        return msgspec.structs.replace(each, value=_masked_value(value, texts))

    def operation(each: Operation) -> Operation:
        if isinstance(each, Txn):
            return masked_txn(each, texts)
        if isinstance(each, Put):
            return msgspec.structs.replace(each, value=_masked_value(each.value, texts))
        return each

    return Txn(tuple(map(compare, txn.compares)), tuple(map(operation, txn.then)), txn.otherwise)


def _masked_value(value: bytes, texts: frozenset[str]) -> bytes:
    """JSON text; what is none stays as it is."""
    try:
        return encode(masked(parse_json(value), texts))
    except InvalidValue:
        return value
