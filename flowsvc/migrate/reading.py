"""A document of any version, read: what there is, in one form, and every remark about it.

Nothing is refused but what is no document at all. Whatever cannot be read is an error among the
findings, with its path, and the rest is read all the same. What is text once parsed (definitions,
records and entries were JSON in a string, as TrustGraph's store holds them) is parsed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from flowsvc.definition import child, kind_of
from flowsvc.errors import Finding
from flowsvc.migrate.document import Document, Place, units
from flowsvc.migrate.flat import SECTIONS, is_nested
from flowsvc.migrate.words import (
    BLUEPRINT_FIELDS,
    KEPT_TYPE,
    PROCESSOR,
    Meaning,
    Shape,
    meaning,
    types_of,
)
from flowsvc.template import stringify
from kvconfig.codec import encode, parse_json
from kvconfig.errors import InvalidName, InvalidValue
from kvconfig.keys import check_item_key, check_name
from kvconfig.keyspace import RESERVED_TYPES, VariantName
from kvconfig.records import Interfaces

__all__ = ["OldDefinition", "OldEntry", "OldFlow", "OldState", "Style", "as_object", "read"]


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """How a document says what it says; ``sparse``: what is empty is left out of records."""

    shape: Shape = "blob"
    flat: bool = True
    sparse: bool = False


class OldDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A blueprint or a parameter type as it was, and where."""

    value: dict[str, Any]
    path: str


class OldFlow(msgspec.Struct, frozen=True, kw_only=True):
    """What a flow's record says. ``path`` is where it stands in the document."""

    blueprint_name: str
    description: str
    interfaces: Interfaces
    parameters: dict[str, str]
    path: str


class OldEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An active variant: the nested fields, and those that are ``loose`` in a flat entry."""

    topics: dict[str, str] = {}
    parameters: dict[str, str] = {}
    loose: dict[str, str] = {}
    path: str

    @property
    def fields(self) -> dict[str, str]:
        """All of them, wherever they are."""
        return {**self.topics, **self.parameters, **self.loose}


class OldState(msgspec.Struct, frozen=True, kw_only=True):
    """All that a document says. ``parts`` is the document itself, unit by unit."""

    style: Style
    parts: dict[Place, Any]
    parameter_types: dict[str, OldDefinition]
    blueprints: dict[str, OldDefinition]
    flows: dict[str, OldFlow]
    active: dict[VariantName, OldEntry]
    items: dict[tuple[str, str], Any]
    findings: tuple[Finding, ...]


def read(document: Document) -> OldState:
    """What the document says. Raises nothing: what cannot be read is a finding."""
    return _Reader(document).read()


_NEWER_FIELDS = frozenset({"variants", "op", "given", "workspace", "paused"})
"""Those that only a record of this layout has: a document may be an export of it."""


def as_object(value: object) -> dict[str, Any] | None:
    """An object, or one that stands as JSON text in a string."""
    if isinstance(value, str):
        try:
            value = parse_json(value.encode())
        except InvalidValue:
            return None
    return value if isinstance(value, dict) else None


class _Reader:
    """Reads section after section; ``seen`` counts the signs of each style."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.findings: list[Finding] = []
        self.seen: Counter[str] = Counter()

    def read(self) -> OldState:
        parameter_types = self._definitions("parameter-type")
        blueprints = self._definitions("blueprint")
        flows = dict(self._flows())
        active = dict(self._active())
        items = dict(self._items())
        if self.seen["in text"] and any(map(_is_json_text, items.values())):
            said = "configuration stands as JSON in strings here, and is carried over as it stands"
            self._warning("$", said)
        return OldState(
            style=self._style(blueprints),
            parts=dict(units(self.document)),
            parameter_types=parameter_types,
            blueprints=blueprints,
            flows=flows,
            active=active,
            items=items,
            findings=tuple(dict.fromkeys(self.findings)),
        )

    # -- sections ----------------------------------------------------------------------------

    def _section(self, type_: str) -> Iterator[tuple[str, Any, str]]:
        """Each key with its value and path."""
        section = self.document.get(type_, {})
        path = child("$", type_)
        if not isinstance(section, dict):
            self._error(path, f"must be an object, is {kind_of(section)}: not carried over")
            return
        for key, value in section.items():
            yield key, value, child(path, key)

    def _named(self, what: Meaning) -> Iterator[tuple[str, Any, str]]:
        """All of one meaning by name, each name once: newer words count."""
        taken: dict[str, Any] = {}
        for type_ in types_of(what):
            for name, value, path in self._section(type_):
                if not self._is_name(name, what, path):
                    continue
                if name not in taken:
                    taken[name] = value
                    yield name, value, path
                elif encode(as_object(value)) != encode(as_object(taken[name])):
                    self._error(
                        path, "stands under a newer word too, with another value: that one counts"
                    )

    def _is_name(self, name: str, what: str, path: str) -> bool:
        try:
            check_name(name, what)
        except InvalidName as error:
            self._error(path, f"is no name of a {what}: {error.rule}; not carried over")
            return False
        return True

    def _object(self, value: object, path: str) -> dict[str, Any] | None:
        found = as_object(value)
        self.seen["in text"] += isinstance(value, str)
        if found is None:
            self._error(path, f"must be an object, is {kind_of(value)}: not carried over")
        return found

    def _definitions(self, what: Meaning) -> dict[str, OldDefinition]:
        return {
            name: OldDefinition(value=found, path=path)
            for name, value, path in self._named(what)
            if (found := self._object(value, path)) is not None
        }

    def _items(self) -> Iterator[tuple[tuple[str, str], Any]]:
        """Configuration, whatever its values are."""
        for type_ in self.document:
            path = child("$", type_)
            if meaning(type_) is not None:
                continue
            if type_ == KEPT_TYPE:
                self._error(path, "is where the way back of a migration is kept: not carried over")
            elif type_ in RESERVED_TYPES:
                self._error(path, f"is written by {RESERVED_TYPES[type_]} only: not carried over")
            elif self._is_name(type_, "type", path):
                for key, value, where in self._section(type_):
                    try:
                        yield (type_, check_item_key(key)), value
                    except InvalidName as error:
                        self._error(where, f"is no key: {error.rule}; not carried over")

    # -- flows -------------------------------------------------------------------------------

    def _flows(self) -> Iterator[tuple[str, OldFlow]]:
        for name, value, path in self._named("flow"):
            record = self._object(value, path)
            if record is not None and (flow := self._flow(record, path)) is not None:
                yield name, flow

    def _flow(self, record: dict[str, Any], path: str) -> OldFlow | None:
        fields = dict(record)
        named = {field: fields.pop(field) for field in BLUEPRINT_FIELDS if field in fields}
        found = {field: value for field, value in named.items() if value is not None}
        blueprint = next(iter(found.values()), None)
        if not isinstance(blueprint, str):
            self._error(path, "names no blueprint: not carried over")
            return None
        if not self._is_name(blueprint, "blueprint", path):
            return None
        if len(set(map(encode, found.values()))) > 1:
            self._error(path, f"names two blueprints; {next(iter(found))} counts")
        description = fields.pop("description", None)
        description = "" if description is None else description
        if "parameters" not in fields:
            self.seen["sparse"] += 1
        flow = OldFlow(
            blueprint_name=blueprint,
            description=self._text(description, f"{path}.description"),
            interfaces=self._interfaces(fields.pop("interfaces", {}), f"{path}.interfaces"),
            parameters=self._texts(fields.pop("parameters", {}), f"{path}.parameters"),
            path=path,
        )
        if fields.pop("status", "") == "stopping":
            self._warning(f"{path}.status", "it was being stopped: stop it again")
        for field in fields:
            if field not in _NEWER_FIELDS:
                self._warning(child(path, field), "a record has no such field: left out")
        return flow

    def _interfaces(self, value: object, path: str) -> Interfaces:
        interfaces: Interfaces = {}
        for name, kinds in self._fields(value, path):
            here = child(path, name)
            self._note_interface(kinds)
            # A single topic, until 2.2: what later versions call "flow".
            pairs = {"flow": kinds} if isinstance(kinds, str) else kinds
            interfaces[name] = self._texts(pairs, here)
        return interfaces

    # -- active variants -----------------------------------------------------------------------

    def _active(self) -> Iterator[tuple[VariantName, OldEntry]]:
        """Each variant once: where it stands in two forms, the newer one counts."""
        found: dict[VariantName, OldEntry] = {}
        for standing in sorted(self._standing(), key=lambda each: each.age):
            name = VariantName(standing.processor, standing.variant)
            path = standing.path
            if not self._is_name(name.processor, "processor", path):
                continue
            if not self._is_name(name.variant, "variant", path):
                continue
            fields = self._object(standing.value, path)
            if fields is None:
                continue
            entry = self._entry(fields, path)
            if name not in found:
                found[name] = entry
                yield name, entry
            elif entry.fields != found[name].fields:
                newer = found[name].path
                self._error(path, f"stands at {newer} too, with another value: that one counts")

    def _standing(self) -> Iterator[_Standing]:
        """Every entry, in whatever form it stands."""
        for type_ in self.document:
            if type_.startswith(PROCESSOR) and meaning(type_) == "active":
                self.seen["processor"] += 1
                for variant, value, path in self._section(type_):
                    yield _Standing(1, type_.removeprefix(PROCESSOR), variant, value, path)
        for type_ in types_of("active"):
            for key, value, path in self._section(type_):
                if "/" in key:
                    processor, _, variant = key.partition("/")
                    yield _Standing(0, processor, variant, value, path)
                elif ":" in key:
                    self.seen["interim"] += 1
                    processor, _, variant = key.partition(":")
                    yield _Standing(2, processor, variant, value, path)
                else:
                    self.seen["class" if type_ == "flows-active" else "blob"] += 1
                    for variant, inner in (self._object(value, path) or {}).items():
                        yield _Standing(3, key, variant, inner, child(path, variant))

    def _entry(self, entry: dict[str, Any], path: str) -> OldEntry:
        self._note_style(entry)
        if not is_nested(entry):
            return OldEntry(loose=self._texts(entry, path), path=path)
        topics, parameters = (
            self._texts(entry.get(section, {}), child(path, section)) for section in SECTIONS
        )
        loose = {name: value for name, value in entry.items() if name not in SECTIONS}
        for name in loose:
            if name in topics or name in parameters:
                self._error(
                    child(path, name), "stands in a section too: the one beside is left out"
                )
            else:
                self._warning(child(path, name), "stands beside the sections: put into one")
        loose = {name: loose[name] for name in loose if name not in topics | parameters}
        return OldEntry(
            topics=topics, parameters=parameters, loose=self._texts(loose, path), path=path
        )

    # -- values --------------------------------------------------------------------------------

    def _fields(self, value: object, path: str) -> Iterable[tuple[str, Any]]:
        if isinstance(value, dict):
            return value.items()
        if value is not None:
            self._error(path, f"must be an object, is {kind_of(value)}: left out")
        return ()

    def _texts(self, value: object, path: str) -> dict[str, str]:
        return {
            name: self._text(inner, child(path, name)) for name, inner in self._fields(value, path)
        }

    def _text(self, value: object, path: str) -> str:
        """As flows hold it. What is no text becomes its JSON, and nothing is lost."""
        if isinstance(value, str):
            return value
        text = stringify(value, path)
        self._warning(path, f"is {kind_of(value)}; flows hold text, so it is its JSON text now")
        return encode(value).decode() if isinstance(text, Finding) else text

    # -- style ---------------------------------------------------------------------------------

    def _note_style(self, entry: Mapping[str, object]) -> None:
        if is_nested(entry):
            self.seen["nested"] += 1
            self.seen["sparse"] += not entry.keys() >= set(SECTIONS)
        elif entry:
            self.seen["flat"] += 1

    def _note_interface(self, kinds: object) -> None:
        if isinstance(kinds, str):
            self.seen["flat"] += 1
        elif isinstance(kinds, dict) and kinds.keys() == {"flow"}:
            self.seen["nested"] += 1

    def _style(self, blueprints: Mapping[str, OldDefinition]) -> Style:
        """What most of the document looks like."""
        for blueprint in blueprints.values():
            for word in ("blueprint", "class", "flow"):
                section = blueprint.value.get(word)
                for entry in section.values() if isinstance(section, dict) else ():
                    if isinstance(entry, dict):
                        self.seen["nested" if is_nested(entry) else "flat"] += bool(entry)
            interfaces = blueprint.value.get("interfaces")
            for kinds in interfaces.values() if isinstance(interfaces, dict) else ():
                self._note_interface(kinds)
        words: dict[Shape, int] = {
            "processor": self.seen["processor"],
            "interim": self.seen["interim"],
            "class": self.seen["class"],
            "blob": self.seen["blob"],
        }
        shape = max(words, key=words.__getitem__)
        if not words[shape]:
            shape = "class" if "flow-classes" in self.document else "blob"
        flat = self.seen["flat"] > self.seen["nested"]
        if self.seen["flat"] == self.seen["nested"]:
            flat = shape in ("class", "blob")
        return Style(shape=shape, flat=flat, sparse=bool(self.seen["sparse"]))

    def _error(self, path: str, message: str) -> None:
        self.findings.append(Finding(path, message))

    def _warning(self, path: str, message: str) -> None:
        self.findings.append(Finding(path, message, "warning"))


def _is_json_text(value: object) -> bool:
    """Whether it is JSON in a string, but for a plain string."""
    if not isinstance(value, str):
        return False
    try:
        return not isinstance(parse_json(value.encode()), int | float | None)
    except InvalidValue:
        return False


class _Standing(NamedTuple):
    """An entry where it stands; the higher its ``age``, the older the form."""

    age: int
    processor: str
    variant: str
    value: Any
    path: str
