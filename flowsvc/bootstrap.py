"""Seed a new system: parameter types, blueprints, configuration, and the flows it starts with.

A *seed* is a JSON file. What it names and is not there is made; what is there stays as it is, so
it is safe to run at every deployment, and a second run writes nothing. Flows are started like any
other, so what processors see comes from one place only: the flow service.

Nothing is written before the whole seed was read, checked, and compared with what is there.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from flowsvc.errors import AlreadyExists, Finding, FlowServiceError, InvalidInput, NotFound
from flowsvc.model import NOBODY, Actor, Flows, ParameterValue, StartFlow
from kvconfig.codec import encode, parse_json
from kvconfig.errors import Conflict, InvalidName, InvalidValue
from kvconfig.keys import check_item_key, check_name
from kvconfig.keyspace import RESERVED_TYPES

__all__ = [
    "BootstrapRefused",
    "Outcome",
    "Report",
    "Seed",
    "SeedFlow",
    "Store",
    "bootstrap",
    "parse_seed",
]

PARAMETER_TYPE: Final = "parameter-type"
BLUEPRINT: Final = "flow-blueprint"
FLOW: Final = "flow"

_OLD_WORDS = {
    "flow-class": BLUEPRINT,
    "flow-classes": BLUEPRINT,
    "flow-blueprints": BLUEPRINT,
    "blueprint": BLUEPRINT,
    "blueprints": BLUEPRINT,
    "parameter-types": PARAMETER_TYPE,
    "flows": FLOW,
}
_RENDERED = ("active-flow", "flows-active", "processor:*")
_ONE_BLUEPRINT = {"name", "blueprint", "parameter-type"}
_REMARKS = {"template-version", "verbatim", "note"}  # said about it, not part of it

WhenDifferent: TypeAlias = Literal["keep", "replace", "refuse"]
Outcome: TypeAlias = Literal["created", "replaced", "equal", "different", "running"]


class BootstrapRefused(FlowServiceError):
    """Something of the seed is there with another value. Nothing was written."""

    def __init__(self, subject: str, differing: Iterable[str]) -> None:
        self.subject, self.differing = subject, tuple(differing)
        super().__init__(
            f"{subject}: there with another value: {', '.join(self.differing)}; nothing was written"
        )


class SeedFlow(msgspec.Struct, frozen=True, kw_only=True, rename="kebab"):
    """A flow to start; ``interfaces`` (as records have them) are made anew and not looked at."""

    blueprint_name: str
    description: str = ""
    parameters: dict[str, ParameterValue] = {}
    interfaces: Any = None


class Seed(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be there. ``items`` are configuration by type and key."""

    subject: str
    parameter_types: dict[str, dict[str, Any]] = {}
    blueprints: dict[str, dict[str, Any]] = {}
    items: dict[tuple[str, str], Any] = {}
    flows: dict[str, SeedFlow] = {}


class Report(msgspec.Struct, kw_only=True):
    """What became of each thing, by what it is called: ``flow-blueprint/document-index``."""

    outcomes: dict[str, Outcome] = {}
    findings: dict[str, tuple[Finding, ...]] = {}

    def counts(self) -> Counter[Outcome]:
        """How many had which outcome."""
        return Counter(self.outcomes.values())


# -- reading -------------------------------------------------------------------------------------


def parse_seed(data: bytes, subject: str, *, skip: Collection[str] = ()) -> Seed:
    """A seed from JSON: ``{"parameter-type": {…}, "flow-blueprint": {…}, "flow": {…}, …}``.

    A file of one blueprint (``{"name", "blueprint", "parameter-type"}``) is a seed too. Types that
    match a pattern of ``skip`` are left out. Raises :class:`InvalidInput` with every finding.
    """
    try:
        parsed = parse_json(data)
    except InvalidValue as error:
        raise InvalidInput(subject, [Finding("$", error.reason)]) from error
    if not isinstance(parsed, dict):
        raise InvalidInput(subject, [Finding("$", 'give an object: {"flow-blueprint": {…}, …}')])
    if isinstance(parsed.get("name"), str) and isinstance(parsed.get("blueprint"), dict):
        parsed = _one_blueprint(parsed, subject)
    sections = {
        type_: section
        for type_, section in parsed.items()
        if not any(fnmatch.fnmatchcase(type_, pattern) for pattern in skip)
    }
    findings = list(_check(sections))
    if findings:
        raise InvalidInput(subject, findings)
    special = (PARAMETER_TYPE, BLUEPRINT, FLOW)
    return Seed(
        subject=subject,
        parameter_types=sections.get(PARAMETER_TYPE, {}),
        blueprints=sections.get(BLUEPRINT, {}),
        flows={id_: _flow(flow) for id_, flow in sections.get(FLOW, {}).items()},
        items={
            (type_, key): value
            for type_, section in sections.items()
            if type_ not in special
            for key, value in section.items()
        },
    )


