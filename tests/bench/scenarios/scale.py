"""What `docs/scaling.md` reckons with: how much one flow, one watcher, one status takes of etcd.

Three members run here beside the clients on one machine, so rates are a lower bound of what three
machines do.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

from flowsvc.service import FlowService
from kvconfig.codec import encode
from kvconfig.devserver import LocalCluster
from kvconfig.etcd import EtcdStore, connect
from kvconfig.keyspace import Keyspace
from kvconfig.model import Revision
from kvconfig.records import InstanceStatus
from kvconfig.txn import Put, Txn, at_revision
from tests.bench.flows import everything
from tests.bench.goals import Figures, Row, Scenario
from tests.bench.places import at_once, child, counted

__all__ = ["SCALE"]

FLOWS, STATUSES, WATCHERS, WORKERS = 300, 2_000, 500, 64
IN_USE = "etcd_mvcc_db_total_size_in_use_in_bytes"
RESIDENT = "process_resident_memory_bytes"


async def _scale(rounds: int) -> AsyncGenerator[Figures, None]:
    for _ in range(rounds):
        async with AsyncExitStack() as stack:
            cluster = await stack.enter_async_context(LocalCluster(3))
            store = await stack.enter_async_context(connect(cluster.endpoints, timeout_s=30))
            yield {
                **await _flows(store, cluster.endpoints[0]),
                **await _statuses(store),
                **await _watchers(cluster.endpoints[0]),
            }


async def _flows(store: EtcdStore, endpoint: str) -> Figures:
    flow = everything()
    async with FlowService(store, Keyspace()) as service:
        await flow.put(service)
        before, begun = await counted(endpoint), time.perf_counter()
        await at_once(
            lambda number: service.start_flow(flow.start(f"f{number:06}")), range(FLOWS), WORKERS
        )
        spent_s, after = time.perf_counter() - begun, await counted(endpoint)
    return {
        "starts_per_s": FLOWS / spent_s,
        "flow_kb": (after[IN_USE] - before[IN_USE]) / FLOWS / 1e3,
        "flow_rss_kb": (after[RESIDENT] - before[RESIDENT]) / FLOWS / 1e3,
    }


async def _statuses(store: EtcdStore) -> Figures:
    """As instances write them: by compare on the key's own revision, under a lease."""
    lease = await store.grant(60)
    value = encode(
        InstanceStatus(
            observed_revision=1_000_000,
            host="a-host-of-the-usual-length",
            started="2026-01-01T00:00:00.000+00:00",
            version="0.1.0",
        )
    )

    async def write(number: int) -> None:
        key = Keyspace().processor("p", f"i{number}")
        await store.commit(Txn((at_revision(key, Revision(0)),), (Put(key, value, lease),)))

    begun = time.perf_counter()
    await at_once(write, range(STATUSES), WORKERS)
    return {"statuses_per_s": STATUSES / (time.perf_counter() - begun)}


async def _watchers(endpoint: str) -> Figures:
    """All on one member, each with a connection of its own."""
    before = await counted(endpoint)
    async with child("tests.bench.clients.fleet", endpoint, 0, WATCHERS) as fleet:
        await fleet.ask()
        after = await counted(endpoint)
    return {"watcher_kb": (after[RESIDENT] - before[RESIDENT]) / WATCHERS / 1e3}


SCALE = Scenario(
    name="scale",
    about="what a flow of 36 variants, a status and a watcher take of a cluster of 3 members",
    rounds=_scale,
    rows=(
        Row(what="starts, 64 at once", measure="starts_per_s", unit="1/s", digits=0),
        Row(what="DB in use for a flow, its history with it", measure="flow_kb", unit="kB"),
        Row(
            what="memory of a member for a flow, its entry in the log with it",
            measure="flow_rss_kb",
            unit="kB",
        ),
        Row(what="statuses written, 64 at once", measure="statuses_per_s", unit="1/s", digits=0),
        Row(what="memory of a member for a watcher", measure="watcher_kb", unit="kB"),
    ),
)
