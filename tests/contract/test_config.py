"""The config client, on both stores."""

from __future__ import annotations

from typing import Any

import pytest

from kvconfig.config import Config
from kvconfig.errors import (
    Conflict,
    InvalidName,
    InvalidSchema,
    InvalidValue,
    ReservedType,
    SchemaNotMet,
    SchemaViolated,
    TooManyOperations,
)
from kvconfig.keyspace import RESERVED_TYPES, Keyspace
from kvconfig.store import Store
from kvconfig.txn import Put, Txn
from tests.counting import count_up


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
    for force in (False, True):
        with pytest.raises(ReservedType):
            await config.put_schema(type_, {}, force=force)
    assert await config.delete_schema(type_) == 0, "one that was accepted once can go"
    assert await config.list(type_) == await config.list("schema") == []


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
    """16 writers read, add one and put with `if_revision`; each of 1,600 increments is there."""
    assert await count_up(config, writers=16, each=100) > 0, "nobody was in anybody's way"


@pytest.mark.parametrize("count", [3, 100, 500])
async def test_many_are_one_transaction(store: Store, config: Config, count: int) -> None:
    """Put, read and deleted at one revision each; one stale revision, and nothing is written."""
    names = [("t", f"k{n:03}") for n in range(count)]
    revision = await config.put_many(dict.fromkeys(names, 1), if_revisions=dict.fromkeys(names, 0))
    items = await config.get_many([*names, ("t", "absent")])
    assert [(i.type, i.key) for i in items] == names
    assert {i.mod_revision for i in items} == {revision}
    stale = {names[-1]: revision - 1}
    with pytest.raises(Conflict) as refused:
        await config.put_many(dict.fromkeys(names, 2), if_revisions=stale)
    assert refused.value.actual == revision
    assert f"/t/k{count - 1:03}" in str(refused.value)
    with pytest.raises(Conflict):
        await config.delete_many(names, if_revisions=stale)
    assert {i.value for i in await config.get_many(names)} == {1}
    asked = [("t", "absent"), *names, ("t", "z/absent"), ("t", "absent")]
    removed = await config.delete_many(asked)
    assert (removed, removed.missing) == (count, (("t", "absent"), ("t", "z/absent")))
    assert await config.list("t") == []


async def test_more_than_a_transaction_can_hold_is_refused(config: Config) -> None:
    """With both numbers, and nothing is written: a put of many is never split."""
    names = [("t", f"k{n}") for n in range(9_000)]
    with pytest.raises(TooManyOperations) as refused:
        await config.put_many(dict.fromkeys(names, 1))
    count, limit = refused.value.count, refused.value.limit
    assert count is not None
    assert limit is not None
    assert count >= 9_000 > limit
    assert await config.list("t") == []


async def test_nothing_to_write_is_no_write(config: Config) -> None:
    """Of nothing, nothing is there, and nothing is removed."""
    assert await config.delete_many([]) == 0
    assert await config.get_many([]) == []
    before = await config.put("t", "k", 1)
    await config.put_many({})
    assert await config.put("t", "k", 2) == before + 1


async def test_types_and_keys_are_found_without_reading_values(
    store: Store, ks: Keyspace, config: Config
) -> None:
    """Reserved types too; what is no type of this root is passed over."""
    for type_, key in (("a", "x"), ("a", "y/z"), ("a-b", "x"), ("b", "x")):
        await config.put(type_, key, 1)
    strange = [ks.layout(), ks.everything().start + b"lonely", ks.everything().start + b"@x/a/b"]
    await store.commit(Txn(then=tuple(Put(key, b"{}") for key in strange)))
    assert await config.types() == ["a-b", "a", "b", "kvconfig"]
    assert await config.keys("a") == ["x", "y/z"]
    assert await config.keys("a", "y") == ["y/z"]


SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "n": {"type": "integer", "maximum": 10}},
    "required": ["text"],
}


async def test_a_schema_holds_for_all_that_is_put(store: Store, ks: Keyspace) -> None:
    """Every violation is told with its path, never with the value; other types are not concerned.

    A client that has never heard of the schema learns of it from the refused write.
    """
    await Config(store, ks).put_schema("prompt", SCHEMA)
    config = Config(store, ks)
    revision = await config.put("prompt", "a", {"text": "hello"})
    with pytest.raises(SchemaViolated) as refused:
        await config.put("prompt", "a", {"text": 1, "n": 1234567})
    assert [v.path for v in refused.value.findings] == ["$.n", "$.text"]
    assert "1234567" not in str(refused.value)
    with pytest.raises(SchemaViolated):
        await config.put_many({("tool", "x"): 1, ("prompt", "b"): {}})
    assert await config.get("tool", "x") is None
    await config.put("tool", "x", 1)
    item = await config.get("prompt", "a")
    assert item is not None
    assert item.mod_revision == revision
    assert await config.delete("prompt", "a"), "to delete, nothing is demanded"


async def test_a_schema_that_changes_is_learned(store: Store, ks: Keyspace) -> None:
    """What was allowed is refused, and the other way round, by every client at once."""
    one, other = Config(store, ks), Config(store, ks)
    await one.put("t", "k", 1)
    await other.put_schema("t", {"type": "integer"})
    with pytest.raises(SchemaViolated):
        await one.put("t", "k", "text")
    await other.put_schema("t", {"type": "string"}, force=True)
    await one.put("t", "k", "text")
    assert await other.delete_schema("t")
    await one.put("t", "k", 1)
    await one.put("t", "k", "text")


async def test_a_schema_that_is_not_met_is_refused(config: Config) -> None:
    """It names what stands there; forced, it holds for what is put from then on."""
    await config.put("t", "good", 1)
    await config.put("t", "bad", "text")
    with pytest.raises(SchemaNotMet) as refused:
        await config.put_schema("t", {"type": "integer"})
    assert len(refused.value.keys) == 1
    assert "/t/bad" in str(refused.value)
    assert await config.get("schema", "t") is None
    revision = await config.put_schema("t", {"type": "integer"}, force=True)
    with pytest.raises(Conflict):
        await config.put_schema("t", {}, force=True, if_revision=revision - 1)
    with pytest.raises(SchemaViolated):
        await config.put("t", "bad", "text")


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"type": "objekt"}, "$.type"),
        ({"$ref": "http://127.0.0.1:1/x.json"}, "$.$ref"),
        ({"$ref": "file:///etc/hostname"}, "$.$ref"),
        ({"properties": {"a": {"pattern": "(?=x)"}}}, "$.properties.a.pattern"),
        (3, "$"),
    ],
)
async def test_what_is_no_schema_is_refused(config: Config, document: Any, path: str) -> None:
    """With the place; no reference leads out of it, no pattern can take for ever."""
    with pytest.raises(InvalidSchema) as refused:
        await config.put_schema("t", document)
    assert refused.value.path == path
    assert await config.get("schema", "t") is None


async def test_a_broken_schema_in_the_store_lets_nothing_past(
    store: Store, ks: Keyspace, config: Config
) -> None:
    """Somebody put it with etcdctl: said so, rather than written unchecked."""
    await store.commit(Txn(then=(Put(ks.schema("t"), b'{"type":"objekt"}'),)))
    with pytest.raises(InvalidSchema, match="/schema/t"):
        await config.put("t", "k", 1)
    await store.commit(Txn(then=(Put(ks.schema("t"), b"nope"),)))
    with pytest.raises(InvalidValue, match="/schema/t"):
        await config.put("t", "k", 1)
    assert await config.get("t", "k") is None
