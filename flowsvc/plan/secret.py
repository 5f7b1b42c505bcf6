"""Which parameters of a flow are secret as things stand; and that no plain value of one comes back.

A start and an update check what they are given. A resume, a rollback and an adoption put what was
recorded, perhaps before its type was marked: :func:`put_back` is their check.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flowsvc.blueprint import Blueprint
from flowsvc.definition import child
from flowsvc.errors import BlueprintInvalid, Finding, ParametersInvalid, ParameterTypeInvalid
from flowsvc.parameters import ParameterType, secret_parameters
from flowsvc.plain import MASK, Plain, plain_in_flow
from flowsvc.plan.core import NONE
from flowsvc.plan.made import Made, compiled_blueprint, compiled_type
from flowsvc.view import View
from kvconfig.codec import encode, parse_json
from kvconfig.errors import InvalidValue
from kvconfig.records import FlowRecord, VariantRecord
from kvconfig.reference import allowed
from kvconfig.txn import Compare, at_revision

__all__ = ["NO_SECRETS", "Secrets", "put_back", "readable_type", "secrets_of"]


class Secrets(msgspec.Struct, frozen=True, kw_only=True):
    """The secret parameters of a blueprint, each with its type; ``guards`` prove that it is all."""

    blueprint: Blueprint
    types: Mapping[str, ParameterType] = {}
    guards: tuple[Compare, ...] = ()

    def plain_in(
        self, flow: str, record: FlowRecord, variants: Mapping[str, VariantRecord]
    ) -> list[Plain]:
        """See :func:`flowsvc.plain.plain_in_flow`."""
        return list(plain_in_flow(flow, record, variants, self.blueprint, self.types))


NO_SECRETS = Secrets(blueprint=Blueprint(name=""))


def secrets_of(blueprint_name: str, view: View) -> Secrets:
    """What the blueprint and its parameter types say now. Raises nothing.

    A blueprint that is not there, or that nobody can read, says of no parameter that it is secret;
    a type that cannot be read, for its default for example, says so all the same.
    """
    ks = view.keyspace
    key = ks.flow_blueprint(blueprint_name)
    found = view.key(key)
    guards = [at_revision(key, found.mod_revision if found else NONE)]
    try:
        blueprint = compiled_blueprint(blueprint_name, found.value) if found else None
    except BlueprintInvalid:
        blueprint = None
    if blueprint is None:
        return Secrets(blueprint=NO_SECRETS.blueprint, guards=tuple(guards))
    types: dict[str, ParameterType | None] = {}
    for name in blueprint.parameter_types:
        key = ks.parameter_type(name)
        found = view.key(key)
        types[name] = readable_type(name, found.value) if found else None
        guards.append(at_revision(key, found.mod_revision if found else NONE))
    return Secrets(
        blueprint=blueprint, types=secret_parameters(blueprint, types), guards=tuple(guards)
    )


def readable_type(name: str, value: bytes) -> ParameterType | None:
    """The type that stands, or of a broken one what it says of secrets; ``None``: nothing."""
    try:
        return compiled_type(name, value)
    except ParameterTypeInvalid:
        pass
    try:
        fields = parse_json(value)
        if not (isinstance(fields, dict) and fields.get("secret")):
            return None
        marked = {"secret": True, "schemes": fields.get("schemes", [])}
        return compiled_type(name, encode(marked))
    except (InvalidValue, ParameterTypeInvalid):
        return None


def put_back(flow: str, made: Made, view: View, *, cure: str) -> Made:
    """What was recorded, with the proof that none of its values is one that a secret was before.

    ``cure`` says what else can be done; ``{name}`` in it stands for the parameter. Raises
    :class:`ParametersInvalid`, without a value.
    """
    secrets = secrets_of(made.record.blueprint_name, view)
    findings: dict[str, Finding] = {}

    def note(name: str, said: str) -> None:
        path, message = child("$.parameters", name), f"{said}: {cure}".replace("{name}", name)
        findings.setdefault(path, Finding(path, message))

    variants = made.variants.records()
    for values in (made.record.parameters, *(each.parameters for each in variants.values())):
        for name, value in values.items() if not findings else ():
            if value == MASK:
                note(name, "was a secret, and was taken out of what was recorded")
    for plain in secrets.plain_in(flow, made.record, variants) if not findings else ():
        ways = allowed(secrets.types[plain.parameter].schemes)
        marked = f"is a secret (parameter type {plain.type!r})"
        note(plain.parameter, f"{marked}, and what was recorded is no reference to one ({ways})")
    if findings:
        raise ParametersInvalid(f"what was recorded of flow {flow!r}", findings.values())
    return msgspec.structs.replace(made, guards=(*made.guards, *secrets.guards))