def _one_blueprint(parsed: dict[str, Any], subject: str) -> dict[str, Any]:
    unknown = parsed.keys() - _ONE_BLUEPRINT - _REMARKS
    if unknown:
        raise InvalidInput(
            subject,
            [
                Finding(f"$.{name}", "does not belong in a file of one blueprint")
                for name in unknown
            ],
        )
    return {
        BLUEPRINT: {parsed["name"]: parsed["blueprint"]},
        PARAMETER_TYPE: parsed.get("parameter-type", {}),
    }


def _check(sections: Mapping[str, Any]) -> Iterator[Finding]:
    """Wrong types, names and shapes. What is inside a definition the service checks."""
    for type_, section in sections.items():
        path = f"$.{type_}"
        if reason := _refused_type(type_):
            yield Finding(path, reason)
        elif not isinstance(section, dict):
            yield Finding(path, "must be an object: {key: value}")
        else:
            for key, value in section.items():
                yield from _check_entry(type_, key, value, f"{path}.{key}")


def _refused_type(type_: str) -> str:
    """Why a type cannot be seeded; empty where it can."""
    if any(fnmatch.fnmatchcase(type_, pattern) for pattern in _RENDERED):
        return "is made from flows: leave it out (--skip), and give the flows under flow"
    if type_ in _OLD_WORDS:
        return f"is an old word: write {_OLD_WORDS[type_]}"
    if type_ in (PARAMETER_TYPE, BLUEPRINT, FLOW):
        return ""
    if type_ in RESERVED_TYPES:
        return f"is written by {RESERVED_TYPES[type_]} only"
    try:
        check_name(type_, "type")
    except InvalidName as error:
        return f"is no type: {error.rule}"
    return ""


def _check_entry(type_: str, key: str, value: object, path: str) -> Iterator[Finding]:
    named = type_ in (PARAMETER_TYPE, BLUEPRINT, FLOW)
    try:
        if named:
            check_name(key, type_)
        else:
            check_item_key(key)
    except InvalidName as error:
        yield Finding(path, f"is no {error.what}: {error.rule}")
    if named and not isinstance(value, dict):
        yield Finding(path, "must be an object")
    elif type_ == FLOW:
        try:
            _flow(value)
        except msgspec.ValidationError as error:
            yield Finding(path, str(error))


def _flow(value: object) -> SeedFlow:
    return msgspec.convert(value, SeedFlow)


# -- doing ---------------------------------------------------------------------------------------


class Item(Protocol):
    """A configuration item, as :class:`kvconfig.config.ConfigItem` is one."""

    @property
    def value(self) -> Any: ...
    @property
    def mod_revision(self) -> int: ...


class Store(Protocol):
    """What is needed of :class:`kvconfig.config.Config`."""

    async def get(self, type_: str, key: str, /) -> Item | None: ...
    async def put(
        self, type_: str, key: str, value: object, /, *, if_revision: int | None = None
    ) -> object: ...


async def bootstrap(
    seed: Seed,
    flows: Flows,
    config: Store | None,
    *,
    when_different: WhenDifferent = "keep",
    actor: Actor = NOBODY,
) -> Report:
    """Make everything of the seed that is not there.

    What is there with another value is kept, replaced, or a reason to refuse the whole seed
    (:class:`BootstrapRefused`) before anything is written. A flow that runs is left alone always.
    ``config`` may be ``None`` for a seed without items. Raises what ``flows`` and ``config`` raise.
    """
    if seed.items and config is None:
        raise InvalidInput(seed.subject, [Finding("$", "configuration needs etcd: --endpoints")])
    work = _Bootstrap(seed, flows, config, actor)
    await work.compare()
    outcomes = work.report.outcomes
    different = [name for name, outcome in outcomes.items() if outcome == "different"]
    if different and when_different == "refuse":
        raise BootstrapRefused(seed.subject, different)
    await work.write(replace=when_different == "replace")
    return work.report


