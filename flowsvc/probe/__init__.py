"""Gathers the facts that :mod:`flowsvc.doctor` judges.

Promises: it ends, however sick the cluster is: each question has ``timeout_s``, and what rests on
an answer that did not come is not asked. Nothing that happens to a question is raised: it becomes
:class:`flowsvc.doctor.Unknown`. Nothing is written, unless ``write`` asks for it; then it is a
lease that holds no key, of which no watch hears.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from msgspec import structs

from flowsvc.doctor import Facts
from flowsvc.probe.cluster import ClusterProbe
from flowsvc.probe.store import below, watched
from kvconfig.etcd import Access
from kvconfig.etcd.inspection import inspecting
from kvconfig.keyspace import Keyspace

__all__ = ["probe"]

SETTLE_S = 3.0
"""So long an instance may lag behind its variants: it writes its status a few times a second."""

SILENCE_S = 2.0
"""A watch asks for a sign of life after two thirds of it, and is given up after all of it."""


async def probe(
    access: Access,
    keyspace: Keyspace,
    *,
    timeout_s: float = 5.0,
    settle_s: float = SETTLE_S,
    silence_s: float = SILENCE_S,
    write: bool = False,
    now_s: Callable[[], float] = time.time,
) -> Facts:
    """What can be known of the etcd at ``access``, and of what lies below the root of ``keyspace``.

    ``settle_s`` is how long instances that are behind are given to catch up, ``silence_s`` how
    long a watch may hear nothing.
    """
    facts = Facts(
        now_s=now_s(),
        keyspace=keyspace,
        user=access.user,
        certificate=access.cert is not None,
        settle_s=settle_s,
    )
    # Ours is the deadline that counts: the transport's would only blur what is found.
    async with inspecting(access, timeout_s=2 * timeout_s) as inspector:
        cluster = ClusterProbe(access, inspector, keyspace.layout(), timeout_s)
        # First and alone, so that times are not those of a member that lists all keys for us.
        facts = await cluster.reach(facts)
        if not any(endpoint.answers for endpoint in facts.endpoints):
            return facts
        facts = await cluster.log_in(facts)
        facts = await cluster.look(facts)
    if facts.auth is False:  # then who comes as a user is refused
        access = structs.replace(access, user="", password="")
    endpoints, facts = await asyncio.gather(
        watched(facts, access, timeout_s, silence_s),
        below(facts, access, timeout_s, write=write),
    )
    return structs.replace(facts, endpoints=endpoints)
