"""Blueprints: the template of a flow, parsed, checked and compiled into a frozen value.

A blueprint is one JSON object::

    {"description": "…", "tags": ["…"],
     "blueprint":  {"<processor>:<variant>": entry, …},      shared by all flows that need them
     "flow":       {"<processor>:<variant>": entry, …},      a flow's own
     "interfaces": {"<name>": {"<kind>": "<topic>", …}, …},
     "parameters": {"<name>": {"type": "<parameter type>", "controlled-by": "<name>", …}, …}}

where an entry is ``{"topics": {…}, "parameters": {…}}``. Keys and values in an entry, the variant
and the interfaces' values are templates (:mod:`flowsvc.template`). The older word ``class``, as
section and as placeholder, means ``blueprint``. The shape is TrustGraph's (its flow service, and
its specification "flow configurable parameters"); what it leaves unchecked is checked here.

Fields of an entry, and sections, that are not known are warned about and otherwise ignored, as
TrustGraph ignores them: a blueprint made for a later version still works, and nobody is left to
believe that what he wrote there does something. Only the *flat* entries of old formats, whose
topics stand directly in the entry, are errors: all they say would be lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from flowsvc.definition import Findings, child, kind_of, load
from flowsvc.entries import Entry, EntryReader
from flowsvc.errors import BlueprintInvalid, Finding
from flowsvc.template import Template, is_placeholder_name
from kvconfig.errors import InvalidName
from kvconfig.keys import check_name

__all__ = [
    "MAX_PARAMETERS",
    "RESERVED_WORDS",
    "Blueprint",
    "Entry",
    "Parameter",
    "check",
    "parse_blueprint",
]

MAX_PARAMETERS = 256
"""Real blueprints declare eight; each also costs a compare of its type at every start."""

RESERVED_WORDS = frozenset({"workspace", "blueprint", "class", "id"})
"""Placeholders that stand for the flow itself; no parameter can take their place."""

_SECTIONS = frozenset(
    {"blueprint", "class", "flow", "interfaces", "parameters", "description", "tags"}
)
_PARAMETER_FIELDS = frozenset({"type", "controlled-by", "description", "order", "advanced"})
_DISPLAY_FIELDS: tuple[tuple[str, type | tuple[type, ...], str], ...] = (
    ("description", str, "a string"),
    ("order", (int, float), "a number"),
    ("advanced", bool, "a boolean"),
)


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter that the blueprint declares: its type, and the one whose value it inherits."""

    name: str
    type: str | None = None
    controlled_by: str | None = None


