"""The dice around the memory store: each fault alone, always."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

import pytest

from kvconfig.errors import OutcomeUnknown, Unavailable, WatchEnded
from kvconfig.keys import everything
from kvconfig.memory import MemoryStore
from kvconfig.memory.faults import CALM, FaultyStore, Rates, Restored
from kvconfig.model import Revision, WatchBatch
from kvconfig.store import list_all
from kvconfig.txn import Delete, Put, Txn
from tests.history import virtual_time


def faulty(rates: Rates = CALM, *, seed: int = 1) -> FaultyStore:
    return FaultyStore(MemoryStore(), Random(seed), rates)


async def put(store: FaultyStore, key: bytes = b"/k", value: bytes = b"") -> Revision:
    return (await store.commit(Txn(then=(Put(key, value),)))).revision


def test_calm_is_a_store_like_any() -> None:
    """Without faults everything passes, and nothing is counted."""

    async def scenario() -> None:
        store = faulty()
        async with store.watch(everything(), start=Revision(0)) as watch:
            assert await put(store) == 2
            assert (await anext(watch)).revision == 2
        lease = await store.grant(5)
        assert await store.keep_alive(lease) == 5
        await store.revoke(lease)
        found = await store.read(b"/k")
        assert found is not None
        assert (await list_all(store, everything())).items == (found,)
        assert not store.struck
        await store.close()

    virtual_time.run(scenario())


@pytest.mark.parametrize(("fault", "s"), [("delay", 0.4), ("outage", 0.0), ("refused", 0.0)])
def test_faults_of_requests(fault: str, s: float) -> None:
    """They take longer, or they fail: with nothing written, for the request never arrived."""

    async def scenario() -> None:
        store = faulty(Rates(**{fault: 1.0, "delay_s": 0.2}))
        loop = asyncio.get_running_loop()
        if fault == "delay":
            await put(store)
            await put(store)
        else:
            with pytest.raises(Unavailable):
                await put(store)
        assert (loop.time() > 0) is bool(s)
        assert loop.time() <= 2 * s
        store.heal()
        assert (await store.read(b"/k") is not None) is (fault == "delay")
        assert store.struck[fault] > 0

    virtual_time.run(scenario())


def test_lost_replies_have_every_fate() -> None:
    """Done, not done, and done later: the latest when all heals."""
    fates = set()

    async def scenario(seed: int) -> None:
        store = faulty(Rates(lost=1.0), seed=seed)
        with pytest.raises(OutcomeUnknown):
            await put(store)
        at_once = store.memory.revision > 1
        store.heal()
        fates.add((at_once, store.memory.revision > 1))
        assert (await store.commit(Txn(then=(Delete(b"/k"),)))).succeeded

    for seed in range(20):
        virtual_time.run(scenario(seed))
    assert fates == {(True, True), (False, True), (False, False)}


def test_a_failure_after_a_write_does_not_say_that_it_was_not_written() -> None:
    """A reply that is struck is an unknown outcome, a request that is struck a known one."""
    outcomes = set()

    async def scenario(seed: int) -> None:
        store = faulty(Rates(refused=0.5), seed=seed)
        try:
            await put(store)
        except Unavailable:
            outcomes.add("unavailable")
            assert store.memory.revision == 1
        except OutcomeUnknown:
            outcomes.add("unknown")
            assert store.memory.revision == 2

    for seed in range(30):
        virtual_time.run(scenario(seed))
    assert outcomes == {"unavailable", "unknown"}


def test_faults_of_watches() -> None:
    """Batches come late, and again, but never in another order."""

    async def scenario() -> None:
        store = faulty(Rates(lag=0.5, repeated=0.5))
        async with store.watch(everything(), start=Revision(0)) as watch:
            for _ in range(20):
                await put(store)
            store.memory.cut_watches("enough")
            heard: list[int] = []
            with suppress(WatchEnded):
                async for batch in watch:
                    heard.append(batch.revision)  # noqa: PERF401 - it ends by an error
        assert [at for n, at in enumerate(heard) if at not in heard[:n]] == list(range(2, 22))
        assert len(heard) > 20
        assert asyncio.get_running_loop().time() > 0

    virtual_time.run(scenario())


def test_the_journal_has_it_all() -> None:
    """Whatever is compacted and undone: revision after revision, and where the store went back."""

    async def scenario() -> None:
        store = faulty()
        await put(store, b"/a", b"1")
        snapshot = store.memory.snapshot()
        await put(store, b"/a", b"2")
        await put(store, b"/b")
        store.compact(Revision(4))
        store.restore(snapshot)
        await store.commit(Txn(then=(Delete(b"/a"),)))
        store.rates = Rates(snapshot=1.0, restore=1.0, compact=1.0)
        await put(store, b"/c")
        journal = store.journal()
        assert store.struck == {"snapshot": 2, "compact": 2, "restore": 2}
        shown = [
            (entry.revision, [kv.key for kv in entry.items])
            if isinstance(entry, Restored)
            else (entry.revision, {event.key: event.kv is not None for event in entry.events})
            for entry in journal[:5]
        ]
        assert shown == [
            (2, {b"/a": True}),
            (3, {b"/a": True}),
            (4, {b"/b": True}),
            (2, [b"/a"]),
            (3, {b"/a": False}),
        ]
        assert {type(entry) for entry in journal[5:]} == {WatchBatch, Restored}

    virtual_time.run(scenario())


def test_each_mix_leaves_something_out() -> None:
    """Drawn rates differ from seed to seed, and every fault is in some of them and not in all."""
    drawn = [Rates.drawn(Random(seed)) for seed in range(50)]
    faults = [name for name in Rates.__struct_fields__ if not name.endswith("_s")]
    for fault in faults:
        rates = [getattr(mix, fault) for mix in drawn]
        assert 0.0 in rates
        assert any(rates)
