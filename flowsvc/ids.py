"""Ids of operations: UUIDs of version 7 (RFC 9562), whose text sorts by the time they were made."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable

__all__ = ["made_at_s", "new_op"]


def new_op(
    *,
    time_ns: Callable[[], int] = time.time_ns,
    random_bits: Callable[[int], int] = secrets.randbits,
) -> str:
    """A new id: 48 bits of milliseconds since 1970, 74 random ones.

    Ids made in the same millisecond come in no order.
    """
    milliseconds = time_ns() // 1_000_000 & (1 << 48) - 1
    version, variant = 0x7, 0b10
    return str(
        uuid.UUID(
            int=milliseconds << 80
            | version << 76
            | random_bits(12) << 64
            | variant << 62
            | random_bits(62)
        )
    )


def made_at_s(op: str) -> float | None:
    """When an id was made, in seconds since 1970; ``None`` for one that does not say."""
    try:
        parsed = uuid.UUID(op)
    except ValueError:
        return None
    return (parsed.int >> 80) / 1000 if parsed.version == 7 else None
