"""From the variants that flows have to those they shall have: one part of a transaction for each.

:func:`transition` is the heart of every operation on flows. A start is a transition from nothing,
a stop one to nothing, an update changes what differs, and a roll-out does that for many flows at
once. For each variant it asks who holds it before and after, and there are nine answers::

    before \\ after   nobody                  own                     shared
    nobody            -                       absent, put             absent or of a known sharer
    own               delete                  put if it differs       and a reference
    shared            last one: delete        nobody else: take it    put if nobody else holds it

Every variant that is left as it is is compared by value; what is not put, nobody hears of.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, Self

import msgspec

from flowsvc.errors import FlowDamaged, SharedVariantDiffers, VariantTaken
from flowsvc.view import View
from kvconfig.codec import encode
from kvconfig.errors import InvalidValue, show_key
from kvconfig.keyspace import VariantName
from kvconfig.model import KeyValue
from kvconfig.records import FlowVariants, VariantRecord, decode_variant
from kvconfig.txn import (
    Compare,
    Delete,
    Guarded,
    Put,
    absent,
    empty,
    exists,
    holds,
    not_created_after,
)

__all__ = ["Move", "Variants", "differs", "last_stop", "standing", "transition"]


class Variants(msgspec.Struct, frozen=True, kw_only=True):
    """What a flow shall have: its own variants, and those it shares, with their values.

    A value is a ``VariantRecord`` in canonical JSON, just as it stands under the variant's key.
    """

    own: Mapping[VariantName, bytes] = {}
    shared: Mapping[VariantName, bytes] = {}

    @classmethod
    def of(cls, names: FlowVariants, records: Mapping[VariantName, VariantRecord]) -> Self:
        """Values by who they belong to. ``KeyError`` where one is missing."""
        return cls(
            own={name: encode(records[name]) for name in names.own_names()},
            shared={name: encode(records[name]) for name in names.shared_names()},
        )

    @property
    def names(self) -> FlowVariants:
        """As a record lists them."""
        return FlowVariants(own=_listed(self.own), shared=_listed(self.shared))

    def by_name(self) -> dict[str, bytes]:
        """All of them, by ``<processor>/<variant>``."""
        values = (*self.own.items(), *self.shared.items())
        return {"/".join(name): value for name, value in values}

    def records(self) -> dict[str, VariantRecord]:
        """The same, decoded."""
        return {name: decode_variant(value) for name, value in self.by_name().items()}

    def raw(self) -> dict[str, msgspec.Raw]:
        """The same, to be put into other JSON."""
        return {name: msgspec.Raw(value) for name, value in self.by_name().items()}


def _listed(names: Iterable[VariantName]) -> tuple[str, ...]:
    return tuple(sorted(["/".join(name) for name in names]))  # as str(), without a call for each


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """One flow's way from what it has in etcd (``before``) to what it shall have there.

    ``exact``: what is taken away must have just the value that the view shows.
    """

    flow: str
    before: FlowVariants = FlowVariants()
    after: Variants = Variants()
    exact: bool = False

    @property
    def is_start(self) -> bool:
        """Whether it holds nothing yet."""
        return not (self.before.own or self.before.shared)


def standing(
    flow: str, names: Iterable[VariantName], view: View
) -> dict[VariantName, VariantRecord]:
    """The values that a flow's variants have now.

    Raises ``FlowDamaged`` where one is missing or cannot be read.
    """
    values = {}
    for name, kv in [(name, view.shown(view.keyspace.active_flow(name))) for name in names]:
        key = show_key(view.keyspace.active_flow(name))
        if kv is None:
            raise FlowDamaged(flow, key=key, reason="is missing")
        try:
            values[name] = decode_variant(kv.value, key=kv.key)
        except InvalidValue as error:
            raise FlowDamaged(flow, key=key, reason="cannot be read") from error
    return values


def transition(moves: Sequence[Move], view: View) -> list[Guarded]:
    """The parts of the one transaction that makes all ``moves``; for each variant its own.

    Raises ``VariantTaken`` and ``SharedVariantDiffers``.
    """
    holdings = _Holdings()
    parts: list[Guarded] = []
    alone = len(moves) == 1 and moves[0].is_start
    for move in moves:
        for name in move.before.own_names():
            holdings[name].owned_before.append(move)
        for name in move.before.shared_names():
            holdings[name].shared_before.append(move)
        for name, value in move.after.own.items():
            key = view.keyspace.active_flow(name)
            if alone and name not in move.after.shared and view.shown(key) is None:
                parts.append(_made(key, value))  # nearly always: nobody holds it, or wants it too
            else:
                holdings[name].owned_after.append(move)
        for name in move.after.shared:
            holdings[name].shared_after.append(move)
    return [*parts, *[holding.part(view) for holding in holdings.values()]]


def differs(name: VariantName, value: bytes, view: View) -> Literal["", "missing", "changed"]:
    """How what stands, as far as the view knows, differs from a value; "" where it does not."""
    stands = view.shown(view.keyspace.active_flow(name))
    if stands is None:
        return "missing"
    return "changed" if _differing(stands, value) else ""


def last_stop(flow: str, variants: FlowVariants, view: View) -> list[Guarded]:
    """What stopping the flow takes in the worst case: as the last holder of all that it shares."""
    ks = view.keyspace
    parts = [Guarded((), (Delete(ks.active_flow(name)),)) for name in variants.own_names()]
    for name in variants.shared_names():
        ops = (Delete(ks.flow_ref(name, flow)), Delete(ks.active_flow(name)))
        parts.append(Guarded(_nobody_else(name, [flow], view), ops))
    return parts


class _Holdings(dict[VariantName, "_Holding"]):
    """Every variant that is asked for, in that order."""

    def __missing__(self, name: VariantName) -> _Holding:
        return self.setdefault(name, _Holding(name))


class _Holding:
    """Who of the flows that move holds one variant, before and after."""

    __slots__ = ("name", "owned_after", "owned_before", "shared_after", "shared_before")

    def __init__(self, name: VariantName) -> None:
        self.name = name
        self.owned_before: list[Move] = []
        self.shared_before: list[Move] = []
        self.owned_after: list[Move] = []
        self.shared_after: list[Move] = []

    def part(self, view: View) -> Guarded:
        """What has to hold, and what has to be done."""
        if self.owned_after:
            return self._owned(view)
        return self._shared(view) if self.shared_after else self._gone(view)

    def _gone(self, view: View) -> Guarded:
        """Nobody of ours needs it any more."""
        key = view.keyspace.active_flow(self.name)
        exact = self._as_it_stands(key, view)
        if self.owned_before:
            return Guarded(exact, (Delete(key),))
        refs = tuple(Delete(ref) for ref in self._refs(self.shared_before, view))
        sharer = view.sharer(self.name, self._flows(self.shared_before))
        if sharer is not None:
            return Guarded((*exact, exists(view.keyspace.flow_ref(self.name, sharer))), refs)
        return Guarded((*exact, *self._alone(view)), (*refs, Delete(key)))

    def _owned(self, view: View) -> Guarded:
        """One flow shall have it for itself."""
        move, *others = (*self.owned_after, *self.shared_after)
        if others:
            raise VariantTaken(others[0].flow, str(self.name), holder=move.flow)
        key, value = view.keyspace.active_flow(self.name), move.after.own[self.name]
        if self.owned_before:
            return _put_if_it_differs(key, value, view)
        if not self.shared_before and view.shown(key) is None:
            return _made(key, value)
        sharer = view.sharer(self.name, self._flows([*self.shared_before, move]))
        if not self.shared_before:
            holder = view.owner(self.name) or sharer
            raise VariantTaken(move.flow, str(self.name), holder=holder)
        if sharer is not None:
            raise VariantTaken(move.flow, str(self.name), holder=sharer)
        refs = tuple(Delete(ref) for ref in self._refs(self.shared_before, view))
        return _put_if_it_differs(key, value, view, self._alone(view), refs)

    def _shared(self, view: View) -> Guarded:
        """One flow or several shall share it, and perhaps others do already."""
        key, value = view.keyspace.active_flow(self.name), self._agreed()
        before, after = self._flows(self.shared_before), self._flows(self.shared_after)
        joining = [move for move in self.shared_after if move.flow not in before]
        leaving = [move for move in self.shared_before if move.flow not in after]
        refs: tuple[Put | Delete, ...] = (
            *(Put(ref, b"{}") for ref in self._refs(joining, view)),
            *(Delete(ref) for ref in self._refs(leaving, view)),
        )
        if self.owned_before:
            return _put_if_it_differs(key, value, view, (), refs)
        if not self.shared_before:
            return self._joined(key, value, refs, view)
        sharer = view.sharer(self.name, before | after)
        stands = view.shown(key)
        fields = _differing(stands, value) if stands is not None else []
        if sharer is not None and fields:
            flow = self.shared_after[0].flow
            raise SharedVariantDiffers(flow, str(self.name), holder=sharer, fields=fields)
        alone = self._alone(view) if fields else ()
        return _put_if_it_differs(key, value, view, alone, refs)

    def _joined(
        self, key: bytes, value: bytes, refs: tuple[Put | Delete, ...], view: View
    ) -> Guarded:
        """It is made now, or another flow holds it already, with the same value.

        That it is unchanged is compared, and it is not put again.
        """
        flow = self.shared_after[0].flow
        stands = view.shown(key)
        sharer = view.sharer(self.name, self._flows(self.shared_after))
        if view.is_proven(key):
            if stands is None:
                sharer = None
            elif sharer is None:
                raise VariantTaken(flow, str(self.name), holder=view.owner(self.name))
            else:
                if fields := _differing(stands, value):
                    raise SharedVariantDiffers(flow, str(self.name), holder=sharer, fields=fields)
                value = stands.value  # equal, though somebody may have written it in another form
        if sharer is None:
            return _made(key, value, *refs)
        ref = view.keyspace.flow_ref(self.name, sharer)
        return Guarded((holds(key, value), exists(ref)), refs)

    def _agreed(self) -> bytes:
        """The value that all who shall share it want."""
        first, *others = self.shared_after
        value = first.after.shared[self.name]
        for other in others:
            if fields := _fields(value, other.after.shared[self.name]):
                raise SharedVariantDiffers(
                    other.flow, str(self.name), holder=first.flow, fields=fields
                )
        return value

    def _as_it_stands(self, key: bytes, view: View) -> tuple[Compare, ...]:
        if not any(move.exact for move in (*self.owned_before, *self.shared_before)):
            return ()
        stands = view.shown(key)
        return (absent(key) if stands is None else holds(key, stands.value),)

    def _alone(self, view: View) -> tuple[Compare, ...]:
        return _nobody_else(self.name, self._flows(self.shared_before), view)

    def _refs(self, moves: Iterable[Move], view: View) -> list[bytes]:
        return [view.keyspace.flow_ref(self.name, move.flow) for move in moves]

    @staticmethod
    def _flows(moves: Iterable[Move]) -> frozenset[str]:
        return frozenset(move.flow for move in moves)


def _made(key: bytes, value: bytes, *refs: Put | Delete) -> Guarded:
    """A variant that nobody holds, and somebody shall."""
    return Guarded((absent(key),), (Put(key, value), *refs))


def _nobody_else(name: VariantName, flows: Collection[str], view: View) -> tuple[Compare, ...]:
    """No flow but these refers to the shared variant; that these do, their records prove."""
    refs = view.keyspace.flow_ref_range(name)
    if len(flows) == 1:
        (flow,) = flows
        ref = view.keyspace.flow_ref(name, flow)
        return (empty(refs.before(ref)), empty(refs.after(ref)))
    return (not_created_after(refs, view.newest_ref(name)),)


def _put_if_it_differs(
    key: bytes,
    value: bytes,
    view: View,
    guards: tuple[Compare, ...] = (),
    ops: tuple[Put | Delete, ...] = (),
) -> Guarded:
    """One that is held already: left alone where it is equal, put back where it is missing."""
    stands = view.shown(key)
    if stands is None:
        return Guarded((absent(key), *guards), (Put(key, value), *ops))
    if not _differing(stands, value):
        return Guarded((holds(key, stands.value), *guards), ops)
    return Guarded((holds(key, stands.value), *guards), (Put(key, value), *ops))


def _differing(stands: KeyValue, wanted: bytes) -> list[str]:
    """The paths of the fields in which two values of a variant differ; ``$`` for all of it."""
    try:
        return _fields(stands.value, wanted)
    except InvalidValue:
        return ["$"]


def _fields(one: bytes, other: bytes) -> list[str]:
    """Raises ``InvalidValue`` where one of them cannot be read; equal bytes are not looked at."""
    if one == other:
        return []
    first, second = decode_variant(one), decode_variant(other)
    sides = (
        ("topics", first.topics, second.topics),
        ("parameters", first.parameters, second.parameters),
    )
    return [
        f"{section}.{field}"
        for section, left, right in sides
        for field in sorted(left.keys() | right.keys())
        if left.get(field) != right.get(field)
    ]
