"""In what two JSON values differ, field by field. Pure.

For people who compare: what an operation has changed, or would change. It is no patch format.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, Final, Literal

import msgspec

from flowsvc.definition import child

__all__ = ["ABSENT", "Absent", "Difference", "differences"]


class Absent(Enum):
    """The type of :data:`ABSENT`."""

    ABSENT = "absent"


ABSENT: Final[Literal[Absent.ABSENT]] = Absent.ABSENT
"""Stands for what is not there; ``None`` is the JSON value ``null``."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One place, such as ``$.record.parameters.size``, and what stood and stands there."""

    path: str
    before: Any = ABSENT
    after: Any = ABSENT

    @property
    def sign(self) -> Literal["+", "-", "~"]:
        """Whether it was added, removed or changed."""
        if self.before is ABSENT:
            return "+"
        return "-" if self.after is ABSENT else "~"


def differences(before: Any, after: Any) -> list[Difference]:
    """All places in which two JSON values differ, in the order of names; none: they are equal.

    Objects are compared field by field, an added or removed one as well, so each difference is
    about a value that is no object (or an empty one). Of lists, what both have at the start and
    at the end is left aside, and the rest is compared by index. Values of different types differ:
    ``1``, ``1.0``, ``true`` and ``"1"`` are four. Either value may be :data:`ABSENT`.
    """
    return list(_differences(before, after, "$"))


def _differences(before: Any, after: Any, path: str) -> Iterator[Difference]:
    one, other = _fields(before), _fields(after)
    if (one or other) and one is not None and other is not None:
        for name in sorted(one.keys() | other.keys()):
            yield from _differences(
                one.get(name, ABSENT), other.get(name, ABSENT), child(path, name)
            )
    elif isinstance(before, list) and isinstance(after, list):
        yield from _of_lists(before, after, path)
    elif not _same(before, after):
        yield Difference(path=path, before=before, after=after)


def _fields(value: Any) -> dict[str, Any] | None:
    """Those of an object; none where nothing is; ``None`` for what is no object."""
    if value is ABSENT:
        return {}
    return value if isinstance(value, dict) else None


def _of_lists(before: list[Any], after: list[Any], path: str) -> Iterator[Difference]:
    start = _common(before, after)
    end = _common(before[start:][::-1], after[start:][::-1])
    one, other = before[start : len(before) - end], after[start : len(after) - end]
    for index in range(max(len(one), len(other))):
        yield from _differences(
            one[index] if index < len(one) else ABSENT,
            other[index] if index < len(other) else ABSENT,
            f"{path}[{start + index}]",
        )


def _common(one: Sequence[Any], other: Sequence[Any]) -> int:
    """How many items two lists have in common at their start."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if not _same(left, right):
            break
        count += 1
    return count


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal, types and all; in one pass, however deep they are."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
