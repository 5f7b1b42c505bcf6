"""What stands under one root: keys of the new layout, and keys of older ones as a document.

Of an older layout are::

    /active-flow/<processor>              a blob: {variant: entry}
    /active-flow/<processor>:<variant>    one entry, an interim form
    /processor:<processor>/<variant>      one entry
    /flow/<flow>                          a record without its variants
    /flows/…, /flow-classes/…, …          the same under older words

An entry leaves the key that it stands in when its flow is adopted, in the same transaction. So at
no revision does it stand in both, and what is left of a blob is what nobody has adopted yet.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from flowsvc.definition import child
from flowsvc.errors import Finding
from flowsvc.migrate.reading import as_object
from flowsvc.migrate.words import PROCESSOR, meaning
from flowsvc.model import OldKey
from kvconfig.codec import encode, parse_json
from kvconfig.errors import InvalidName, InvalidValue
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.model import KeyValue, Revision
from kvconfig.records import (
    FlowRecord,
    VariantRecord,
    decode_flow,
    decode_variant,
    is_older_flow,
)

__all__ = ["OldKeys", "Standing", "sorted_out"]


class _Holder(msgspec.Struct, kw_only=True):
    """An old key that holds active entries of one processor, by variant.

    ``in_text``: its JSON stands in a string.
    """

    key: bytes
    mod_revision: Revision
    processor: str
    entries: dict[str, Any]
    in_text: bool = False

    def left(self, taken: Collection[VariantName]) -> dict[str, Any]:
        """What is left once these variants are out of it."""
        gone = {name.variant for name in taken if name.processor == self.processor}
        return {variant: entry for variant, entry in self.entries.items() if variant not in gone}

    def holding(self, entries: dict[str, Any]) -> OldKey:
        """The key with just these entries, without any it goes."""
        value = None
        if entries:
            value = encode(encode(entries).decode() if self.in_text else entries)
        return OldKey(key=self.key, mod_revision=self.mod_revision, value=value)


class OldKeys:
    """The keys of older layouts that say what is active, followed through a migration."""

    def __init__(self) -> None:
        self._holders: dict[bytes, _Holder] = {}
        self._records: dict[str, dict[bytes, KeyValue]] = {}

    def __bool__(self) -> bool:
        return bool(self._holders or self._records)

    def add(self, holder: _Holder) -> None:
        """There is a key with active entries."""
        self._holders[holder.key] = holder

    def add_record(self, flow: str, kv: KeyValue) -> None:
        """There is a record of a flow."""
        self._records.setdefault(flow, {})[kv.key] = kv

    def record_at(self, flow: str, key: bytes) -> Revision:
        """The mod_revision of the flow's old record at ``key``; 0 where there is none."""
        found = self._records.get(flow, {}).get(key)
        return found.mod_revision if found else Revision(0)

    def instead_of(
        self, flow: str, names: Collection[VariantName], *, but: bytes
    ) -> tuple[OldKey, ...]:
        """What goes, or shrinks, when a flow is adopted that has these variants.

        All its old records go, ``but`` the one at that key.
        """
        shrinking = [
            holder.holding(left)
            for holder in self._holders.values()
            if (left := holder.left(names)) != holder.entries
        ]
        records = [
            OldKey(key=kv.key, mod_revision=kv.mod_revision)
            for kv in self._records.get(flow, {}).values()
            if kv.key != but
        ]
        return (*shrinking, *records)

    def adopted(self, flow: str, names: Collection[VariantName], revision: Revision) -> None:
        """That was done, at ``revision``."""
        self._records.pop(flow, None)
        for key, holder in list(self._holders.items()):
            left = holder.left(names)
            if left == holder.entries:
                continue
            holder.entries, holder.mod_revision = left, revision
            if not left:
                del self._holders[key]

    def all(self) -> list[OldKey]:
        """Every one of them."""
        holders = [holder.holding(holder.entries) for holder in self._holders.values()]
        records = [kv for kvs in self._records.values() for kv in kvs.values()]
        return [*holders, *(OldKey(key=kv.key, mod_revision=kv.mod_revision) for kv in records)]

    def empty(self) -> list[OldKey]:
        """Those that hold nothing: a stop used to leave them."""
        return [holder.holding({}) for holder in self._holders.values() if not holder.entries]


