"""From a blueprint and a flow's parameters to what the flow needs in etcd.

In two steps. :func:`form` fills in everything but the flow's id, down to the JSON of each variant;
the same form serves every flow with these parameters. :meth:`Form.fill` then puts the id where it
belongs, which is joining bytes: an id is a name, and no character of a name is ever escaped.
:func:`render` is both.

Each distinct text of the blueprint is filled in once, in one pass; what comes out is put together
by lookups. Nothing half-done ever leaves: a placeholder without a value, a name that is none, two
entries at one key and an output out of bounds are all refused here, each with its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NoReturn

import msgspec

from flowsvc.blueprint import RESERVED_WORDS, Blueprint, Entry
from flowsvc.definition import Findings, child
from flowsvc.errors import BlueprintInvalid, ParametersInvalid
from kvconfig.codec import encode
from kvconfig.errors import InvalidName
from kvconfig.keys import check_name
from kvconfig.keyspace import VariantName
from kvconfig.records import Interfaces, VariantRecord, decode_variant

__all__ = ["MAX_RENDERED_BYTES", "Form", "Rendered", "decoded", "form", "render"]

MAX_RENDERED_BYTES = 1024 * 1024
"""Bytes of text in all that a flow renders to. etcd takes 1.5 MiB in one request by default, and
the variants are in it twice, in their keys and in the history: nothing larger could be stored."""

_OPEN = "\uffff"
"""Stands for the flow's id in a form. Unicode keeps it for use inside programs, and JSON writes it
as it is. Where a text holds it all the same, nothing is left open."""

_GAP = _OPEN.encode()


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """What a flow needs: for each variant its value, a ``VariantRecord`` in canonical JSON.

    No name is both in ``own`` and in ``shared``.
    """

    own: dict[VariantName, bytes]
    shared: dict[VariantName, bytes]
    interfaces: Interfaces


def decoded(values: Mapping[VariantName, bytes]) -> dict[VariantName, VariantRecord]:
    """Values of variants as they were before they were JSON."""
    return {name: decode_variant(value) for name, value in values.items()}


def render(
    blueprint: Blueprint, *, flow: str, workspace: str, parameters: Mapping[str, str]
) -> Rendered:
    """What ``flow`` needs, with the parameters that :func:`flowsvc.parameters.resolve` gave.

    ``{id}`` stands for ``flow`` and ``{workspace}`` for ``workspace``, even if there are parameters
    of these names.

    Raises :class:`InvalidName` for a flow or workspace that is no name, :class:`BlueprintInvalid`
    or, where a parameter's value is to blame, :class:`ParametersInvalid`, with every finding.
    """
    return form(blueprint, workspace=workspace, parameters=parameters).fill(flow)


def form(blueprint: Blueprint, *, workspace: str, parameters: Mapping[str, str]) -> Form:
    """What flows of ``blueprint`` with these parameters have in common. Raises as :func:`render`.

    The id is left open where it is text and nothing more: as part of a name inside JSON it would
    decide the order, too.
    """
    values = {**parameters, "id": "", "workspace": check_name(workspace, "workspace")}
    size = _check_values(blueprint, values)
    pieces: tuple[bytes, ...] = ()
    if not _is_id_in_names(blueprint) and _GAP not in _lines(blueprint, values):
        pieces = tuple(_lines(blueprint, {**values, "id": _OPEN}).split(_GAP))
    variants = frozenset(entry.variant for entry in (*blueprint.shared, *blueprint.own))
    return Form(blueprint=blueprint, values=values, size=size, variants=variants, pieces=pieces)


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """A blueprint filled in but for the id of the flow; made by :func:`form`.

    ``values`` is what it was filled in with; ``size`` what it renders to, less all that is id;
    ``variants`` each distinct text that has to become a name; ``pieces`` the JSON of all else,
    between one id and the next, and none where nothing could be left open.
    """

    blueprint: Blueprint
    values: dict[str, str]
    size: int
    variants: frozenset[str]
    pieces: tuple[bytes, ...]

    def fill(self, flow: str) -> Rendered:
        """What ``flow`` needs. Raises as :func:`render`."""
        blueprint = self.blueprint
        values = {**self.values, "id": check_name(flow, "flow id")}
        if self.size + blueprint.placeholders.get("id", 0) * len(flow) > MAX_RENDERED_BYTES:
            _check_values(blueprint, values)
        variants = _texts(blueprint, values, self.variants)
        _check_names(blueprint, variants)
        lines = flow.encode().join(self.pieces) if self.pieces else _lines(blueprint, values)
        *made, interfaces = lines.split(b"\n")
        shared = dict(zip(_names(blueprint.shared, variants), made, strict=False))
        own = dict(zip(_names(blueprint.own, variants), made[len(blueprint.shared) :], strict=True))
        if len(shared.keys() | own.keys()) < len(made):
            _refuse_clashes(blueprint, values)
        return Rendered(own=own, shared=shared, interfaces=_read_interfaces(interfaces))


_read_interfaces = msgspec.json.Decoder(Interfaces).decode


def _is_id_in_names(blueprint: Blueprint) -> bool:
    """Whether some topic or parameter of an entry is named after the flow."""
    with_id = {text for text, template in blueprint.templates.items() if "id" in template.names}
    return any(
        with_id.intersection(entry.topics) or with_id.intersection(entry.parameters)
        for entry in (*blueprint.shared, *blueprint.own)
    )


def _texts(blueprint: Blueprint, values: Mapping[str, str], texts: Iterable[str]) -> dict[str, str]:
    """What each of the blueprint's texts becomes."""
    templates, literals = blueprint.templates, blueprint.literals
    return {
        text: templates[text].render(values) if text in templates else literals[text]
        for text in texts
    }


