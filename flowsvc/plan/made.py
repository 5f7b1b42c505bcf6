"""What a flow is, and what it shall be: read from its record, or made from its blueprint."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TypeAlias

import msgspec

from flowsvc.blueprint import Blueprint, parse_blueprint
from flowsvc.definition import child
from flowsvc.errors import Finding, NotFound, ParametersInvalid
from flowsvc.model import ParameterValue
from flowsvc.parameters import Resolved, parse_parameter_type, resolve, stringify
from flowsvc.plan.core import NONE, Operation
from flowsvc.plan.variants import Variants
from flowsvc.render import Form, form
from flowsvc.view import View
from kvconfig.model import KeyValue
from kvconfig.records import DEFAULT_WORKSPACE, FlowRecord, FlowVariants, decode_flow
from kvconfig.txn import Compare, at_revision

__all__ = [
    "Made",
    "Standing",
    "compiled_blueprint",
    "compiled_type",
    "made_again",
    "make",
    "stands",
]

compiled_blueprint = lru_cache(maxsize=256)(parse_blueprint)
"""Compiled once for each version of a blueprint: the value is the version."""

compiled_type = lru_cache(maxsize=1024)(parse_parameter_type)

FORMS = 64
"""How many blueprints filled in are remembered. Most take some 20 KB; those as large as
:data:`flowsvc.render.MAX_RENDERED_BYTES` allows would take some 100 MB together."""


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A flow that stands in etcd, and its record there."""

    flow: str
    kv: KeyValue
    record: FlowRecord

    @property
    def variants(self) -> FlowVariants:
        """Those it has under ``/active-flow/``: none while it is paused."""
        return self.record.variants if self.record.paused is None else FlowVariants()

    @property
    def guard(self) -> Compare:
        """That it was not written since."""
        return at_revision(self.kv.key, self.kv.mod_revision)


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What a flow shall be: its record and its variants. ``guards`` prove what it was made from."""

    record: FlowRecord
    variants: Variants
    guards: tuple[Compare, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def active(self) -> Variants:
        """Those it shall have under ``/active-flow/``."""
        return self.variants if self.record.paused is None else Variants()


def stands(flow: str, view: View) -> Standing:
    """The flow as it is known. Raises ``NotFound``, and ``InvalidValue`` for a broken record."""
    key = view.keyspace.flow(flow)
    found = view.key(key)
    if found is None:
        raise NotFound("flow", flow)
    return Standing(flow=flow, kv=found, record=decode_flow(found.value, key=key))


def made_again(
    flow: Standing,
    operation: Operation,
    view: View,
    *,
    parameters: Mapping[str, ParameterValue],
    reset: tuple[str, ...],
    blueprint_name: str = "",
    description: str | None = None,
) -> Made:
    """The flow as its blueprint and its parameter types would make it now, paused if it is."""
    record = flow.record
    kept = record.parameters if record.given is None else record.given
    unknown = [name for name in reset if name not in kept]
    if unknown:
        path, message = child("$.reset", unknown[0]), "was not given: there is nothing to reset"
        raise ParametersInvalid(f"parameters of flow {flow.flow!r}", [Finding(path, message)])
    given = {name: value for name, value in kept.items() if name not in reset} | dict(parameters)
    anew = make(
        flow.flow,
        blueprint_name or record.blueprint_name,
        given=given,
        description=record.description if description is None else description,
        workspace=record.workspace,
        operation=operation,
        view=view,
    )
    if record.paused is None:
        return anew
    resting = msgspec.structs.replace(anew.record, paused=anew.variants.records())
    return msgspec.structs.replace(anew, record=resting)


def make(
    flow: str,
    blueprint_name: str,
    *,
    given: Mapping[str, ParameterValue],
    description: str,
    workspace: str,
    operation: Operation,
    view: View,
) -> Made:
    """What the blueprint makes of the parameters; and the compares that prove both."""
    key = view.keyspace.flow_blueprint(blueprint_name)
    found = view.key(key)
    if found is None:
        raise NotFound("blueprint", blueprint_name)
    blueprint = compiled_blueprint(blueprint_name, found.value)
    types, guards = _types(blueprint, view)
    resolved, filled_in = _form(blueprint_name, found.value, types, given, workspace)
    rendered = filled_in.fill(flow)
    variants = Variants(own=rendered.own, shared=rendered.shared)
    record = FlowRecord(
        blueprint_name=blueprint_name,
        description=description,
        interfaces=rendered.interfaces,
        parameters=resolved.values,
        given=resolved.given,
        workspace=DEFAULT_WORKSPACE if workspace == DEFAULT_WORKSPACE else workspace,
        variants=variants.names,
        op=operation.op,
    )
    return Made(
        record=record,
        variants=variants,
        guards=(at_revision(key, found.mod_revision), *guards),
        findings=(*blueprint.findings, *resolved.findings),
    )


def _types(blueprint: Blueprint, view: View) -> tuple[_Types, list[Compare]]:
    """The parameter types that a blueprint refers to, and that they are what they are."""
    types, guards = [], []
    for type_ in blueprint.parameter_types:
        key = view.keyspace.parameter_type(type_)
        found = view.key(key)
        types.append((type_, found.value if found else None))
        guards.append(at_revision(key, found.mod_revision if found else NONE))
    return tuple(types), guards


_Types: TypeAlias = tuple[tuple[str, bytes | None], ...]
_Given: TypeAlias = tuple[tuple[str, ParameterValue], ...]


def _filled_in(
    name: str, definition: bytes, types: _Types, given: _Given, workspace: str
) -> tuple[Resolved, Form]:
    """A flow's parameters, and its blueprint filled in for them: all but the flow's id."""
    blueprint = compiled_blueprint(name, definition)
    compiled = {type_: compiled_type(type_, value) if value else None for type_, value in types}
    resolved = resolve(blueprint, compiled, dict(given))
    return resolved, form(blueprint, workspace=workspace, parameters=resolved.values)


_remembered = lru_cache(maxsize=FORMS)(_filled_in)
"""By the values of the definitions, so that one that was changed is another one."""


def _form(
    name: str, definition: bytes, types: _Types, given: Mapping[str, ParameterValue], workspace: str
) -> tuple[Resolved, Form]:
    """The same, remembered; by texts, since ``1``, ``1.0`` and ``True`` are one key of a cache."""
    texts = {each: stringify(value, each) for each, value in given.items()}
    if any(isinstance(text, Finding) for text in texts.values()):  # which raises where it is wrong
        return _filled_in(name, definition, types, tuple(given.items()), workspace)
    return _remembered(name, definition, types, tuple(texts.items()), workspace)
