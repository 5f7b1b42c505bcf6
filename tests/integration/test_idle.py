"""What a processor that has nothing to do costs etcd, by etcd's own count."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping

from kvconfig.devserver import DevServer, EtcdBinary
from kvconfig.etcd import connect
from kvconfig.keys import one
from kvconfig.keyspace import Keyspace
from kvconfig.model import Revision
from kvconfig.records import decode_status
from kvconfig.store import Store, list_all
from processors import running
from tests.robustness.waiting import eventually
from tests.scraping import get, samples
from tests.unit.support_processors import Desk, Probe

SPACE = Keyspace("@idle")
TTL_S = 3
RENEWAL, RENEWALS = "Lease/LeaseKeepAlive", 3
"""What it does all the time, every third of its lease's time; and how often we see it done."""
READ_ONLY = {"Watch"}
"""The informer asks on its watch for a sign of life, every 5 s."""
LOGGED = "etcd_server_proposals_committed_total"
"""What went into etcd's log; nothing is written without, not even a lease."""


async def counted(endpoint: str) -> dict[str, float]:
    """What etcd has counted. It is asked over HTTP, which none of the numbers below counts."""
    return samples((await asyncio.to_thread(get, f"http://{endpoint}/metrics")).text)


def received(before: Mapping[str, float], after: Mapping[str, float]) -> Counter[str]:
    """How many messages came in, by method."""
    found: Counter[str] = Counter()
    for name, count in after.items():
        if match := re.match(r"grpc_server_msg_received_total{grpc_method=(\w+)", name):
            found[match[1]] += int(count - before.get(name, 0))
    return +found


async def all_run(store: Store, key: bytes, revision: Revision) -> bool:
    """Whether the instance says that all is as it was to be at ``revision``."""
    found = await store.read(key)
    status = None if found is None else decode_status(found.value, key=key)
    return status is not None and status.observed_revision >= revision and not status.pending


async def test_an_idle_processor_writes_nothing(etcd_binary: EtcdBinary) -> None:
    """While nothing changes it keeps its lease alive, and etcd has nothing to write down."""
    key = SPACE.processor("probe", "i1")
    async with (
        DevServer(etcd_binary) as server,
        connect([server.endpoint]) as store,
        connect([server.endpoint]) as ours,
        running(store, [Probe()], keyspace=SPACE, instance="i1", ttl_s=TTL_S),
    ):
        desk = Desk(ours, SPACE)
        last = [await desk.put(f"f{number}") for number in range(10)][-1]
        await eventually(lambda: all_run(ours, key, last))
        status = await list_all(ours, one(key))

        before = await counted(server.endpoint)
        sent = store.calls[RENEWAL]
        await eventually(lambda: store.calls[RENEWAL] >= sent + RENEWALS)
        after = await counted(server.endpoint)

        moved = received(before, after)
        assert moved["LeaseKeepAlive"] >= RENEWALS - 1, "the last one may be on its way"
        assert moved.keys() - READ_ONLY == {"LeaseKeepAlive"}, moved
        assert after[LOGGED] == before[LOGGED]
        assert await list_all(ours, one(key)) == status, "nor has etcd's revision moved"
