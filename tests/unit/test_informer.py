"""The informer under faults, on the store in memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kvconfig.backoff import Backoff
from kvconfig.errors import Compacted, PermissionDenied, Unavailable
from kvconfig.informer import Batch, Informer
from kvconfig.keys import Range, prefix
from kvconfig.memory import MemoryStore
from kvconfig.model import KeyValue, Revision, WatchBatch
from kvconfig.store import Watch
from kvconfig.txn import Delete, Put, Txn

RANGE = prefix(b"/t/")


def text(kv: KeyValue) -> str:
    return kv.value.decode()


def informer_on(store: MemoryStore) -> Informer[str]:
    return Informer(store, RANGE, text, backoff=Backoff(first_s=0.001, most_s=0.01))


def values(informer: Informer[str]) -> dict[str, str | None]:
    return {key.decode()[3:]: item.value for key, item in informer.items.items()}


async def put(store: MemoryStore, **pairs: str) -> None:
    puts = tuple(Put(f"/t/{key}".encode(), value.encode()) for key, value in pairs.items())
    await store.commit(Txn(then=puts))


async def lists_again(informer: Informer[str]) -> None:
    lists = informer.stats.lists
    await informer.until(lambda _: informer.stats.lists > lists)


async def test_a_cut_watch_ends_in_the_difference() -> None:
    """Deletes included; what did not change is not in the batch, though its revision is new."""
    store = MemoryStore()
    await put(store, same="1", old="1", gone="1")
    async with informer_on(store) as informer:
        await informer.synced()
        batches: list[Batch[str]] = []
        informer.subscribe(batches.append)
        hold = asyncio.Event()

        async def gate(call: str, moment: str) -> None:
            if call == "list" and moment == "before":
                await hold.wait()

        store.gate = gate
        store.cut_watches("a cable")
        await put(store, same="1", old="2", new="1")
        await store.commit(Txn(then=(Delete(b"/t/gone"),)))
        hold.set()
        await lists_again(informer)
        assert values(informer) == {"same": "1", "old": "2", "new": "1"}
        assert informer.items[b"/t/same"].mod_revision == 3
    resync = batches[-1]
    assert resync.resync
    assert {c.key: (bool(c.old), bool(c.new)) for c in resync.changes} == {
        b"/t/gone": (True, False),
        b"/t/new": (False, True),
        b"/t/old": (True, True),
    }


async def test_compaction_while_cut_off_loses_nothing() -> None:
    """The revision to go on from is gone: the range is listed again."""
    store = MemoryStore()
    await put(store, a="1")
    async with informer_on(store) as informer:
        await informer.synced()
        store.fail_next(Compacted(compact_revision=9), "watch")
        store.cut_watches("a cable")
        await put(store, a="2")
        store.compact(store.revision)
        await informer.until(lambda items: items[b"/t/a"].value == "2")
        assert informer.stats.watch_ends == 2


async def test_a_restored_store_is_seen_as_it_is() -> None:
    """The revision went back, and on past where it was: the cache is what the store says now."""
    store = MemoryStore()
    await put(store, a="1")
    snapshot = store.snapshot()
    await put(store, b="1")
    async with informer_on(store) as informer:
        await informer.synced()
        store.restore(snapshot)
        for turn in range(5):
            await put(store, c=str(turn))
        await informer.until(lambda items: values(informer) == {"a": "1", "c": "4"})


async def test_an_error_never_empties_the_cache() -> None:
    """While the store is away the last known state stays, and grows old."""
    store = MemoryStore()
    await put(store, a="1")
    now = [0.0]
    backoff = Backoff(first_s=0.001, most_s=0.01)
    async with Informer(store, RANGE, text, clock=lambda: now[0], backoff=backoff) as informer:
        await informer.synced()
        tried = 0
        enough = asyncio.Event()

        async def gate(call: str, moment: str) -> None:
            nonlocal tried
            tried += 1
            if tried == 5:
                enough.set()
            raise Unavailable("away")

        store.gate = gate
        store.cut_watches("a cable")
        await enough.wait()
        now[0] = 42.0
        assert values(informer) == {"a": "1"}
        assert informer.last_progress_age_s == 42.0
        store.gate = None
        await lists_again(informer)
        assert informer.last_progress_age_s == 0.0


async def test_no_permission_is_said_and_ends_it() -> None:
    """No waiting cures it, so whoever waits gets the error, with the key."""
    store = MemoryStore()
    store.fail_next(PermissionDenied(b"/t/"), "list")
    async with informer_on(store) as informer:
        with pytest.raises(PermissionDenied) as refused:
            await informer.synced()
        assert refused.value.key == b"/t/"


async def test_permission_that_is_lost_later_is_waited_for() -> None:
    """A role was changed under a running informer: it keeps what it has, and is there again."""
    store = MemoryStore()
    await put(store, a="1")
    async with informer_on(store) as informer:
        await informer.synced()
        for _ in range(3):
            store.fail_next(PermissionDenied(b"/t/"), "watch")
        store.cut_watches("a cable")
        await put(store, a="2")
        await informer.until(lambda items: items[b"/t/a"].value == "2")
        assert informer.stats.watch_ends == 4


async def test_a_revision_that_came_before_is_a_broken_watch() -> None:
    """A batch at or below the cache's revision is never applied: the range is listed again."""
    store = MemoryStore()
    await put(store, a="1")
    async with informer_on(store) as informer:
        await informer.synced()
        informer.revision = Revision(10)
        await put(store, a="2")
        await lists_again(informer)
        assert informer.stats.watch_ends == 1
        assert values(informer) == {"a": "2"}


