"""What etcd keeps: alarms, room, the disk beneath it, and how much of its history."""

from __future__ import annotations

from collections.abc import Iterator

from flowsvc.doctor.check import (
    Check,
    bytes_text,
    etcdctl,
    flowctl,
    number,
    some,
    span,
    unlearnt,
)
from flowsvc.doctor.facts import NOT_ASKED, Facts, Unknown
from flowsvc.doctor.members import SLOW_S
from kvconfig.etcd.server import Alarm, Member

__all__ = ["alarms", "commit", "compaction", "disk", "size"]

FULL, NEARLY_FULL = 0.95, 0.8
"""Of the quota; at 1 etcd raises its alarm."""

WORTH_DEFRAGMENTING_BYTES = 64 * 2**20

SLOW_FSYNC_S = 0.01
"""On average: etcd's own documents ask for less at the 99th percentile."""

MANY_REVISIONS = 1_000_000
SOME_REVISIONS = 10_000
LONG_AGO_S = 86_400.0


def alarms(facts: Facts) -> Iterator[Check]:
    """The alarms that are on."""
    if isinstance(facts.alarms, Unknown):
        yield unlearnt("alarms", facts.alarms, "it is not known whether etcd takes writes")
        return
    if not facts.alarms:
        yield Check(name="alarms", verdict="ok", found="none", means="etcd takes writes")
    for kind in sorted({alarm.kind for alarm in facts.alarms}):
        whose = [alarm for alarm in facts.alarms if alarm.kind == kind]
        yield _alarm(facts, kind, whose)


def _alarm(facts: Facts, kind: str, whose: list[Alarm]) -> Check:
    found = f"{kind} of {some(f'{alarm.member_id:x}' for alarm in whose)}"
    if kind == "NOSPACE":
        return Check(
            name="alarms",
            verdict="error",
            found=found,
            means="every put is refused, on all members; only deletes pass, so flows can be "
            "stopped and not started",
            cure=(
                *_make_room(facts),
                etcdctl(facts, "alarm", "disarm"),
                flowctl(facts, "flow", "history", "prune", "--older-than", "7d"),
                "if that makes no room: raise --quota-backend-bytes, restart members, and disarm",
            ),
        )
    if kind == "CORRUPT":
        return Check(
            name="alarms",
            verdict="error",
            found=found,
            means="this member holds other data than the others; etcd refuses requests",
            cure=tuple(
                f"{etcdctl(facts, 'member', 'remove', f'{alarm.member_id:x}')} "
                "(then add it again with an empty data folder)"
                for alarm in whose
            ),
        )
    means = "an alarm that is not known here"
    return Check(name="alarms", verdict="warning", found=found, means=means)


def _make_room(facts: Facts) -> list[str]:
    """Compact, then give the pages back, one member after the other: each stands meanwhile."""
    revision = str(facts.head or "REVISION")
    each = (etcdctl(facts, "defrag", at=endpoint.address) for endpoint in facts.endpoints)
    return [etcdctl(facts, "compact", revision), *each]


def size(facts: Facts) -> Iterator[Check]:
    """The largest database against its quota, and how much of its file is free."""
    sized = [member for member in facts.known_members if member.db_size]
    if not sized:
        unknown = Unknown("no member tells its size")
        yield unlearnt("size", unknown, "it is not known how much room is left")
        return
    told = max(member.quota for member in sized)  # not every member tells its own

    def quota_of(member: Member) -> int:
        return member.quota or told

    fullest = max(sized, key=lambda member: member.db_size / (quota_of(member) or 1))
    quota = quota_of(fullest)
    found = f"{bytes_text(fullest.db_size)}, {bytes_text(fullest.db_in_use)} of it in use"
    if not quota:
        yield Check(
            name="size",
            verdict="note",
            found=f"{found}; the quota is not known",
            means="etcd tells its quota from 3.6 on, before that in /metrics, which did not answer",
            cure=("look for --quota-backend-bytes where etcd is started (without it: 2 GiB)",),
        )
    else:
        yield _against(facts, fullest.db_size / quota, f"{found}; quota {bytes_text(quota)}")
    yield from _free(facts, fullest)


def _against(facts: Facts, share: float, found: str) -> Check:
    found = f"{found} ({share:.1%} full)"
    # A write that does not fit raises the alarm, however little is missing then.
    refused = isinstance(facts.alarms, tuple) and any(a.kind == "NOSPACE" for a in facts.alarms)
    if share < NEARLY_FULL:
        return Check(name="size", verdict="ok", found=found, means="there is room")
    return Check(
        name="size",
        verdict="error" if share >= FULL or refused else "warning",
        found=found,
        means="at its quota etcd refuses every put until an operator acts",
        cure=(*_make_room(facts), "or raise --quota-backend-bytes, one member after the other"),
    )


