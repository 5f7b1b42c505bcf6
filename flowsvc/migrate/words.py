"""What each version called things, and the shapes that its configuration had.

============  ==========  ==================================================================
shape         versions    active variants
============  ==========  ==================================================================
``class``     1.0 to 1.8  ``flows-active``: for each processor ``{variant: entry}``
``blob``      1.9 to 2.2  ``active-flow``: for each processor ``{variant: entry}``
``interim``   (a plan)    ``active-flow``: ``<processor>:<variant>``, one entry each
``processor`` from 2.3    a type ``processor:<processor>``: for each variant its entry
============  ==========  ==================================================================

The first also said ``class`` where the others say ``blueprint``: as the section of shared entries,
in the names of types and fields, and as a placeholder.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

__all__ = [
    "BLUEPRINT_FIELDS",
    "KEPT_TYPE",
    "PROCESSOR",
    "SHAPES",
    "WORDS",
    "Meaning",
    "Shape",
    "Words",
    "meaning",
    "types_of",
]

Shape: TypeAlias = Literal["blob", "interim", "processor", "class"]
"""How a whole configuration is laid out."""

Meaning: TypeAlias = Literal["blueprint", "parameter-type", "flow", "active"]
"""What a type holds that is more than configuration."""

PROCESSOR: Final = "processor:"
"""How the types begin that hold the active variants of one processor each."""

KEPT_TYPE: Final = "migration"
"""The type of the items in which a migration keeps what its way back needs."""

_TYPES: dict[str, Meaning] = {
    "parameter-type": "parameter-type",
    "parameter-types": "parameter-type",
    "flow-blueprint": "blueprint",
    "flow-blueprints": "blueprint",
    "blueprint": "blueprint",
    "blueprints": "blueprint",
    "flow-class": "blueprint",
    "flow-classes": "blueprint",
    "flow": "flow",
    "flows": "flow",
    "active-flow": "active",
    "active-flows": "active",
    "flows-active": "active",
    "flow-active": "active",
}
"""Newer words first: where two sections hold the same, the newer one counts."""

BLUEPRINT_FIELDS = (
    "blueprint-name",
    "blueprint",
    "flow-blueprint",
    "class-name",
    "flow-class",
    "class",
)
"""How a flow's record names its blueprint; the newer words first."""


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """The words of one shape: of types, of the section of shared entries, of a record's field."""

    blueprints: str = "flow-blueprint"
    parameter_types: str = "parameter-type"
    flows: str = "flow"
    active: str = "active-flow"
    shared: str = "blueprint"
    blueprint_name: str = "blueprint-name"


_NEWER = Words()
WORDS: dict[Shape, Words] = {
    "blob": _NEWER,
    "interim": _NEWER,
    "processor": _NEWER,
    "class": Words(
        blueprints="flow-classes",
        parameter_types="parameter-types",
        flows="flows",
        active="flows-active",
        shared="class",
        blueprint_name="class-name",
    ),
}
SHAPES: tuple[Shape, ...] = tuple(WORDS)


def meaning(type_: str) -> Meaning | None:
    """What a type means, in whatever version's words; ``None`` for configuration."""
    if type_.startswith(PROCESSOR) and type_ != PROCESSOR:
        return "active"
    return _TYPES.get(type_)


def types_of(what: Meaning) -> list[str]:
    """Every word for it, the newer ones first; of processors' own types none."""
    return [type_ for type_, means in _TYPES.items() if means == what]
