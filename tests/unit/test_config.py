"""The config client on faults: lost replies, and a schema that comes at the same moment."""

from __future__ import annotations

import asyncio

import pytest

from kvconfig.config import Config
from kvconfig.errors import Conflict, OutcomeUnknown, SchemaNotMet, SchemaViolated
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore

NAMES = [("t", "a"), ("t", "b")]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def config(store: MemoryStore) -> Config:
    return Config(store, Keyspace())


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