def _free(facts: Facts, member: Member) -> Iterator[Check]:
    free = member.db_size - member.db_in_use
    if free < WORTH_DEFRAGMENTING_BYTES or free < member.db_size / 2:
        return
    yield Check(
        name="free space",
        verdict="note",
        found=f"{bytes_text(free)} of {bytes_text(member.db_size)} are free pages",
        means="they are used again; the file shrinks only when it is defragmented, while which a "
        "member stands still",
        cure=tuple(etcdctl(facts, "defrag", at=each.address) for each in facts.endpoints),
    )


def disk(facts: Facts) -> Iterator[Check]:
    """How long a write to the log takes, as members publish it."""
    times = {each.member.endpoint: each.fsync_s for each in facts.published if each.fsync_s}
    if not times:
        reasons = [e.published.reason for e in facts.endpoints if isinstance(e.published, Unknown)]
        unknown = Unknown(reasons[0] if reasons else "nothing was written yet")
        yield unlearnt("disk", unknown, "it is not known how fast the disks are")
        return
    slowest = max(times, key=lambda endpoint: times[endpoint] or 0)
    slow_s = times[slowest] or 0.0
    found = f"a write to the log takes {span(slow_s)} on average (slowest: {slowest})"
    if slow_s > SLOW_FSYNC_S:
        yield Check(
            name="disk",
            verdict="warning",
            found=found,
            means=f"every commit waits for it; over {span(SLOW_FSYNC_S)} leaders get lost",
            cure=("give etcd a disk of its own, an SSD at best",),
        )
    else:
        yield Check(name="disk", verdict="ok", found=found, means="every commit waits for it")


def commit(facts: Facts) -> Iterator[Check]:
    """How long a commit takes, where one was asked for."""
    if facts.commit_s is None:
        return
    if facts.commit_s == NOT_ASKED:
        yield unlearnt("commit", NOT_ASKED, "it is not known how long a change takes")
        return
    if isinstance(facts.commit_s, Unknown):
        yield Check(
            name="commit",
            verdict="error",
            found=facts.commit_s.reason,
            means="what was tried is a lease that holds no key: nothing can be written",
            cure=("see the checks above: quorum, alarms, rights",),
        )
        return
    slow = facts.commit_s > SLOW_S
    yield Check(
        name="commit",
        verdict="warning" if slow else "ok",
        found=f"{span(facts.commit_s)} (a lease without keys, granted and revoked)",
        means="so long takes each change of a flow" + (", which is slow" if slow else ""),
        cure=("look for slow disks and a slow network between members",) if slow else (),
    )


def compaction(facts: Facts) -> Iterator[Check]:
    """How many revisions are kept. (etcd tells nobody what its automatic compaction is set to.)"""
    if isinstance(facts.compacted, Unknown):
        yield unlearnt("compaction", facts.compacted, "it is not known how much history is kept")
        return
    kept = facts.head - facts.compacted + 1
    automatic = "start etcd with --auto-compaction-mode=periodic --auto-compaction-retention=1h"
    by_hand = etcdctl(facts, "compact", str(facts.head))
    if facts.compacted <= 1:
        many = kept > SOME_REVISIONS
        yield Check(
            name="compaction",
            verdict="warning" if many else "note",
            found=f"never yet: {number(kept, 'revision')}, from the first on",
            means="without it the database grows for ever; whether it is set to come by itself, "
            "etcd does not tell",
            cure=(automatic, by_hand) if many else (automatic,),
        )
        return
    last_s = max((each.compacted_at_s for each in facts.published), default=0.0)
    ago_s = facts.now_s - last_s
    ago = f", last compacted {span(ago_s)} ago" if last_s else ""
    found = f"{number(kept, 'revision')} kept, from {facts.compacted} on{ago}"
    stale = last_s and ago_s > LONG_AGO_S and kept > SOME_REVISIONS
    if stale or kept > MANY_REVISIONS:
        yield Check(
            name="compaction",
            verdict="warning",
            found=found,
            means="more history than anybody reads fills the database and slows its start",
            cure=(automatic, by_hand),
        )
    else:
        means = "what is older is gone; watches that come back later list again"
        yield Check(name="compaction", verdict="ok", found=found, means=means)
