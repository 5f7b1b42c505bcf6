"""What is wrong with an etcd and what lies in it, judged from facts. Pure.

:mod:`flowsvc.probe` gathers the facts. Whatever it could not learn is a fact too
(:class:`Unknown`), so a sick cluster is judged by the same functions as a healthy one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flowsvc.doctor import members, safety, storage, system
from flowsvc.doctor.check import Check, Verdict
from flowsvc.doctor.facts import NOT_ASKED, Endpoint, Facts, InstanceFacts, Unknown

__all__ = [
    "NOT_ASKED",
    "Check",
    "Endpoint",
    "Facts",
    "InstanceFacts",
    "Unknown",
    "Verdict",
    "examine",
]

JUDGES: tuple[Callable[[Facts], Iterator[Check]], ...] = (
    members.endpoints,
    members.cluster,
    members.quorum,
    members.leader,
    members.raft,
    members.versions,
    storage.alarms,
    storage.size,
    storage.disk,
    storage.commit,
    storage.compaction,
    safety.tls,
    safety.certificates,
    safety.auth,
    safety.rights,
    system.watches,
    system.layout,
    system.instances,
    system.flows,
    system.fsck,
    system.history,
)


def examine(facts: Facts) -> list[Check]:
    """All checks, from the connection up to what lies in etcd."""
    return [check for judge in JUDGES for check in judge(facts)]
