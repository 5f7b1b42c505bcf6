"""Defects that the checker found in kvconfig: each keeps its reproduction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kvconfig.backoff import Backoff
from kvconfig.config import Config
from kvconfig.errors import OutcomeUnknown, Unavailable
from kvconfig.informer import Informer
from kvconfig.keys import prefix
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.memory.store import Fate
from kvconfig.txn import Put, Txn
from tests.history import virtual_time

KEY = Keyspace().item("t", "k")
Call = Callable[[Config, int], Awaitable[Any]]


async def put(config: Config, at: int) -> None:
    await config.put("t", "k", "mine", if_revision=at)


async def delete(config: Config, at: int) -> None:
    await config.delete("t", "k", if_revision=at)


class Meddler(MemoryStore):
    """After a lost reply, somebody else is faster, or the store is away."""

    meddle: Txn | None = None

    async def commit(self, txn: Txn) -> Any:
        try:
            return await super().commit(txn)
        except OutcomeUnknown:
            if self.meddle is None:
                self.fail_next(Unavailable("away"), "commit")
            else:
                await super().commit(self.meddle)
            raise


@pytest.mark.parametrize("call", [put, delete])
@pytest.mark.parametrize("fate", ["applied", "dropped"])
@pytest.mark.parametrize("meddle", [None, Txn(then=(Put(KEY, b'"theirs"'),))])
async def test_after_a_lost_reply_nobody_knows(call: Call, fate: Fate, meddle: Txn | None) -> None:
    """A conditional write that lost its reply never says that nothing was written.

    It said so where the second try failed, and where somebody else had written since.
    """
    store = Meddler()
    store.meddle = meddle
    config = Config(store, Keyspace())
    at = await config.put("t", "k", "before")
    store.lose_next_reply(fate)
    with pytest.raises(OutcomeUnknown):
        await call(config, at)


async def test_an_equal_value_counts_as_ones_own() -> None:
    """Not promised: that a write whose reply was lost is told from another's of the same value.

    So counters that many raise hold who raised them, as those of the history checker do.
    """
    store = Meddler()
    config = Config(store, Keyspace())
    at = await config.put("t", "k", "before")
    store.meddle = Txn(then=(Put(KEY, b'"mine"'),))
    store.lose_next_reply("dropped")
    assert await config.put("t", "k", "mine", if_revision=at) == at + 1 == store.revision


@pytest.mark.parametrize("page_size", [1, 5])
def test_a_store_restored_in_a_list_is_never_shown_mixed(page_size: int) -> None:
    """All that is told was so at one moment.

    The pages of a list were of two pasts; and after the list of a restored store, the informer
    told what the watch had still heard of the store before.
    """
    told: list[dict[bytes, bytes | None]] = []

    async def scenario() -> None:
        store = MemoryStore(page_size=page_size)
        await store.commit(both(b"first"))
        snapshot = store.snapshot()
        pages = 0

        async def gate(call: str, moment: str) -> None:
            nonlocal pages
            if call == "list" and moment == "before":
                pages += 1
                if pages == 1:
                    await store.commit(both(b"old"))
                    await store.commit(Txn(then=(Put(b"/t/a", b"old"),)))
                if pages == (2 if page_size == 1 else 1):
                    store.restore(snapshot)
                    await store.commit(both(b"new"))
                    if page_size == 1:  # the revision that the first page was read at
                        await store.commit(Txn(then=(Put(b"/t/b", b"new"),)))

        store.gate = gate
        backoff = Backoff(first_s=0.01, most_s=0.1)
        informer = Informer(store, prefix(b"/t/"), lambda kv: kv.value, backoff=backoff)
        async with informer:
            informer.subscribe(
                lambda _: told.append({key: i.value for key, i in informer.items.items()})
            )
            await asyncio.sleep(1.0)

    virtual_time.run(scenario())
    assert [set(state.values()) for state in told if len(set(state.values())) > 1] == []
    assert told[-1] == {b"/t/a": b"new", b"/t/b": b"new"}


def both(value: bytes) -> Txn:
    return Txn(then=(Put(b"/t/a", value), Put(b"/t/b", value)))