def _names(entries: Iterable[Entry], variants: Mapping[str, str]) -> list[VariantName]:
    return [VariantName(entry.processor, variants[entry.variant]) for entry in entries]


def _lines(blueprint: Blueprint, values: Mapping[str, str]) -> bytes:
    """The value of each shared and each own entry, in order, and the interfaces: each is one line
    of JSON, which never needs a line break.

    Raises :class:`BlueprintInvalid` where two names in an entry come to one.
    """
    texts = _texts(blueprint, values, (*blueprint.literals, *blueprint.templates))

    def value(entry: Entry) -> bytes:
        topics = {texts[name]: texts[topic] for name, topic in entry.topics.items()}
        parameters = {texts[name]: texts[value] for name, value in entry.parameters.items()}
        if len(topics) < len(entry.topics) or len(parameters) < len(entry.parameters):
            _refuse_clashes(blueprint, values)
        return encode(VariantRecord(topics=topics, parameters=parameters))

    interfaces = {
        name: {kind: texts[topic] for kind, topic in kinds.items()}
        for name, kinds in blueprint.interfaces.items()
    }
    made = [value(entry) for entry in (*blueprint.shared, *blueprint.own)]
    return b"\n".join([*made, encode(interfaces)])


def _refuse(blueprint: Blueprint, *, ours: Findings, given: Findings) -> None:
    """``ours`` are faults of the blueprint, ``given`` of the parameters it is used with."""
    if ours.has_errors:
        raise BlueprintInvalid(f"blueprint {blueprint.name!r}", ours.all())
    if given.has_errors:
        raise ParametersInvalid(f"what was given for blueprint {blueprint.name!r}", given.all())


def _check_values(blueprint: Blueprint, values: Mapping[str, str]) -> int:
    """Every placeholder has a value, and the output is bounded: known before anything is made.

    The bytes of text that there will be.
    """
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
    return total


def _listed(places: list[str]) -> str:
    more = f" and {len(places) - 1} more places" if len(places) > 1 else ""
    return places[0] + more


def _check_names(blueprint: Blueprint, variants: Mapping[str, str]) -> None:
    """Every variant has to be a name now that it is filled in; most blueprints use one or two."""
    rules: dict[str, str] = {}
    for variant, name in variants.items():
        try:
            check_name(name, "variant")
        except InvalidName as error:
            rules[variant] = error.rule
    ours, given = Findings(), Findings()
    for entry in (*blueprint.shared, *blueprint.own) if rules else ():
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


def _refuse_clashes(blueprint: Blueprint, values: Mapping[str, str]) -> NoReturn:
    """Two entries came to one key, or two topics or parameters of an entry to one name."""
    texts = _texts(blueprint, values, (*blueprint.literals, *blueprint.templates))
    findings = Findings()
    for first, second, what in _clashes(blueprint, texts):
        findings.error(second, f"has the same {what} as {first} with these parameters")
    raise BlueprintInvalid(f"blueprint {blueprint.name!r}", findings.all())


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