class _Bootstrap:
    """One run: :meth:`compare` fills the report without writing, :meth:`write` acts on it."""

    def __init__(self, seed: Seed, flows: Flows, config: Store | None, actor: Actor) -> None:
        self._seed, self._flows, self._config, self._actor = seed, flows, config, actor
        self._revisions: dict[tuple[str, str], int] = {}
        self.report = Report()

    async def compare(self) -> None:
        """Each thing is "created" (it will be), "equal", "different" or, a flow, "running"."""
        seed, note = self._seed, self.report.outcomes
        types = {d.name: d.definition for d in await self._flows.list_definitions(PARAMETER_TYPE)}
        blueprints = {d.name: d.definition for d in await self._flows.list_definitions(BLUEPRINT)}
        running = {flow.id for flow in await self._flows.list_flows()} if seed.flows else set()
        for name, definition in seed.parameter_types.items():
            note[f"{PARAMETER_TYPE}/{name}"] = _compared(definition, types.get(name, _ABSENT))
        for name, definition in seed.blueprints.items():
            note[f"{BLUEPRINT}/{name}"] = _compared(definition, blueprints.get(name, _ABSENT))
        for (type_, key), value in seed.items.items():
            note[f"{type_}/{key}"] = await self._compare_item(type_, key, value)
        for id_, flow in seed.flows.items():
            if flow.blueprint_name not in seed.blueprints.keys() | blueprints.keys():
                raise NotFound("blueprint", flow.blueprint_name)
            note[f"{FLOW}/{id_}"] = "running" if id_ in running else "created"

    async def write(self, *, replace: bool) -> None:
        """Types first: blueprints rest on them, and flows on blueprints."""
        seed = self._seed
        for name, definition in seed.parameter_types.items():
            if what := self._to_write(f"{PARAMETER_TYPE}/{name}", replace=replace):
                done = await self._flows.put_parameter_type(
                    name, encode(definition), force=replace, actor=self._actor
                )
                self.report.findings[what] = done.findings
        for name, definition in seed.blueprints.items():
            if what := self._to_write(f"{BLUEPRINT}/{name}", replace=replace):
                done = await self._flows.put_blueprint(
                    name, encode(definition), force=replace, actor=self._actor
                )
                self.report.findings[what] = done.findings
        for (type_, key), value in seed.items.items():
            if what := self._to_write(f"{type_}/{key}", replace=replace):
                await self._put_item(what, type_, key, value)
        for id_, flow in seed.flows.items():
            if what := self._to_write(f"{FLOW}/{id_}", replace=replace):
                await self._start(what, id_, flow)

    def _to_write(self, what: str, *, replace: bool) -> str:
        """``what`` itself where it is to be written, else nothing."""
        outcomes = self.report.outcomes
        if outcomes[what] == "different" and replace:
            outcomes[what] = "replaced"
        return what if outcomes[what] in ("created", "replaced") else ""

    async def _compare_item(self, type_: str, key: str, value: object) -> Outcome:
        assert self._config is not None
        found = await self._config.get(type_, key)
        self._revisions[type_, key] = found.mod_revision if found else 0
        return _compared(value, found.value if found else _ABSENT)

    async def _put_item(self, what: str, type_: str, key: str, value: object) -> None:
        assert self._config is not None
        try:
            await self._config.put(type_, key, value, if_revision=self._revisions[type_, key])
        except Conflict:  # somebody wrote since: another bootstrap, perhaps
            self.report.outcomes[what] = await self._compare_item(type_, key, value)

    async def _start(self, what: str, id_: str, flow: SeedFlow) -> None:
        request = StartFlow(
            flow=id_,
            blueprint_name=flow.blueprint_name,
            description=flow.description,
            parameters=flow.parameters,
            actor=self._actor,
        )
        try:
            done = await self._flows.start_flow(request)
        except AlreadyExists:
            self.report.outcomes[what] = "running"
        else:
            self.report.findings[what] = done.findings


_ABSENT = object()


def _compared(wanted: object, stands: object) -> Outcome:
    if stands is _ABSENT:
        return "created"
    return "equal" if encode(wanted) == encode(stands) else "different"
