"""The config client on faults: lost replies, and a schema that comes at the same moment."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest

from kvconfig.config import Config, Found
from kvconfig.config.client import MAX_TRIES
from kvconfig.errors import (
    Conflict,
    OutcomeUnknown,
    SchemaNotMet,
    SchemaViolated,
    TransactionAborted,
    Unavailable,
)
from kvconfig.keys import Range
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.model import KeyValue, Page, Revision
from kvconfig.txn import Commit, Put, Txn, may_write

NAMES = [("t", "a"), ("t", "b")]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def config(store: MemoryStore) -> Config:
    return Config(store, Keyspace())


async def test_what_cannot_be_read_costs_no_round_trip(store: MemoryStore, config: Config) -> None:
    """It is told from what was read anyway."""
    await config.put_many({("t", f"k{n}"): n for n in range(10)})

    async def cost() -> int:
        store.calls.clear()
        await config.list("t")
        await config.keys("t")
        await config.get_many([("t", "k1"), ("t", "k2")])
        await Found.together(config.everything())
        return store.calls.total()

    before = await cost()
    bad = (b"/t/k1", b"/t/k5", b"/t/", b"/lonely")
    await store.commit(Txn(then=tuple(Put(key, b"{") for key in bad)))
    assert await cost() == before
    assert len((await config.list("t")).unreadable) == 3


async def test_a_lost_reply_to_a_write_on_condition_does_no_harm(
    store: MemoryStore, config: Config
) -> None:
    """Sent again, it finds its own work; the revision is that of the first."""
    store.lose_next_reply("applied")
    revision = await config.put_many(dict.fromkeys(NAMES, 1), if_revisions=dict.fromkeys(NAMES, 0))
    assert {i.mod_revision for i in await config.list("t")} == {revision}
    store.lose_next_reply("dropped")
    assert await config.delete_many(NAMES, if_revisions=dict.fromkeys(NAMES, revision)) == 2
    assert await config.list("t") == []


async def test_a_lost_reply_to_a_write_without_one_is_said(
    store: MemoryStore, config: Config
) -> None:
    """Also where only some of it is on condition: sent again it might undo another's write."""
    for revisions in ({}, {NAMES[0]: 0}):
        store.lose_next_reply("applied")
        with pytest.raises(OutcomeUnknown):
            await config.put_many(dict.fromkeys(NAMES, 1), if_revisions=revisions)
        await config.delete_many(NAMES)


async def test_after_a_lost_reply_others_work_is_not_taken_for_ours(
    store: MemoryStore, config: Config
) -> None:
    """Equal values of two transactions are not one write; another value is a conflict, unknown."""
    await config.put("t", "a", 1)
    await config.put("t", "b", 1)
    store.lose_next_reply("dropped")
    with pytest.raises(OutcomeUnknown, match="/t/a"):
        await config.put_many(dict.fromkeys(NAMES, 1), if_revisions=dict.fromkeys(NAMES, 0))


class Meddler(MemoryStore):
    """Once a reply was lost, something else happens before anything is sent again."""

    meddle: Callable[[], Awaitable[object]] | None = None

    async def commit(self, txn: Txn) -> Commit:
        try:
            return await super().commit(txn)
        except OutcomeUnknown:
            meddle, self.meddle = self.meddle, None
            if meddle:
                await meddle()
            raise


@pytest.mark.parametrize(("type_", "met"), [("number", True), ("string", False)])
async def test_after_a_lost_reply_another_schema_is_learned(type_: str, met: bool) -> None:
    """A schema that was replaced leaves nothing open: the write is planned again, or refused.

    What is still on its way is refused as well, whenever it arrives.
    """
    store = Meddler()
    config, operator = Config(store, Keyspace()), Config(store, Keyspace())
    await config.put_schema("t", {"type": "integer"})
    at = await config.put("t", "a", 1)
    store.meddle = partial(operator.put_schema, "t", {"type": type_}, force=True)
    store.lose_next_reply("late")
    if met:
        assert await config.put("t", "a", 2, if_revision=at) == store.revision
    else:
        with pytest.raises(SchemaViolated):
            await config.put("t", "a", 2, if_revision=at)
    before = store.revision
    assert len(store.deliver_late()) == 1
    assert store.revision == before
    item = await config.get("t", "a")
    assert item is not None
    assert (item.value, item.version) == ((2, 2) if met else (1, 1))


async def test_after_a_lost_reply_an_equal_value_is_not_taken_for_ours() -> None:
    """What stands there stood before: it is written once more, and has a revision of its own."""
    store = Meddler()
    config, operator = Config(store, Keyspace()), Config(store, Keyspace())
    await config.put_schema("t", {"type": "integer"})
    at = await config.put("t", "a", 1)
    store.meddle = partial(operator.put_schema, "t", {})
    store.lose_next_reply("dropped")
    assert await config.put("t", "a", 1, if_revision=at) == store.revision == at + 2