async def test_a_handler_that_raises_hurts_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, it is counted, and the other handlers go on."""
    store = MemoryStore()
    heard: list[Batch[str]] = []

    def broken(batch: Batch[str]) -> None:
        raise RuntimeError("mine")

    async with informer_on(store) as informer:
        await informer.synced()
        informer.subscribe(broken)
        informer.subscribe(heard.append)
        with caplog.at_level(logging.ERROR):
            await put(store, a="1")
            await informer.until(lambda items: len(items) == 1)
        assert informer.stats.handler_errors == len(heard) == 2
    assert "handler failed" in caplog.text


async def test_a_decoder_that_breaks_costs_one_item() -> None:
    """An error that is none of ours becomes an item's error, too."""
    store = MemoryStore()
    await store.commit(Txn(then=(Put(b"/t/a", b"\xff"), Put(b"/t/b", b"1"))))
    async with informer_on(store) as informer:
        await informer.synced()
        assert informer.items[b"/t/a"].error is not None
        assert informer.items[b"/t/b"].value == "1"


class Forgetful(MemoryStore):
    """A store whose watches leave out what ``forget`` names: the defect that is looked for."""

    forget = b""

    @asynccontextmanager
    async def watch(self, range_: Range, *, start: Revision) -> AsyncIterator[Any]:
        async with super().watch(range_, start=start) as batches:
            yield _Without(batches, self)


class _Without(Watch):
    def __init__(self, batches: Watch, store: Forgetful) -> None:
        self._batches, self._store = batches, store

    @property
    def ended(self) -> Exception | None:
        return self._batches.ended

    async def __anext__(self) -> WatchBatch:
        while True:
            batch = await anext(self._batches)
            if not any(event.key == self._store.forget for event in batch.events):
                return batch


@pytest.mark.parametrize("lost", ["put", "update", "delete"])
async def test_anti_entropy_finds_what_a_watch_lost(
    lost: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported as a defect, naming the key, and mended by a list."""
    monkeypatch.setattr("kvconfig.informer.GRACE_S", 0.01)
    store = Forgetful()
    if lost != "put":
        await put(store, a="1")
    backoff = Backoff(first_s=0.001, most_s=0.01)
    async with Informer(store, RANGE, text, backoff=backoff, verify_every_s=0.02) as informer:
        await informer.synced()
        store.forget = b"/t/a"
        if lost == "delete":
            await store.commit(Txn(then=(Delete(b"/t/a"),)))
        else:
            await put(store, a="2")
        await lists_again(informer)
        assert values(informer) == ({} if lost == "delete" else {"a": "2"})
        assert informer.stats.differences == 1
    assert "cache differs from store" in caplog.text


async def test_anti_entropy_finds_nothing_where_nothing_is_lost() -> None:
    """Under steady writes a list is always ahead of the watch: that is no difference."""
    store = MemoryStore()
    async with Informer(store, RANGE, text, verify_every_s=0.001) as informer:
        await informer.synced()
        turn = 0
        while informer.stats.verified < 50:
            turn += 1
            await put(store, **{f"k{turn % 7}": str(turn)})
            await store.commit(Txn(then=(Delete(b"/t/k%d" % (turn % 5)),)))
        assert informer.stats.differences == 0
        assert informer.stats.lists == 1


async def test_anti_entropy_sees_a_store_that_went_back() -> None:
    """A list older than the cache: the store was restored, though no watch ended."""
    store = MemoryStore()
    await put(store, a="1")
    snapshot = store.snapshot()
    await put(store, a="2")
    async with Informer(store, RANGE, text, verify_every_s=0.02) as informer:
        await informer.synced()
        store.cut_watches = lambda reason: None  # type: ignore[method-assign]
        store.restore(snapshot)
        await informer.until(lambda items: items[b"/t/a"].value == "1")
