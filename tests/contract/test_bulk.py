"""Many items at once, on both stores: told as they stand, written all together or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing
from typing import Any

import pytest

from kvconfig.config.bulk import AskedBulk, Bulk, ItemPort, Standing, Write
from kvconfig.errors import Compacted, InvalidName, ReservedType, TooManyOperations
from kvconfig.keys import Range
from kvconfig.keyspace import RESERVED_TYPES, ItemName, Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.model import Revision
from kvconfig.store import Store
from kvconfig.txn import Delete, Put, Txn
from tests.contract.support import Backend


@pytest.fixture
def ks(root: str) -> Keyspace:
    return Keyspace(root)


@pytest.fixture
def bulk(store: Store, ks: Keyspace) -> Bulk:
    return Bulk(store, ks)


async def put(store: Store, *pairs: tuple[bytes, bytes]) -> Revision:
    return (await store.commit(Txn(then=tuple(Put(*pair) for pair in pairs)))).revision


async def listed(bulk: ItemPort, ranges: list[Range], revision: int) -> list[Standing]:
    found: list[Standing] = []
    for range_ in ranges:
        async for page in bulk.pages(range_, revision=Revision(revision)):
            found += page
    return found


async def test_all_is_told_also_what_cannot_be_read(bulk: Bulk, ks: Keyspace, store: Store) -> None:
    """Values in canonical form; keys that are no item's and values that are no JSON, and why.

    Who only asks, as everybody can, is told the same.
    """
    base = ks.everything().start
    revision = await put(
        store,
        (base + b"t/a", b'{ "z": 1, "a": [1.0] }'),
        (base + b"t/b", b"nope"),
        (base + b"t/c//d", b"1"),
        (base + b"t/\xff", b"1"),
    )
    found = await listed(bulk, bulk.ranges(["t"]), revision)
    assert [(each.raw[len(base) :], each.name, each.value) for each in found] == [
        (b"t/a", ItemName("t", "a"), b'{"a":[1.0],"z":1}'),
        (b"t/b", ItemName("t", "b"), None),
        (b"t/c//d", None, None),
        (b"t/\xff", None, None),
    ]
    assert [bool(each.problem) for each in found] == [False, True, True, True]
    assert {each.mod_revision for each in found} == {revision}
    asked = AskedBulk(bulk.config)
    assert likened(await listed(asked, asked.ranges(["t"]), revision)) == likened(found)
    names = [ItemName("t", key) for key in "abx"]
    assert likened(await asked.look_up(names)) == likened(await bulk.look_up(names))


def likened(found: Iterable[Standing | None]) -> list[Any]:
    """What of it is the same whatever the root."""
    return [each and (each.name, each.value, each.mod_revision, each.problem) for each in found]


async def test_the_ranges_hold_what_they_should(bulk: Bulk, ks: Keyspace, store: Store) -> None:
    """All types but those left out, whatever sorts beside them; and no other root's keys."""
    base = ks.everything().start
    names = ["a/k", "flow/k", "flow-ref/k", "flow.x/k", "flow0/k", "history/k", "z/k", "0/k"]
    keys = [base + name.encode() for name in [*names, "@other/a/k"]]
    revision = await put(store, *((key, b"1") for key in keys))
    left_out = ("flow-ref", "history", "flow")
    ranges = bulk.all_ranges(but=left_out)
    found = [each.raw[len(base) :].decode() for each in await listed(bulk, ranges, revision)]
    assert found == sorted(n for n in names if n.partition("/")[0] not in left_out)
    assert await bulk.count(ranges) == (revision, 5)
    assert [each.raw for each in await listed(bulk, bulk.ranges(["z", "a", "z"]), revision)] == [
        base + b"a/k",
        base + b"z/k",
    ]


async def test_all_pages_are_of_one_revision(backend: Backend, ks: Keyspace) -> None:
    """What is written while pages come is in none of them; a revision that goes is told."""
    async with backend.open(page_size=2) as store:
        bulk = Bulk(store, ks)
        keys = [ks.item("t", f"k{number}") for number in range(9)]
        await put(store, *((key, b"1") for key in keys))
        revision, count = await bulk.count(bulk.ranges(["t"]))
        assert count == 9
        seen, later = [], revision
        async for page in bulk.pages(ks.type_range("t"), revision=revision):
            later = await put(store, (keys[8], b"2"), (ks.item("t", "k5x"), b"2"))
            seen += [(each.raw, each.value) for each in page]
        assert seen == [(key, b"1") for key in keys]
        await backend.compact(later)
        with pytest.raises(Compacted):
            await listed(bulk, bulk.ranges(["t"]), revision)