class Standing(msgspec.Struct, kw_only=True):
    """All that stands, but for configuration.

    ``document`` is what older layouts say, ``old`` its keys. ``definitions`` are by type and name,
    where they stand; the others are what the new layout says.
    """

    document: dict[str, dict[str, Any]] = {}
    old: OldKeys
    definitions: dict[tuple[str, str], KeyValue] = {}
    flows: dict[str, FlowRecord] = {}
    active: dict[VariantName, VariantRecord] = {}
    findings: list[Finding] = []

    @property
    def shared(self) -> dict[VariantName, VariantRecord]:
        """The variants that flows of the new layout share."""
        names = {name for record in self.flows.values() for name in record.variants.shared_names()}
        return {name: self.active[name] for name in sorted(names & self.active.keys())}


def sorted_out(keyspace: Keyspace, keys: Mapping[str, Sequence[KeyValue]]) -> Standing:
    """All ``keys``, given by their type, each in its place."""
    return _Sorter(keyspace, Standing(old=OldKeys())).sort(keys)


class _Sorter:
    def __init__(self, keyspace: Keyspace, standing: Standing) -> None:
        self.keyspace, self.standing = keyspace, standing

    def sort(self, keys: Mapping[str, Sequence[KeyValue]]) -> Standing:
        for type_, items in keys.items():
            base = len(self.keyspace.type_range(type_).start)
            for kv in items:
                key = kv.key[base:].decode("utf-8", "backslashreplace")
                match meaning(type_):
                    case "flow":
                        self._flow(type_, key, kv)
                    case "active":
                        self._active(type_, key, kv)
                    case _:
                        self.standing.definitions[type_, key] = kv
                        self._old(type_, key, kv)
        return self.standing

    def _old(self, type_: str, key: str, kv: KeyValue) -> Any:
        """Into the document; text that is no JSON is a string there, and found to be none."""
        try:
            value = parse_json(kv.value, key=kv.key)
        except InvalidValue:
            value = kv.value.decode("utf-8", "backslashreplace")
        self.standing.document.setdefault(type_, {})[key] = value
        return value

    def _flow(self, type_: str, key: str, kv: KeyValue) -> None:
        if type_ == "flow":
            try:
                self.standing.flows[key] = decode_flow(kv.value, key=kv.key)
            except InvalidValue as error:
                if not is_older_flow(kv.value):
                    said = f"is a broken record ({error.reason}): see `flowctl fsck`"
                    self._error(type_, key, said)
                    return
            else:
                return
        self._old(type_, key, kv)
        self.standing.old.add_record(key, kv)

    def _active(self, type_: str, key: str, kv: KeyValue) -> None:
        if type_ == "active-flow" and "/" in key:
            try:
                name = self.keyspace.parse_active_flow(kv.key)
                self.standing.active[name] = decode_variant(kv.value, key=kv.key)
            except (InvalidName, InvalidValue):
                self._error(type_, key, "is no variant: see `flowctl fsck`")
            return
        value = self._old(type_, key, kv)
        if type_.startswith(PROCESSOR):
            processor, variant = type_.removeprefix(PROCESSOR), key
        else:
            processor, _, variant = key.partition(":")
        entries = as_object(value)
        if entries is None:
            return
        self.standing.old.add(
            _Holder(
                key=kv.key,
                mod_revision=kv.mod_revision,
                processor=processor,
                entries={variant: entries} if variant else entries,
                in_text=isinstance(value, str),
            )
        )

    def _error(self, type_: str, key: str, message: str) -> None:
        self.standing.findings.append(Finding(child(child("$", type_), key), message))
