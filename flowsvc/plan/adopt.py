"""A flow that another system has started: taken over as it runs there.

The one operation that is made from nothing of ours. What the flow is comes with the request; what
stands in the way is found out as in a start; and the keys of an older layout that say the same go
in the same transaction, so that at no revision both stand.
"""

from __future__ import annotations

from flowsvc.errors import AlreadyExists, Finding, PlanStale
from flowsvc.model import AdoptFlow, OldKey
from flowsvc.plan.core import NONE, Operation, Plan, Repeated, counted, done_before, fitted
from flowsvc.plan.flows import check_it_can_stop
from flowsvc.plan.made import Made
from flowsvc.plan.secret import put_back
from flowsvc.plan.variants import Move, Variants, transition
from flowsvc.view import View
from kvconfig.codec import encode
from kvconfig.errors import show_key
from kvconfig.records import DEFAULT_WORKSPACE, FlowRecord
from kvconfig.txn import Delete, Guarded, Put, absent, at_revision

__all__ = ["plan_adopt"]


def plan_adopt(request: AdoptFlow, operation: Operation, view: View) -> Plan | Repeated:
    """The flow's record, its variants with the values given, references, use and history.

    Its blueprint need not exist; a warning says so.

    Raises ``AlreadyExists``, ``VariantTaken``, ``SharedVariantDiffers``, ``FlowTooLarge``,
    ``ParametersInvalid`` (a value that is a secret here), ``RequestReused``; and ``PlanStale``
    where a key of the older layout was written since.
    """
    ks, name = view.keyspace, request.flow
    history_key = ks.history("flow", name, operation.op)
    if (done := done_before(view, history_key, operation.op, "adopt")) is not None:
        return done
    key = ks.flow(name)
    stands = view.key(key)
    now = stands.mod_revision if stands else NONE
    if now != request.replaces and request.replaces:
        raise PlanStale(show_key(key), revision=now, check_revision=request.replaces)
    if now != request.replaces:
        raise AlreadyExists("flow", name)
    made = put_back(name, _made(request, operation), view, cure=_START_IT)
    blueprint = view.key(ks.flow_blueprint(request.blueprint_name))
    parts = [
        *transition([Move(flow=name, after=made.active)], view),
        *(_instead_of(old, view) for old in request.instead_of),
    ]
    check_it_can_stop(name, made.record, operation, view)
    record = encode(made.record)
    head = Guarded(
        (at_revision(key, request.replaces), absent(history_key), *made.guards),
        (
            Put(key, record),
            Put(ks.blueprint_use(request.blueprint_name, name), b"{}"),
            Put(history_key, operation.flow_entry("adopt", record, made.active.raw())),
            counted(view, "flow", name),
        ),
    )
    findings = () if blueprint else (Finding("$", _NO_BLUEPRINT, "warning"),)
    return Plan(txn=fitted(name, head, parts, view), findings=findings)


_START_IT = (
    "it cannot be taken over as it runs; stop it where it runs, and start it here with one "
    "(`--param {name}=env:NAME`)"
)
_NO_BLUEPRINT = "its blueprint does not exist: it runs and stops, and cannot be updated"


def _made(request: AdoptFlow, operation: Operation) -> Made:
    variants = Variants(
        own={name: encode(value) for name, value in request.own.items()},
        shared={name: encode(value) for name, value in request.shared.items()},
    )
    workspace = request.workspace
    record = FlowRecord(
        blueprint_name=request.blueprint_name,
        description=request.description,
        interfaces=request.interfaces,
        parameters=request.parameters,
        given=request.given,
        workspace=DEFAULT_WORKSPACE if workspace == DEFAULT_WORKSPACE else workspace,
        variants=variants.names,
        op=operation.op,
        paused=variants.records() if request.paused else None,
    )
    return Made(record=record, variants=variants)


def _instead_of(old: OldKey, view: View) -> Guarded:
    """It goes, or shrinks, if it is still what was read."""
    stands = view.key(old.key)
    now = stands.mod_revision if stands else NONE
    if view.is_proven(old.key) and now != old.mod_revision:
        raise PlanStale(show_key(old.key), revision=now, check_revision=old.mod_revision)
    write = Delete(old.key) if old.value is None else Put(old.key, old.value)
    return Guarded((at_revision(old.key, old.mod_revision),), (write,))
