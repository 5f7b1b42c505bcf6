"""Which active variant belongs to which flow, and how: as its own, or shared.

An old system did not write that down. It follows from the flow's blueprint, rendered with the
flow's parameters: what comes out of its section ``flow`` is the flow's own, what comes out of
``blueprint`` is shared by all flows of it. For what comes out of no blueprint (it was edited since,
or is gone), the variant's name says it: that of a flow makes it this flow's own, that of a
blueprint makes it shared by its flows. What two flows would have for themselves they share.

A flow is active if one of its own variants is; where it has none of its own, if a shared one is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from flowsvc.migrate.reading import OldFlow
from flowsvc.render import Rendered
from kvconfig.keyspace import VariantName

__all__ = ["Claim", "claimed"]


class Claim(msgspec.Struct, kw_only=True):
    """What a flow has of what is active. ``guessed``: of these, what only the name says.

    ``missing``: what its blueprint makes for it and is not active.
    """

    own: set[VariantName] = set()
    shared: set[VariantName] = set()
    guessed: set[VariantName] = set()
    missing: set[VariantName] = set()
    active: bool = False

    @property
    def every(self) -> set[VariantName]:
        """All that it has."""
        return self.own | self.shared


def claimed(
    flows: Mapping[str, OldFlow],
    rendered: Mapping[str, Rendered],
    active: Collection[VariantName],
    standing: Collection[VariantName] = (),
) -> dict[str, Claim]:
    """What each flow has. ``rendered`` is what blueprints make of the flows, where they can.

    ``standing``: of ``active`` the variants that other flows share already.
    """
    claims = {id_: _by_blueprint(rendered.get(id_), active) for id_ in flows}
    known = {name for claim in claims.values() for name in claim.every}
    _by_name(flows, claims, [name for name in active if name not in known])
    for id_, claim in claims.items():
        may_own = bool(claim.own) or bool(rendered[id_].own if id_ in rendered else ())
        claim.active = bool(claim.own if may_own else claim.shared)
        if not claim.active:
            claim.shared.clear()
            claim.guessed.clear()
    _share_what_two_own(claims.values(), standing)
    return claims


def _by_blueprint(rendered: Rendered | None, active: Collection[VariantName]) -> Claim:
    if rendered is None:
        return Claim()
    every = {*rendered.own, *rendered.shared}
    return Claim(
        own={name for name in rendered.own if name in active},
        shared={name for name in rendered.shared if name in active},
        missing={name for name in every if name not in active},
    )


def _by_name(
    flows: Mapping[str, OldFlow], claims: Mapping[str, Claim], left: Iterable[VariantName]
) -> None:
    users: dict[str, list[str]] = {}
    for id_, flow in flows.items():
        users.setdefault(flow.blueprint_name, []).append(id_)
    for name in left:
        if name.variant in claims:
            claim = claims[name.variant]
            claim.own.add(name)
            claim.guessed.add(name)
            continue
        for id_ in users.get(name.variant, ()):
            claims[id_].shared.add(name)
            claims[id_].guessed.add(name)


def _share_what_two_own(claims: Collection[Claim], standing: Collection[VariantName]) -> None:
    holders: dict[VariantName, int] = dict.fromkeys(standing, 1)
    for claim in claims:
        for name in claim.every:
            holders[name] = holders.get(name, 0) + 1
    for claim in claims:
        common = {name for name in claim.own if holders[name] > 1}
        claim.own -= common
        claim.shared |= common
