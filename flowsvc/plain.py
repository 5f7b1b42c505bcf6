"""Values that stand as they are, though what they are values of is marked ``secret`` by now. Pure.

A type can be marked when flows, and their history, hold values of it. Those are found here: so that
no operation puts them back (:mod:`flowsvc.plan.secret`), nobody is shown them, and ``flowctl
fsck`` names the keys that hold them.

What can be told apart is what the blueprint, as it is now, says of its parameters; what it does not
declare, and literals in it, are nobody's secrets here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from flowsvc.blueprint import Blueprint
from flowsvc.parameters import ParameterType
from kvconfig.records import FlowRecord, VariantRecord

__all__ = [
    "MASK",
    "Plain",
    "masked",
    "masked_after",
    "masked_definition",
    "masked_record",
    "plain_in_definition",
    "plain_in_flow",
    "texts_of",
    "values_in_definition",
]

MASK = "***"
"""What is shown, and kept in the history, in place of such a value."""

_SHORTEST = 6
"""What has fewer characters is not looked for inside other text: half of all words would hold it.
As a whole text it is masked however short it is."""


class Plain(msgspec.Struct, frozen=True, kw_only=True):
    """One such value. ``variant`` has it, or where that is "" the flow's record.

    ``parameter`` is that of the blueprint, or for a definition the path in it. Never print one.
    """

    parameter: str
    type: str
    value: str
    variant: str = ""


def plain_in_flow(
    flow: str,
    record: FlowRecord,
    variants: Mapping[str, VariantRecord],
    blueprint: Blueprint,
    secrets: Mapping[str, ParameterType],
) -> Iterator[Plain]:
    """Those in a flow's record, then those in ``variants`` (by ``<processor>/<variant>``).

    ``secrets`` are the parameters of ``blueprint`` that take references only. A variant has one
    where the blueprint puts such a parameter, whatever the record says of it.
    """
    for values in (record.parameters, record.given or {}):
        for name in sorted(values.keys() & secrets.keys()):
            type_, value = secrets[name], values[name]
            if type_.is_plain(value):
                yield Plain(parameter=name, type=type_.name, value=value)
    if not (secrets and variants):
        return
    known = {**record.parameters, "id": flow, "workspace": record.workspace}
    for variant, field, name in _places(blueprint, secrets, known):
        value = variants[variant].parameters.get(field, "") if variant in variants else ""
        if value and secrets[name].is_plain(value):
            yield Plain(parameter=name, type=secrets[name].name, value=value, variant=variant)


def _places(
    blueprint: Blueprint, secrets: Mapping[str, ParameterType], known: Mapping[str, str]
) -> Iterator[tuple[str, str, str]]:
    """Each parameter of a variant that is made from a secret one: variant, name, and that one."""

    def filled(text: str) -> str:
        template = blueprint.templates.get(text)
        return blueprint.literals[text] if template is None else template.render(known)

    for entry in (*blueprint.shared, *blueprint.own):
        for name, value in entry.parameters.items():
            template = blueprint.templates.get(value)
            for used in () if template is None else sorted(secrets.keys() & template.names):
                try:
                    yield f"{entry.processor}/{filled(entry.variant)}", filled(name), used
                except KeyError:  # this flow has no value for it, so it was made from another
                    continue


def plain_in_definition(definition: Any, type_: ParameterType) -> Iterator[Plain]:
    """Those in what was stored for a parameter type that is ``type_`` now."""
    for path, text in values_in_definition(definition):
        if type_.is_plain(text):
            yield Plain(parameter=path, type=type_.name, value=text)


def values_in_definition(definition: Any) -> Iterator[tuple[str, str]]:
    """The values in a parameter type, each with its path: its default, and what its enum lists."""
    if not isinstance(definition, dict):
        return
    values = {"$.default": definition.get("default")}
    items = definition.get("enum")
    for index, item in enumerate(items if isinstance(items, list) else ()):
        values[f"$.enum[{index}]"] = item.get("id") if isinstance(item, dict) else item
    for path, value in values.items():
        if value is not None:
            yield path, value if isinstance(value, str) else msgspec.json.encode(value).decode()


def texts_of(found: Collection[Plain]) -> frozenset[str]:
    """What has to be masked."""
    return frozenset(each.value for each in found if each.value)


def masked_record(record: Mapping[str, Any], texts: Collection[str]) -> dict[str, Any]:
    """A flow's record, as JSON. What says which flow it is, and what it has, stays."""
    return {
        name: masked(value, texts) if name in _FREE else value for name, value in record.items()
    }


def masked_after(after: Mapping[str, Any], texts: Collection[str]) -> dict[str, Any]:
    """``after`` in the history of a flow."""
    record = masked_record(after["record"], texts)
    return {**after, "record": record, "variants": masked(after.get("variants", {}), texts)}


def masked_definition(definition: Mapping[str, Any], texts: Collection[str]) -> dict[str, Any]:
    """A parameter type."""
    return {
        name: value if name == "type" else masked(value, texts)
        for name, value in definition.items()
    }


_FREE = frozenset({"description", "interfaces", "parameters", "given", "paused"})
"""The fields of a record that hold anybody's text."""


def masked(value: Any, texts: Collection[str]) -> Any:
    """A JSON value, with ``***`` for each of ``texts`` in it; names of fields stay."""
    if not texts:
        return value
    if isinstance(value, dict):
        return {name: masked(each, texts) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [masked(each, texts) for each in value]
    if not isinstance(value, str):
        plain = value is not None and not isinstance(value, bool)
        return MASK if plain and msgspec.json.encode(value).decode() in texts else value
    if value in texts:
        return MASK
    for text in sorted(texts, key=len, reverse=True):
        if len(text) >= _SHORTEST:
            value = value.replace(text, MASK)
    return value
