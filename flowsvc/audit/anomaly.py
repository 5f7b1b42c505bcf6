"""What an audit finds, and the words that all checks use."""

from __future__ import annotations

from typing import Literal

import msgspec

from kvconfig.errors import InvalidValue, show_key
from kvconfig.model import KeyValue
from kvconfig.txn import Compare, Txn, at_revision

__all__ = ["Anomaly", "anomaly", "reason_of", "unchanged"]


class Anomaly(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be.

    ``code`` says what in one word (``orphan-variant``), ``key`` where, as people read it,
    ``message`` all of it, values left out: they may be secret. ``repair`` mends it, where that can
    be done without knowing what somebody meant.
    """

    code: str
    severity: Literal["error", "warning"]
    key: str
    message: str
    repair: Txn | None = None


def anomaly(
    code: str,
    key: bytes,
    said: str,
    repair: Txn | None = None,
    *,
    does: str = "",
    cure: str = "",
    severity: Literal["error", "warning"] = "error",
) -> Anomaly:
    """``does`` is what the repair does, ``cure`` what a person can do where there is none."""
    hint = f"repair {does}" if repair is not None else f"no repair: {cure}"
    message = show_key(f"{said}; {hint}".encode())  # the paths in it are anybody's text
    return Anomaly(code=code, severity=severity, key=show_key(key), message=message, repair=repair)


def unchanged(kv: KeyValue) -> Compare:
    """That the key was not written since."""
    return at_revision(kv.key, kv.mod_revision)


def reason_of(error: InvalidValue) -> str:
    """Why a value cannot be read, without the value."""
    return f"at {error.path}: {error.reason}"
