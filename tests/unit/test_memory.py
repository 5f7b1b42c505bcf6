"""The hands to break the memory store with. That it behaves as etcd is for the contract suite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from kvconfig.errors import (
    Compacted,
    FutureRevision,
    LeaseNotFound,
    NoSpace,
    OutcomeUnknown,
    StoreError,
    TooManyOperations,
    Unavailable,
    WatchEnded,
)
from kvconfig.keys import prefix
from kvconfig.memory import MemoryStore, Moment
from kvconfig.model import LeaseId, Revision, WatchBatch
from kvconfig.store import Store, list_all
from kvconfig.txn import Compare, Delete, Operation, Put, Read, Txn, absent

ALL = prefix(b"/")


def put(key: bytes, value: bytes = b"", lease: LeaseId = LeaseId(0)) -> Txn:
    return Txn(then=(Put(key, value, lease),))


async def arrived(watch: AsyncIterator[WatchBatch]) -> list[WatchBatch | type[StoreError]]:
    """All that a watch that was ended still says, and then its end."""
    seen: list[WatchBatch | type[StoreError]] = []
    try:
        async with asyncio.timeout(5):
            while True:
                seen.append(await anext(watch))
    except StoreError as error:
        return [*seen, type(error)]


def test_is_a_store() -> None:
    """The memory store has the type of the port."""
    store: Store = MemoryStore()
    assert isinstance(store, MemoryStore)
    assert store.revision == 1


async def test_calls_are_counted() -> None:
    """Each round trip counts once, each page of a list too, whether it succeeds or not."""
    store = MemoryStore(page_size=2)
    for key in (b"/1", b"/2", b"/3"):
        await store.commit(put(key))
    await list_all(store, ALL)
    with pytest.raises(TooManyOperations):
        await store.commit(Txn((absent(b"/1"),) * 129))
    await store.read(b"/1")
    async with store.watch(ALL, start=Revision(1)):
        lease = await store.grant(1)
    await store.keep_alive(lease)
    await store.revoke(lease)
    assert store.calls == {
        "commit": 4,
        "list": 2,
        "read": 1,
        "watch": 1,
        "grant": 1,
        "keep_alive": 1,
        "revoke": 1,
    }


async def test_failing_calls() -> None:
    """A scripted failure takes the next call, or the next of a name; that one does nothing."""
    store = MemoryStore()
    store.fail_next(Unavailable("a"), "commit")
    store.fail_next(Unavailable("b"))
    with pytest.raises(Unavailable, match="b"):
        await store.read(b"/k")
    assert await store.read(b"/k") is None
    with pytest.raises(Unavailable, match="a"):
        await store.commit(put(b"/k"))
    assert store.revision == 1
    await store.commit(put(b"/k"))
    store.fail_next(Unavailable("c"), "watch")
    with pytest.raises(Unavailable, match="c"):
        async with store.watch(ALL, start=Revision(1)):
            pass


@pytest.mark.parametrize(
    ("fate", "now", "later"), [("applied", 1, 1), ("late", 0, 1), ("dropped", 0, 0)]
)
async def test_lost_replies(fate: Any, now: int, later: int) -> None:
    """A commit whose reply is lost was done, or is done late, or never; the next one is well."""
    store = MemoryStore()
    store.lose_next_reply(fate)
    with pytest.raises(OutcomeUnknown):
        await store.commit(put(b"/lost"))
    assert len((await list_all(store, ALL)).items) == now
    assert (await store.commit(put(b"/next"))).succeeded
    store.deliver_late()
    assert len((await list_all(store, ALL)).items) == later + 1


async def test_late_transactions_can_come_to_nothing() -> None:
    """What arrives late meets the store as it is then: its compares fail, its lease is gone."""
    store = MemoryStore()
    lease = await store.grant(60)
    guarded = Txn((absent(b"/k"),), (Put(b"/k", b"late"),))
    for txn in (guarded, put(b"/l", b"", lease)):
        store.lose_next_reply("late")
        with pytest.raises(OutcomeUnknown):
            await store.commit(txn)
    await store.commit(put(b"/k", b"first"))
    await store.revoke(lease)
    first, second = store.deliver_late()
    assert not isinstance(first, StoreError)
    assert not first.succeeded
    assert isinstance(second, LeaseNotFound)
    kv = await store.read(b"/k")
    assert kv is not None
    assert kv.value == b"first"


async def test_gate_orders_calls() -> None:
    """A gate holds requests and replies back, and so makes any interleaving happen at will."""
    held: dict[tuple[str, Moment], asyncio.Event] = {}

    async def gate(call: str, moment: Moment) -> None:
        if event := held.get((call, moment)):
            await event.wait()

    store = MemoryStore(gate=gate)
    held["commit", "before"] = asyncio.Event()
    write = asyncio.ensure_future(store.commit(put(b"/k")))
    assert await store.read(b"/k") is None
    held["commit", "after"] = asyncio.Event()
    held["commit", "before"].set()
    while await store.read(b"/k") is None:
        pass
    assert not write.done()
    held["commit", "after"].set()
    assert (await write).revision == 2


async def test_gate_can_fail_calls() -> None:
    """What the gate raises, the call raises, which was done only if its reply was on the way."""
    store = MemoryStore()
    for moment, exists in (("before", False), ("after", True)):

        async def gate(call: str, now: Moment, *, when: str = moment) -> None:
            if call == "commit" and now == when:
                raise OutcomeUnknown("the gate")

        store.gate = gate
        with pytest.raises(OutcomeUnknown):
            await store.commit(put(b"/k"))
        assert (await store.read(b"/k") is not None) is exists


async def test_a_call_given_up() -> None:
    """A call cancelled while its reply is on the way was done; a watch then leaves nothing."""
    store = MemoryStore()
    entered = asyncio.Event()

    async def gate(_call: str, moment: Moment) -> None:
        if moment == "after":
            entered.set()
            await asyncio.Event().wait()

    store.gate = gate

    async def follow() -> None:
        async with store.watch(ALL, start=Revision(1)):
            raise AssertionError("never confirmed")

    for call in (store.commit(put(b"/k")), follow()):
        entered.clear()
        task: asyncio.Future[object] = asyncio.ensure_future(call)
        await entered.wait()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    store.gate = None
    assert await store.read(b"/k") is not None
    assert store._watches == []


async def test_cut_watches() -> None:
    """A watch that is cut says what had reached it, then ``WatchEnded``; a new one is well."""
    store = MemoryStore()
    async with store.watch(ALL, start=Revision(1)) as watch:
        await store.commit(put(b"/1"))
        store.cut_watches("a cable")
        store.cut_watches("a second one")
        await store.commit(put(b"/2"))
        heard = await arrived(watch)
        assert [item.revision if isinstance(item, WatchBatch) else item for item in heard] == [
            2,
            WatchEnded,
        ]
        with pytest.raises(WatchEnded, match="a cable"):
            await anext(watch)
        async with store.watch(ALL, start=Revision(2)) as again:
            assert [(await anext(again)).revision for _ in range(2)] == [2, 3]


async def test_slow_consumers() -> None:
    """A consumer too far behind loses its watch; what it was behind at the start is no matter."""
    store = MemoryStore(max_backlog=3)
    for n in range(10):
        await store.commit(put(b"/%d" % n))
    async with (
        store.watch(ALL, start=Revision(1)) as watch,
        store.watch(ALL, start=Revision(12)) as other,
    ):
        for n in range(4):
            await store.commit(put(b"/%d" % n))
            await anext(other)
        heard = await arrived(watch)
        await store.commit(put(b"/1"))
        assert (await anext(other)).revision == 16
    assert len(heard) == 14
    assert heard[-1] is WatchEnded


async def test_progress() -> None:
    """A sign of life says up to where a watch has seen everything; unread ones are one."""
    store = MemoryStore()
    async with store.watch(prefix(b"/quiet/"), start=Revision(99)) as watch:
        for _ in range(3):
            await store.commit(put(b"/k"))
            store.progress()
        assert await anext(watch) == WatchBatch(Revision(4))
        store.cut_watches("enough")
        assert await arrived(watch) == [WatchEnded]


async def test_compact() -> None:
    """What nobody can see any more is forgotten; what is compacted, or still to come, cannot be."""
    store = MemoryStore()
    for value in (b"1", b"2", b"3"):
        await store.commit(put(b"/k", value))
    await store.commit(put(b"/l"))
    await store.commit(Txn(then=(Delete(b"/l"),)))
    before = await list_all(store, ALL, revision=Revision(4))
    store.compact(Revision(3))
    for revision, error in ((2, Compacted), (3, Compacted), (7, FutureRevision)):
        with pytest.raises(error):
            store.compact(Revision(revision))
    assert await list_all(store, ALL, revision=Revision(4)) == before
    kv = await store.read(b"/k", revision=Revision(3))
    assert kv is not None
    assert kv.value == b"2"
    store.compact(Revision(6))
    assert list(store._mvcc._versions) == [b"/k"]
    assert len(store._mvcc._versions[b"/k"]) == 1


async def test_leases_follow_the_clock() -> None:
    """Leases end by the clock that was given, each at its own revision, as their times come."""
    now_s = 0.0
    store = MemoryStore(clock=lambda: now_s)
    long, short, kept = [await store.grant(ttl_s) for ttl_s in (20, 10, 10)]
    for key, lease in ((b"/long", long), (b"/short", short), (b"/kept", kept)):
        await store.commit(put(key, b"", lease))
    async with store.watch(ALL, start=Revision(5)) as watch:
        now_s = 9.9
        assert await store.keep_alive(kept) == 10
        now_s = 19.8
        store.expire_leases()
        assert [event.key for event in (await anext(watch)).events] == [b"/short"]
        assert store.revision == 5
        now_s = 1e9
        with pytest.raises(LeaseNotFound):
            await store.keep_alive(long)
        assert [(await anext(watch)).events[0].key for _ in range(2)] == [b"/kept", b"/long"]
    assert store.revision == 7


async def test_restore() -> None:
    """A restored store is where it was, revision and all; what happens then overwrites history."""
    now_s = 0.0
    store = MemoryStore(clock=lambda: now_s)
    lease = await store.grant(10)
    await store.commit(put(b"/k", b"old", lease))
    snapshot = store.snapshot()
    await store.commit(put(b"/k", b"new"))
    await store.commit(put(b"/l"))
    await store.revoke(lease)
    for _ in range(2):
        async with store.watch(ALL, start=Revision(store.revision + 1)) as watch:
            now_s += 8
            store.restore(snapshot)
            assert await arrived(watch) == [WatchEnded]
        page = await list_all(store, ALL)
        assert [(kv.key, kv.value, kv.lease) for kv in page.items] == [(b"/k", b"old", lease)]
        assert page.revision == 2
        with pytest.raises(FutureRevision):
            await store.read(b"/k", revision=Revision(3))
        assert await store.grant(1) > lease
        async with store.watch(ALL, start=Revision(4)) as resumed:
            await store.commit(put(b"/missed"))
            await store.commit(put(b"/heard"))
            assert (await anext(resumed)).events[0].key == b"/heard"


async def test_out_of_space() -> None:
    """Out of space a store takes deletes and reads, and nothing that may put in some branch."""
    store = MemoryStore()
    await store.commit(put(b"/k"))
    store.out_of_space = True
    refused: list[Operation] = [Put(b"/a", b""), Txn(otherwise=(Txn(then=(Put(b"/a", b""),)),))]
    for op in refused:
        with pytest.raises(NoSpace):
            await store.commit(Txn(then=(Delete(b"/k"), op)))
    with pytest.raises(NoSpace):
        await store.grant(1)
    assert (await store.commit(Txn(then=(Txn(then=(Delete(b"/k"),)), Read(b"/k"))))).succeeded
    assert await store.read(b"/k") is None


async def test_mistyped_compares() -> None:
    """Comparing a number with bytes is a mistake in the program, and says so."""
    store = MemoryStore()
    for compare in (Compare(b"/k", "value", "=", 1), Compare(b"/k", "version", "=", b"1")):
        with pytest.raises(TypeError):
            await store.commit(Txn((compare,)))
