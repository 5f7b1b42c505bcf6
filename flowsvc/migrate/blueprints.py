"""Blueprints, from the form of any version to today's, and back.

What changes: flat entries are split (:mod:`flowsvc.migrate.flat`), an interface that is one topic
becomes ``{"flow": topic}``, and ``class`` is ``blueprint``, as a section and as a placeholder. All
else stays as it is, also what nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flowsvc.migrate.flat import SECTIONS, flattened, section_of
from flowsvc.migrate.reading import Style
from flowsvc.migrate.words import WORDS

__all__ = ["as_it_was", "modernised", "plain_interfaces"]

_SECTIONS_OF_ENTRIES = ("blueprint", "class", "flow")
_TEMPLATES = frozenset({*_SECTIONS_OF_ENTRIES, "interfaces"})


def modernised(old: Mapping[str, Any]) -> dict[str, Any]:
    """A blueprint of any version in today's form. One that has it already stays as it is."""
    new = _with_entries(_reworded(old, "class", "blueprint"), _nested)
    if isinstance(interfaces := new.get("interfaces"), dict):
        new["interfaces"] = {
            name: {"flow": topic} if isinstance(topic, str) else topic
            for name, topic in interfaces.items()
        }
    return new


def as_it_was(new: Mapping[str, Any], style: Style) -> dict[str, Any]:
    """The inverse: a blueprint as a document of that style has it."""
    old = _reworded(new, "blueprint", WORDS[style.shape].shared)
    if not style.flat:
        return old
    if isinstance(interfaces := old.get("interfaces"), dict):
        old["interfaces"] = plain_interfaces(interfaces)
    return _with_entries(old, _flat)


def plain_interfaces(interfaces: Mapping[str, Any]) -> dict[str, Any]:
    """Interfaces as flat formats have them: what is one topic is just that."""
    return {
        name: kinds["flow"] if isinstance(kinds, dict) and kinds.keys() == {"flow"} else kinds
        for name, kinds in interfaces.items()
    }


def _reworded(blueprint: Mapping[str, Any], was: str, now: str) -> dict[str, Any]:
    """Another word for blueprints: the section of shared entries, and the placeholder."""
    renamed = {} if now in blueprint else {was: now}
    return {
        renamed.get(name, name): _in_texts(value, was, now) if name in _TEMPLATES else value
        for name, value in blueprint.items()
    }


def _in_texts(value: Any, was: str, now: str) -> Any:
    """The placeholder replaced in all texts and names."""
    if was == now:
        return value
    if isinstance(value, str):
        return value.replace(f"{{{was}}}", f"{{{now}}}")
    if not isinstance(value, dict):
        return value
    inner = {_in_texts(name, was, now): _in_texts(each, was, now) for name, each in value.items()}
    # Names that only the word told apart: none may be lost, and blueprints understand both words.
    return inner if len(inner) == len(value) else value


def _with_entries(blueprint: Mapping[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    return {
        name: {key: change(entry) for key, entry in section.items()}
        if name in _SECTIONS_OF_ENTRIES and isinstance(section, dict)
        else section
        for name, section in blueprint.items()
    }


def _nested(entry: Any) -> Any:
    """An entry with its texts in sections. What cannot go there stays, for the check to tell."""
    if not isinstance(entry, dict):
        return entry
    sections: dict[str, dict[str, Any]] = {
        name: dict(entry[name]) for name in SECTIONS if isinstance(entry.get(name), dict)
    }
    nested, rest = bool(sections), dict[str, Any]()
    for name, value in entry.items():
        if nested and name in SECTIONS:
            rest |= {} if name in sections else {name: value}
            continue
        place = section_of(name, value) if isinstance(value, str) else "parameters"
        if isinstance(value, str | int | float) and name not in sections.get(place, {}):
            sections.setdefault(place, {})[name] = value
        else:
            rest[name] = value
    return {**sections, **rest}


def _flat(entry: Any) -> Any:
    """A nested entry as a flat one; as it is where that would lose something."""
    if not isinstance(entry, dict):
        return entry
    flat = flattened(entry)
    return entry if flat is None else flat
