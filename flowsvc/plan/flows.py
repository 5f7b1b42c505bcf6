"""The life of a flow: start, stop, update, pause, resume, and back to what it was."""

from __future__ import annotations

import msgspec

from flowsvc.errors import (
    AlreadyExists,
    BlueprintInvalid,
    Finding,
    FlowDamaged,
    NotFound,
    WrongState,
)
from flowsvc.model import (
    PauseFlow,
    ResumeFlow,
    RollBackFlow,
    StartFlow,
    StopFlow,
    UpdateFlow,
)
from flowsvc.plan.core import (
    NONE,
    After,
    Operation,
    Plan,
    Repeated,
    Unproven,
    counted,
    done_before,
    fitted,
    history_entry,
    mild,
)
from flowsvc.plan.made import Made, Standing, made_again, make, stands
from flowsvc.plan.secret import put_back
from flowsvc.plan.variants import Move, Variants, last_stop, standing, transition
from flowsvc.view import View
from kvconfig.codec import encode
from kvconfig.errors import InvalidName, show_key
from kvconfig.keyspace import VariantName
from kvconfig.records import FlowRecord, FlowVariants
from kvconfig.txn import (
    MAX_OPERATIONS,
    Compare,
    Delete,
    Guarded,
    Put,
    Txn,
    absent,
    at_revision,
)

__all__ = [
    "check_it_can_stop",
    "plan_pause",
    "plan_restart",
    "plan_resume",
    "plan_roll_back",
    "plan_start",
    "plan_stop",
    "plan_update",
]

# -- the operations ------------------------------------------------------------------------------


def plan_start(request: StartFlow, operation: Operation, view: View) -> Plan | Repeated:
    """Start a flow: its record, its variants, references to shared ones, its history.

    Raises ``AlreadyExists``, ``NotFound`` (blueprint), ``BlueprintInvalid``,
    ``ParametersInvalid``, ``VariantTaken``, ``SharedVariantDiffers``, ``FlowTooLarge``,
    ``RequestReused``.
    """
    if (done := _done(request.flow, operation, "start", view)) is not None:
        return done
    if view.key(view.keyspace.flow(request.flow)) is not None:
        raise AlreadyExists("flow", request.flow)
    made = make(
        request.flow,
        request.blueprint_name,
        given=request.parameters,
        description=request.description,
        workspace=request.workspace,
        operation=operation,
        view=view,
    )
    step = _Step(
        name=request.flow, flow=None, action="start", operation=operation, strict=request.strict
    )
    return _planned(step, made, view)


def plan_stop(request: StopFlow, operation: Operation, view: View) -> Plan | Repeated:
    """Stop a flow, by its record alone: its variants, its references, and what nobody else shares.

    Without a history entry (``operation.recorded``) it is deletes only: etcd takes those even when
    it is out of space.

    Raises ``NotFound``, ``RequestReused``.
    """
    if (done := _done(request.flow, operation, "stop", view)) is not None:
        return done
    flow = stands(request.flow, view)
    head = _stop_head(flow.flow, flow.record, flow.guard, operation, view)
    parts = transition([Move(flow=request.flow, before=flow.variants)], view)
    findings = () if operation.recorded else (_NOT_RECORDED,)
    return Plan(txn=fitted(request.flow, head, parts, view), findings=findings)


def plan_update(request: UpdateFlow, operation: Operation, view: View) -> Plan | Repeated:
    """Make the flow anew; of its variants only those are put that change.

    Raises what a start raises but ``AlreadyExists``, and ``NotFound`` (flow).
    """
    if (done := _done(request.flow, operation, "update", view)) is not None:
        return done
    flow = stands(request.flow, view)
    made = made_again(
        flow,
        operation,
        view,
        parameters=request.parameters,
        reset=request.reset,
        blueprint_name=request.blueprint_name,
        description=request.description,
    )
    step = _Step(
        name=request.flow, flow=flow, action="update", operation=operation, strict=request.strict
    )
    return _planned(step, made, view)


