"""The way back: what stands in the new layout, as a document of an old one.

The inverse of reading and converting, in the style that is asked for. What a flat entry cannot say
(a name that is both a topic and a parameter) is said as a nested one. What only the document itself
could tell, :mod:`flowsvc.migrate.kept` puts back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import msgspec

from flowsvc.definition import child
from flowsvc.errors import Finding
from flowsvc.migrate.blueprints import as_it_was, plain_interfaces
from flowsvc.migrate.conversion import Migration
from flowsvc.migrate.flat import flattened, is_nested
from flowsvc.migrate.reading import Style
from flowsvc.migrate.words import PROCESSOR, WORDS
from kvconfig.keyspace import VariantName
from kvconfig.records import Interfaces, VariantRecord

__all__ = ["NewState", "Recorded", "after", "written"]


class Recorded(Protocol):
    """The part of a flow's record that old systems had too."""

    @property
    def blueprint_name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def interfaces(self) -> Interfaces: ...
    @property
    def parameters(self) -> dict[str, str]: ...


class NewState(msgspec.Struct, kw_only=True):
    """What stands: definitions, flows, their variants, and configuration."""

    parameter_types: Mapping[str, Any] = {}
    blueprints: Mapping[str, Any] = {}
    flows: Mapping[str, Recorded] = {}
    active: Mapping[VariantName, VariantRecord] = {}
    items: Mapping[tuple[str, str], Any] = {}


def after(migration: Migration) -> NewState:
    """What stands after a migration into an empty etcd."""
    flows = migration.flows
    return NewState(
        parameter_types=migration.parameter_types,
        blueprints=migration.blueprints,
        flows=flows,
        active={
            name: value
            for flow in flows.values()
            if not flow.paused
            for name, value in (*flow.own.items(), *flow.shared.items())
        },
        items=migration.items,
    )


def written(new: NewState, style: Style) -> tuple[dict[str, Any], list[Finding]]:
    """The document, and what it cannot say in that style."""
    words = WORDS[style.shape]
    document: dict[str, Any] = {
        words.parameter_types: dict(new.parameter_types),
        words.blueprints: {
            name: as_it_was(blueprint, style) for name, blueprint in new.blueprints.items()
        },
        words.flows: {id_: _record(flow, style) for id_, flow in new.flows.items()},
    }
    findings = []
    for type_, key, variant, value in _active(new.active, style):
        entry = _entry(value, style)
        if style.flat and is_nested(entry):
            path = child(child("$", type_), key)
            said = "has a name that is a topic and a parameter: it has no flat form, and is nested"
            findings.append(Finding(path, said, "warning"))
        section = document.setdefault(type_, {})
        if variant:
            section.setdefault(key, {})[variant] = entry
        else:
            section[key] = entry
    for (type_, key), value in new.items.items():
        document.setdefault(type_, {})[key] = value
    return {type_: section for type_, section in document.items() if section}, findings


def _record(flow: Recorded, style: Style) -> dict[str, Any]:
    interfaces: Mapping[str, Any] = flow.interfaces
    record = {
        WORDS[style.shape].blueprint_name: flow.blueprint_name,
        "description": flow.description,
        "interfaces": plain_interfaces(interfaces) if style.flat else dict(interfaces),
        "parameters": flow.parameters,
    }
    if style.sparse and not flow.parameters:
        del record["parameters"]
    return record


def _active(
    active: Mapping[VariantName, VariantRecord], style: Style
) -> Iterator[tuple[str, str, str, VariantRecord]]:
    """Each as type, key, the name in the blob (``""``: it is no blob), and value."""
    type_ = WORDS[style.shape].active
    for name, value in sorted(active.items()):
        match style.shape:
            case "processor":
                yield f"{PROCESSOR}{name.processor}", name.variant, "", value
            case "interim":
                yield type_, f"{name.processor}:{name.variant}", "", value
            case "blob" | "class":
                yield type_, name.processor, name.variant, value


def _entry(value: VariantRecord, style: Style) -> dict[str, Any]:
    """In the form of the style; nested where there is no flat one."""
    entry: dict[str, Any] = {"topics": value.topics, "parameters": value.parameters}
    if style.flat:
        flat = flattened(entry)
        return entry if flat is None else flat
    return {name: fields for name, fields in entry.items() if fields or not style.sparse}
