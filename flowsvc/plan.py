"""Each operation as one transaction: what it compares, what it writes. Pure.

A planner takes a request and a :class:`flowsvc.view.View` and gives a :class:`Plan`, or the answer
to a request that was carried out before (:class:`Repeated`), or raises a refusal. The compares
prove, inside etcd, that what the view said still holds; the failure branch reads what the view was
asked for, so that the next plan starts from what stands.

Everything is guarded by the absence of the operation's own history entry. So the *same*
transaction may be sent twice: the second one fails, and reads what the first has done.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import msgspec

from flowsvc.blueprint import Blueprint, parse_blueprint
from flowsvc.errors import (
    AlreadyExists,
    Finding,
    FlowTooLarge,
    NotFound,
    RequestReused,
    SharedVariantDiffers,
    VariantTaken,
)
from flowsvc.model import NOBODY, Actor, StartFlow, StopFlow
from flowsvc.parameters import ParameterType, parse_parameter_type, resolve
from flowsvc.render import Rendered, render
from flowsvc.view import View
from kvconfig.codec import canonical, encode
from kvconfig.errors import InvalidValue, TooManyOperations
from kvconfig.keyspace import VariantName
from kvconfig.model import KeyValue, Revision
from kvconfig.records import (
    FlowRecord,
    FlowVariants,
    HistoryRecord,
    VariantRecord,
    decode_flow,
    decode_history,
    decode_variant,
)
from kvconfig.txn import (
    Compare,
    Delete,
    Guarded,
    Put,
    Txn,
    absent,
    assemble,
    at_revision,
    empty,
    exists,
    holds,
)

__all__ = [
    "ABANDONED",
    "Operation",
    "Plan",
    "Repeated",
    "plan_put_blueprint",
    "plan_put_parameter_type",
    "plan_start",
    "plan_stop",
]

ABANDONED = "abandoned"
"""The action, in the history, of an operation that was given up and can no longer commit."""


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What makes one request recognisable, and who is behind it. ``at`` is RFC 3339 in UTC.

    ``resent``: an earlier request with this ``op`` may still be on its way.
    """

    op: str
    at: str
    resent: bool = False
    actor: Actor = NOBODY

    def entry(self, action: str, after: object) -> bytes:
        """The value of its history key."""
        by, why = self.actor.by, self.actor.why
        return encode(HistoryRecord(action=action, by=by, at=self.at, why=why, after=after))


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction to commit; ``findings`` are warnings about what it is made from."""

    txn: Txn
    findings: tuple[Finding, ...] = ()


class Repeated(msgspec.Struct, frozen=True, kw_only=True):
    """The same request was carried out before, at ``revision``."""

    revision: Revision


compiled_blueprint = lru_cache(maxsize=256)(parse_blueprint)
"""Compiled once for each version of a blueprint: the value is the version."""

compiled_type = lru_cache(maxsize=1024)(parse_parameter_type)


def plan_start(request: StartFlow, operation: Operation, view: View) -> Plan | Repeated:
    """Start a flow: its record, its variants, references to shared ones, its history.

    Raises ``AlreadyExists``, ``NotFound`` (blueprint), ``BlueprintInvalid``,
    ``ParametersInvalid``, ``VariantTaken``, ``SharedVariantDiffers``, ``FlowTooLarge``,
    ``RequestReused``.
    """
    ks = view.keyspace
    flow_key = ks.flow(request.flow)
    history_key = ks.history("flow", request.flow, operation.op)
    if (done := _done_before(view, history_key, operation.op, "start")) is not None:
        return done
    if view.key(flow_key) is not None:
        raise AlreadyExists("flow", request.flow)
    blueprint, guards = _blueprint(request, view)
    parameters = _parameters(request, blueprint, guards, view)
    rendered = render(
        blueprint, flow=request.flow, workspace=request.workspace, parameters=parameters
    )
    record = _record(request, operation, rendered, parameters)
    head = Guarded(
        (absent(flow_key), absent(history_key), *guards.values()),
        (
            Put(flow_key, encode(record)),
            Put(ks.blueprint_use(request.blueprint_name, request.flow), b"{}"),
            Put(history_key, operation.entry("start", _after(record, rendered))),
        ),
    )
    parts = [_own_part(request.flow, name, value, view) for name, value in rendered.own.items()]
    parts += [
        _shared_part(request.flow, name, value, view) for name, value in rendered.shared.items()
    ]
    txn = _fitted(request.flow, head, parts, view)
    _check_it_can_stop(request.flow, record, operation, view)
    return Plan(txn=txn, findings=blueprint.findings)


def plan_stop(request: StopFlow, operation: Operation, view: View) -> Plan | Repeated:
    """Stop a flow, by its record alone: its variants, its references, and what nobody else shares.

    Raises ``NotFound``, ``RequestReused``.
    """
    ks = view.keyspace
    flow_key = ks.flow(request.flow)
    history_key = ks.history("flow", request.flow, operation.op)
    if (done := _done_before(view, history_key, operation.op, "stop")) is not None:
        return done
    found = view.key(flow_key)
    if found is None:
        raise NotFound("flow", request.flow)
    record = decode_flow(found.value, key=flow_key)
    head, own = _stop_head(request.flow, record, operation, view, found.mod_revision)
    shared = [_release(request.flow, name, view) for name in record.variants.shared_names()]
    return Plan(txn=_fitted(request.flow, head, [*own, *shared], view))


def plan_put_blueprint(
    name: str, definition: bytes, operation: Operation, view: View
) -> Plan | Repeated:
    """Store a blueprint, unless it stands there already. Raises ``BlueprintInvalid``."""
    ks = view.keyspace
    blueprint = compiled_blueprint(name, definition)
    definition = canonical(definition)
    guards, findings = [], list(blueprint.findings)
    for type_ in blueprint.parameter_types:
        known = view.key(ks.parameter_type(type_))
        guards.append(at_revision(ks.parameter_type(type_), known.mod_revision if known else _NONE))
        if known is None:
            message = f"parameter type {type_!r} does not exist yet; flows cannot start before"
            findings.append(Finding("$.parameters", message, "warning"))
    key = ks.flow_blueprint(name)
    history = ks.history("flow-blueprint", name, operation.op)
    if (done := _done_before(view, history, operation.op, "put")) is not None:
        return done
    txn = _put(Put(key, definition), history, operation, guards, view)
    return Plan(txn=txn, findings=tuple(findings))


def plan_put_parameter_type(
    name: str, definition: bytes, operation: Operation, view: View
) -> Plan | Repeated:
    """Store a parameter type, unless it stands there already. Raises ``ParameterTypeInvalid``."""
    parsed = compiled_type(name, definition)
    definition = canonical(definition)
    key = view.keyspace.parameter_type(name)
    history = view.keyspace.history("parameter-type", name, operation.op)
    if (done := _done_before(view, history, operation.op, "put")) is not None:
        return done
    txn = _put(Put(key, definition), history, operation, [], view)
    return Plan(txn=txn, findings=parsed.findings)


# -- what the planners share ---------------------------------------------------------------------

_NONE = Revision(0)


def _done_before(view: View, history_key: bytes, op: str, action: str) -> Repeated | None:
    """The operation's own history entry, where a proof shows one."""
    found = view.key(history_key)
    if found is None:
        return None
    was = decode_history(found.value, key=history_key).action
    if was != action:
        raise RequestReused(op, was=was)
    return Repeated(revision=found.mod_revision)


