"""How much work a JSON Schema makes of one look at a value: few lines may stand for gigabytes.

``$ref`` lets a part of a schema stand in many places. Twenty definitions, each of which refers to
the next one twice, are looked at a million times. So the ways through a schema are counted, and it
is refused, before anything is done with it, where there are more than any real one has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from kvconfig.errors import InvalidValue

__all__ = ["MAX_WAYS", "Ways", "depth_of", "ways_through"]

MAX_WAYS = 10_000
"""Ways through a schema, or its violations: so many take a quarter of a second at the most."""

_MAX_CHAIN = 200
"""References on the way from the top to any part, and what encloses it: each is a call."""

_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


class Ways(NamedTuple):
    """``all`` of them, of which ``back`` end at a part that encloses where they come from."""

    all: int
    back: int


def ways_through(schema: object) -> Ways:
    """Count the ways; what the words of a schema mean does not matter.

    Raises :class:`InvalidValue` where there are too many, and for a reference that is neither ``#``
    nor ``#/…``: nothing is fetched, and a part has no other name.
    """
    return _Counting(schema).ways(schema, "$", 0)


class _Counting:
    """Walks through a schema; each part is counted once, however many refer to it."""

    def __init__(self, whole: object) -> None:
        self._whole = whole
        self._known: dict[int, Ways | None] = {}  # by identity; None: it is being counted

    def ways(self, part: object, path: str, depth: int) -> Ways:
        if not isinstance(part, dict | list):
            return Ways(0, 0)
        if id(part) in self._known:
            return self._known[id(part)] or Ways(1, 1)
        if depth > _MAX_CHAIN:
            raise InvalidValue("refers on and on: the chain is too long", path=path)
        self._known[id(part)] = None
        count, back = 1, 0
        for where, inner in self._inner(part, path):
            ways = self.ways(inner, where, depth + 1)
            count, back = count + ways.all, back + ways.back
            if count > MAX_WAYS:
                reason = f"has more than {MAX_WAYS} ways through its parts: fewer $ref are taken"
                raise InvalidValue(reason, path=path)
        found = self._known[id(part)] = Ways(count, back)
        return found

    def _inner(self, part: dict[str, Any] | list[Any], path: str) -> Iterator[tuple[str, object]]:
        """What is inside, and what is referred to."""
        if isinstance(part, list):
            yield from ((f"{path}[{index}]", inner) for index, inner in enumerate(part))
            return
        for name, inner in part.items():
            where = f"{path}.{name}"
            yield where, inner
            if name in _REFERENCES and isinstance(inner, str):
                yield "$" + inner[1:].replace("/", "."), self._target(inner, where)

    def _target(self, reference: str, path: str) -> object:
        if reference != "#" and not reference.startswith("#/"):
            reason = "a reference goes to # or #/… in the same document, and nowhere else"
            raise InvalidValue(reason, path=path)
        part: Any = self._whole
        for step in reference.split("/")[1:]:
            name = _unquoted(step)
            if isinstance(part, dict) and name in part:
                part = part[name]
            elif isinstance(part, list) and name.isdecimal() and int(name) < len(part):
                part = part[int(name)]
            else:
                raise InvalidValue("refers to what is not there", path=path)
        return part


def _unquoted(step: str) -> str:
    """A step of a JSON pointer in a URI fragment (RFC 6901)."""
    from urllib.parse import unquote

    return unquote(step).replace("~1", "/").replace("~0", "~")


def depth_of(value: object) -> int:
    """How many objects and lists are inside each other; the value is not deeper than any is."""
    depth, level = 0, [value]
    while level := [
        inner
        for node in level
        if isinstance(node, dict | list)
        for inner in (node.values() if isinstance(node, dict) else node)
    ]:
        depth += 1
    return depth
