"""What a plan is made from: cached or proven answers to reads, and who shares what.

A plan asks a :class:`View`, and the view remembers what it was asked. So whoever carries out the
plan knows what a refusal rests on, and can prove it by reading just that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from kvconfig.errors import InvalidName
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.model import KeyValue
from kvconfig.records import FlowRecord
from kvconfig.txn import Read, ReadResult

__all__ = ["Holders", "View"]

Proof = Mapping[Read, ReadResult]
"""Reads and their results, all as of one revision."""


class Holders:
    """Which flow has which variant, kept up to date flow by flow; variants as in a record."""

    def __init__(self) -> None:
        self._shared: dict[str, dict[str, None]] = {}
        self._own: dict[str, str] = {}

    def add(self, flow: str, record: FlowRecord) -> None:
        """``flow`` has what its record says."""
        for name in record.variants.shared:
            self._shared.setdefault(name, {})[flow] = None
        for name in record.variants.own:
            self._own[name] = flow

    def remove(self, flow: str, record: FlowRecord) -> None:
        """``flow`` has no longer what this record said."""
        for name in record.variants.shared:
            sharers = self._shared.get(name, {})
            sharers.pop(flow, None)
            if not sharers:
                self._shared.pop(name, None)
        for name in record.variants.own:
            if self._own.get(name) == flow:
                del self._own[name]

    def owner(self, name: VariantName) -> str | None:
        """The flow that owns the variant."""
        return self._own.get(str(name))

    def sharer(self, name: VariantName, other_than: str) -> str | None:
        """Some flow, not ``other_than``, that refers to the variant."""
        return next((f for f in self._shared.get(str(name), ()) if f != other_than), None)


class View:
    """Answers from a proof where there is one, from the cache otherwise."""

    def __init__(
        self,
        keyspace: Keyspace,
        cached: Callable[[bytes], KeyValue | None],
        holders: Holders,
        proof: Proof,
    ) -> None:
        self.keyspace = keyspace
        self._cached = cached
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

    def key(self, key: bytes) -> KeyValue | None:
        """The key as far as it is known."""
        answer = self._answer(Read(key))
        return self._cached(key) if answer is None else _first(answer)

    def is_proven(self, key: bytes) -> bool:
        """Whether :meth:`key` speaks from a proof: nobody caches variants or history."""
        return self._answer(Read(key)) is not None

    def sharer(self, name: VariantName, other_than: str) -> str | None:
        """Some flow, not ``other_than``, that refers to the shared variant."""
        refs = self.keyspace.flow_ref_range(name)
        answer = self._answer(Read(refs.start, refs.end, limit=2, keys_only=True))
        if answer is None:
            return self._holders.sharer(name, other_than)
        for kv in answer.items:
            try:
                _, flow = self.keyspace.parse_flow_ref(kv.key)
            except InvalidName:  # written by hand; it holds nothing
                continue
            if flow != other_than:
                return flow
        return None

    def owner(self, name: VariantName) -> str | None:
        """The flow that owns the variant, as far as it is known: only to say so in an error."""
        return self._holders.owner(name)

    def _answer(self, read: Read) -> ReadResult | None:
        self._asked[read] = None
        return self._proof.get(read)


def _first(result: ReadResult) -> KeyValue | None:
    return result.items[0] if result.items else None