def plan_pause(request: PauseFlow, operation: Operation, view: View) -> Plan | Repeated:
    """Take the variants away, and keep them in the record.

    Raises ``NotFound``, ``WrongState``, ``FlowDamaged``.
    """
    if (done := _done(request.flow, operation, "pause", view)) is not None:
        return done
    flow = stands(request.flow, view)
    if flow.record.paused is not None:
        raise WrongState(request.flow, state="paused", cure="resume it")
    names = flow.record.variants
    values = standing(request.flow, [*names.own_names(), *names.shared_names()], view)
    variants = Variants.of(names, values)
    record = msgspec.structs.replace(flow.record, op=operation.op, paused=variants.records())
    made = Made(record=record, variants=variants)
    step = _Step(name=request.flow, flow=flow, action="pause", operation=operation)
    return _planned(step, made, view)


def plan_resume(request: ResumeFlow, operation: Operation, view: View) -> Plan | Repeated:
    """Put back what a pause has taken away.

    Raises ``NotFound``, ``WrongState``, ``ParametersInvalid`` (a value that is a secret by now),
    ``VariantTaken``, ``SharedVariantDiffers``.
    """
    if (done := _done(request.flow, operation, "resume", view)) is not None:
        return done
    flow = stands(request.flow, view)
    paused = flow.record.paused
    if paused is None:
        raise WrongState(request.flow, state="not paused", cure="there is nothing to resume")
    values = {VariantName.parse(name): value for name, value in paused.items()}
    record = msgspec.structs.replace(flow.record, op=operation.op, paused=None)
    made = Made(record=record, variants=Variants.of(flow.record.variants, values))
    made = put_back(request.flow, made, view, cure=f"{_given_anew(request.flow)}, then resume it")
    step = _Step(name=request.flow, flow=flow, action="resume", operation=operation)
    return _planned(step, made, view)


def plan_restart(request: ResumeFlow, operation: Operation, view: View) -> Plan | Repeated:
    """For a resume that a pause is to come before: whether it may put back what stands. No writes.

    Raises ``NotFound``, ``FlowDamaged``, ``ParametersInvalid`` (a value that is a secret by now).
    """
    if (done := _done(request.flow, operation, "resume", view)) is not None:
        return done
    flow = stands(request.flow, view)
    names = flow.record.variants
    if flow.record.paused is None:
        values = standing(request.flow, [*names.own_names(), *names.shared_names()], view)
    else:
        values = {VariantName.parse(name): each for name, each in flow.record.paused.items()}
    made = Made(record=flow.record, variants=Variants.of(names, values))
    put_back(request.flow, made, view, cure=f"{_given_anew(request.flow)}, which restarts it too")
    return Plan(txn=Txn())


def _given_anew(flow: str) -> str:
    return f"give one with `flowctl flow update {flow} --param {{name}}=env:NAME`"


def plan_roll_back(request: RollBackFlow, operation: Operation, view: View) -> Plan | Repeated:
    """Make the flow what it was after an operation of its history, by the rules of an update.

    Raises ``NotFound`` (history entry, blueprint), ``WrongState`` (it was stopped then),
    ``FlowDamaged`` (the entry cannot be read), ``ParametersInvalid`` (a value that is a secret by
    now), ``VariantTaken``, ``SharedVariantDiffers``.
    """
    if (done := _done(request.flow, operation, "rollback", view)) is not None:
        return done
    ks = view.keyspace
    found = view.key(ks.flow(request.flow))
    flow = None if found is None else stands(request.flow, view)
    made = _recorded(request, operation, view)
    name = made.record.blueprint_name
    if view.key(ks.flow_blueprint(name)) is None:
        raise NotFound("blueprint", name)
    started = f"give one with `flowctl flow start -n {name} -i {request.flow}"
    cure = f"{started} --param {{name}}=env:NAME`" if flow is None else _given_anew(request.flow)
    made = put_back(request.flow, made, view, cure=f"{cure} instead")
    step = _Step(name=request.flow, flow=flow, action="rollback", operation=operation)
    return _planned(step, made, view)


# -- what they share -----------------------------------------------------------------------------


def _done(flow: str, operation: Operation, action: str, view: View) -> Repeated | None:
    key = view.keyspace.history("flow", flow, operation.op)
    return done_before(view, key, operation.op, action)


class _Step(msgspec.Struct, frozen=True, kw_only=True):
    """One operation on one flow, which stands in etcd or does not."""

    name: str
    flow: Standing | None
    action: str
    operation: Operation
    strict: bool = False