async def test_a_write_is_whole_or_not_at_all(bulk: Bulk, ks: Keyspace, store: Store) -> None:
    """Puts and deletes together, each where it is expected; one that is not stops all."""
    first = await put(store, (ks.item("t", "old"), b"1"), (ks.item("t", "gone"), b"1"))
    writes = [
        Write("s", "new", b"[2]", 0),
        Write("t", "gone", None, first),
        Write("t", "old", b"3", first),
    ]
    assert not await bulk.write([*writes, Write("t", "other", b"1", first)], {})
    assert not await bulk.write([*writes[:2], writes[2]._replace(expected=0)], {})
    found = await bulk.look_up([ItemName("t", "old"), ItemName("t", "gone"), ItemName("s", "new")])
    assert [each and each.value for each in found] == [b"1", b"1", None]
    assert await bulk.write(writes, {})
    found = await bulk.look_up([ItemName("t", "old"), ItemName("t", "gone"), ItemName("s", "new")])
    assert [each and each.value for each in found] == [b"3", None, b"[2]"]
    assert found[1] is None
    assert not await bulk.write(writes, {}), "the same again finds that it was done"


async def test_a_write_holds_to_the_schema_it_was_checked_by(bulk: Bulk) -> None:
    """Another schema, a new one, or none any more: nothing is put. A delete does not care."""
    config = bulk.config
    revision = await config.put_schema("t", {"type": "integer"})
    write = Write("t", "k", b"1", 0)
    assert not await bulk.write([write], {})
    assert not await bulk.write([write], {"t": revision - 1})
    assert await bulk.write([write], {"t": revision, "s": 7})
    item = await config.get("t", "k")
    assert item is not None
    assert await bulk.write([Write("t", "k", None, item.mod_revision)], {})
    await config.delete_schema("t")
    assert not await bulk.write([write], {"t": revision})
    assert await bulk.write([write], {})


async def test_a_fresh_write_finds_nothing_between_its_keys(
    bulk: Bulk, ks: Keyspace, store: Store
) -> None:
    """From the first to the last key nothing stands, not only none of its own; beside, all may."""
    writes = [Write("t", "b", b"1", 0), Write("t", "d", b"1", 0)]
    await put(store, (ks.item("t", "a"), b"1"), (ks.item("t", "d/e"), b"1"))
    await put(store, (ks.item("t", "c"), b"1"))
    assert not await bulk.write(writes, {}, fresh=True)
    await store.commit(Txn(then=(Delete(ks.item("t", "c")),)))
    await put(store, (ks.item("t", "d"), b"1"))
    assert not await bulk.write(writes, {}, fresh=True)
    await store.commit(Txn(then=(Delete(ks.item("t", "d")),)))
    revision = await bulk.config.put_schema("t", True)
    assert not await bulk.write(writes, {}, fresh=True)
    assert await bulk.write(writes, {"t": revision}, fresh=True)
    assert not await bulk.write(writes, {"t": revision}, fresh=True)


async def test_nothing_goes_round_the_guards(bulk: Bulk, ks: Keyspace, store: Store) -> None:
    """Reserved types and names that are none are refused, in puts and in deletes."""
    before = (await bulk.count([ks.everything()]))[1]
    for type_ in RESERVED_TYPES:
        for value in (b"{}", None):
            with pytest.raises(ReservedType):
                await bulk.write([Write("t", "k", b"1", 0), Write(type_, "k", value, 0)], {})
    with pytest.raises(InvalidName):
        await bulk.write([Write("t", "/", b"1", 0)], {})
    with pytest.raises(TooManyOperations) as refused:
        await bulk.write([Write("t", f"k{n}", b"1", 0) for n in range(128)], {})
    assert (refused.value.count, refused.value.limit) == (129, 128)
    assert (await bulk.count([ks.everything()]))[1] == before


async def test_many_are_looked_up_and_counted(bulk: Bulk, ks: Keyspace, store: Store) -> None:
    """More than one transaction takes: all the same, in the order that was asked for."""
    names = [ItemName("t", f"k{number:03}") for number in range(300)]
    for first in range(0, 300, 100):
        await put(store, *((ks.item(*name), b"1") for name in names[first : first + 100]))
    asked = [ItemName("t", "none"), *reversed(names)]
    found = await bulk.look_up(asked)
    assert [each and each.name for each in found] == [None, *reversed(names)]
    ranges = bulk.ranges(f"t{number}" for number in range(300))
    _, count = await bulk.count([*ranges, *bulk.ranges(["t"])])
    assert count == 300


async def test_the_next_page_is_on_its_way() -> None:
    """While one page is worked on, the request for the next has left already."""
    store, ks = MemoryStore(page_size=1), Keyspace()
    revision = await put(store, *((ks.item("t", f"k{n}"), b"1") for n in range(3)))
    async with aclosing(Bulk(store, ks).pages(ks.type_range("t"), revision=revision)) as pages:
        await anext(pages)
        assert store.calls["list"] == 2
    await store.close()


async def test_who_stops_early_leaves_nothing_behind() -> None:
    """The request for the next page, which may never be answered, ends with the reader."""
    asked = 0

    async def second_hangs(call: str, moment: str) -> None:
        nonlocal asked
        asked += (call, moment) == ("list", "before")
        if asked == 2:
            await asyncio.Event().wait()

    store, ks = MemoryStore(page_size=1, gate=second_hangs), Keyspace()
    revision = await put(store, *((ks.item("t", f"k{n}"), b"1") for n in range(3)))
    async with aclosing(Bulk(store, ks).pages(ks.type_range("t"), revision=revision)) as pages:
        await anext(pages)
        assert (asked, len(asyncio.all_tasks())) == (2, 2)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await store.close()
