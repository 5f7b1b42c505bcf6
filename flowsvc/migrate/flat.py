"""Flat entries: topics and parameters side by side, as they were until 2.2.

An entry was ``{"input": "flow:tg:load:f1", "chunk-size": "2000"}``, and nothing in it said which is
which. The rule, in this order, for a field and its text:

1. The text is just one placeholder, ``{chunk-size}``, and not one that stands for the flow itself
   (``{id}``, ``{blueprint}``, ``{class}``, ``{workspace}``): a parameter.
2. The text looks like a topic of any version: ``persistent://tg/flow/x``,
   ``non-persistent://…``, ``q1/tg/flow/x``, ``flow:tg:x``, ``request:…``, ``response:…``,
   ``notify:…``, ``state:…``: a topic.
3. The field's name is one of a topic: ``input``, ``output``, ``request``, ``response``, ``next``,
   or ends so after a ``-``: a topic.
4. Anything else is a parameter.

The rule is for the texts of a blueprint. An active entry goes by the blueprint's: what is a topic
there is one here. Only a field that the blueprint does not have goes by the rule itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

from flowsvc.blueprint import RESERVED_WORDS
from flowsvc.template import Template
from kvconfig.records import VariantRecord

__all__ = ["SECTIONS", "Section", "flattened", "is_nested", "section_of", "split"]

Section: TypeAlias = Literal["topics", "parameters"]
SECTIONS: tuple[Section, ...] = ("topics", "parameters")

_TOPIC = re.compile(r"(?:non-)?persistent://|q[0-2]/|(?:flow|request|response|notify|state):")
_TOPIC_NAME = re.compile(r"(?:.*-)?(?:input|output|request|response|next)")


def section_of(name: str, text: str) -> Section:
    """Where a field of a flat entry belongs: the module's rule."""
    template = Template.compile(text)
    if template.literals == ("", "") and template.names[0] not in RESERVED_WORDS:
        return "parameters"
    if _TOPIC.match(text) or _TOPIC_NAME.fullmatch(name):
        return "topics"
    return "parameters"


def split(fields: Mapping[str, str], like: VariantRecord | None) -> VariantRecord:
    """The fields of a flat entry in their places; ``like`` is what the blueprint makes of it."""
    found: dict[Section, dict[str, str]] = {"topics": {}, "parameters": {}}
    for name, text in fields.items():
        if like is not None and (name in like.topics) != (name in like.parameters):
            section: Section = "topics" if name in like.topics else "parameters"
        else:
            section = section_of(name, text)
        found[section][name] = text
    return VariantRecord(topics=found["topics"], parameters=found["parameters"])


def is_nested(entry: Mapping[str, object]) -> bool:
    """Whether an entry has its topics or parameters in objects of their own."""
    return any(isinstance(entry.get(section), dict) for section in SECTIONS)


def flattened(entry: Mapping[str, object]) -> dict[str, object] | None:
    """A nested entry as a flat one; ``None`` where that would lose something."""
    if not entry.keys() <= set(SECTIONS):
        return None
    flat: dict[str, object] = {}
    for section in SECTIONS:
        fields = entry.get(section, {})
        if not isinstance(fields, dict) or not flat.keys().isdisjoint(fields):
            return None
        flat.update(fields)
    return None if is_nested(flat) else flat
