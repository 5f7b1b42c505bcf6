"""What every store promises of watches and leases. One sentence a test: the promise."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from contextvars import ContextVar

import pytest

from kvconfig.errors import Compacted, LeaseNotFound, WatchEnded
from kvconfig.keys import one, prefix
from kvconfig.model import Event, KeyValue, LeaseId, Revision, WatchBatch
from kvconfig.store import Store, list_all
from kvconfig.txn import Delete, Put, Txn
from tests.contract.support import PATIENCE_S, Backend, changes, next_events, put, put_each

TTL_S = 2
"""The shortest that etcd grants with its default election timeout."""


# -- watches --------------------------------------------------------------------------------------


async def test_one_batch(store: Store, base: bytes) -> None:
    """All that one transaction changed in the range comes as one batch, in the order done."""
    start = await put(store, (base + b"gone/1", b""), (base + b"gone/2", b""))
    async with store.watch(prefix(base), start=Revision(start + 1)) as watch:
        inner = Txn(then=(Put(base + b"b", b"1"), Put(base + b"a", b"2")))
        gone = prefix(base + b"gone/")
        ops = (Put(base + b"z", b"0"), inner, Delete(gone.start, gone.end), Put(base + b"c", b"3"))
        at = (await store.commit(Txn(then=ops))).revision
        batch = await next_events(watch)
    assert batch.revision == at
    done = [
        (b"z", b"0"),
        (b"b", b"1"),
        (b"a", b"2"),
        (b"gone/1", None),
        (b"gone/2", None),
        (b"c", b"3"),
    ]
    assert changes(batch.events) == [(base + key, value) for key, value in done]


async def test_each_batch_is_handed_over(store: Store, base: bytes) -> None:
    """What came before somebody asked, and what comes then, in order; cancelled, nothing is lost.

    It runs in the context of who asked.
    """
    about: ContextVar[str] = ContextVar("about", default="")
    seen: list[tuple[Revision, str]] = []
    came = asyncio.Event()

    def take(batch: WatchBatch) -> None:
        if batch.events:
            seen.append((batch.revision, about.get()))
            came.set()

    async with store.watch(prefix(base), start=Revision(0)) as watch:
        revisions = [await put(store, (base + b"k", b"before"))]
        for turn in ("first", "second"):
            about.set(turn)
            work = asyncio.create_task(watch.each(take))
            async with asyncio.timeout(PATIENCE_S):
                while len(seen) < len(revisions):
                    came.clear()
                    await came.wait()
                revisions.append(await put(store, (base + b"k", turn.encode())))
                while len(seen) < len(revisions):
                    came.clear()
                    await came.wait()
            work.cancel()
            await asyncio.wait([work])
            revisions.append(await put(store, (base + b"k", b"between")))
        assert (await next_events(watch)).revision == revisions.pop()
    assert [revision for revision, _ in seen] == revisions
    assert [turn for _, turn in seen] == ["first", "first", "second", "second"]


async def test_what_takes_the_batches_may_raise(store: Store, base: bytes) -> None:
    """It comes out where each batch was asked for, harms no other watch, and no more is given."""
    seen: list[WatchBatch] = []

    def take(batch: WatchBatch) -> None:
        if batch.events:
            seen.append(batch)
            raise LookupError(batch.revision)

    watching = (store.watch(prefix(base), start=Revision(0)) for _ in range(2))
    async with AsyncExitStack() as stack:
        watch, other = [await stack.enter_async_context(each) for each in watching]
        work = asyncio.create_task(watch.each(take))
        await asyncio.sleep(0)
        revision = await put(store, (base + b"k", b"1"))
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(LookupError, match=f"{revision}"):
                await work
        assert (await next_events(other)).revision == revision
        await put(store, (base + b"k", b"2"))
        assert (await next_events(other)).events
    assert len(seen) == 1


async def test_event_values(store: Store, base: bytes) -> None:
    """A put's event holds the key as it stood after it, a delete's only names the key."""
    key = base + b"k"
    lease = await store.grant(60)
    made = await put(store, (key, b""))
    async with store.watch(prefix(base), start=made) as watch:
        again = (await store.commit(Txn(then=(Put(key, b"2", lease),)))).revision
        gone = (await store.commit(Txn(then=(Delete(key),)))).revision
        seen = [await next_events(watch) for _ in range(3)]
    assert seen == [
        WatchBatch(made, (Event(key, KeyValue(key, b"", made, made, 1)),)),
        WatchBatch(again, (Event(key, KeyValue(key, b"2", made, again, 2, lease)),)),
        WatchBatch(gone, (Event(key, None),)),
    ]
    await store.revoke(lease)


async def test_replay_and_live(store: Store, base: bytes) -> None:
    """From an older start everything since comes, each revision once, in order; then it goes on."""
    keys = [base + b"%d" % n for n in range(10)]
    past = await put_each(store, keys)
    async with store.watch(prefix(base), start=past[3]) as watch:
        live = await put_each(store, reversed(keys))
        seen = [await next_events(watch) for _ in range(17)]
    assert [batch.revision for batch in seen] == [*past[3:], *live]
    assert [batch.events[0].key for batch in seen] == [*keys[3:], *reversed(keys)]


async def test_large_replay(store: Store, base: bytes) -> None:
    """Revisions that do not fit into one message of the wire come whole all the same."""
    start = None
    for n in range(4):
        pairs = [(base + b"%d" % m, b"%d" % n * 350_000) for m in range(4)]
        at = await put(store, *pairs)
        start = start or at
    async with store.watch(prefix(base), start=start or Revision(1)) as watch:
        for n in range(4):
            batch = await next_events(watch)
            assert changes(batch.events) == [
                (base + b"%d" % m, b"%d" % n * 350_000) for m in range(4)
            ]


async def test_future_start(store: Store, base: bytes) -> None:
    """A watch from a revision still to come says nothing of those before it."""
    now = await put(store, (base + b"0", b""))
    async with store.watch(prefix(base), start=Revision(now + 3)) as watch:
        revisions = await put_each(store, [base + b"1", base + b"2", base + b"3"])
        assert (await next_events(watch)).revision == revisions[2] == now + 3


async def test_watch_from_now(store: Store, base: bytes) -> None:
    """A watch from 0 says all that comes after any read made once it is open, and nothing older."""
    await put_each(store, [base + b"old"] * 5)
    async with store.watch(prefix(base), start=Revision(0)) as watch:
        page = await list_all(store, prefix(base))
        revisions = await put_each(store, [base + b"new"] * 5)
        assert revisions[0] == page.revision + 1
        assert [(await next_events(watch)).revision for _ in revisions] == revisions


async def test_siblings(store: Store, base: bytes) -> None:
    """A range hears nothing of its siblings, however alike their names, nor of parts of a batch."""
    near = [b"chunker/x", b"chunk", b"chunk.", b"chunk0", b"chunk/", b"Chunk/x"]
    chunk = base + b"chunk/"
    start = await put(store, (base, b""))
    async with (
        store.watch(prefix(chunk), start=start) as watch,
        store.watch(one(chunk + b"x"), start=start) as single,
    ):
        await put_each(store, [base + name for name in near if name != b"chunk/"])
        await put(store, *((base + name, b"v") for name in near), (chunk + b"x", b"mine"))
        await put_each(store, [chunk + b"x0", chunk + b"x\0", chunk + b"w"])
        await store.commit(Txn(then=(Delete(base, base + b"\xff"),)))
        heard = [changes((await next_events(watch)).events) for _ in range(5)]
        alone = [changes((await next_events(single)).events) for _ in range(2)]
    assert heard == [
        [(chunk, b"v"), (chunk + b"x", b"mine")],
        [(chunk + b"x0", b"v")],
        [(chunk + b"x\0", b"v")],
        [(chunk + b"w", b"v")],
        [(chunk + name, None) for name in (b"", b"w", b"x", b"x\0", b"x0")],
    ]
    assert alone == [[(chunk + b"x", b"mine")], [(chunk + b"x", None)]]


async def test_many_watches(store: Store, base: bytes) -> None:
    """Watches of one client are independent: each hears its own range, and one may leave."""
    start = await put(store, (base, b""))
    ranges = [prefix(base + b"%d/" % n) for n in range(20)]
    async with (
        store.watch(prefix(base), start=start) as every,
        store.watch(ranges[3], start=start) as third,
    ):
        async with store.watch(ranges[7], start=start) as seventh:
            await put_each(store, [range_.start + b"k" for range_ in ranges])
            assert (await next_events(seventh)).events[0].key == ranges[7].start + b"k"
        await put_each(store, [range_.start + b"l" for range_ in ranges])
        heard = [(await next_events(third)).events[0].key for _ in range(2)]
        assert heard == [ranges[3].start + b"k", ranges[3].start + b"l"]
        seen = [(await next_events(every)).events[0].key for _ in range(41)]
        assert seen[1:] == [range_.start + name for name in (b"k", b"l") for range_ in ranges]


async def test_waiting_is_safe(store: Store, base: bytes) -> None:
    """A consumer that gives up waiting, and comes back, has missed nothing."""
    start = await put(store, (base + b"0", b""))
    async with store.watch(prefix(base + b"k/"), start=start) as watch:
        heard: list[bytes] = []
        for n in range(40):
            waiting = asyncio.ensure_future(next_events(watch))
            await asyncio.sleep(0)
            await put(store, (base + b"k/%d" % n, b""))
            for _ in range(n % 4):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            if not waiting.cancelled():
                heard.append(waiting.result().events[0].key)
        while len(heard) < 40:
            heard.append((await next_events(watch)).events[0].key)
        assert heard == [base + b"k/%d" % n for n in range(40)]


async def test_compacted_watch(backend: Backend, store: Store, base: bytes) -> None:
    """A watch from below the compacted revision ends and says where to go on; from it, it works."""
    old, new, newer = await put_each(store, [base + b"1", base + b"2", base + b"3"])
    async with store.watch(prefix(base), start=newer) as open_before:
        await backend.compact(new)
        with pytest.raises(Compacted) as caught:
            async with store.watch(prefix(base), start=old) as watch:
                await next_events(watch)
        assert caught.value.compact_revision == new
        async with store.watch(prefix(base), start=new) as watch:
            assert [(await next_events(watch)).revision for _ in range(2)] == [new, newer]
        assert (await next_events(open_before)).revision == newer
        last = await put(store, (base + b"4", b""))
        assert (await next_events(open_before)).revision == last


async def test_close_ends_watches(backend: Backend, base: bytes) -> None:
    """Closing a store ends its watches with ``WatchEnded``, and they stay ended."""
    async with backend.open() as store:
        start = await put(store, (base, b""))
        async with store.watch(prefix(base + b"quiet/"), start=start) as watch:
            waiting = asyncio.ensure_future(next_events(watch))
            await asyncio.sleep(0)
            await store.close()
            with pytest.raises(WatchEnded):
                await waiting
            with pytest.raises(WatchEnded):
                await next_events(watch)


async def test_close_ends_those_that_have_each_batch(backend: Backend, base: bytes) -> None:
    """With the same error; and who asks for each after that gets it too."""
    async with backend.open() as store, store.watch(prefix(base), start=Revision(0)) as watch:
        waiting = asyncio.create_task(watch.each(lambda _: None))
        await asyncio.sleep(0)
        await store.close()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(WatchEnded):
                await waiting
            with pytest.raises(WatchEnded):
                await watch.each(lambda _: None)


async def test_watch_adds_up(store: Store, base: bytes) -> None:
    """A list, and the batches after it put on top, are what another list shows."""
    chance = random.Random(1)
    names = [base + b"%d" % n for n in range(8)]
    await put_each(store, names[:4])
    first = await list_all(store, prefix(base))
    mine = {kv.key: kv for kv in first.items}

    async def write() -> None:
        for n in range(100):
            chosen = chance.sample(names, 3)
            ops = (Put(chosen[0], b"%d" % n), Delete(chosen[1]), Txn(then=(Put(chosen[2], b""),)))
            await store.commit(Txn(then=ops))

    async def follow(watch: AsyncIterator[WatchBatch]) -> None:
        at = first.revision
        while at < first.revision + 100:
            batch = await next_events(watch)
            assert batch.revision == at + 1
            at = batch.revision
            for event in batch.events:
                if event.kv is None:
                    del mine[event.key]
                else:
                    mine[event.key] = event.kv

    async with store.watch(prefix(base), start=Revision(first.revision + 1)) as watch:
        await asyncio.gather(write(), follow(watch))
    assert tuple(mine[key] for key in sorted(mine)) == (await list_all(store, prefix(base))).items


# -- leases ---------------------------------------------------------------------------------------


async def test_revoke(store: Store, base: bytes) -> None:
    """With a lease go the keys that were last put under it, all at one revision, and no others."""
    lease, other = await store.grant(60), await store.grant(60)
    hung, moved, freed, remade = (base + name for name in (b"hung", b"moved", b"freed", b"remade"))
    await store.commit(
        Txn(then=tuple(Put(key, b"", lease) for key in (hung, moved, freed, remade)))
    )
    await store.commit(Txn(then=(Put(moved, b"", other), Put(freed, b""), Delete(remade))))
    at = await put(store, (remade, b""))
    await store.commit(Txn(then=(Put(base + b"also", b"", lease),)))
    async with store.watch(prefix(base), start=Revision(at + 2)) as watch:
        await store.revoke(lease)
        batch = await next_events(watch)
    assert changes(batch.events) == [(base + b"also", None), (hung, None)]
    page = await list_all(store, prefix(base))
    assert {kv.key: kv.lease for kv in page.items} == {moved: other, freed: 0, remade: 0}
    assert page.revision == batch.revision == at + 2
    await store.revoke(other)


async def test_leases_that_are_gone(store: Store) -> None:
    """A lease that is gone, or never was, is not found."""
    lease = await store.grant(60)
    await store.revoke(lease)
    for gone in (lease, LeaseId(2**62 + 1)):
        with pytest.raises(LeaseNotFound) as caught:
            await store.keep_alive(gone)
        assert caught.value.lease == gone
        with pytest.raises(LeaseNotFound):
            await store.revoke(gone)


async def test_keep_alive(store: Store) -> None:
    """Keeping a lease alive tells how many seconds it has from then on."""
    lease = await store.grant(60)
    assert [await store.keep_alive(lease) for _ in range(2)] == [60, 60]
    await store.revoke(lease)


async def test_expiry(backend: Backend, store: Store, base: bytes) -> None:
    """A lease that nobody keeps alive ends, its keys go with it, and watches hear of it."""
    key = base + b"k"
    short, long = await store.grant(TTL_S), await store.grant(60)
    put_both = Txn(then=(Put(key, b"", short), Put(base + b"stays", b"", long)))
    at = (await store.commit(put_both)).revision
    async with store.watch(prefix(base), start=Revision(at + 1)) as watch:
        backend.let_time_pass(TTL_S)
        assert changes((await next_events(watch)).events) == [(key, None)]
    assert PATIENCE_S > TTL_S
    with pytest.raises(LeaseNotFound):
        await store.keep_alive(short)
    with pytest.raises(LeaseNotFound):
        await store.commit(Txn(then=(Put(key, b"", short),)))
    assert [kv.key for kv in (await list_all(store, prefix(base))).items] == [base + b"stays"]
    await store.revoke(long)
