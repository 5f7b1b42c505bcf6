"""What a plan is made from: cached or proven answers to reads, and who shares what.

A plan asks a :class:`View`, and the view remembers what it was asked. So whoever carries out the
plan knows what a refusal rests on, and can prove it by reading just that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from kvconfig.errors import InvalidName
from kvconfig.keys import Range
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.model import KeyValue, Revision
from kvconfig.records import FlowRecord
from kvconfig.txn import Read, ReadResult

__all__ = ["Cache", "Holders", "Proof", "View"]

Proof = Mapping[Read, ReadResult]
"""Reads and their results, all as of one revision."""


class Cache(Protocol):
    """What is known without asking etcd; it may lag behind."""

    def key(self, key: bytes, /) -> KeyValue | None:
        """A flow's record, a blueprint or a parameter type; nothing else is known."""
        ...

    def range(self, range_: Range, /) -> tuple[KeyValue, ...]:
        """All keys of a range of these, in order."""
        ...


class Holders:
    """Which flow has which variant, and which blueprint, kept up to date flow by flow."""

    def __init__(self) -> None:
        self._shared: dict[str, dict[str, None]] = {}
        self._own: dict[str, str] = {}
        self._blueprints: dict[str, dict[str, None]] = {}

    def add(self, flow: str, record: FlowRecord) -> None:
        """``flow`` has what its record says. A paused one holds no variant."""
        self._blueprints.setdefault(record.blueprint_name, {})[flow] = None
        if record.paused is not None:
            return
        for name in record.variants.shared:
            self._shared.setdefault(name, {})[flow] = None
        for name in record.variants.own:
            self._own[name] = flow

    def remove(self, flow: str, record: FlowRecord) -> None:
        """``flow`` has no longer what this record said."""
        _drop(self._blueprints, record.blueprint_name, flow)
        for name in record.variants.shared:
            _drop(self._shared, name, flow)
        for name in record.variants.own:
            if self._own.get(name) == flow:
                del self._own[name]

    def owner(self, name: VariantName) -> str | None:
        """The flow that owns the variant."""
        return self._own.get(str(name))

    def sharers(self, name: VariantName) -> Iterable[str]:
        """The flows that refer to the variant."""
        return self._shared.get(str(name), {}).keys()

    def users(self, blueprint: str) -> Iterable[str]:
        """The flows made from the blueprint."""
        return self._blueprints.get(blueprint, {}).keys()


def _drop(index: dict[str, dict[str, None]], name: str, flow: str) -> None:
    flows = index.get(name, {})
    flows.pop(flow, None)
    if not flows:
        index.pop(name, None)


class View:
    """Answers from a proof where there is one, from the cache otherwise."""

    def __init__(self, keyspace: Keyspace, cache: Cache, holders: Holders, proof: Proof) -> None:
        self.keyspace = keyspace
        self._cache = cache
        self._holders = holders
        self._proof = proof
        self._asked: dict[Read, None] = {}

    @property
    def asked(self) -> tuple[Read, ...]:
        """Every read that was asked for, once, in order."""
        return tuple(self._asked)

    @property
    def proven(self) -> bool:
        """Whether no answer came from a cache: then a refusal may be given."""
        return all(read in self._proof for read in self._asked)

    def newest(self) -> KeyValue | None:
        """Of all that the proof shows of what was asked, the key that was written last."""
        shown = (
            kv for read in self._asked if read in self._proof for kv in self._proof[read].items
        )
        return max(shown, key=lambda kv: kv.mod_revision, default=None)

    def key(self, key: bytes) -> KeyValue | None:
        """The key as far as it is known."""
        answer = self._answer(Read(key))
        return self._cache.key(key) if answer is None else _first(answer)

    def shown(self, key: bytes) -> KeyValue | None:
        """The key as a proof shows it, if any does: nobody caches variants or history."""
        read = Read(key)
        self._asked[read] = None
        return _first(self._proof[read]) if read in self._proof else None

    def is_proven(self, key: bytes) -> bool:
        """Whether a proof shows the key, or that there is none."""
        return self._answer(Read(key)) is not None

    def blueprints(self) -> tuple[KeyValue, ...]:
        """All blueprints as far as they are known."""
        range_ = self.keyspace.type_range("flow-blueprint")
        answer = self._answer(Read(range_.start, range_.end))
        return self._cache.range(range_) if answer is None else answer.items

    def users(self, blueprint: str) -> list[str]:
        """The flows made from a blueprint, as far as they are known."""
        range_ = self.keyspace.blueprint_use_range(blueprint)
        answer = self._answer(Read(range_.start, range_.end, keys_only=True))
        if answer is None:
            return sorted(self._holders.users(blueprint))
        return [self.keyspace.parse_blueprint_use(kv.key)[1] for kv in answer.items]

    def sharer(self, name: VariantName, other_than: Collection[str]) -> str | None:
        """Some flow, none of ``other_than``, that refers to the shared variant."""
        refs = self.keyspace.flow_ref_range(name)
        answer = self._answer(Read(refs.start, refs.end, limit=len(other_than) + 1, keys_only=True))
        known = self._holders.sharers(name) if answer is None else self._flows(answer)
        return next((flow for flow in known if flow not in other_than), None)

    def sharers(self, name: VariantName) -> list[str]:
        """All flows that refer to the shared variant."""
        answer = self._answer(self._refs(name))
        return sorted(self._holders.sharers(name) if answer is None else self._flows(answer))

    def newest_ref(self, name: VariantName) -> Revision:
        """The create_revision of the youngest reference to the shared variant; 0: unknown."""
        answer = self._answer(self._refs(name))
        created = (kv.create_revision for kv in answer.items) if answer is not None else ()
        return Revision(max(created, default=0))

    def owner(self, name: VariantName) -> str | None:
        """The flow that owns the variant, as far as it is known: only to say so in an error."""
        return self._holders.owner(name)

    def _refs(self, name: VariantName) -> Read:
        refs = self.keyspace.flow_ref_range(name)
        return Read(refs.start, refs.end, keys_only=True)

    def _flows(self, refs: ReadResult) -> Iterable[str]:
        for kv in refs.items:
            try:
                yield self.keyspace.parse_flow_ref(kv.key)[1]
            except InvalidName:  # written by hand; it holds nothing
                continue

    def _answer(self, read: Read) -> ReadResult | None:
        self._asked[read] = None
        return self._proof.get(read) if self._proof else None


def _first(result: ReadResult) -> KeyValue | None:
    return result.items[0] if result.items else None