def _put(
    put: Put, history_key: bytes, operation: Operation, guards: Iterable[Compare], view: View
) -> Txn:
    """Write a definition; where it stands there already, only prove that it does."""
    stands = view.key(put.key)
    if stands is not None and stands.value == put.value:
        return Txn((holds(put.key, put.value),), (), view.asked)
    entry = Put(history_key, operation.entry("put", msgspec.Raw(put.value)))
    head = Guarded((absent(history_key), *guards), (put, entry))
    return assemble(head, (), otherwise=view.asked)


def _blueprint(request: StartFlow, view: View) -> tuple[Blueprint, dict[bytes, Compare]]:
    """The blueprint as it is known, and the compare that proves it."""
    key = view.keyspace.flow_blueprint(request.blueprint_name)
    found = view.key(key)
    if found is None:
        raise NotFound("blueprint", request.blueprint_name)
    blueprint = compiled_blueprint(request.blueprint_name, found.value)
    return blueprint, {key: at_revision(key, found.mod_revision)}


def _parameters(
    request: StartFlow, blueprint: Blueprint, guards: dict[bytes, Compare], view: View
) -> dict[str, str]:
    """The parameters that the flow gets. Adds a guard for each parameter type they rest on."""
    types: dict[str, ParameterType | None] = {}
    for type_ in blueprint.parameter_types:
        key = view.keyspace.parameter_type(type_)
        found = view.key(key)
        types[type_] = compiled_type(type_, found.value) if found else None
        guards[key] = at_revision(key, found.mod_revision if found else _NONE)
    return resolve(blueprint, types, request.parameters)


def _record(
    request: StartFlow, operation: Operation, rendered: Rendered, parameters: dict[str, str]
) -> FlowRecord:
    return FlowRecord(
        blueprint_name=request.blueprint_name,
        description=request.description,
        interfaces=rendered.interfaces,
        parameters=parameters,
        variants=FlowVariants(
            own=tuple(sorted(map(str, rendered.own))),
            shared=tuple(sorted(map(str, rendered.shared))),
        ),
        op=operation.op,
    )


