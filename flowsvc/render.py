"""From a blueprint and a flow's parameters to what the flow needs in etcd.

Each distinct text of the blueprint is filled in once, in one pass; what comes out is put together
by lookups. Nothing half-done ever leaves: a placeholder without a value, a name that is none, two
entries at one key and an output out of bounds are all refused here, each with its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from flowsvc.blueprint import RESERVED_WORDS, Blueprint, Entry
from flowsvc.definition import Findings, child
from flowsvc.errors import BlueprintInvalid, ParametersInvalid
from kvconfig.errors import InvalidName
from kvconfig.keys import check_name
from kvconfig.keyspace import VariantName
from kvconfig.records import VariantRecord

__all__ = ["MAX_RENDERED_BYTES", "Rendered", "render"]

MAX_RENDERED_BYTES = 1024 * 1024
"""Bytes of text in all that a flow renders to. etcd takes 1.5 MiB in one request by default, and
the variants are in it twice, in their keys and in the history: nothing larger could be stored."""


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """What a flow needs. The value under a variant's key is ``kvconfig.codec.encode(record)``.

    No name is both in ``own`` and in ``shared``.
    """

    own: dict[VariantName, VariantRecord]
    shared: dict[VariantName, VariantRecord]
    interfaces: dict[str, dict[str, str]]


def render(
    blueprint: Blueprint, *, flow: str, workspace: str, parameters: Mapping[str, str]
) -> Rendered:
    """What ``flow`` needs, with the parameters that :func:`flowsvc.parameters.resolve` gave.

    ``{id}`` stands for ``flow`` and ``{workspace}`` for ``workspace``, even if there are parameters
    of these names.

    Raises :class:`InvalidName` for a flow or workspace that is no name, :class:`BlueprintInvalid`
    or, where a parameter's value is to blame, :class:`ParametersInvalid`, with every finding.
    """
    values = {
        **parameters,
        "id": check_name(flow, "flow id"),
        "workspace": check_name(workspace, "workspace"),
    }
    _check_values(blueprint, values)
    filled = {text: template.render(values) for text, template in blueprint.templates.items()}
    texts = blueprint.literals | filled
    rendered = Rendered(
        own=_records(blueprint.own, texts),
        shared=_records(blueprint.shared, texts),
        interfaces={
            name: {kind: texts[topic] for kind, topic in kinds.items()}
            for name, kinds in blueprint.interfaces.items()
        },
    )
    _check_names(blueprint, texts)
    _check_unique(blueprint, texts, rendered)
    return rendered


def _records(
    entries: Iterable[Entry], texts: Mapping[str, str]
) -> dict[VariantName, VariantRecord]:
    return {
        VariantName(entry.processor, texts[entry.variant]): VariantRecord(
            topics={texts[name]: texts[topic] for name, topic in entry.topics.items()},
            parameters={texts[name]: texts[value] for name, value in entry.parameters.items()},
        )
        for entry in entries
    }


def _refuse(blueprint: Blueprint, *, ours: Findings, given: Findings) -> None:
    """``ours`` are faults of the blueprint, ``given`` of the parameters it is used with."""
    if ours.has_errors:
        raise BlueprintInvalid(f"blueprint {blueprint.name!r}", ours.all())
    if given.has_errors:
        raise ParametersInvalid(f"what was given for blueprint {blueprint.name!r}", given.all())


def _check_values(blueprint: Blueprint, values: Mapping[str, str]) -> None:
    """Every placeholder has a value, and the output is bounded: known before anything is made."""
    ours, given = Findings(), Findings()
    missing = [name for name in blueprint.placeholders if name not in values]
    for name, places in blueprint.places_of(missing).items() if missing else ():
        if name in blueprint.parameters:
            message = f"has no value and no default, and is needed at {_listed(places)}"
            given.error(child("$.parameters", name), message)
            continue
        for place in places:
            ours.error(place, f"{{{name}}} is no declared parameter, and was not given either")
    sizes = {
        name: count * len(values.get(name, "").encode())
        for name, count in blueprint.placeholders.items()
    }
    total = blueprint.literal_bytes + sum(sizes.values())
    if total > MAX_RENDERED_BYTES:
        message = f"would render to {total} bytes, at most {MAX_RENDERED_BYTES} can be stored"
        largest = max(sizes, key=sizes.__getitem__, default="id")
        if largest in RESERVED_WORDS:
            ours.error("$", message)
        else:
            given.error(child("$.parameters", largest), f"is too long: the flow {message}")
    _refuse(blueprint, ours=ours, given=given)


def _listed(places: list[str]) -> str:
    more = f" and {len(places) - 1} more places" if len(places) > 1 else ""
    return places[0] + more


def _check_names(blueprint: Blueprint, texts: Mapping[str, str]) -> None:
    """Every variant has to be a name now that it is filled in; most blueprints use one or two."""
    entries = (*blueprint.shared, *blueprint.own)
    rules: dict[str, str] = {}
    for variant in {entry.variant for entry in entries}:
        try:
            check_name(texts[variant], "variant")
        except InvalidName as error:
            rules[variant] = error.rule
    ours, given = Findings(), Findings()
    for entry in entries if rules else ():
        rule = rules.get(entry.variant)
        if rule is None:
            continue
        names = blueprint.templates[entry.variant].names
        blamed = [name for name in names if name not in RESERVED_WORDS]
        for name in blamed:
            message = f"makes no name of the variant at {entry.path}: {rule}"
            given.error(child("$.parameters", name), message)
        if not blamed:
            ours.error(entry.path, f"its variant, filled in, is no name: {rule}")
    _refuse(blueprint, ours=ours, given=given)


def _check_unique(blueprint: Blueprint, texts: Mapping[str, str], rendered: Rendered) -> None:
    """No two entries came to one key, and no two topics or parameters of an entry to one name."""
    both = ((blueprint.own, rendered.own), (blueprint.shared, rendered.shared))
    if rendered.own.keys().isdisjoint(rendered.shared) and all(
        len(entries) == len(records)
        and all(
            len(entry.topics) == len(record.topics)
            and len(entry.parameters) == len(record.parameters)
            for entry, record in zip(entries, records.values(), strict=True)
        )
        for entries, records in both
    ):
        return
    ours = Findings()
    for first, second, what in _clashes(blueprint, texts):
        ours.error(second, f"has the same {what} as {first} with these parameters")
    _refuse(blueprint, ours=ours, given=Findings())


def _clashes(blueprint: Blueprint, texts: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Each pair of places that came to one key or name, and which of these it is."""
    keys: dict[VariantName, str] = {}
    for entry in (*blueprint.shared, *blueprint.own):
        key = VariantName(entry.processor, texts[entry.variant])
        if keys.setdefault(key, entry.path) != entry.path:
            yield keys[key], entry.path, "key"
        for field, pairs in (("topics", entry.topics), ("parameters", entry.parameters)):
            names: dict[str, str] = {}
            for name in pairs:
                path = child(f"{entry.path}.{field}", name)
                if names.setdefault(texts[name], path) != path:
                    yield names[texts[name]], path, "name"
