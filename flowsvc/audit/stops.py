"""Whether one transaction can stop each flow."""

from __future__ import annotations

from collections.abc import Iterator

from flowsvc.audit.anomaly import Anomaly, anomaly
from flowsvc.audit.system import Flow, System
from flowsvc.errors import FlowTooLarge
from flowsvc.plan import Operation
from flowsvc.plan.flows import check_it_can_stop
from flowsvc.view import Holders, View
from kvconfig.keys import Range
from kvconfig.model import KeyValue
from kvconfig.txn import MAX_OPERATIONS

__all__ = ["check_stops"]

_FEW = MAX_OPERATIONS // 4
"""Variants: with at most two operations for each, so far from the limit that nobody counts."""


def check_stops(system: System) -> Iterator[Anomaly]:
    """Each flow by its record, as the last holder of all that it shares."""
    view = View(system.keyspace, _EmptyCache(), Holders(), {})
    for flow in system.flows.values():
        if (reason := _unstoppable(flow, view)) is not None:
            yield anomaly(
                "cannot-be-stopped",
                flow.kv.key,
                reason,
                cure="delete its keys with etcdctl, the record last",
            )


def _unstoppable(flow: Flow, view: View) -> str | None:
    """Why no transaction could stop it. Of those too large this counts keys, not bytes."""
    names = [*flow.own, *flow.shared]
    if len(set(names)) != len(names):
        return "it names a variant twice, and one transaction cannot delete a key twice"
    if flow.record is None or len(names) <= _FEW:
        return None
    try:
        check_it_can_stop(flow.id, flow.record, Operation(op=flow.record.op, at=""), view)
    except FlowTooLarge as error:
        return f"stopping it takes {error.count} operations, one transaction holds {error.limit}"
    return None


class _EmptyCache:
    """How large a stop can be follows from the record: no key is asked for."""

    def key(self, _key: bytes, /) -> KeyValue | None:
        return None

    def range(self, _range: Range, /) -> tuple[KeyValue, ...]:
        return ()
