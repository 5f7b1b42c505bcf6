"""Blueprints and parameter types: put, deleted, put back; guarded by who rests on them.

A blueprint is in use by the flows made from it. A parameter type is in use by the blueprints that
refer to it, and to replace it matters to their flows.
"""

from __future__ import annotations

import msgspec

from flowsvc.errors import (
    AlreadyExists,
    BlueprintInvalid,
    Finding,
    InUse,
    NotFound,
    ParameterTypeInvalid,
)
from flowsvc.model import (
    KIND_WORDS,
    DefinitionKind,
    DeleteDefinition,
    PutDefinition,
    RollBackDefinition,
)
from flowsvc.plain import MASK, values_in_definition
from flowsvc.plan.core import (
    NONE,
    Operation,
    Plan,
    Repeated,
    counted,
    done_before,
    fitted,
    history_entry,
    mild,
)
from flowsvc.plan.made import compiled_blueprint, compiled_type
from flowsvc.plan.secret import readable_type
from flowsvc.view import View
from kvconfig.codec import canonical, encode
from kvconfig.errors import InvalidName, InvalidValue
from kvconfig.model import KeyValue, Revision
from kvconfig.records import decode_json_object
from kvconfig.txn import Compare, Delete, Guarded, Put, absent, at_revision, empty, not_newer

__all__ = ["plan_delete", "plan_put", "plan_roll_back_definition"]


def plan_put(request: PutDefinition, operation: Operation, view: View) -> Plan | Repeated:
    """Store a definition, unless it stands there already.

    Raises ``BlueprintInvalid`` or ``ParameterTypeInvalid``, ``AlreadyExists`` where another one
    stands and ``only_new`` was asked for, and ``InUse`` where flows were made from what it would
    replace.
    """
    return _put(request, "put", operation, view)


def plan_roll_back_definition(
    request: RollBackDefinition, operation: Operation, view: View
) -> Plan | Repeated:
    """Store again what an operation has stored.

    Raises ``NotFound``, and what a put raises; ``ParameterTypeInvalid`` too for a default that is
    plain where the type that stands takes references only.
    """
    key = view.keyspace.history(request.kind, request.name, request.to)
    entry = history_entry(view, key)
    if entry is None or entry.after is None:
        words = KIND_WORDS[request.kind]
        raise NotFound("history entry", f"{request.to} of {words} {request.name}")
    if request.kind == "parameter-type":
        _check_plain(request.name, entry.after, view)
    put = PutDefinition(
        kind=request.kind,
        name=request.name,
        definition=encode(entry.after),
        force=request.force,
        strict=request.strict,
    )
    return _put(put, "rollback", operation, view)


def _check_plain(name: str, definition: object, view: View) -> None:
    """A default that was stored before the type was marked secret does not come back."""
    stands = view.key(view.keyspace.parameter_type(name))
    type_ = readable_type(name, stands.value) if stands is not None else None
    said = "is or was a secret, and what was recorded is no reference: put the type anew"
    found = [
        Finding(path, said)
        for path, text in values_in_definition(definition)
        if text == MASK or (type_ is not None and type_.is_plain(text))
    ]
    if found:
        raise ParameterTypeInvalid(f"parameter type {name!r}", found)


def plan_delete(request: DeleteDefinition, operation: Operation, view: View) -> Plan | Repeated:
    """Remove a definition. Raises ``NotFound``, and ``InUse`` where others rest on it."""
    kind, name, ks = request.kind, request.name, view.keyspace
    history_key = ks.history(kind, name, operation.op)
    if (done := done_before(view, history_key, operation.op, "delete")) is not None:
        return done
    key = _key(kind, name, view)
    stands = view.key(key)
    if stands is None:
        raise NotFound(KIND_WORDS[kind], name)
    if kind == "flow-blueprint":
        users, guards = _flows_of([name], view)
    else:
        referring, guards = _referring(name, view)
        users = [f"flow-blueprint/{blueprint}" for blueprint in referring]
    if users and not request.force:
        raise InUse(KIND_WORDS[kind], name, users=users)
    head = Guarded(
        (
            at_revision(key, stands.mod_revision),
            absent(history_key),
            *(() if request.force else guards),
        ),
        (Delete(key), Put(history_key, operation.entry("delete", None)), counted(view, kind, name)),
    )
    findings = [
        Finding("$", f"{user} rests on it, and can only be stopped or changed now", "warning")
        for user in users
    ]
    return Plan(txn=fitted(name, head, [], view), findings=tuple(findings))


