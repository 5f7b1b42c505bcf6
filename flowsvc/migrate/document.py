"""A configuration as one JSON document, ``{type: {key: value}}``, and what may be around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from flowsvc.definition import kind_of
from flowsvc.errors import Finding, InvalidInput
from flowsvc.migrate.words import meaning
from kvconfig.codec import parse_json
from kvconfig.errors import InvalidValue

__all__ = ["Document", "Place", "assembled", "parse_document", "sections_of", "units"]

Document: TypeAlias = Mapping[str, Any]

Place: TypeAlias = tuple[str, str | None]
"""A type and a key; without a key it is the whole section, one that is empty or no object."""


def parse_document(data: bytes, subject: str) -> Document:
    """A document from its text. Raises :class:`InvalidInput`, see :mod:`kvconfig.codec`."""
    try:
        parsed = parse_json(data)
    except InvalidValue as error:
        raise InvalidInput(subject, [Finding(error.path, error.reason)]) from error
    return sections_of(parsed, subject)


def sections_of(parsed: object, subject: str) -> Document:
    """The sections of a document, by type.

    ``{"config": {…}, "version": 7}``, which is how TrustGraph's API answers, is taken for what is
    in it, and so is a list (or ``{"values": [list]}``) of ``{"type", "key", "value"}``. Raises
    :class:`InvalidInput` for what is none of these.
    """
    values = parsed.get("values") if isinstance(parsed, dict) and len(parsed) == 1 else parsed
    if isinstance(values, list):
        return _listed(values, subject)
    if not isinstance(parsed, dict):
        message = f"give an object: {{type: {{key: value}}}}; this is {kind_of(parsed)}"
        raise InvalidInput(subject, [Finding("$", message)])
    inner = parsed.get("config")
    if not isinstance(inner, dict) or parsed.keys() - {"config", "version"}:
        return parsed
    return inner if any(map(meaning, inner)) else parsed


def _listed(values: list[Any], subject: str) -> Document:
    sections: dict[str, dict[str, Any]] = {}
    for number, item in enumerate(values):
        named = isinstance(item, dict) and "value" in item
        if not named or not all(isinstance(item.get(name), str) for name in ("type", "key")):
            message = 'give an object: {"type": "…", "key": "…", "value": …}'
            raise InvalidInput(subject, [Finding(f"$[{number}]", message)])
        section = sections.setdefault(item["type"], {})
        if item["key"] in section:
            raise InvalidInput(subject, [Finding(f"$[{number}]", "stands twice in the list")])
        section[item["key"]] = item["value"]
    return sections


def units(document: Document) -> Iterator[tuple[Place, Any]]:
    """Each part of a document that can be there or not, with its value."""
    for type_, section in document.items():
        if isinstance(section, dict) and section:
            for key, value in section.items():
                yield (type_, key), value
        else:
            yield (type_, None), section


def assembled(parts: Mapping[Place, Any]) -> dict[str, Any]:
    """The document that has just these units: the inverse of :func:`units`.

    A whole section gives way to keys of the same type.
    """
    document: dict[str, Any] = {}
    for (type_, key), value in parts.items():
        if key is not None:
            document.setdefault(type_, {})[key] = value
    for (type_, key), value in parts.items():
        if key is None:
            document.setdefault(type_, value)
    return document