def _after(record: FlowRecord, rendered: Rendered) -> dict[str, object]:
    variants = {str(name): value for name, value in (rendered.own | rendered.shared).items()}
    return {"record": record, "variants": variants}


def _own_part(flow: str, name: VariantName, value: VariantRecord, view: View) -> Guarded:
    """A variant that must not exist yet."""
    key = view.keyspace.active_flow(name)
    if view.key(key) is not None:
        raise VariantTaken(flow, str(name), holder=_holder(view, name, flow))
    return Guarded((absent(key),), (Put(key, encode(value)),))


def _shared_part(flow: str, name: VariantName, value: VariantRecord, view: View) -> Guarded:
    """A variant that is made now, or that another flow holds already, with the same value.

    That it is unchanged is compared, and it is not put again: nobody hears of it.
    """
    ks = view.keyspace
    key, wanted = ks.active_flow(name), encode(value)
    ref = Put(ks.flow_ref(name, flow), b"{}")
    stands, sharer = view.key(key), view.sharer(name, flow)
    if view.is_proven(key):
        if stands is None:
            sharer = None
        elif sharer is None:
            raise VariantTaken(flow, str(name), holder=view.owner(name))
        else:
            fields = _differing(stands, value)
            if fields:
                raise SharedVariantDiffers(flow, str(name), holder=sharer, fields=fields)
            wanted = stands.value  # equal, though somebody may have written it in another form
    if sharer is None:
        return Guarded((absent(key),), (Put(key, wanted), ref))
    return Guarded((holds(key, wanted), exists(ks.flow_ref(name, sharer))), (ref,))


def _holder(view: View, name: VariantName, flow: str) -> str | None:
    return view.owner(name) or view.sharer(name, flow)


def _differing(stands: KeyValue, wanted: VariantRecord) -> list[str]:
    """The paths of the fields in which two values of a variant differ; ``$`` for all of it."""
    try:
        found = decode_variant(stands.value, key=stands.key)
    except InvalidValue:
        return ["$"]
    sides = (
        ("topics", found.topics, wanted.topics),
        ("parameters", found.parameters, wanted.parameters),
    )
    return [
        f"{section}.{field}"
        for section, left, right in sides
        for field in sorted(left.keys() | right.keys())
        if left.get(field) != right.get(field)
    ]


def _stop_head(
    flow: str, record: FlowRecord, operation: Operation, view: View, mod_revision: Revision
) -> tuple[Guarded, list[Guarded]]:
    ks = view.keyspace
    flow_key = ks.flow(flow)
    history_key = ks.history("flow", flow, operation.op)
    head = Guarded(
        (at_revision(flow_key, mod_revision), absent(history_key)),
        (
            Delete(flow_key),
            Delete(ks.blueprint_use(record.blueprint_name, flow)),
            Put(history_key, operation.entry("stop", None)),
        ),
    )
    own = [Guarded((), (Delete(ks.active_flow(n)),)) for n in record.variants.own_names()]
    return head, own


def _release(flow: str, name: VariantName, view: View) -> Guarded:
    """Drop the reference; and the variant with it, where no other flow refers to it."""
    ks = view.keyspace
    ref = ks.flow_ref(name, flow)
    sharer = view.sharer(name, flow)
    if sharer is not None:
        return Guarded((exists(ks.flow_ref(name, sharer)),), (Delete(ref),))
    return _release_last(ref, name, view)


def _release_last(ref: bytes, name: VariantName, view: View) -> Guarded:
    refs = view.keyspace.flow_ref_range(name)
    nobody_else = (empty(refs.before(ref)), empty(refs.after(ref)))
    return Guarded(nobody_else, (Delete(ref), Delete(view.keyspace.active_flow(name))))


def _fitted(flow: str, head: Guarded, parts: list[Guarded], view: View) -> Txn:
    """The transaction; its failure branch reads all that the plan rests on."""
    try:
        return assemble(head, parts, otherwise=view.asked)
    except TooManyOperations as error:
        count, limit = error.count or 0, error.limit or 0
        raise FlowTooLarge(flow, count=count, limit=limit) from error


def _check_it_can_stop(flow: str, record: FlowRecord, operation: Operation, view: View) -> None:
    """No flow starts that one transaction could not stop, the last holder of all it shares."""
    ks = view.keyspace
    head, own = _stop_head(flow, record, operation, view, _NONE)
    shared = [
        _release_last(ks.flow_ref(name, flow), name, view)
        for name in record.variants.shared_names()
    ]
    _fitted(flow, head, [*own, *shared], view)