async def test_a_schema_that_was_not_there_may_go_again() -> None:
    """So a write that was sent without one may be written after all: that is not denied."""
    store = Meddler()
    config, operator = Config(store, Keyspace()), Config(store, Keyspace())
    store.meddle = partial(operator.put_schema, "t", {"type": "integer"})
    store.lose_next_reply("late")
    with pytest.raises(OutcomeUnknown, match="/schema/t"):
        await config.put("t", "a", "text", if_revision=0)
    assert await operator.delete_schema("t")
    store.deliver_late()
    item = await config.get("t", "a")
    assert item is not None
    assert item.value == "text"


async def test_after_a_lost_reply_no_failure_denies_the_write() -> None:
    """Nor one to look what stands there, in whichever round."""
    store = Meddler()
    config, operator = Config(store, Keyspace()), Config(store, Keyspace())

    commits = 0

    async def away(call: str, moment: str) -> None:
        nonlocal commits
        commits += (call, moment) == ("commit", "before")
        if commits == 2:
            raise Unavailable("away")

    async def demand() -> None:
        await operator.put_schema("t", {})
        store.gate = away

    store.meddle = demand
    store.lose_next_reply("late")
    with pytest.raises(OutcomeUnknown, match="away"):
        await config.put("t", "a", 1, if_revision=0)


@pytest.mark.parametrize("lost", [False, True])
async def test_a_write_that_never_gets_through_is_given_up(lost: bool) -> None:
    """Also a delete, of which no schema is the reason; after a lost reply it may have been done."""
    tries = 0

    class Aborts(MemoryStore):
        async def commit(self, txn: Txn) -> Commit:
            nonlocal tries
            if not may_write(txn):
                return await super().commit(txn)
            tries += 1
            raise OutcomeUnknown("lost") if lost and tries == 1 else TransactionAborted

    with pytest.raises(OutcomeUnknown if lost else Conflict, match="/t/a"):
        await Config(Aborts(), Keyspace()).delete("t", "a", if_revision=0)
    assert tries >= MAX_TRIES


async def test_a_schema_is_checked_page_by_page() -> None:
    """Of many items memory holds a page; all that do not meet it are named."""
    store = Large()
    tracemalloc.start()
    try:
        with pytest.raises(SchemaNotMet) as refused:
            await Config(store, Keyspace()).put_schema("t", {"type": "integer"})
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.keys == tuple(b"/t/k%02d" % n for n in range(Large.PAGES))
    assert peak_bytes < Large.PAGES / 4 * Large.PAGE_BYTES


class Large(MemoryStore):
    """Whose lists have many pages, with a large value each."""

    PAGES, PAGE_BYTES = 40, 2**20

    async def list(
        self, range_: Range, *, revision: Revision = Revision(0), keys_only: bool = False
    ) -> AsyncIterator[Page]:
        at = Revision(2)
        for n in range(self.PAGES):
            value = b'"%s"' % (b"x" * self.PAGE_BYTES)
            yield Page((KeyValue(b"/t/k%02d" % n, value, at, at, 1),), at)


async def test_an_item_cannot_slip_past_a_new_schema() -> None:
    """Written between the look and the write of the schema: one of the two is refused."""
    for first in range(8):
        store = MemoryStore()
        operator, writer = Config(store, Keyspace()), Config(store, Keyspace())
        await writer.put("t", "other", 1)

        async def write(after: int, writer: Config = writer) -> None:
            for _ in range(after):
                await asyncio.sleep(0)
            await writer.put("t", "k", "text")

        done = await asyncio.gather(
            operator.put_schema("t", {"type": "integer"}), write(first), return_exceptions=True
        )
        item = await writer.get("t", "k")
        schema = await writer.get("schema", "t")
        assert item is None or schema is None, f"the write came after {first} turns"
        refused = [error for error in done if isinstance(error, BaseException)]
        assert len(refused) == 1
        assert isinstance(refused[0], Conflict | SchemaViolated | SchemaNotMet)


async def test_an_unconcerned_write_is_one_round_trip(store: MemoryStore, config: Config) -> None:
    """Without a schema, and with one that is known already."""
    await config.put("t", "a", 1)
    assert store.calls["commit"] == 1
    await config.put_schema("t", {"type": "integer"})
    await config.put("t", "a", 2)
    before = store.calls["commit"]
    await config.put("t", "a", 3)
    assert store.calls["commit"] == before + 1
    assert store.calls["read"] == 0
