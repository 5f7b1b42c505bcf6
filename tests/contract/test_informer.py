"""The informer's contract, on both stores."""

from __future__ import annotations

import asyncio

from kvconfig.errors import InvalidValue
from kvconfig.informer import Batch, Informer
from kvconfig.keys import prefix
from kvconfig.model import KeyValue
from kvconfig.store import Store
from kvconfig.txn import Delete, Put, Txn
from tests.contract.support import Backend


def text(kv: KeyValue) -> str:
    if kv.value == b"bad":
        raise InvalidValue("it says bad", key=kv.key)
    return kv.value.decode()


def as_dict(informer: Informer[str]) -> dict[bytes, str | None]:
    return {key: item.value for key, item in informer.items.items()}


async def put(store: Store, *pairs: tuple[bytes, bytes]) -> int:
    return (await store.commit(Txn(then=tuple(Put(key, value) for key, value in pairs)))).revision


async def test_the_first_list_comes_as_one_resync(store: Store, base: bytes) -> None:
    """After `synced` the cache is the range at `revision`, handed out as one resync batch."""
    await put(store, (base + b"a", b"1"))
    revision = await put(store, (base + b"b", b"2"), (base + b"c", b"3"))
    batches: list[Batch[str]] = []
    async with Informer(store, prefix(base), text) as informer:
        informer.subscribe(batches.append)
        await informer.synced()
        assert as_dict(informer) == {base + b"a": "1", base + b"b": "2", base + b"c": "3"}
        assert informer.revision >= revision
    (batch,) = batches
    assert batch.resync
    assert [change.key[-1:] for change in batch.changes] == [b"a", b"b", b"c"]


async def test_a_transaction_is_one_batch(store: Store, base: bytes) -> None:
    """All of a transaction comes together, at its revision; each change once, old and new."""
    await put(store, (base + b"a", b"1"), (base + b"b", b"2"))
    batches: list[Batch[str]] = []
    async with Informer(store, prefix(base), text) as informer:
        await informer.synced()
        informer.subscribe(lambda batch: batches.append(batch) if not batch.resync else None)
        txn = Txn(then=(Put(base + b"a", b"9"), Delete(base + b"b"), Put(base + b"c", b"3")))
        commit = await store.commit(txn)
        await informer.until(lambda items: base + b"c" in items)
        assert informer.revision == commit.revision
    (batch,) = batches
    assert (batch.revision, batch.resync) == (commit.revision, False)
    changes = {
        change.key[-1:]: (change.old and change.old.value, change.new and change.new.value)
        for change in batch.changes
    }
    assert changes == {b"a": ("1", "9"), b"b": ("2", None), b"c": (None, "3")}


async def test_batches_come_in_order_each_once(store: Store, base: bytes) -> None:
    """While a watch lives, what was handed out adds up to the cache, revision by revision."""
    seen: list[int] = []
    built: dict[bytes, str | None] = {}

    def handle(batch: Batch[str]) -> None:
        seen.append(batch.revision)
        for change in batch.changes:
            if change.new is None:
                del built[change.key]
            else:
                built[change.key] = change.new.value

    async with Informer(store, prefix(base), text) as informer:
        await informer.synced()
        informer.subscribe(handle)

        async def write(writer: int) -> None:
            for turn in range(20):
                await put(store, (base + b"%d" % writer, b"%d" % turn))

        await asyncio.gather(*(write(writer) for writer in range(5)))
        await put(store, (base + b"end", b""))
        await informer.until(lambda items: base + b"end" in items)
        assert built == as_dict(informer)
    assert seen == sorted(set(seen))
    assert len(seen) == 1 + 5 * 20 + 1


async def test_a_bad_value_is_an_item_with_an_error(store: Store, base: bytes) -> None:
    """It disturbs no other, and is gone once a good one is put."""
    await put(store, (base + b"a", b"bad"), (base + b"b", b"2"))
    async with Informer(store, prefix(base), text) as informer:
        await informer.synced()
        bad = informer.items[base + b"a"]
        assert bad.value is None
        assert isinstance(bad.error, InvalidValue)
        assert informer.items[base + b"b"].value == "2"
        await put(store, (base + b"a", b"1"))
        await informer.until(lambda items: items[base + b"a"].value == "1")
        assert informer.items[base + b"a"].error is None


async def test_a_late_subscriber_gets_all_at_once(store: Store, base: bytes) -> None:
    """What is cached already comes as a resync batch, before anything new."""
    await put(store, (base + b"a", b"1"))
    async with Informer(store, prefix(base), text) as informer:
        await informer.synced()
        batches: list[Batch[str]] = []
        informer.subscribe(batches.append)
        assert [change.key for change in batches[0].changes] == [base + b"a"]
        assert batches[0].resync


async def test_a_neighbour_is_not_heard(store: Store, base: bytes) -> None:
    """A prefix ends in a slash: `chunk/` hears nothing of `chunker/`."""
    async with (
        Informer(store, prefix(base + b"chunk/"), text) as chunk,
        Informer(store, prefix(base + b"chunker/"), text) as chunker,
    ):
        await chunk.synced()
        await chunker.synced()
        await put(store, (base + b"chunker/f1", b"1"))
        await chunker.until(lambda items: len(items) == 1)
        await put(store, (base + b"chunk/end", b"1"))
        await chunk.until(lambda items: len(items) == 1)
        assert chunk.stats.events == 1
        assert chunker.stats.events == 1


async def test_many_informers_share_one_stream(backend: Backend, base: bytes) -> None:
    """Each informer of a client hears its own range; etcd serves them all on one stream."""
    async with backend.open() as store:
        informers = [Informer(store, prefix(base + b"%d/" % i), text) for i in range(50)]
        tasks = [asyncio.create_task(_first_item(informer)) for informer in informers]
        for informer in informers:
            await put(store, (informer.range.start + b"x", b"1"))
        assert await asyncio.gather(*tasks) == [1] * 50
        streams = getattr(store, "calls", {}).get("Watch/Watch", 1)
        assert streams <= 2, "all on one stream; one more where the first ended in between"


async def _first_item(informer: Informer[str]) -> int:
    async with informer:
        await informer.until(lambda items: len(items) == 1)
        return len(informer.items)