class Blueprint(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled blueprint, made by :func:`parse_blueprint`.

    - ``parameters``: in an order in which every controller comes before what it controls.
    - ``literals``, ``templates``: each distinct text once, however many places use it; ``literals``
      maps texts without placeholders to what they render to, ``templates`` the others. The
      blueprint's own name is filled in already.
    - ``literal_bytes``, ``placeholders``: what all places together hold of literal text, and how
      often of each placeholder: the size of a rendering follows without making it.
    - ``findings``: the warnings.
    """

    name: str
    description: str = ""
    tags: tuple[str, ...] = ()
    shared: tuple[Entry, ...] = ()
    own: tuple[Entry, ...] = ()
    interfaces: dict[str, dict[str, str]] = {}
    parameters: dict[str, Parameter] = {}
    literals: dict[str, str] = {}
    templates: dict[str, Template] = {}
    literal_bytes: int = 0
    placeholders: dict[str, int] = {}
    findings: tuple[Finding, ...] = ()

    @property
    def parameter_types(self) -> list[str]:
        """The parameter types that the blueprint refers to, sorted."""
        return sorted({each.type for each in self.parameters.values() if each.type is not None})

    def places(self) -> Iterator[tuple[str, str]]:
        """Every place that holds a template, as (path, text); a name and its value share one."""
        for entry in (*self.shared, *self.own):
            yield entry.path, entry.variant
            for field, texts in (("topics", entry.topics), ("parameters", entry.parameters)):
                for name, value in texts.items():
                    path = child(f"{entry.path}.{field}", name)
                    yield path, name
                    yield path, value
        for interface, kinds in self.interfaces.items():
            for kind, topic in kinds.items():
                yield child(child("$.interfaces", interface), kind), topic

    def places_of(self, placeholders: Collection[str]) -> dict[str, list[str]]:
        """For each placeholder the paths at which it stands, in one walk for all of them."""
        found: dict[str, dict[str, None]] = {name: {} for name in placeholders}
        using = {
            text: names
            for text, template in self.templates.items()
            if (names := found.keys() & template.names)
        }
        for path, text in self.places():
            for name in using.get(text, ()):
                found[name][path] = None
        return {name: list(paths) for name, paths in found.items()}


def parse_blueprint(name: str, definition: Mapping[str, Any] | bytes) -> Blueprint:
    """Compile a blueprint, given as JSON text or as the object that it holds.

    Raises :class:`BlueprintInvalid` with every finding, and nothing else. Warnings alone are kept
    in ``findings`` of the result.
    """
    blueprint = _Compiler(name).compile(definition)
    if any(finding.severity == "error" for finding in blueprint.findings):
        raise BlueprintInvalid(f"blueprint {name!r}", blueprint.findings)
    return blueprint


def check(name: str, definition: Mapping[str, Any] | bytes) -> tuple[Finding, ...]:
    """Every error and every warning about a blueprint, errors first. Raises nothing."""
    return _Compiler(name).compile(definition).findings


class _Compiler:
    """Reads one definition, section by section, and goes on after errors to find them all."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.findings = Findings()
        self.reader = EntryReader(self.findings, dict.fromkeys(("blueprint", "class"), name))

    def compile(self, definition: Mapping[str, Any] | bytes) -> Blueprint:
        sections = load("blueprint name", self.name, definition, self.findings)
        if sections is None:
            return Blueprint(name=self.name, findings=self.findings.all())
        for unknown in sorted(sections.keys() - _SECTIONS):
            self.findings.warning(child("$", unknown), "unknown section, ignored")
        if "blueprint" in sections and "class" in sections:
            message = "is the older word for $.blueprint: only one of them can be there"
            self.findings.error("$.class", message)
        shared_word = "blueprint" if "blueprint" in sections else "class"
        blueprint = Blueprint(
            name=self.name,
            description=self._description(sections),
            tags=self._tags(sections),
            shared=self.reader.entries(self._section(sections, shared_word), f"$.{shared_word}"),
            own=self.reader.entries(self._section(sections, "flow"), "$.flow"),
            interfaces=self._interfaces(sections),
            parameters=self._parameters(sections),
        )
        return self._finished(blueprint)

    def _finished(self, blueprint: Blueprint) -> Blueprint:
        """Checked as a whole, and with what rendering needs, counted over all places."""
        compiled = self.reader.compiled
        literal_bytes = 0
        placeholders: Counter[str] = Counter()
        for text, template in compiled.items():
            uses = self.reader.uses[text]
            literal_bytes += uses * len("".join(template.literals).encode())
            for name in template.names:
                placeholders[name] += uses
        blueprint = msgspec.structs.replace(
            blueprint,
            literals={text: made.literals[0] for text, made in compiled.items() if not made.names},
            templates={text: made for text, made in compiled.items() if made.names},
            literal_bytes=literal_bytes,
            placeholders=dict(placeholders),
        )
        entries = (*blueprint.shared, *blueprint.own)
        if not entries and not self.findings.has_errors:
            self.findings.warning("$", "has no entries: a flow of it would run nothing")
        self.reader.check_unique(entries)
        self.reader.check_sharing(shared=blueprint.shared, own=blueprint.own)
        self._check_placeholders(blueprint)
        return msgspec.structs.replace(blueprint, findings=self.findings.all())

    # -- sections ----------------------------------------------------------------------------

    def _section(self, sections: dict[str, Any], word: str) -> dict[str, Any]:
        return self._object(sections.get(word, {}), f"$.{word}")

    def _object(self, value: object, path: str) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self.findings.error(path, f"must be an object, is {kind_of(value)}")
        return {}

    def _description(self, sections: dict[str, Any]) -> str:
        value = sections.get("description", "")
        if isinstance(value, str):
            return value
        self.findings.warning("$.description", f"must be a string, is {kind_of(value)}; ignored")
        return ""

    def _tags(self, sections: dict[str, Any]) -> tuple[str, ...]:
        value = sections.get("tags", [])
        if isinstance(value, list) and all(isinstance(tag, str) for tag in value):
            return tuple(value)
        self.findings.warning("$.tags", "must be a list of strings; ignored")
        return ()

    def _interfaces(self, sections: dict[str, Any]) -> dict[str, dict[str, str]]:
        interfaces = {}
        for name, kinds in self._section(sections, "interfaces").items():
            path = child("$.interfaces", name)
            if isinstance(kinds, str):
                message = 'is a plain string, as in old formats: write {"flow": "<topic>"}'
                self.findings.error(path, message)
                continue
            interfaces[name] = {
                kind: self.reader.text(topic, child(path, kind))
                for kind, topic in self._object(kinds, path).items()
            }
        return interfaces

    # -- parameters --------------------------------------------------------------------------

    def _parameters(self, sections: dict[str, Any]) -> dict[str, Parameter]:
        section = self._section(sections, "parameters")
        if len(section) > MAX_PARAMETERS:
            message = f"declares {len(section)} parameters, at most {MAX_PARAMETERS} are taken"
            self.findings.error("$.parameters", message)
            return {}
        declared = {name: self._parameter(name, value) for name, value in section.items()}
        for name, parameter in declared.items():
            controller = parameter.controlled_by
            if controller is not None and controller not in declared:
                path = child("$.parameters", name) + ".controlled-by"
                self.findings.error(path, f"there is no parameter {controller} to control it")
        return self._controllers_first(declared)

    def _parameter(self, name: str, value: object) -> Parameter:
        path = child("$.parameters", name)
        if not is_placeholder_name(name):
            self.findings.error(path, "no placeholder can have this name, so nothing can use it")
        if name in RESERVED_WORDS:
            message = f"{{{name}}} is a reserved word: it never stands for this parameter"
            self.findings.warning(path, message)
        fields = self._object(value, path)
        for unknown in sorted(fields.keys() - _PARAMETER_FIELDS):
            self.findings.warning(child(path, unknown), "unknown field, ignored")
        for field, kinds, wanted in _DISPLAY_FIELDS:
            shown = fields.get(field)
            if shown is not None and not isinstance(shown, kinds):
                message = f"should be {wanted}, is {kind_of(shown)}; only forms show it"
                self.findings.warning(f"{path}.{field}", message)
        if "type" not in fields:
            self.findings.warning(path, "has no type, so neither a default nor any check")
        return Parameter(
            name=name,
            type=self._name(fields, "type", path),
            controlled_by=self._name(fields, "controlled-by", path),
        )

    def _name(self, fields: dict[str, Any], field: str, path: str) -> str | None:
        value = fields.get(field)
        if isinstance(value, str):
            try:
                return check_name(value, field)
            except InvalidName as error:
                self.findings.error(f"{path}.{field}", str(error))
        elif field in fields:
            self.findings.error(f"{path}.{field}", f"must be a string, is {kind_of(value)}")
        return None

    def _controllers_first(self, declared: dict[str, Parameter]) -> dict[str, Parameter]:
        """In an order that settles each controller before what it controls, if there is one."""
        ordered: dict[str, Parameter] = {}
        for start in declared.values():
            chain: dict[str, Parameter] = {}
            at: Parameter | None = start
            while at is not None and at.name not in ordered:
                if at.name in chain:
                    names = list(chain)
                    cycle = [*names[names.index(at.name) :], at.name]
                    path = child("$.parameters", at.name) + ".controlled-by"
                    shown = ", which is controlled by ".join(cycle)
                    self.findings.error(path, f"is a cycle: {shown}")
                    break
                chain[at.name] = at
                at = declared.get(at.controlled_by or "")
            ordered.update(reversed(chain.items()))
        return ordered

    # -- the whole ---------------------------------------------------------------------------

    def _check_placeholders(self, blueprint: Blueprint) -> None:
        """Placeholders that nothing is known to fill; a flow may still give such a parameter."""
        known = RESERVED_WORDS | blueprint.parameters.keys()
        unknown = [name for name in blueprint.placeholders if name not in known]
        for name, (first, *others) in blueprint.places_of(unknown).items():
            more = f" (and {len(others)} more places)" if others else ""
            message = f"{{{name}}}{more} is no declared parameter: each flow has to give it"
            self.findings.warning(first, message)
