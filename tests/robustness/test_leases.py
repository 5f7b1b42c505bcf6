"""Leases over faults: a session may be lost, but it never claims a lease that has ended."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kvconfig.devserver import LocalCluster
from kvconfig.etcd import EtcdStore, connect
from kvconfig.informer import Informer
from kvconfig.keys import prefix
from kvconfig.session import Session, SessionLost
from kvconfig.txn import Put, Txn
from tests.robustness.recorder import raw
from tests.robustness.report import Row, report

pytestmark = [pytest.mark.timeout(120), pytest.mark.robustness_ci]
TTL_S = 3


class Claims:
    """Looks all the time whether a session holds its lease for good."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.last_s = 0.0

    async def look(self) -> None:
        while True:
            try:
                assert self._session.lease
                self.last_s = time.monotonic()
            except SessionLost:
                return
            await asyncio.sleep(0.005)


@asynccontextmanager
async def claimed(session: Session) -> AsyncIterator[Claims]:
    claims = Claims(session)
    task = asyncio.create_task(claims.look())
    try:
        yield claims
    finally:
        task.cancel()
        await asyncio.wait([task])


async def put_under(store: EtcdStore, session: Session) -> None:
    await store.commit(Txn(then=(Put(b"/r/instance", b"1", session.lease),)))


@pytest.mark.alone  # who says a tenth of a second too late that it is lost fails it
async def test_a_lease_is_lost_while_all_stand_still(cluster: LocalCluster) -> None:
    """No later than its time to live after the last keep-alive, the session says that it is lost;
    and it never says otherwise again, although the server comes back."""
    async with (
        connect(cluster.endpoints) as store,
        Informer(store, prefix(b"/r/"), raw) as informer,
        Session(store, ttl_s=TTL_S) as session,
        claimed(session) as claims,
    ):
        await put_under(store, session)
        await informer.until(lambda items: b"/r/instance" in items)
        await asyncio.sleep(TTL_S + 1)  # it lives by keep-alives now
        began_s = time.monotonic()
        for member in cluster.members:
            member.pause()
        await asyncio.wait_for(session.lost(), TTL_S + 0.5)
        report(
            Row(
                scenario=f"lease of {TTL_S} s lost, all members stopped",
                since="fault",
                cache_s=time.monotonic() - began_s,
            )
        )
        assert claims.last_s <= began_s + TTL_S + 0.1
        await asyncio.sleep(TTL_S)
        for member in cluster.members:
            member.resume()
        await asyncio.wait_for(informer.until(lambda items: not items), 30)
        assert claims.last_s <= began_s + TTL_S + 0.1, "the key was there while it was claimed"
        with pytest.raises(SessionLost):
            assert session.lease
        # Whoever wants to go on opens another.
        async with Session(store, ttl_s=TTL_S) as another:
            await put_under(store, another)
            await asyncio.wait_for(informer.until(lambda items: b"/r/instance" in items), 10)


async def test_a_lease_over_a_change_of_leader(cluster: LocalCluster) -> None:
    """A lease longer than an election is kept; its key is never seen to vanish."""
    victim = await cluster.leader()
    others = [member.endpoint for member in cluster.members if member is not victim]
    vanished: list[int] = []
    async with (
        connect([victim.endpoint, *others]) as store,
        connect(others) as direct,
        Informer(direct, prefix(b"/r/"), raw) as informer,
        Session(store, ttl_s=8) as session,
        claimed(session),
    ):
        await put_under(store, session)
        await informer.until(lambda items: b"/r/instance" in items)
        informer.subscribe(
            lambda batch: vanished.extend(batch.revision for c in batch.changes if c.new is None)
        )
        victim.kill()
        await asyncio.sleep(10)  # longer than the lease lives without keep-alives
        assert session.lease
        assert not vanished
        assert set(informer.items) == {b"/r/instance"}
