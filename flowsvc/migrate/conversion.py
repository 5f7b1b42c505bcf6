"""From an old state to what shall be written: definitions, configuration, and flows to adopt.

A flow comes over as it is active, value for value: never rendered anew. Where its blueprint would
make something else of it today, the active value counts and a finding says so. A flow of which
nothing was active comes over paused, with what its blueprint makes of it.

``given`` (which values of parameters somebody chose, and which were defaults) was not kept by old
systems; so all count as chosen, and an update will keep them. Only a default that its own type
would refuse from a user cannot be chosen.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from flowsvc.blueprint import Blueprint, parse_blueprint
from flowsvc.differences import differences
from flowsvc.errors import Finding, InvalidInput
from flowsvc.migrate.blueprints import modernised
from flowsvc.migrate.claims import Claim, claimed
from flowsvc.migrate.flat import split
from flowsvc.migrate.reading import OldDefinition, OldEntry, OldFlow, OldState, Style
from flowsvc.model import AdoptFlow
from flowsvc.parameters import ParameterType, parse_parameter_type, resolve
from flowsvc.render import Rendered, decoded, render
from kvconfig.keyspace import VariantName
from kvconfig.records import DEFAULT_WORKSPACE, VariantRecord, decode_variant

__all__ = ["Migration", "convert"]


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """What shall be written; ``findings`` are about all that is not carried over as it was."""

    style: Style
    parameter_types: dict[str, dict[str, Any]]
    blueprints: dict[str, dict[str, Any]]
    items: dict[tuple[str, str], Any]
    flows: dict[str, AdoptFlow]
    findings: tuple[Finding, ...]


def convert(
    old: OldState,
    *,
    workspace: str = DEFAULT_WORKSPACE,
    standing: Mapping[VariantName, VariantRecord] = {},
) -> Migration:
    """What a migration of ``old`` writes.

    ``workspace`` is what ``{workspace}`` stands for in blueprints. ``standing``: the shared
    variants of flows that are adopted already; a flow that shares one of them joins.
    """
    return _Converter(old, workspace, standing).convert()


class _Converter:
    def __init__(
        self, old: OldState, workspace: str, standing: Mapping[VariantName, VariantRecord]
    ) -> None:
        self.old, self.workspace, self.standing = old, workspace, standing
        self.findings = list(old.findings)
        self.types: dict[str, ParameterType] = {}
        self.blueprints: dict[str, Blueprint] = {}
        self.rendered: dict[str, Rendered] = {}

    def convert(self) -> Migration:
        types = dict(self._parameter_types())
        blueprints = dict(self._blueprints())
        flows = dict(self._flows())
        return Migration(
            style=self.old.style,
            parameter_types=types,
            blueprints=blueprints,
            items=self.old.items,
            flows=flows,
            findings=tuple(dict.fromkeys(self.findings)),
        )

    # -- definitions -------------------------------------------------------------------------

    def _parameter_types(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, old in self.old.parameter_types.items():
            try:
                self.types[name] = parse_parameter_type(name, old.value)
            except InvalidInput as error:
                self._refused(old, error)
            else:
                yield name, old.value

    def _blueprints(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, old in self.old.blueprints.items():
            new = modernised(old.value)
            try:
                self.blueprints[name] = parse_blueprint(name, new)
            except InvalidInput as error:
                self._refused(old, error)
            else:
                yield name, new

    def _refused(self, old: OldDefinition, error: InvalidInput) -> None:
        for found in error.findings:
            if found.severity == "error":
                inside = f"{old.path}{found.path.removeprefix('$')}"
                self._error(inside, f"{found.message}: the whole is not carried over")

    # -- flows -------------------------------------------------------------------------------

    def _flows(self) -> Iterator[tuple[str, AdoptFlow]]:
        flows = dict(sorted(self.old.flows.items()))
        for id_, flow in flows.items():
            if (rendered := self._render(id_, flow)) is not None:
                self.rendered[id_] = rendered
        active = {*self.old.active, *self.standing}
        claims = claimed(flows, self.rendered, active, self.standing)
        values = self._values(claims)
        for id_, flow in flows.items():
            yield id_, self._adopted(id_, flow, claims[id_], values)
        self._tell_of_leftovers({name for claim in claims.values() for name in claim.every})

    def _render(self, id_: str, flow: OldFlow) -> Rendered | None:
        """What today's blueprint makes of the flow, or ``None`` and a finding."""
        blueprint = self.blueprints.get(flow.blueprint_name)
        if blueprint is None:
            gone = f"its blueprint {flow.blueprint_name!r} does not exist, or is not carried over"
            self._warning(flow.path, f"{gone}: it runs and stops, but cannot be updated")
            return None
        values = {**self._defaults(blueprint), **flow.parameters}
        try:
            return render(blueprint, flow=id_, workspace=self.workspace, parameters=values)
        except InvalidInput as error:
            self._warning(flow.path, f"its blueprint makes no flow of it any more: {error}")
            return None

    def _defaults(self, blueprint: Blueprint) -> dict[str, str]:
        """For parameters that a record does not hold: the blueprint may be younger."""
        types = {p.name: self.types.get(p.type or "") for p in blueprint.parameters.values()}
        return {n: t.default for n, t in types.items() if t is not None and t.default is not None}

    def _values(self, claims: Mapping[str, Claim]) -> dict[VariantName, VariantRecord]:
        """What is active, each variant once; the first flow that has it says what is a topic."""
        like: dict[VariantName, VariantRecord] = {}
        for id_, claim in claims.items():
            for name in claim.every:
                if (made := self._made(id_, name)) is not None:
                    like.setdefault(name, made)
        active = {name: _record(old, like.get(name)) for name, old in self.old.active.items()}
        return dict(self.standing) | active

    def _made(self, id_: str, name: VariantName) -> VariantRecord | None:
        """What the blueprint makes of a flow's variant."""
        if id_ not in self.rendered:
            return None
        rendered = self.rendered[id_]
        made = rendered.own.get(name) or rendered.shared.get(name)
        return decode_variant(made) if made is not None else None

    def _adopted(
        self,
        id_: str,
        flow: OldFlow,
        claim: Claim,
        values: Mapping[VariantName, VariantRecord],
    ) -> AdoptFlow:
        rendered = self.rendered.get(id_)
        request = AdoptFlow(
            flow=id_,
            blueprint_name=flow.blueprint_name,
            description=flow.description,
            interfaces=flow.interfaces,
            parameters=flow.parameters,
            given=self._given(flow),
            workspace=self.workspace,
            own={name: values[name] for name in sorted(claim.own)},
            shared={name: values[name] for name in sorted(claim.shared)},
        )
        self._foresee_update(id_, flow, request)
        if claim.active:
            self._tell_of_variants(id_, flow, claim, values)
            return request
        if rendered is None or not (rendered.own or rendered.shared):
            self._warning(flow.path, "nothing of it was active: it has no variants")
            return request
        self._warning(flow.path, f"nothing of it was active: paused; `flowctl flow resume {id_}`")
        return msgspec.structs.replace(
            request,
            own=decoded(rendered.own),
            shared=decoded(rendered.shared),
            paused=True,
        )

    def _given(self, flow: OldFlow) -> dict[str, str]:
        """The values that somebody may have chosen."""
        given = dict(flow.parameters)
        blueprint = self.blueprints.get(flow.blueprint_name, _NO_BLUEPRINT)
        for name, parameter in blueprint.parameters.items():
            type_ = self.types.get(parameter.type or "")
            if type_ and type_.default_violations and given.get(name) == type_.default:
                del given[name]
        return given

    # -- findings ----------------------------------------------------------------------------

    def _foresee_update(self, id_: str, flow: OldFlow, request: AdoptFlow) -> None:
        """What an update would refuse: no old system checked parameters."""
        blueprint = self.blueprints.get(flow.blueprint_name)
        if blueprint is None:
            return
        types = {name: self.types.get(name) for name in blueprint.parameter_types}
        try:
            resolve(blueprint, types, request.given or {})
        except InvalidInput as error:
            for found in error.findings:
                inside = f"{flow.path}{found.path.removeprefix('$')}"
                if found.severity == "error":
                    said = f"an update of flow {id_!r} will be refused: {found.message}"
                    self._warning(inside, said)

    def _tell_of_variants(
        self,
        id_: str,
        flow: OldFlow,
        claim: Claim,
        values: Mapping[VariantName, VariantRecord],
    ) -> None:
        blueprint = flow.blueprint_name
        for name in sorted(claim.every):
            entry, made = self.old.active.get(name), self._made(id_, name)
            path = flow.path if entry is None else entry.path
            if name in claim.guessed:
                whose = "own" if name in claim.own else "shared"
                said = f"no blueprint has it: by its name it is {whose} variant of flow {id_!r}"
                self._warning(path, said)
            elif made is not None and (fields := _differing(values[name], made)):
                said = f"is not what blueprint {blueprint!r} makes for flow {id_!r}: "
                self._warning(path, f"{said}{', '.join(fields)}; it stays as it was active")
            if name in claim.shared and id_ in self.rendered and name in self.rendered[id_].own:
                self._warning(
                    path, f"flow {id_!r} has it for its own, and others too: it is shared"
                )
        if claim.missing:
            names = ", ".join(map(str, sorted(claim.missing)[:5]))
            more = f" and {len(claim.missing) - 5} more" if len(claim.missing) > 5 else ""
            said = f"in its blueprint but not active: {names}{more}; `flowctl flow update {id_}`"
            self._warning(flow.path, f"{said} adds them")

    def _tell_of_leftovers(self, taken: Collection[VariantName]) -> None:
        """Old systems never removed shared entries; whatever else is left nobody can explain."""
        for name, entry in sorted(self.old.active.items()):
            if name in taken:
                continue
            if any(_may_share(blueprint, name) for blueprint in self.blueprints.values()):
                self._warning(entry.path, "was left over, no flow has it: not carried over")
            else:
                self._error(entry.path, "was active, and belongs to no flow: not carried over")

    def _error(self, path: str, message: str) -> None:
        self.findings.append(Finding(path, message))

    def _warning(self, path: str, message: str) -> None:
        self.findings.append(Finding(path, message, "warning"))


_NO_BLUEPRINT = Blueprint(name="none")


def _record(entry: OldEntry, like: VariantRecord | None) -> VariantRecord:
    loose = split(entry.loose, like)
    return VariantRecord(
        topics={**loose.topics, **entry.topics},
        parameters={**loose.parameters, **entry.parameters},
    )


def _differing(one: VariantRecord, other: VariantRecord) -> list[str]:
    """The fields in which two values of a variant differ."""
    found = differences(msgspec.to_builtins(one), msgspec.to_builtins(other))
    return [difference.path.removeprefix("$.") for difference in found]


def _may_share(blueprint: Blueprint, name: VariantName) -> bool:
    """Whether the variant can come out of the section of shared entries, for some parameters."""
    for entry in blueprint.shared:
        template = blueprint.templates.get(entry.variant)
        literals = template.literals if template else (blueprint.literals[entry.variant],)
        pattern = ".+".join(map(re.escape, literals))
        if entry.processor == name.processor and re.fullmatch(pattern, name.variant):
            return True
    return False
