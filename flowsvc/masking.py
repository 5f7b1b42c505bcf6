"""What is told of flows and of their past, without plain values of what is secret by now. Pure.

What stands in etcd is not touched: ``flowctl fsck`` finds that. Everything here takes the
:class:`~flowsvc.plan.secret.Secrets` of a blueprint by its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from flowsvc.model import Flow, HistoryEntry
from flowsvc.parameters import ParameterType
from flowsvc.plain import masked, plain_in_definition, texts_of
from flowsvc.plan.secret import Secrets
from kvconfig.codec import encode, parse_json
from kvconfig.errors import InvalidValue
from kvconfig.records import FlowRecord, VariantRecord
from kvconfig.txn import Compare, Put, Txn

__all__ = [
    "SecretsOf",
    "masked_definitions",
    "masked_flow",
    "masked_history",
    "masked_txn",
    "masked_value",
    "texts_in_flow",
    "texts_in_history",
]

SecretsOf: TypeAlias = Callable[[str], Secrets]


class _After(msgspec.Struct, frozen=True):
    """``after`` in the history of a flow, as far as it is needed here."""

    record: FlowRecord
    variants: dict[str, VariantRecord] = {}


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


def texts_in_history(flow: str, afters: Iterable[object], secrets_of: SecretsOf) -> frozenset[str]:
    """Those in what stood ``after`` the operations on a flow. What is none of a flow has none."""
    texts: frozenset[str] = frozenset()
    for each in afters:
        if each is None:
            continue
        try:
            after = msgspec.convert(each, _After)
        except msgspec.ValidationError:
            continue
        texts |= texts_in_flow(flow, after.record, secrets_of, after.variants)
    return texts


def masked_flow(flow: Flow, secrets_of: SecretsOf) -> Flow:
    """The flow as it is shown."""
    texts = texts_in_flow(flow.id, flow.record, secrets_of)
    if not texts:
        return flow
    record = msgspec.convert(masked(msgspec.to_builtins(flow.record), texts), FlowRecord)
    return msgspec.structs.replace(flow, record=record)


def masked_history(
    flow: str, entries: Sequence[HistoryEntry], secrets_of: SecretsOf
) -> list[HistoryEntry]:
    """The history of a flow as it is shown: what one entry holds is masked in all."""
    texts = texts_in_history(flow, (entry.after for entry in entries), secrets_of)
    return _masked_entries(entries, texts)


def masked_definitions(
    entries: Sequence[HistoryEntry], type_: ParameterType | None
) -> list[HistoryEntry]:
    """The history of a parameter type that is ``type_`` now, as it is shown."""
    if type_ is None or not type_.secret:
        return list(entries)
    found = [plain for entry in entries for plain in plain_in_definition(entry.after, type_)]
    return _masked_entries(entries, texts_of(found))


def _masked_entries(entries: Sequence[HistoryEntry], texts: frozenset[str]) -> list[HistoryEntry]:
    if not texts:
        return list(entries)
    return [
        msgspec.structs.replace(
            entry, after=masked(entry.after, texts), why=masked(entry.why, texts)
        )
        for entry in entries
    ]


def masked_txn(txn: Txn, texts: frozenset[str]) -> Txn:
    """A transaction to be looked at, and never to be sent."""
    if not texts:
        return txn

    def compare(each: Compare) -> Compare:
        value = each.value
        if not isinstance(value, bytes):
            return each
        return msgspec.structs.replace(each, value=masked_value(value, texts))

    return Txn(
        tuple(compare(each) for each in txn.compares),
        tuple(
            masked_txn(op, texts)
            if isinstance(op, Txn)
            else msgspec.structs.replace(op, value=masked_value(op.value, texts))
            if isinstance(op, Put)
            else op
            for op in txn.then
        ),
        txn.otherwise,
    )


def masked_value(value: bytes, texts: frozenset[str]) -> bytes:
    """JSON text; what is none stays as it is."""
    try:
        return encode(masked(parse_json(value), texts))
    except InvalidValue:
        return value
