"""What may stand in a seed: the types, their names, and the form of a flow.

A seed is one object, ``{type: {key: value}}``: parameter types, blueprints, flows, schemas, and any
configuration. What the flow service makes by itself never stands in it.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from flowsvc.model import ParameterValue
from kvconfig.errors import InvalidName
from kvconfig.keys import check_item_key, check_name
from kvconfig.keyspace import RESERVED_TYPES
from kvconfig.records import DEFAULT_WORKSPACE, FlowRecord

__all__ = [
    "BLUEPRINT",
    "DERIVED",
    "FLOW",
    "NAMED",
    "PARAMETER_TYPE",
    "SCHEMA",
    "Entry",
    "Format",
    "Readable",
    "SeedFlow",
    "refused_key",
    "refused_type",
]

PARAMETER_TYPE: Final = "parameter-type"
BLUEPRINT: Final = "flow-blueprint"
FLOW: Final = "flow"
SCHEMA: Final = "schema"

NAMED: Final = (SCHEMA, PARAMETER_TYPE, BLUEPRINT, FLOW)
"""Types that are more than configuration; each rests on those before it."""

DERIVED: Final = tuple(type_ for type_ in RESERVED_TYPES if type_ not in NAMED)
"""Types that follow from others, or that are somebody's own: in no seed, so in no export."""

_OLD_WORDS: Mapping[str, str] = {
    "flow-class": BLUEPRINT,
    "flow-classes": BLUEPRINT,
    "flow-blueprints": BLUEPRINT,
    "blueprint": BLUEPRINT,
    "blueprints": BLUEPRINT,
    "parameter-types": PARAMETER_TYPE,
    "flows": FLOW,
}
_RENDERED = ("active-flow", "flows-active", "processor:*")


Format: TypeAlias = Literal["json", "yaml"]


class Entry(NamedTuple):
    """One value of a document; without a key, a whole section that is empty or no object."""

    type: str
    key: str | None
    value: Any


class Readable(Protocol):
    """A text in bytes that is read once, part by part."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


class SeedFlow(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="kebab",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """A flow to start, and whether it is paused then. ``parameters`` are those that are given.

    ``interfaces`` (as records have them) are made anew and not looked at.
    """

    blueprint_name: str
    description: str = ""
    parameters: dict[str, ParameterValue] = {}
    workspace: str = DEFAULT_WORKSPACE
    paused: bool = False
    interfaces: Any = None

    @classmethod
    def of(cls, record: FlowRecord) -> SeedFlow:
        """What makes a flow like this one; where it is not known what was given, everything was."""
        return cls(
            blueprint_name=record.blueprint_name,
            description=record.description,
            parameters={**(record.parameters if record.given is None else record.given)},
            # The default itself, which is left out: msgspec tells it by identity.
            workspace=DEFAULT_WORKSPACE
            if record.workspace == DEFAULT_WORKSPACE
            else record.workspace,
            paused=record.paused is not None,
        )


def refused_type(type_: str) -> str:
    """Why a type cannot stand in a seed; empty where it can."""
    if any(fnmatch.fnmatchcase(type_, pattern) for pattern in _RENDERED):
        return "is made from flows: leave it out (--skip), and give the flows under flow"
    if type_ in _OLD_WORDS:
        return f"is an old word: write {_OLD_WORDS[type_]}"
    if type_ in DERIVED:
        return f"is written by {RESERVED_TYPES[type_]} only"
    try:
        check_name(type_, "type")
    except InvalidName as error:
        return f"is no type: {error.rule}"
    return ""


def refused_key(type_: str, key: str) -> str:
    """Why a key cannot stand in a section; empty where it can."""
    if type_ == SCHEMA and key in RESERVED_TYPES:
        return f"is a type written by {RESERVED_TYPES[key]} only: no schema is enforced there"
    try:
        if type_ in NAMED:
            check_name(key, type_)
        else:
            check_item_key(key)
    except InvalidName as error:
        return f"is no {error.what}: {error.rule}"
    return ""
