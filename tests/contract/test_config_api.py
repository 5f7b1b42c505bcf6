"""The port of the configuration: in process and over gRPC, on both stores, all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Any

import pytest

from flowsvc.config_client import ConfigClient
from flowsvc.server import serve
from kvconfig.config import Config, ConfigChange, ConfigChanges, ConfigItem, Configuration, Found
from kvconfig.errors import Compacted, Conflict, InvalidName, InvalidValue, ReservedType
from kvconfig.keyspace import Keyspace
from kvconfig.records import AppliedRecord
from kvconfig.store import Store
from kvconfig.txn import Put, Txn
from tests import bad_inputs
from tests.contract.support import PATIENCE_S, Backend
from tests.fake_flows import FakeFlows


@pytest.fixture
def ks(root: str) -> Keyspace:
    return Keyspace(root)


@pytest.fixture(params=["in process", "over gRPC"])
async def config(
    request: pytest.FixtureRequest, store: Store, ks: Keyspace
) -> AsyncIterator[Configuration]:
    async with AsyncExitStack() as stack:
        made: Configuration = Config(store, ks)
        if request.param == "over gRPC":
            port = await stack.enter_async_context(serve(FakeFlows(), config=made))
            made = await stack.enter_async_context(ConfigClient(f"127.0.0.1:{port}"))
        yield made


def as_dict(found: Found[ConfigItem]) -> dict[tuple[str, str], Any]:
    return {(item.type, item.key): item.value for item in found}


# -- reading -------------------------------------------------------------------------------------


async def test_every_answer_says_its_revision(config: Configuration) -> None:
    """What was found, and what is gone, is so as of a revision, also where there is nothing."""
    one = await config.put("t", "a", 1)
    two = await config.put("t", "b/c", 2)
    names = [("t", "a"), ("t", "none")]
    for found in (
        await config.get_many(names),
        await config.list("t"),
        await config.list("t", "b"),
        await config.keys("t"),
        await config.types(),
        await config.list("none"),
        await config.keys("none"),
        await config.get_many([("t", "none")]),
    ):
        assert found.revision >= two > one
    removed = await config.delete_many(names)
    assert (removed, removed.revision >= two + 1) == (1, True)
    assert (await config.get_many(names)).revision >= removed.revision
    await config.put_schema("t", {})
    gone = await config.delete_schema("t")
    assert (gone, gone.revision > removed.revision) == (1, True)
    assert await config.delete_schema("t") == 0


async def test_what_stood_earlier_can_be_read(backend: Backend, config: Configuration) -> None:
    """Every read can ask for a revision of before, until the store has forgotten it."""
    then = await config.put_many({("t", "a"): 1, ("t", "b"): 2, ("u", "a"): 3})
    await config.delete("u", "a")
    later = await config.put("t", "a", 9)
    old = await config.get("t", "a", revision=then)
    assert old is not None
    assert (old.value, old.mod_revision, old.version) == (1, then, 1)
    assert await config.types(revision=then) == ["t", "u"]
    assert await config.keys("u", revision=then) == ["a"]
    assert as_dict(await config.list("t", revision=then)) == {("t", "a"): 1, ("t", "b"): 2}
    assert as_dict(await config.get_many([("u", "a")], revision=then)) == {("u", "a"): 3}
    pages = [page async for page in config.everything(revision=then)]
    assert [item.value for page in pages for item in page] == [1, 2, 3]
    assert {page.revision for page in pages} == {then}
    assert (await config.list("t", revision=then)).revision == then
    await backend.compact(later)
    with pytest.raises(Compacted):
        await config.list("t", revision=then)
    with pytest.raises(Compacted):
        await config.get("t", "a", revision=then)


async def test_everything_is_all_types_or_some(
    store: Store, ks: Keyspace, config: Configuration
) -> None:
    """In the order of keys, schemas too; what is none by its key is told, other roots are not."""
    await config.put_many({("b", "x"): 1, ("a", "x/y"): 2, ("a-b", "x"): 3, ("c", "x"): None})
    await config.put_schema("c", {"type": "null"})
    base = ks.everything().start
    strange = (base + b"lonely", base + b"t//k", base + b"\xff/k")
    revision = (
        await store.commit(
            Txn(then=tuple(Put(key, b"{}") for key in (*strange, base + b"@other/t/k")))
        )
    ).revision

    async def names(*types: str) -> list[str]:
        pages = [page async for page in config.everything(*types)]
        assert len({page.revision for page in pages}) == 1
        assert pages[0].revision > 0
        return [f"{item.type}/{item.key}" for page in pages for item in page]

    assert await names() == ["a-b/x", "a/x/y", "b/x", "c/x", "schema/c"]
    assert await names("b", "a-b", "a", "b") == ["a-b/x", "a/x/y", "b/x"]
    assert await names("none") == []
    with pytest.raises(InvalidName):
        await names("a", "no type")
    found = await Found.together(config.everything())
    told = [(each.type, each.key, each.raw, each.mod_revision) for each in found.unreadable]
    types = ("", "t", "")
    assert told == [(of, "", raw, revision) for of, raw in zip(types, strange, strict=True)]


# -- what cannot be read -------------------------------------------------------------------------


async def test_each_bad_value_among_good_ones_is_told_and_the_good_ones_are_read(
    store: Store, ks: Keyspace, config: Configuration
) -> None:
    """By every read of many, with its key, the reason and its revision; alone it is an error.

    A put replaces it, and a delete removes it, all of them at once.
    """
    bad = {f"k-{each.name}": each for each in bad_inputs.JSON}
    good = sorted([*(f"{key}-beside" for key in bad), "a", "z"])
    written = Txn(then=tuple(Put(ks.item("t", key), bad[key].input) for key in bad))
    await config.put_many({("t", key): key for key in good})
    revision = (await store.commit(written)).revision
    for found in (
        await config.list("t"),
        await Found.together(config.everything()),
        await config.get_many(("t", key) for key in sorted([*good, *bad])),
        await config.list("t", revision=revision),
    ):
        assert [item.key for item in found] == [item.value for item in found] == good
        assert [each.key for each in found.unreadable] == sorted(bad)
        for each in found.unreadable:
            assert (each.type, each.mod_revision) == ("t", revision)
            assert each.raw == ks.item("t", each.key)
            assert bad[each.key].says in each.reason
        with pytest.raises(InvalidValue):
            found.whole()
    assert await config.keys("t") == sorted([*good, *bad])
    for key, why in bad.items():
        with pytest.raises(InvalidValue, match=why.says) as refused:
            await config.get("t", key)
        assert refused.value.key == ks.item("t", key)

    mended, *rest = bad
    await config.put("t", mended, 1)
    assert mended in [item.key for item in await config.list("t")]
    assert await config.delete_many(("t", key) for key in rest) == len(rest)
    assert (await config.list("t")).whole() == await config.list("t")


async def test_each_bad_name_among_good_ones_is_told_and_the_good_ones_are_read(
    store: Store, ks: Keyspace, config: Configuration
) -> None:
    """By reads of a type and of everything, of values and of keys alone: no key of ours is it."""
    base = ks.type_range("t").start
    names = [each.input.encode() for each in bad_inputs.NAMES if each.name != "too-long"]
    raws = sorted(base + name for name in [*names, b"x" * 257, b"\xff"])
    await config.put_many({("t", key): 1 for key in ("a", "b", "c")})
    revision = (await store.commit(Txn(then=tuple(Put(raw, b"1") for raw in raws)))).revision
    for found in (
        await config.list("t"),
        await Found.together(config.everything("t")),
        await config.keys("t"),
    ):
        assert [getattr(item, "key", item) for item in found] == ["a", "b", "c"]
        assert [each.raw for each in found.unreadable] == raws
        for each in found.unreadable:
            assert (each.type, each.key, each.mod_revision) == ("t", "", revision)
            assert "is not allowed" in each.reason


async def _all(pages: AsyncIterator[Found[ConfigItem]]) -> list[ConfigItem]:
    return [item async for page in pages for item in page]


# -- writing -------------------------------------------------------------------------------------


async def test_a_write_that_was_sent_before_finds_its_own_work(config: Configuration) -> None:
    """Sent again after a lost answer it is done once; where others wrote since, that is unknown.

    One that was not done the first time is done now.
    """
    names = [("t", "a"), ("t", "b")]
    absent = dict.fromkeys(names, 0)
    done = await config.put_many(dict.fromkeys(names, 1), if_revisions=absent)
    with pytest.raises(Conflict):
        await config.put_many(dict.fromkeys(names, 1), if_revisions=absent)
    again = await config.put_many(dict.fromkeys(names, 1), if_revisions=absent, resent=True)
    assert again == done
    at = dict.fromkeys(names, int(done))
    assert await config.delete_many(names, if_revisions=at, resent=True) == 2
    removed = await config.delete_many(names, if_revisions=at, resent=True)
    assert (removed, removed.revision > done, removed.missing) == (2, True, ())
    with_absent = at | {("t", "none"): 0}
    removed = await config.delete_many(with_absent, if_revisions=with_absent, resent=True)
    assert (removed, removed.missing) == (2, (("t", "none"),))
    assert await config.list("t") == []


async def test_a_refusal_of_a_name_is_the_same_everywhere(config: Configuration) -> None:
    """What is wrong first is said first, also of names that no message can hold."""
    for names, error in (
        ([("flow", "bad\n"), ("t", "k")], ReservedType),
        ([("t", "k"), ("t", "\udcff"), ("flow", "k")], InvalidName),
    ):
        with pytest.raises(error):
            await config.put_many(dict.fromkeys(names, 1))
        with pytest.raises(error):
            await config.delete_many(names)
    for reads in (
        config.get("t", "\udcff"),
        config.get_many([("t", "k\n")]),
        config.keys("t", "/"),
        config.list("a/b"),
        config.put_schema("@t", {}),
        config.delete_schema(""),
    ):
        with pytest.raises(InvalidName):
            await reads
    for watched in (("a/b", ""), ("t", "\udcff")):
        with pytest.raises(InvalidName):
            async with aclosing(config.changes(*watched)) as changes:
                await anext(changes)
    with pytest.raises(InvalidName):
        await _all(config.values("t", "//"))


# -- watching ------------------------------------------------------------------------------------


def told(changes: ConfigChanges) -> dict[str, Any]:
    """By key: the value, or whether it is gone or broken."""

    def of(change: ConfigChange) -> Any:
        if change.error:
            return "broken"
        return "gone" if change.item is None else change.item.value

    return {change.key: of(change) for change in changes.changes}


async def test_a_watch_tells_what_stands_then_each_revision(
    store: Store, ks: Keyspace, config: Configuration
) -> None:
    """All of a transaction together, in order, each once; deletes and broken values too."""
    first = await config.put_many({("t", "a"): 1, ("t", "b"): None, ("u", "a"): 0})
    async with aclosing(config.changes("t")) as changes, asyncio.timeout(PATIENCE_S):
        stands = await anext(changes)
        assert (told(stands), stands.resync) == ({"a": 1, "b": None}, True)
        assert stands.revision >= first
        await config.put("u", "a", 1)
        two = await config.put_many({("t", "b"): 2, ("t", "c/d"): {"x": [1]}})
        removed = await config.delete_many([("t", "a"), ("t", "b")])
        await store.commit(Txn(then=(Put(ks.item("t", "c/d"), b"{"),)))
        batch = await anext(changes)
        assert (batch.revision, batch.resync) == (two, False)
        assert told(batch) == {"b": 2, "c/d": {"x": [1]}}
        item = next(change.item for change in batch.changes if change.key == "c/d")
        assert item == ConfigItem(
            type="t", key="c/d", value={"x": [1]}, mod_revision=two, version=1
        )
        batch = await anext(changes)
        assert (batch.revision, told(batch)) == (removed.revision, {"a": "gone", "b": "gone"})
        broken = await anext(changes)
        assert told(broken) == {"c/d": "broken"}
        assert "/t/c/d at $: not JSON" in broken.changes[0].error


async def test_a_watch_of_a_key_tells_of_that_key(config: Configuration) -> None:
    """Not of its neighbours, and not of what is below it; that it is not there is told first."""
    async with aclosing(config.changes("t", "a")) as changes, asyncio.timeout(PATIENCE_S):
        assert told(await anext(changes)) == {}
        await config.put_many({("t", "ab"): 1, ("t", "a/b"): 1})
        await config.put("t", "a", 2)
        assert told(await anext(changes)) == {"a": 2}
        await config.delete("t", "a")
        assert told(await anext(changes)) == {"a": "gone"}


async def test_who_stops_to_watch_leaves_nothing_behind(config: Configuration) -> None:
    """Closed in the middle, or cancelled while it waits."""
    async with aclosing(config.changes("t")) as changes:
        await anext(changes)
    async with aclosing(config.changes("t")) as changes:
        await anext(changes)
        waits = asyncio.ensure_future(anext(changes))
        await asyncio.wait([waits], timeout=0.05)
        waits.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waits


# -- what apply made -----------------------------------------------------------------------------


async def test_what_apply_made_is_recorded_on_condition(
    ks: Keyspace, config: Configuration
) -> None:
    """Sorted, each once; only over what was read, unless it was our own doing that got lost."""
    assert await config.get_applied("a") == (AppliedRecord(), 0)
    first = await config.put_applied("a", ["t/b", "t/a", "t/b"], if_revision=0)
    assert await config.get_applied("a") == (AppliedRecord(keys=("t/a", "t/b")), first)
    with pytest.raises(Conflict) as stale:
        await config.put_applied("a", ["t/c"], if_revision=0)
    assert stale.value.key == ks.applied("a")
    again = await config.put_applied("a", ["t/a", "t/b"], if_revision=0, resent=True)
    assert again == first
    assert await config.put_applied("a", [], if_revision=first) > first
    for name in ("", "a/b"):
        with pytest.raises(InvalidName):
            await config.put_applied(name, [], if_revision=0)
    with pytest.raises(ReservedType):
        await config.put("applied", "a", {"keys": []})