def _put(request: PutDefinition, action: str, operation: Operation, view: View) -> Plan | Repeated:
    kind, name, ks = request.kind, request.name, view.keyspace
    history_key = ks.history(kind, name, operation.op)
    if (done := done_before(view, history_key, operation.op, action)) is not None:
        return done
    checked = _check_blueprint if kind == "flow-blueprint" else _check_type
    findings, guards = checked(request, view)
    key, value = _key(kind, name, view), canonical(request.definition)
    stands = view.key(key)
    guards = [
        absent(history_key),
        at_revision(key, stands.mod_revision if stands else NONE),
        *guards,
    ]
    if stands is not None and stands.value == value:
        head = Guarded(tuple(guards), (counted(view, kind, name),))
        return Plan(txn=fitted(name, head, [], view), findings=findings)
    if stands is not None and request.only_new:
        raise AlreadyExists(KIND_WORDS[kind], name)
    if stands is not None:
        flows, unused = _made_from(request, view)
        if flows and not request.force:
            raise InUse(KIND_WORDS[kind], name, users=flows)
        guards += [] if request.force else unused
        findings += tuple(
            Finding("$", f"{flow} stays as it is until it is updated", "warning") for flow in flows
        )
    head = Guarded(
        tuple(guards),
        (
            Put(key, value),
            Put(history_key, operation.entry(action, msgspec.Raw(value))),
            counted(view, kind, name),
        ),
    )
    return Plan(txn=fitted(name, head, [], view), findings=findings)


def _key(kind: DefinitionKind, name: str, view: View) -> bytes:
    ks = view.keyspace
    return ks.flow_blueprint(name) if kind == "flow-blueprint" else ks.parameter_type(name)


def _check_blueprint(
    request: PutDefinition, view: View
) -> tuple[tuple[Finding, ...], list[Compare]]:
    """Its warnings, and that the parameter types it refers to are what they are."""
    blueprint = compiled_blueprint(request.name, request.definition)
    guards, findings = [], list(blueprint.findings)
    for type_ in blueprint.parameter_types:
        key = view.keyspace.parameter_type(type_)
        known = view.key(key)
        guards.append(at_revision(key, known.mod_revision if known else NONE))
        if known is None:
            message = f"parameter type {type_!r} does not exist yet; flows cannot start before"
            findings.append(Finding("$.parameters", message, "warning"))
    subject = f"blueprint {request.name!r}"
    return mild(BlueprintInvalid, subject, findings, strict=request.strict), guards


def _check_type(
    request: PutDefinition,
    view: View,
) -> tuple[tuple[Finding, ...], list[Compare]]:
    found = compiled_type(request.name, request.definition).findings
    subject = f"parameter type {request.name!r}"
    return mild(ParameterTypeInvalid, subject, found, strict=request.strict), []


def _made_from(request: PutDefinition, view: View) -> tuple[list[str], list[Compare]]:
    """The flows that were made from it; and the proof of it, where there are none."""
    if request.kind == "flow-blueprint":
        return _flows_of([request.name], view)
    blueprints, guards = _referring(request.name, view)
    flows, unused = _flows_of(blueprints, view)
    return flows, [*guards, *unused]


def _flows_of(blueprints: list[str], view: View) -> tuple[list[str], list[Compare]]:
    """The flows made from the blueprints, and that there are none (where there are none)."""
    flows = [f"flow/{flow}" for blueprint in blueprints for flow in view.users(blueprint)]
    return flows, [empty(view.keyspace.blueprint_use_range(b)) for b in blueprints]


def _referring(type_: str, view: View) -> tuple[list[str], list[Compare]]:
    """The blueprints that refer to a parameter type, and that there are no others by now."""
    known = view.blueprints()
    newest = Revision(max((kv.mod_revision for kv in known), default=0))
    names = [name for kv in known if (name := _refers(kv, type_, view)) is not None]
    return names, [not_newer(view.keyspace.type_range("flow-blueprint"), newest)]


def _refers(kv: KeyValue, type_: str, view: View) -> str | None:
    """The blueprint's name, if it can be read and refers to the type."""
    try:
        name = view.keyspace.parse_named(kv.key, "flow-blueprint")
        definition = decode_json_object(kv.value, key=kv.key)
        refers = type_ in compiled_blueprint(name, encode(definition)).parameter_types
    except (InvalidName, InvalidValue, BlueprintInvalid):
        return None
    return name if refers else None
