"""What a processor is given to run: one variant, checked, typed and frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, TypeVar

import msgspec

from kvconfig.model import Revision
from processors.secret import Secret

__all__ = ["Value", "Variant"]

Value: TypeAlias = str | int | float | bool | Secret
P = TypeVar("P", str, int, float, bool, Secret)


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One variant as its processor's :class:`~processors.spec.Spec` made it from the stored value.

    ``topics`` maps the processor's names for topics to the topics themselves. ``parameters`` has
    every declared parameter in its declared type, defaults filled in, and undeclared ones as
    strings; an optional one without a default is absent. A secret is a :class:`Secret`, with its
    value from the moment that the variant is entered. ``mod_revision`` is the revision of the
    put that this value came with.
    """

    processor: str
    name: str
    topics: Mapping[str, str]
    parameters: Mapping[str, Value]
    mod_revision: Revision

    def parameter(self, name: str, type_: type[P]) -> P:
        """A parameter in its declared type: ``variant.parameter("chunk-size", int)``.

        Raises ``KeyError`` where it is absent and ``TypeError`` where it was declared otherwise:
        both are mistakes of the processor, not of the variant.
        """
        value = self.parameters[name]
        if type(value) is not type_:
            declared = type(value).__name__
            raise TypeError(f"parameter {name} is {declared}, not {type_.__name__}")
        return value

    def same_value(self, other: Variant) -> bool:
        """Whether both would do the same: name, revision and the kind of event do not count."""
        return self.topics == other.topics and self.parameters == other.parameters
