"""The audit: all keys read into a :class:`System`, then one check after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache

from flowsvc.audit.anomaly import Anomaly
from flowsvc.audit.blueprints import check_blueprints
from flowsvc.audit.flows import judged
from flowsvc.audit.histories import check_histories
from flowsvc.audit.plain import check_plain_values
from flowsvc.audit.reading import sorted_out
from flowsvc.audit.stops import check_stops
from flowsvc.audit.system import Claims, Flow, Keys, System
from flowsvc.audit.uses import check_refs, check_uses
from flowsvc.audit.variants import check_variants
from flowsvc.plan.secret import secrets_of
from flowsvc.view import Holders, View
from kvconfig.keys import Range
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue

__all__ = ["audit"]

_EPOCH = "1970-01-01T00:00:00Z"

_CHECKS: tuple[Callable[[System], Iterable[Anomaly]], ...] = (
    check_histories,
    check_variants,
    check_refs,
    check_uses,
    check_blueprints,
    check_stops,
    check_plain_values,
)


def audit(keyspace: Keyspace, items: Iterable[KeyValue], *, at: str = _EPOCH) -> list[Anomaly]:
    """Every violation among ``items``: all keys below the root (others are ignored), one revision.

    Errors first, then by key. ``at`` (RFC 3339, UTC) is the time in history entries that repairs
    write. Raises nothing: what cannot be read is a finding.
    """
    keys, found = sorted_out(keyspace, items)
    view = View(keyspace, _Definitions(keys), Holders(), {})
    secrets = cache(lambda blueprint: secrets_of(blueprint, view))
    flows = [
        judged(keyspace, flow, kv, keys.history.get(flow, ()), found, secrets=secrets)
        for flow, kv in keys.flows.items()
    ]
    system = System(
        keyspace=keyspace,
        keys=keys,
        flows={flow.id: flow for flow in flows},
        at=at,
        secrets=secrets,
    )
    for flow in flows:
        _claim(flow, system)
    for check in _CHECKS:
        found.extend(check(system))
    found.sort(key=lambda each: (each.severity != "error", each.key, each.code))
    return found


class _Definitions:
    """:class:`flowsvc.view.Cache` of the blueprints and parameter types that were read."""

    def __init__(self, keys: Keys) -> None:
        self._known = {kv.key: kv for kv in (*keys.blueprints.values(), *keys.types.values())}

    def key(self, key: bytes, /) -> KeyValue | None:
        return self._known.get(key)

    def range(self, _range: Range, /) -> tuple[KeyValue, ...]:
        return ()


def _claim(flow: Flow, system: System) -> None:
    for name in flow.own:
        system.claims.setdefault(name, Claims()).own.append(flow)
    for name in flow.shared:
        system.claims.setdefault(name, Claims()).shared.append(flow)
