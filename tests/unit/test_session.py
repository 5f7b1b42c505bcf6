"""A session: kept alive while it can be, and lost for good."""

from __future__ import annotations

import pytest

from kvconfig.errors import LeaseNotFound, Unavailable
from kvconfig.memory import MemoryStore
from kvconfig.session import Session, SessionLost
from kvconfig.txn import Put, Txn

TTL_S = 1


async def test_leaving_takes_the_keys_along() -> None:
    """A clean end revokes the lease at once."""
    store = MemoryStore()
    async with Session(store) as session:
        await store.commit(Txn(then=(Put(b"/k", b"v", session.lease),)))
        assert await store.read(b"/k") is not None
    assert await store.read(b"/k") is None
    with pytest.raises(SessionLost):
        _ = session.lease


async def test_it_is_kept_alive() -> None:
    """Keep-alives are sent every third of the time to live, and the keys stay."""
    store = MemoryStore()
    async with Session(store, ttl_s=TTL_S) as session:
        await store.commit(Txn(then=(Put(b"/k", b"v", session.lease),)))
        renewed = 0

        async def gate(call: str, moment: str) -> None:
            nonlocal renewed
            if call == "keep_alive" and moment == "after":
                renewed += 1
                if renewed == 4:
                    store.fail_next(LeaseNotFound(session.lease), "keep_alive")

        store.gate = gate
        await session.lost()
        assert renewed >= 4, "more than one time to live has passed"


async def test_a_lease_that_is_gone_is_reported() -> None:
    """Somebody revoked it: the session is lost, and gives its lease to nobody any more."""
    store = MemoryStore()
    async with Session(store, ttl_s=TTL_S) as session:
        await store.revoke(session.lease)
        await session.lost()
        with pytest.raises(SessionLost):
            _ = session.lease


async def test_a_deadline_passes_without_an_answer() -> None:
    """While the store is away the session counts for itself, and stops in time."""
    store = MemoryStore()
    async with Session(store, ttl_s=TTL_S) as session:

        async def gate(call: str, moment: str) -> None:
            raise Unavailable("away")

        store.gate = gate
        await session.lost()
        with pytest.raises(SessionLost):
            _ = session.lease


async def test_the_lease_is_refused_from_the_deadline_on() -> None:
    """Even before the loop notices: what the clock says is enough."""
    store = MemoryStore()
    now = [0.0]
    async with Session(store, ttl_s=10, clock=lambda: now[0]) as session:
        now[0] = 9.9
        assert session.lease
        now[0] = 10.0
        with pytest.raises(SessionLost):
            _ = session.lease
