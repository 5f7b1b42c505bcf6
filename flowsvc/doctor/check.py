"""The form of a finding, and the words and numbers that all checks use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

from flowsvc.doctor.facts import Facts, Unknown

__all__ = [
    "Check",
    "Verdict",
    "bytes_text",
    "etcdctl",
    "flowctl",
    "number",
    "some",
    "span",
    "unlearnt",
]

Verdict: TypeAlias = Literal["ok", "note", "warning", "error", "skipped"]


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    ``found`` has the numbers, ``means`` what follows from them, in a sentence; ``cure`` are
    commands where there are any, else what to do, one a line. No value of a key is in it.
    """

    name: str
    verdict: Verdict
    found: str
    means: str
    cure: tuple[str, ...] = ()


def unlearnt(name: str, unknown: Unknown, means: str) -> Check:
    """For what could not be judged; ``means`` says what is open therefore."""
    return Check(name=name, verdict="skipped", found=unknown.reason, means=means)


# -- commands ------------------------------------------------------------------------------------


def etcdctl(facts: Facts, *args: str, at: str = "") -> str:
    """A command for one endpoint, else all of them; certificates and user as in the environment."""
    return " ".join(["etcdctl", f"--endpoints={at or _endpoints(facts)}", *args])


def flowctl(facts: Facts, *args: str, at: str = "") -> str:
    """A command on this etcd, or the endpoints given, and this root."""
    root = ["--root", facts.keyspace.root] if facts.keyspace.root else []
    return " ".join(["flowctl", *args, "--endpoints", at or _endpoints(facts), *root])


def _endpoints(facts: Facts) -> str:
    return ",".join(each.address for each in facts.endpoints)


# -- words ---------------------------------------------------------------------------------------


def span(seconds: float) -> str:
    """``0.42 ms``, ``3.1 s``, ``5 h``: as exact as one wants to read it."""
    if seconds < 1:
        return f"{seconds * 1000:.2g} ms" if seconds < 0.01 else f"{seconds * 1000:.0f} ms"
    for limit, unit_s, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit_s:.3g} {unit}"
    return f"{seconds / 86_400:.0f} days"


def bytes_text(count: int) -> str:
    """``36 KiB``, ``1.5 GiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} TiB"


def number(count: int, one: str, many: str = "") -> str:
    """``1 member``, ``3 members``."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def some(names: Iterable[object], *, most: int = 5) -> str:
    """Some of them by name, and how many more there are."""
    texts = [str(name) for name in names]
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return ", ".join(texts[:most]) + more
