"""What stands, then what changes: for readers that are slow, and over the ends of watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from kvconfig.config import Config, ConfigChanges, ConfigItem
from kvconfig.config.following import MOST_WAITING, _Merged
from kvconfig.errors import PermissionDenied
from kvconfig.informer import Batch, Change, Item
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.model import KeyValue, Revision
from tests.robustness.waiting import eventually

Changes = AsyncGenerator[ConfigChanges, None]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def config(store: MemoryStore) -> Config:
    return Config(store, Keyspace())


@pytest.fixture
async def changes(config: Config) -> AsyncIterator[Changes]:
    await config.put_many({("t", "a"): 1, ("t", "b"): 2})
    async with aclosing(config.changes("t")) as followed, asyncio.timeout(10):
        assert told(await anext(followed)) == {"a": 1, "b": 2}
        yield followed


def told(changes: ConfigChanges) -> dict[str, Any]:
    return {c.key: "gone" if c.item is None else c.item.value for c in changes.changes}


async def test_a_slow_reader_gets_the_first_ones_and_then_what_came_of_the_rest(
    config: Config, changes: Changes
) -> None:
    """One by one up to a bound, and the rest as one; what came and went in it was never there."""
    for n in range(MOST_WAITING - 1):
        await config.put("t", "a", n)
    last_alone = await config.put("t", "c", "short-lived")
    await config.put("t", "b", "changed")
    await config.delete("t", "c")
    await config.put("t", "d", "short-lived")
    await config.delete("t", "d")
    await config.delete("t", "a")
    last = await config.put("t", "b", "and again")
    await settled()
    singles = [await anext(changes) for _ in range(MOST_WAITING - 1)]
    assert [told(single) for single in singles] == [{"a": n} for n in range(MOST_WAITING - 1)]
    assert not any(single.resync for single in singles)
    rest = await anext(changes)
    assert told(rest) == {"b": "and again", "a": "gone"}
    assert (rest.revision, rest.resync) == (last, True)
    assert rest.revision > last_alone
    then = await config.put("t", "e", 1)
    following = await anext(changes)
    assert (following.revision, told(following), following.resync) == (then, {"e": 1}, False)


async def test_of_several_revisions_only_what_is_another_is_told(
    config: Config, changes: Changes
) -> None:
    """There and back is nothing, and so is a value written again; alone, that is told."""
    for _ in range(MOST_WAITING - 1):
        await config.put("t", "c", "alone")
    await config.put("t", "a", 1)
    await config.put("t", "b", "changed")
    await config.put("t", "d", "new")
    await config.put("t", "b", 2)
    last = await config.put("t", "d", "and another")
    await settled()
    singles = [await anext(changes) for _ in range(MOST_WAITING - 1)]
    assert [told(single) for single in singles] == [{"c": "alone"}] * len(singles)
    rest = await anext(changes)
    assert (rest.revision, told(rest), rest.resync) == (last, {"d": "and another"}, True)
    await config.put("t", "a", 1)
    again = await anext(changes)
    assert (told(again), again.resync) == ({"a": 1}, False)


def test_what_came_and_went_takes_no_room() -> None:
    """However many keys do so while nobody reads, as many are kept as are another in the end."""
    merged = _Merged()
    for n in range(0, 1_000, 2):
        key, item = b"/t/%d" % n, stood(n)
        merged.add(Batch(Revision(n + 1), (Change(key, None, item),), resync=False))
        merged.add(Batch(Revision(n + 2), (Change(key, item, None),), resync=False))
        assert len(merged._changes) <= 1
    assert (list(merged.changes()), merged.revision) == ([], 1_000)


def stood(n: int) -> Item[ConfigItem]:
    key, revision = f"k{n}", Revision(n + 1)
    kv = KeyValue(f"/t/{key}".encode(), b"1", revision, revision, 1)
    return Item(kv, ConfigItem(type="t", key=key, value=1, mod_revision=revision, version=1))


async def settled() -> None:
    """Let the view take what was written: a memory store needs some turns of the loop."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_what_a_cut_watch_missed_comes_as_the_difference(
    store: MemoryStore, config: Config, changes: Changes
) -> None:
    """Also where the store has forgotten it: deletes included, equal values left out."""
    store.cut_watches("a cable")
    await config.delete("t", "a")
    await config.put("t", "b", 2)
    await config.put("t", "c", 3)
    last = await config.put("other", "c", 3)
    store.compact(store.revision)
    missed = await anext(changes)
    assert (told(missed), missed.resync) == ({"a": "gone", "c": 3}, True)
    assert missed.revision >= last
    revision = await config.put("t", "b", 4)
    assert (await anext(changes)).revision == revision


async def test_a_cut_that_missed_nothing_is_not_told(
    store: MemoryStore, config: Config, changes: Changes
) -> None:
    """There is nothing to be said of it."""
    store.cut_watches("a cable")
    await config.put("other", "c", 3)
    following = asyncio.ensure_future(anext(changes))
    await eventually(lambda: store.calls["list"] >= 2)
    await settled()
    await config.put("t", "c", 3)
    assert told(await following) == {"c": 3}


async def test_what_cannot_be_read_ends_it(store: MemoryStore, config: Config) -> None:
    """Rather than to wait for ever."""
    store.fail_next(PermissionDenied(b"/t/"), "watch")
    async with aclosing(config.changes("t")) as changes, asyncio.timeout(10):
        with pytest.raises(PermissionDenied):
            await anext(changes)