def _planned(step: _Step, made: Made, view: View) -> Plan:
    """From what stands to what was made, and the history of it."""
    flow, name = step.flow, step.name
    move = Move(
        flow=name,
        before=FlowVariants() if flow is None else flow.variants,
        after=made.active,
        exact=step.action == "pause",
    )
    parts = transition([move], view)
    if flow is not None and not view.proven:
        raise Unproven(f"what flow {name!r} has")
    findings = mild(BlueprintInvalid, f"flow {name!r}", made.findings, strict=step.strict)
    if flow is not None and _unchanged(flow.record, made.record, parts):
        ops: list[Put | Delete] = []
    else:
        ops = _writes(step, made, view)
        check_it_can_stop(name, made.record, step.operation, view)
    ks = view.keyspace
    head = Guarded(
        (
            absent(ks.flow(name)) if flow is None else flow.guard,
            absent(ks.history("flow", name, step.operation.op)),
            *made.guards,
        ),
        (*ops, counted(view, "flow", name)),
    )
    return Plan(txn=fitted(name, head, parts, view), findings=findings)


def _writes(step: _Step, made: Made, view: View) -> list[Put | Delete]:
    """The record, the key that guards its blueprint, and the history."""
    ks, name, now = view.keyspace, step.name, made.record.blueprint_name
    was = None if step.flow is None else step.flow.record.blueprint_name
    record = encode(made.record)
    ops: list[Put | Delete] = [Put(ks.flow(name), record)]
    if was != now:
        ops.append(Put(ks.blueprint_use(now, name), b"{}"))
    if was not in (None, now):
        ops.append(Delete(ks.blueprint_use(str(was), name)))
    entry = step.operation.flow_entry(step.action, record, made.active.raw())
    ops.append(Put(ks.history("flow", name, step.operation.op), entry))
    return ops


def _unchanged(before: FlowRecord, after: FlowRecord, parts: list[Guarded]) -> bool:
    same = msgspec.structs.replace(after, op=before.op) == before
    return same and not any(part.ops for part in parts)


def _recorded(request: RollBackFlow, operation: Operation, view: View) -> Made:
    """What the history says the flow was."""
    key = view.keyspace.history("flow", request.flow, request.to)
    entry = history_entry(view, key)
    if entry is None:
        raise NotFound("history entry", f"{request.to} of flow {request.flow}")
    if entry.after is None:
        raise WrongState(request.flow, state="stopped in that entry", cure="stop it instead")
    try:
        after = msgspec.convert(entry.after, After)
        values = {VariantName.parse(name): value for name, value in after.values().items()}
        variants = Variants.of(after.record.variants, values)
    except (msgspec.ValidationError, InvalidName, KeyError) as error:
        reason = "holds no record and variants of a flow"
        raise FlowDamaged(request.flow, key=show_key(key), reason=reason) from error
    record = msgspec.structs.replace(after.record, op=operation.op)
    return Made(record=record, variants=variants)


_NOT_RECORDED = Finding(
    "$",
    "etcd is out of space: there is no history entry of this, until flowctl fsck --repair adds one",
    "warning",
)


_STOP_OPERATIONS = 4
"""What :func:`_stop_head` does at the most."""


def _stop_head(
    flow: str, record: FlowRecord, guard: Compare, operation: Operation, view: View
) -> Guarded:
    """What every stop does, whatever the variants."""
    ks = view.keyspace
    history_key = ks.history("flow", flow, operation.op)
    entry = [Put(history_key, operation.entry("stop", None))] if operation.recorded else []
    return Guarded(
        (guard, absent(history_key)),
        (
            Delete(ks.flow(flow)),
            Delete(ks.blueprint_use(record.blueprint_name, flow)),
            *entry,
            counted(view, "flow", flow),
        ),
    )


def check_it_can_stop(flow: str, record: FlowRecord, operation: Operation, view: View) -> None:
    """No flow is made that one transaction could not stop, the last holder of all it shares.

    Asks the view for nothing. Raises ``FlowTooLarge``.
    """
    variants = record.variants
    if _STOP_OPERATIONS + len(variants.own) + 2 * len(variants.shared) <= MAX_OPERATIONS:
        return  # side by side, as nearly every flow: no need to plan it to know that
    guard = at_revision(view.keyspace.flow(flow), NONE)
    head = _stop_head(flow, record, guard, operation, view)
    fitted(flow, head, last_stop(flow, variants, view), view)
