"""Names, and the arithmetic of key ranges.

A prefix ends in ``/`` always: a range over ``/active-flow/chunk`` would cover ``chunker`` too.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from kvconfig.errors import InvalidName, show_key

__all__ = ["Range", "check_item_key", "check_name", "check_root", "everything", "one", "prefix"]

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:+-]{0,126}[A-Za-z0-9])?")
_ITEM_KEY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:+/@ -]{0,254}[A-Za-z0-9])?")
_NO_ITEM_KEY = re.compile(r"/\.{0,2}/")
_NAME_RULE = "1 to 128 of A-Z a-z 0-9 . _ : + -, with a letter or digit first and last"
_ITEM_RULE = "1 to 256 of A-Z a-z 0-9 . _ : + - / @ and space, a letter or digit first and last"


@lru_cache(maxsize=4096)
def check_name(name: str, what: str) -> str:
    """``name`` itself, if it is one. Raises :class:`InvalidName`; ``what`` says what it names.

    Remembered: one operation asks for the same few names hundreds of times.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidName(name, what=what, rule=_NAME_RULE)
    return name


def check_item_key(key: str) -> str:
    """The key of a configuration item: a name that may hold inner ``/``, ``@`` and spaces.

    No part of it is ``.`` or ``..``: whoever takes keys for paths would end elsewhere.
    """
    if _ITEM_KEY.fullmatch(key) is None or _NO_ITEM_KEY.search(key):
        raise InvalidName(key, what="key", rule=_ITEM_RULE + ", no //, no /./ and no /../")
    return key


def check_root(root: str) -> str:
    """A root is empty, or ``@`` and a name: no type starts with ``@``, so none can collide."""
    if root and not (root.startswith("@") and _NAME.fullmatch(root[1:])):
        raise InvalidName(root, what="root", rule="@ and then a name, as in @staging")
    return root


class Range(msgspec.Struct, frozen=True, gc=False):
    """The keys ``k`` with ``start <= k < end``, in byte order."""

    start: bytes
    end: bytes

    def __contains__(self, key: bytes) -> bool:
        return self.start <= key < self.end

    def __str__(self) -> str:
        if self.end == _next_sibling(self.start):
            return f"{show_key(self.start)}*"
        return f"[{show_key(self.start)}, {show_key(self.end)})"

    def before(self, key: bytes) -> Range:
        """The part of the range below ``key``."""
        return Range(self.start, key)

    def after(self, key: bytes) -> Range:
        """The part of the range above ``key``."""
        return Range(key + b"\0", self.end)


def prefix(start: bytes) -> Range:
    """All keys that begin with ``start``, which ends in ``/``."""
    if not start.endswith(b"/"):
        shown = show_key(start)
        raise InvalidName(shown, what="prefix", rule="it must end in /, or it covers other names")
    return Range(start, _next_sibling(start))


def one(key: bytes) -> Range:
    """The range that holds ``key`` and nothing else."""
    return Range(key, key + b"\0")


def everything() -> Range:
    """All keys, of every root."""
    return Range(b"\0", b"\xff" * 8)


def _next_sibling(start: bytes) -> bytes:
    """The first key after all that begin with ``start``."""
    kept = start.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1]) if kept else b"\0"
