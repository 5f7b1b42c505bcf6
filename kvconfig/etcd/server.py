"""What is known about a version of etcd, and what a member says of itself.

Read once when a program starts: an operator should hear of a known fault before it bites.
"""

from __future__ import annotations

import re

import msgspec

__all__ = ["Advice", "Member", "advise", "parse_version"]

Version = tuple[int, int, int]


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint, asked for its status; ``error`` says why it gave none.

    ``db_size`` is in bytes; ``alarms`` are etcd's own words, such as ``NOSPACE``.
    """

    endpoint: str
    version: str = ""
    leader: bool = False
    has_leader: bool = False
    db_size: int = 0
    alarms: tuple[str, ...] = ()
    error: str = ""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """Something to know about a version; ``upgrade_to`` mends it."""

    what: str
    upgrade_to: str


_OLD_RBAC = Advice(
    what="RBAC is no boundary: a nested transaction skips the checks of keys (CVE-2026-33343), and "
    "read on one key allows a watch from that key on (GHSA-xg4h-6gfc-h4m8)",
    upgrade_to="3.5.33, 3.6.14 or 3.7.1",
)
_LOST_DATA = Advice(
    what="committed data can be lost after a crash (etcd issue 13766)", upgrade_to="3.5.6 or newer"
)
_PROGRESS = Advice(
    what="progress that a client asks for promises too much (etcd issue 15220); kvconfig takes it "
    "for a sign of life only",
    upgrade_to="3.4.25, 3.5.8 or newer",
)
_OLD = Advice(
    what="the 3.4 line gets no fixes any more; under NOSPACE it may refuse even deletes",
    upgrade_to="3.5.33 or newer",
)


def parse_version(text: str) -> Version | None:
    """``3.5.16`` (or ``v3.5.16-rc.0``) as numbers."""
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", text)
    if found is None:
        return None
    major, minor, patch = map(int, found.groups())
    return major, minor, patch


def advise(version: Version) -> list[Advice]:
    """What an operator of this version should know."""
    advice = []
    if version < (3, 5, 0):
        advice.append(_OLD)
    if (3, 5, 0) <= version < (3, 5, 6):
        advice.append(_LOST_DATA)
    if version < (3, 4, 25) or (3, 5, 0) <= version < (3, 5, 8):
        advice.append(_PROGRESS)
    mended = {5: 33, 6: 14, 7: 1}
    if version[0] == 3 and version[2] < mended.get(version[1], 0 if version[1] > 7 else 10**9):
        advice.append(_OLD_RBAC)
    return advice
