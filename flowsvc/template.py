"""Text with placeholders, such as ``request:tg:{workspace}:{id}``, filled in one pass.

A placeholder is ``{name}``, where the name follows the name rule of :mod:`kvconfig.keys` and holds
a letter. Every other brace is text and stays as it is: values hold JSON (``{"a": 1}``), regular
expressions (``[0-9]{3}``) and ``{}``, and an escape for them would change what blueprints mean
that were written for TrustGraph, which replaces the names it knows and has no escape either.

One pass means that a value is never looked at again: a parameter whose value is ``{id}`` gives
``{id}``. (TrustGraph replaces one name after the other, so there it would give the flow's id.)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

import msgspec

from flowsvc.definition import kind_of
from flowsvc.errors import Finding

__all__ = ["Template", "is_placeholder_name", "loose_placeholders", "stringify"]

_NAME = r"(?=[0-9._:+-]*[A-Za-z])[A-Za-z0-9](?:[A-Za-z0-9._:+-]{0,126}[A-Za-z0-9])?"
_WHOLE_NAME = re.compile(_NAME)
_PLACEHOLDER = re.compile(r"\{(" + _NAME + r")\}")
_LOOSE = re.compile(r"\{(?:\s{1,8}" + _NAME + r"\s{0,8}|" + _NAME + r"\s{1,8})\}")


def is_placeholder_name(name: str) -> bool:
    """Whether ``{name}`` is a placeholder: only such a name can be a parameter's."""
    return _WHOLE_NAME.fullmatch(name) is not None


def loose_placeholders(text: str) -> list[str]:
    """What looks like a placeholder but for a space inside, ``{ id }``: text, likely by mistake."""
    return _LOOSE.findall(text)


class Template(msgspec.Struct, frozen=True):
    """A compiled text: literal, placeholder name, literal, …, always ending with a literal.

    Two templates with equal segments give equal texts, whatever the values. ``pattern`` is the
    same for Python's ``%``, which fills it in at the speed of C and looks at no value again.
    """

    segments: tuple[str, ...]
    pattern: str

    @classmethod
    def compile(cls, text: str, constants: Mapping[str, str] = {}) -> Template:
        """Split ``text`` at its placeholders; ``constants`` are filled in right away."""
        segments = [""]
        for index, part in enumerate(_PLACEHOLDER.split(text)):
            if index % 2 and part not in constants:
                segments += [part, ""]
            else:
                segments[-1] += constants[part] if index % 2 else part
        pattern = "".join(
            f"%({part})s" if index % 2 else part.replace("%", "%%")
            for index, part in enumerate(segments)
        )
        return cls(tuple(segments), pattern)

    @property
    def literals(self) -> tuple[str, ...]:
        """The text between the placeholders, before the first and after the last of them."""
        return self.segments[::2]

    @property
    def names(self) -> tuple[str, ...]:
        """The placeholders, in their order, as often as they occur."""
        return self.segments[1::2]

    def render(self, values: Mapping[str, str]) -> str:
        """The text with every placeholder filled in. ``KeyError`` where a value is missing."""
        return self.pattern % values


def stringify(value: object, path: str) -> str | Finding:
    """A scalar as the text that stands for it in a flow, or what is wrong with it.

    ``true`` and ``false``, and numbers as Python writes them, which is TrustGraph's way
    (``0.3``, ``2000``). Null, lists and objects are refused: TrustGraph fails on them half-way
    through a start, or ships ``None``.
    """
    if isinstance(value, str):
        if "\0" in value:
            return Finding(path, "holds a NUL character")
        return value if _is_unicode(value) else Finding(path, "holds a lone surrogate, no text")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and not math.isfinite(value):
        return Finding(path, f"{value} is no JSON number")
    if isinstance(value, int | float):
        try:
            return str(value)
        except ValueError:  # Python refuses to write integers of thousands of digits
            return Finding(path, "is too large a number")
    return Finding(path, f"must be a string, a number or a boolean, is {kind_of(value)}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
