"""What is known about a version of etcd, and what members say of themselves. Pure.

Read once when a program starts: an operator should hear of a known fault before it bites.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from kvconfig.keys import Range

__all__ = [
    "Advice",
    "Alarm",
    "Grant",
    "ListedMember",
    "Member",
    "Published",
    "advise",
    "parse_version",
]

Version = tuple[int, int, int]


class Alarm(msgspec.Struct, frozen=True):
    """``kind`` is etcd's own word, such as ``NOSPACE``; ``member_id`` whose it is."""

    kind: str
    member_id: int


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint, asked for its status; ``error`` says why it gave none.

    Sizes are in bytes: ``db_size`` of the file, ``db_in_use`` without its free pages, ``quota``
    what it may grow to. 0 stands for what it does not tell: the quota is told from 3.6 on.
    ``alarms`` are those of the whole cluster.
    """

    endpoint: str
    version: str = ""
    member_id: int = 0
    cluster_id: int = 0
    leader: bool = False
    has_leader: bool = False
    learner: bool = False
    revision: int = 0
    raft_index: int = 0
    raft_applied: int = 0
    db_size: int = 0
    db_in_use: int = 0
    quota: int = 0
    alarms: tuple[Alarm, ...] = ()
    error: str = ""


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """What a member publishes over HTTP, to everybody who can reach it.

    ``member`` as far as the numbers tell: without alarms, without the id of the cluster.
    ``fsync_s`` is what a write to its log took on average, ``None`` before the first one;
    ``compacted_at_s`` when it last compacted (seconds since 1970), 0 where it did not since it
    started; ``certificate_until_s`` when its certificate ends, ``None`` without TLS.
    """

    member: Member
    fsync_s: float | None = None
    compacted_at_s: float = 0.0
    certificate_until_s: float | None = None


class ListedMember(msgspec.Struct, frozen=True, kw_only=True):
    """A member by the cluster's own list. One that never started has no name and no endpoints."""

    member_id: int
    name: str
    endpoints: tuple[str, ...]
    learner: bool = False


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """Keys that a user may read, or write, or both."""

    range: Range
    read: bool
    write: bool


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """Something to know about a version; ``upgrade_to`` mends it.

    A ``note`` is of no harm to kvconfig itself. ``rbac``: it matters where users are asked for.
    """

    what: str
    upgrade_to: str
    severity: Literal["note", "warning"] = "warning"
    rbac: bool = False


_NESTED = Advice(
    what="RBAC is no boundary: a nested transaction skips the checks of keys (CVE-2026-33343), and "
    "leases, alarms and compaction are anybody's (CVE-2026-33413)",
    upgrade_to="3.5.33, 3.6.14 or 3.7.1",
    rbac=True,
)
_WATCH = Advice(
    what="RBAC hides nothing: read on one key allows a watch from that key on, to the last one "
    "(GHSA-xg4h-6gfc-h4m8)",
    upgrade_to="3.5.33, 3.6.14 or 3.7.1",
    rbac=True,
)
_FULL = Advice(
    what="RBAC ends where space does: under NOSPACE nobody's rights are checked for deletes, users "
    "and roles, and who may write one key can fill the database (etcd pull request 22386)",
    upgrade_to="3.6.14 or 3.7.1",
    rbac=True,
)
"""Measured on 3.4.23 and 3.5.30; 3.6 is said to be free of it."""

_LOST_DATA = Advice(
    what="committed data can be lost after a crash (etcd issue 13766)", upgrade_to="3.5.6 or newer"
)
_PROGRESS = Advice(
    what="progress that a client asks for promises too much (etcd issue 15220); kvconfig takes it "
    "for a sign of life only",
    upgrade_to="3.4.25, 3.5.8 or newer",
    severity="note",
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
    if _before(version, {4: 42, 5: 28, 6: 9, 7: 0}):
        advice.append(_NESTED)
    if _before(version, {5: 33, 6: 14, 7: 1}):
        advice.append(_WATCH)
    if version < (3, 6, 0):
        advice.append(_FULL)
    return advice


def _before(version: Version, mended: Mapping[int, int]) -> bool:
    """Whether a fault is still there: by minor version of 3, the first patch without it.

    Lines that are older than all of these never got the patch; newer ones always had it.
    """
    major, minor, patch = version
    if major != 3 or minor > max(mended):
        return major < 3
    return minor not in mended or patch < mended[minor]
