"""What an informer shows before its first list: what was known in an earlier life."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvconfig.backoff import Backoff
from kvconfig.errors import InvalidValue, PermissionDenied, StoreError, Unavailable
from kvconfig.informer import Batch, Informer
from kvconfig.memory import MemoryStore
from kvconfig.memory.faults import FaultyStore, Rates
from kvconfig.model import KeyValue, Revision
from kvconfig.store import list_all
from kvconfig.txn import Put, Txn
from tests.history import virtual_time
from tests.property.model import transaction
from tests.unit.test_informer import RANGE, informer_on, put, values


def known(**pairs: str) -> list[KeyValue]:
    """What somebody remembers of the range, at revisions of long ago."""
    return [key_value(f"/t/{key}".encode(), value.encode()) for key, value in pairs.items()]


def key_value(key: bytes, value: bytes) -> KeyValue:
    return KeyValue(key, value, Revision(901), Revision(902), 2)


def away(store: MemoryStore) -> None:
    """No call gets through, until ``gate`` is taken off again."""

    async def gate(call: str, moment: str) -> None:
        raise Unavailable("away")

    store.gate = gate


def changed(batch: Batch[str]) -> dict[str, tuple[str | None, str | None]]:
    """Before and after, by key."""
    return {
        change.key.decode()[3:]: (
            change.old.value if change.old else None,
            change.new.value if change.new else None,
        )
        for change in batch.changes
    }


async def test_what_is_recalled_is_shown_and_handed_out_at_once() -> None:
    """As a resync at revision 0: to those who subscribed, and to those who do later."""
    store = MemoryStore()
    away(store)
    early: list[Batch[str]] = []
    late: list[Batch[str]] = []
    async with informer_on(store) as informer:
        informer.subscribe(early.append)
        assert not early
        assert informer.recall(known(a="1", b="2"))
        informer.subscribe(late.append)
        assert informer.stale
        assert values(informer) == {"a": "1", "b": "2"}
    assert early == late
    (batch,) = early
    assert (batch.revision, batch.resync) == (0, True)
    assert changed(batch) == {"a": (None, "1"), "b": (None, "2")}


async def test_also_nothing_can_be_recalled() -> None:
    """That nothing was there is known too, and handed out as an empty batch."""
    store = MemoryStore()
    away(store)
    batches: list[Batch[str]] = []
    async with informer_on(store) as informer:
        assert informer.recall([])
        assert informer.stale
        informer.subscribe(batches.append)
    assert batches == [Batch(Revision(0), (), resync=True)]


async def test_recalled_is_not_synced() -> None:
    """Who waits for the first list still does, and the age of the cache shows that none came."""
    store, now = MemoryStore(), [0.0]
    away(store)
    async with (
        asyncio.timeout(10),
        Informer(store, RANGE, str, clock=lambda: now[0]) as informer,
        asyncio.TaskGroup() as group,
    ):
        synced = group.create_task(informer.synced())
        until = group.create_task(informer.until(lambda items: len(items) == 1))
        filled = group.create_task(informer.filled())
        await asyncio.sleep(0)
        assert not filled.done()
        now[0] = 7.0
        informer.recall(known(a="1"))
        await filled
        await asyncio.sleep(0)
        assert not synced.done()
        assert not until.done()
        assert (informer.revision, informer.last_progress_age_s) == (0, 7.0)
        store.gate = None
        await put(store, a="1")
        await until
        await synced
        assert (informer.revision, informer.last_progress_age_s) == (2, 0.0)


async def test_the_first_list_hands_out_the_difference() -> None:
    """Deletes included; equal values are not in it, but their revisions are those of the store."""
    store = MemoryStore()
    away(store)
    batches: list[Batch[str]] = []
    async with informer_on(store) as informer:
        informer.recall(known(same="1", old="1", gone="1"))
        informer.subscribe(batches.append)
        store.gate = None
        await put(store, same="1", old="2", new="1")
        await informer.until(lambda items: b"/t/new" in items)
        assert not informer.stale
        assert values(informer) == {"same": "1", "old": "2", "new": "1"}
        assert informer.items[b"/t/same"].mod_revision == 2
    _, difference = batches
    assert (difference.revision, difference.resync) == (2, True)
    assert changed(difference) == {"gone": ("1", None), "old": ("1", "2"), "new": (None, "1")}


async def test_a_list_that_is_under_way_is_compared_with_what_was_recalled_meanwhile() -> None:
    """What comes in between two of its pages is not lost, nor told twice."""
    store = MemoryStore(page_size=1)
    await put(store, a="1", b="2")
    paged, go_on = asyncio.Event(), asyncio.Event()

    async def gate(call: str, moment: str) -> None:
        if call == "list" and store.calls["list"] == 2 and moment == "before":
            paged.set()
            await go_on.wait()

    store.gate = gate
    batches: list[Batch[str]] = []
    async with informer_on(store) as informer:
        informer.subscribe(batches.append)
        await paged.wait()
        assert informer.recall(known(a="1", c="3"))
        go_on.set()
        await informer.synced()
        assert values(informer) == {"a": "1", "b": "2"}
    assert changed(batches[-1]) == {"b": (None, "2"), "c": ("3", None)}


async def test_nothing_is_recalled_over_a_list_nor_twice() -> None:
    """What the store said counts more; and what was recalled first stays."""
    store = MemoryStore()
    await put(store, a="1")
    batches: list[Batch[str]] = []
    async with informer_on(store) as informer:
        await informer.synced()
        informer.subscribe(batches.append)
        assert not informer.recall(known(b="1"))
        assert not informer.stale
        assert values(informer) == {"a": "1"}
    assert len(batches) == 1
    away(store)
    async with informer_on(store) as informer:
        assert informer.recall(known(b="1"))
        assert not informer.recall(known(c="1"))
        assert values(informer) == {"b": "1"}


async def test_what_was_recalled_is_judged_as_ever() -> None:
    """A value that does not decode is an item with an error; a key of elsewhere is passed over."""

    def decode(kv: KeyValue) -> str:
        if kv.value == b"bad":
            raise InvalidValue("it says bad", key=kv.key)
        return kv.value.decode()

    store = MemoryStore()
    away(store)
    async with Informer(store, RANGE, decode) as informer:
        informer.recall([*known(a="bad", b="1"), key_value(b"/elsewhere/c", b"1")])
        assert values(informer) == {"a": None, "b": "1"}
        assert isinstance(informer.items[b"/t/a"].error, InvalidValue)


async def test_a_refusal_ends_only_what_has_nothing_to_go_by() -> None:
    """After a recall, missing permission is waited for: the cache stays, and is there again."""
    store = MemoryStore()
    await put(store, a="2")
    store.fail_next(PermissionDenied(b"/t/"), "list")
    async with informer_on(store) as informer:
        with pytest.raises(PermissionDenied):
            await informer.filled()
        assert not informer.recall(known(a="1"))
        assert values(informer) == {}
    for _ in range(3):
        store.fail_next(PermissionDenied(b"/t/"), "list")
    async with informer_on(store) as informer:
        informer.recall(known(a="1"))
        await informer.synced()
        assert informer.stats.watch_ends == 3
        assert values(informer) == {"a": "2"}


items = st.dictionaries(
    st.sampled_from([b"/t/%d" % n for n in range(6)] + [b"/elsewhere/1"]),
    st.sampled_from([b"", b"1", b"2", b"\xff"]),
)
writes = st.dictionaries(
    st.sampled_from([b"/t/0", b"/t/1", b"/t/9"]),
    st.sampled_from([b"1", b"later", None]),
    min_size=1,
)


@given(
    recalled=items,
    stored=items,
    later=st.lists(writes, max_size=4),
    after_s=st.sampled_from([0.0, 0.01, 0.3]),
    seed=st.integers(0, 1_000_000),
)
@settings(deadline=None, max_examples=300)
def test_whatever_was_recalled_the_store_wins(
    recalled: dict[bytes, bytes],
    stored: dict[bytes, bytes | None],
    later: list[dict[bytes, bytes | None]],
    after_s: float,
    seed: int,
) -> None:
    """Under any faults: all that was told adds up to the cache, and in the end to the store."""

    async def scenario() -> None:
        loop, rng = asyncio.get_running_loop(), Random(seed)
        memory = MemoryStore(clock=loop.time, page_size=2)
        await memory.commit(transaction(stored, {}))
        store = FaultyStore(memory, rng, Rates.drawn(rng))
        backoff = Backoff(first_s=0.05, most_s=0.5)
        informer = Informer(store, RANGE, text_or_not, clock=loop.time, backoff=backoff)
        told = Told(informer)
        async with informer:
            await asyncio.sleep(after_s)
            if informer.recall(key_value(key, value) for key, value in recalled.items()):
                assert told.folded == {k: v for k, v in recalled.items() if k in RANGE}
            for ops in later:
                with suppress(StoreError):
                    await store.commit(transaction(ops, {}))
                await asyncio.sleep(rng.uniform(0.0, 0.5))
            store.heal()
            await store.commit(Txn(then=(Put(b"/t/end", b""),)))
            truth = await list_all(memory, RANGE)
            async with asyncio.timeout(60):
                await informer.until(lambda _: told.cached() == truth.items)
            assert not informer.stale
        assert informer.stats.handler_errors == 0
        assert told.folded == {kv.key: kv.value for kv in truth.items}

    virtual_time.run(scenario())


class Told:
    """Folds up what an informer tells; a batch that does not fit is a failure of the handler."""

    def __init__(self, informer: Informer[str]) -> None:
        self.folded: dict[bytes, bytes] = {}
        self._informer = informer
        informer.subscribe(self.hear)

    def cached(self) -> tuple[KeyValue, ...]:
        return tuple(item.kv for _, item in sorted(self._informer.items.items()))

    def hear(self, batch: Batch[str]) -> None:
        for change in batch.changes:
            old, new = (item.kv.value if item else None for item in (change.old, change.new))
            assert old == self.folded.get(change.key)
            assert not batch.resync or old != new
            if new is None:
                del self.folded[change.key]
            else:
                self.folded[change.key] = new
        assert self.folded == {kv.key: kv.value for kv in self.cached()}


def text_or_not(kv: KeyValue) -> str:
    try:
        return kv.value.decode()
    except UnicodeDecodeError as error:
        raise InvalidValue("no text", key=kv.key) from error
