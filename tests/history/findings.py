"""What a checker finds: the rule that was broken, and how."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

from kvconfig.errors import show_key

__all__ = ["Finding", "Rule", "names"]

Rule: TypeAlias = Literal[
    "exactly-once",
    "whole",
    "lost-update",
    "answer",
    "real-time",
    "batch",
    "resync",
    "adds-up",
    "cache",
    "settled",
    "defect",
]
"""See :mod:`tests.history.checker`."""


class Finding(msgspec.Struct, frozen=True):
    """One breach of a promise."""

    rule: Rule
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


def names(keys: Iterable[bytes]) -> str:
    """Some keys, for people."""
    return ", ".join(show_key(key) for key in sorted(keys)[:8])
