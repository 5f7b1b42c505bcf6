"""A change for all who share it: every flow of a blueprint made anew, in one transaction."""

from __future__ import annotations

from collections import deque

import msgspec

from flowsvc.errors import BlueprintInvalid, Finding, NotFound
from flowsvc.model import RollOut
from flowsvc.plan.core import (
    Operation,
    Plan,
    Repeated,
    Unproven,
    counted,
    done_before,
    fitted,
    mild,
)
from flowsvc.plan.flows import check_it_can_stop
from flowsvc.plan.made import Made, Standing, made_again, stands
from flowsvc.plan.variants import Move, differs, transition
from flowsvc.view import View
from kvconfig.codec import encode
from kvconfig.keyspace import VariantName
from kvconfig.records import decode_json_object
from kvconfig.txn import Guarded, Put, absent, at_revision

__all__ = ["plan_roll_out"]


def plan_roll_out(request: RollOut, operation: Operation, view: View) -> Plan | Repeated:
    """Update the flows of a blueprint, and every flow that shares what this changes.

    The latter are made anew from their own blueprints, and must come to the same value. Its
    history entry is the blueprint's; each flow that changes has one of its own too.

    Raises what an update raises, and ``NotFound`` (blueprint).
    """
    ks, name = view.keyspace, request.blueprint_name
    history_key = ks.history("flow-blueprint", name, operation.op)
    if (done := done_before(view, history_key, operation.op, "roll-out")) is not None:
        return done
    key = ks.flow_blueprint(name)
    found = view.key(key)
    if found is None:
        raise NotFound("blueprint", name)
    members = _members(request, operation, view)
    moves = [
        Move(flow=flow.flow, before=flow.variants, after=made.active) for flow, made in members
    ]
    parts = transition(moves, view)
    if not view.proven:
        raise Unproven(f"what the flows of blueprint {name!r} have")
    findings = [finding for _, made in members for finding in made.findings]
    if not members:
        findings.append(Finding("$", "no flow uses this blueprint: nothing to do", "warning"))
    guards = dict.fromkeys(
        (
            at_revision(key, found.mod_revision),
            absent(history_key),
            *(guard for _, made in members for guard in made.guards),
        )
    )
    after = decode_json_object(found.value, key=key)
    head = Guarded(
        tuple(guards),
        (
            Put(history_key, operation.entry("roll-out", after)),
            counted(view, "flow-blueprint", name),
        ),
    )
    records = [_record(flow, made, operation, view) for flow, made in members]
    txn = fitted(name, head, [*records, *parts], view)
    warnings = mild(
        BlueprintInvalid, f"blueprint {name!r}", dict.fromkeys(findings), strict=request.strict
    )
    return Plan(txn=txn, findings=warnings)


def _members(request: RollOut, operation: Operation, view: View) -> list[tuple[Standing, Made]]:
    """The flows of the blueprint; and while there are any, those that share what changes."""
    members: dict[str, tuple[Standing, Made]] = {}
    spread: set[VariantName] = set()
    users = dict.fromkeys(view.users(request.blueprint_name))
    ahead = deque(users)
    while ahead:
        name = ahead.popleft()
        if name in members:
            continue
        flow = stands(name, view)
        ours = name in users
        made = made_again(
            flow,
            operation,
            view,
            parameters=request.parameters if ours else {},
            reset=request.reset if ours else (),
        )
        members[name] = (flow, made)
        for variant, value in made.active.shared.items():
            if variant not in spread and differs(variant, value, view) == "changed":
                spread.add(variant)
                ahead.extend(view.sharers(variant))
    return list(members.values())


def _record(flow: Standing, made: Made, operation: Operation, view: View) -> Guarded:
    """One flow's record and history. One that stays as it is is only proven to be so."""
    values = {**made.active.own, **made.active.shared}
    if msgspec.structs.replace(made.record, op=flow.record.op) == flow.record and not any(
        differs(name, value, view) for name, value in values.items()
    ):
        return Guarded((flow.guard,))
    check_it_can_stop(flow.flow, made.record, operation, view)
    history_key = view.keyspace.history("flow", flow.flow, operation.op)
    record = encode(made.record)
    return Guarded(
        (flow.guard, absent(history_key)),
        (
            Put(flow.kv.key, record),
            Put(history_key, operation.flow_entry("roll-out", record, made.active.raw())),
        ),
    )
