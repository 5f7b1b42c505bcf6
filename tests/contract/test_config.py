"""The config client, on both stores."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kvconfig.config import Config
from kvconfig.errors import Conflict, InvalidName, InvalidValue, ReservedType
from kvconfig.keyspace import RESERVED_TYPES, Keyspace
from kvconfig.store import Store
from kvconfig.txn import Put, Txn


@pytest.fixture
def ks(root: str) -> Keyspace:
    return Keyspace(root)


@pytest.fixture
def config(store: Store, ks: Keyspace) -> Config:
    return Config(store, ks)


async def test_what_was_put_is_got(config: Config) -> None:
    """Any JSON value comes back equal, with the revision of its put."""
    values: list[Any] = [{"a": [1, 2.5, None, True]}, "text", 3, [], {}, "ü", None]
    for number, value in enumerate(values):
        revision = await config.put("prompt", f"p{number}", value)
        item = await config.get("prompt", f"p{number}")
        assert item is not None
        assert (item.value, item.mod_revision, item.version) == (value, revision, 1)
    assert await config.get("prompt", "none") is None


async def test_keys_may_be_deep_and_are_listed_by_prefix(config: Config) -> None:
    """A list is in key order at one revision; `under` takes a part of it, up to a slash."""
    for key in ("b", "a/x", "a/y", "ab", "a@b c"):
        await config.put("tool", key, key)
    assert [item.key for item in await config.list("tool")] == ["a/x", "a/y", "a@b c", "ab", "b"]
    assert [item.value for item in await config.list("tool", "a")] == ["a/x", "a/y"]
    assert await config.list("too") == []


async def test_if_revision_refuses_what_is_stale(config: Config) -> None:
    """A write on condition happens at that revision or not at all; 0 means absent."""
    first = await config.put("t", "k", 1, if_revision=0)
    with pytest.raises(Conflict) as refused:
        await config.put("t", "k", 2, if_revision=0)
    assert (refused.value.expected, refused.value.actual) == (0, first)
    second = await config.put("t", "k", 2, if_revision=first)
    with pytest.raises(Conflict):
        await config.delete("t", "k", if_revision=first)
    assert await config.delete("t", "k", if_revision=second)
    with pytest.raises(Conflict) as refused:
        await config.put("t", "k", 3, if_revision=second)
    assert refused.value.actual == 0


async def test_delete_says_whether_there_was_one(config: Config) -> None:
    """And deleting nothing is no error."""
    await config.put("t", "k", 1)
    assert await config.delete("t", "k") is True
    assert await config.delete("t", "k") is False


@pytest.mark.parametrize("type_", sorted(RESERVED_TYPES))
async def test_reserved_types_are_read_and_not_written(config: Config, type_: str) -> None:
    """Nothing goes round the guards of whoever writes them."""
    with pytest.raises(ReservedType):
        await config.put(type_, "k", 1)
    with pytest.raises(ReservedType):
        await config.delete(type_, "k")
    assert await config.list(type_) == []


async def test_bad_names_and_values_are_refused(config: Config) -> None:
    """Before anything is sent, and with the reason."""
    bad = (("", "k"), ("a/b", "k"), ("@x", "k"), ("t", ""), ("t", "a//b"), ("t", "k\n"))
    for type_, key in bad:
        with pytest.raises(InvalidName):
            await config.put(type_, key, 1)
    with pytest.raises(InvalidValue) as refused:
        await config.put("t", "k", {"a": [float("nan")]})
    assert refused.value.path == "$.a[0]"


async def test_a_watch_follows_a_type_or_a_key(store: Store, ks: Keyspace, config: Config) -> None:
    """The live view of a type has all its items, broken ones marked; that of a key only that."""
    await config.put("t", "a", 1)
    async with config.watch("t") as everything, config.watch("t", "a") as one:
        await everything.synced()
        await one.synced()
        await config.put("t", "ab", 2)
        await config.put("t", "a", 3)
        await store.commit(Txn(then=(Put(ks.item("t", "bad"), b"{"),)))
        await everything.until(lambda items: len(items) == 3)
        await one.until(lambda items: [i.value.value for i in items.values() if i.value] == [3])
        assert one.stats.events == 1
        bad = everything.items[ks.item("t", "bad")]
        assert isinstance(bad.error, InvalidValue)


async def test_concurrent_increments_lose_nothing(config: Config) -> None:
    """16 writers read, add one and put with `if_revision`; every increment is there."""
    await config.put("t", "n", 0)

    async def add(times: int) -> None:
        for _ in range(times):
            while True:
                item = await config.get("t", "n")
                assert item is not None
                try:
                    await config.put("t", "n", item.value + 1, if_revision=item.mod_revision)
                    break
                except Conflict:
                    continue

    await asyncio.gather(*(add(10) for _ in range(16)))
    item = await config.get("t", "n")
    assert item is not None
    assert item.value == 160
