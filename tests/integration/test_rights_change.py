"""Users and roles change while others are at work: etcd refuses what it was just looking at."""

from __future__ import annotations

import asyncio

from kvconfig.etcd import EtcdStore, connect
from kvconfig.keys import one
from kvconfig.txn import Put, Txn
from tests.privileges import Place

MOST_ROOTS = 40
AT_WORK = 8
REFUSED = 5
"""So often, then it is enough."""


async def test_nobody_at_work_notices(guarded_etcd: Place, root: str) -> None:
    """Reads, writes and new watches go on while another system gets its roles; those that were
    refused for that are asked again."""
    place = await guarded_etcd.below(root)
    done, over = 0, False

    async def work(store: EtcdStore, key: bytes) -> None:
        nonlocal done
        while not over:
            commit = await store.commit(Txn(then=(Put(key, b"{}"),)))
            assert await store.read(key) is not None
            async with store.watch(one(key), start=commit.revision) as batches:
                async for batch in batches:
                    if batch.events:
                        break
            done += 1

    def asked() -> int:
        return store.calls["KV/Txn"] + store.calls["KV/Range"]

    async with connect(place.access("operator")) as store, asyncio.TaskGroup() as group:
        for n in range(AT_WORK):
            group.create_task(work(store, place.keyspace.item("prompt", f"k{n}")))
        for n in range(MOST_ROOTS):
            await guarded_etcd.below(f"{root}-{n}")
            if asked() > 2 * (done + AT_WORK) + REFUSED:
                break
        over = True
    assert asked() > 2 * done, "nothing was ever refused"
