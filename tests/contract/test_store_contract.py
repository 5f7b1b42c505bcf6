"""What every store promises of reads, lists and transactions. One sentence a test: the promise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from kvconfig.errors import (
    Compacted,
    FutureRevision,
    RequestRefused,
)
from kvconfig.keys import Range, everything, prefix
from kvconfig.model import KeyValue, LeaseId, Page, Revision
from kvconfig.store import Store, list_all
from kvconfig.txn import (
    Delete,
    DeleteResult,
    Operation,
    Put,
    PutResult,
    Read,
    ReadResult,
    Txn,
    absent,
    at_revision,
    holds,
)
from tests.contract.support import Backend, decide, keys_of, next_events, put, put_each

FAR_AWAY = Revision(2**62)


# -- reading --------------------------------------------------------------------------------------


async def test_absent(store: Store, base: bytes) -> None:
    """A key that nobody put is absent, not empty."""
    assert await store.read(base + b"k") is None


async def test_versions(store: Store, base: bytes) -> None:
    """A key knows when it was made, when it was last put, and how often since it was made."""
    key = base + b"k"
    first = await put(store, (key, b"1"))
    assert await store.read(key) == KeyValue(key, b"1", first, first, 1)
    second = await put(store, (key, b"2"))
    assert await store.read(key) == KeyValue(key, b"2", first, second, 2)
    await store.commit(Txn(then=(Delete(key),)))
    assert await store.read(key) is None
    again = await put(store, (key, b"3"))
    assert await store.read(key) == KeyValue(key, b"3", again, again, 1)


async def test_past(store: Store, base: bytes) -> None:
    """A read, or a list, at an older revision shows what stood there then."""
    key, other = base + b"k", base + b"other"
    before = await put(store, (other, b""))
    first = await put(store, (key, b"1"))
    second = await put(store, (key, b"2"))
    gone = (await store.commit(Txn(then=(Delete(key),)))).revision
    values = [await store.read(key, revision=at) for at in (before, first, second, gone)]
    assert [kv and kv.value for kv in values] == [None, b"1", b"2", None]
    page = await list_all(store, prefix(base), revision=second)
    assert [(kv.key, kv.value) for kv in page.items] == [(key, b"2"), (other, b"")]
    assert page.revision == second


async def test_future(store: Store, base: bytes) -> None:
    """A revision that does not exist yet cannot be read or listed."""
    with pytest.raises(FutureRevision):
        await store.read(base + b"k", revision=FAR_AWAY)
    with pytest.raises(FutureRevision):
        await list_all(store, prefix(base), revision=FAR_AWAY)


async def test_empty_list(store: Store, base: bytes) -> None:
    """An empty range lists as one empty page, with the revision at which it was empty."""
    at = await put(store, (base + b"k", b""))
    pages = [page async for page in store.list(prefix(base + b"nothing/"))]
    assert pages == [Page((), at)]


async def test_list_order(store: Store, base: bytes) -> None:
    """A list holds its range and nothing of its siblings, in the order of the keys' bytes."""
    names = [b"chunk/b", b"chunk/B", b"chunk/a", b"chunk/a0", b"chunker/x", b"chunk", b"chunk0"]
    await put_each(store, [base + name for name in names])
    page = await list_all(store, prefix(base + b"chunk/"))
    assert keys_of(page) == [base + b"chunk/" + name for name in (b"B", b"a", b"a0", b"b")]


@pytest.mark.parametrize(("count", "sizes"), [(7, [3, 3, 1]), (6, [3, 3]), (3, [3]), (2, [2])])
async def test_pages(backend: Backend, base: bytes, count: int, sizes: list[int]) -> None:
    """A list comes in pages of one revision, and shows nothing of what is written meanwhile."""
    async with backend.open(page_size=3) as store:
        await put_each(store, [base + b"%d" % n for n in range(count)])
        before = await list_all(store, prefix(base))
        pages = []
        async for page in store.list(prefix(base)):
            pages.append(page)
            changed = (Delete(base + b"0"), Put(base + b"5", b"new"), Put(base + b"9", b"new"))
            await store.commit(Txn(then=changed))
        assert [len(page.items) for page in pages] == sizes
        assert {page.revision for page in pages} == {before.revision}
        assert tuple(kv for page in pages for kv in page.items) == before.items


async def test_keys_only(store: Store, base: bytes) -> None:
    """A list of keys only has their revisions and leaves out the values."""
    at = await put(store, (base + b"k", b"value"))
    page = await list_all(store, prefix(base), keys_only=True)
    assert page.items == (KeyValue(base + b"k", b"", at, at, 1),)


@pytest.mark.parametrize("part", [b"\0", b"\xff\xfe", b"a\nb", "é".encode(), b"\xff" * 9])
async def test_bytes(store: Store, base: bytes, part: bytes) -> None:
    """Keys and values are any bytes, and an empty value is a value."""
    await put(store, (base + part, part), (base + b"empty", b""))
    page = await list_all(store, prefix(base))
    assert {kv.key: kv.value for kv in page.items} == {base + part: part, base + b"empty": b""}
    assert await decide(store, Txn((holds(base + part, part), holds(base + b"empty", b""))))


async def test_everything(store: Store, base: bytes) -> None:
    """The range of everything holds keys of every prefix."""
    await put(store, (base + b"k", b""))
    assert base + b"k" in keys_of(await list_all(store, everything(), keys_only=True))


async def test_ends(store: Store, base: bytes) -> None:
    """Without an end a range is one key; with the end ``\\0`` it is all keys from there on."""
    a, b, c = (base + name for name in (b"a", b"a\0", b"b"))
    start = await put(store, (a, b""), (b, b""), (c, b""))
    one_key, rest = Range(a, b""), Range(b, b"\0")
    assert keys_of(await list_all(store, one_key)) == [a]
    assert keys_of(await list_all(store, rest))[:2] == [b, c]
    async with store.watch(one_key, start=start) as one, store.watch(rest, start=start) as many:
        assert [event.key for event in (await next_events(one)).events] == [a]
        assert [event.key for event in (await next_events(many)).events] == [b, c]


async def test_compacted_reads(backend: Backend, store: Store, base: bytes) -> None:
    """Below the compacted revision nothing can be read or listed; at it everything can."""
    key = base + b"k"
    old, new = [await put(store, (key, value)) for value in (b"1", b"2")]
    await backend.compact(new)
    for reading in (store.read(key, revision=old), list_all(store, prefix(base), revision=old)):
        with pytest.raises(Compacted):
            await reading
    with pytest.raises(Compacted):
        await store.commit(Txn(then=(Put(key, b"3"), Read(key, revision=old))))
    kept = await store.read(key, revision=new)
    assert kept is not None
    assert kept == await store.read(key)
    assert kept.value == b"2"
    assert (await list_all(store, prefix(base), revision=new)).items == (kept,)


async def test_compacted_while_listing(backend: Backend, base: bytes) -> None:
    """A list whose revision is compacted before its last page ends in ``Compacted``."""
    async with backend.open(page_size=1) as store:
        await put_each(store, [base + b"1", base + b"2"])
        pages = aiter(store.list(prefix(base)))
        await anext(pages)
        await backend.compact(await put(store, (base + b"3", b"")))
        with pytest.raises(Compacted):
            await anext(pages)


async def test_closed(backend: Backend, base: bytes) -> None:
    """A store that was closed refuses every call."""
    async with backend.open() as store:
        await store.close()
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: store.read(base),
            lambda: list_all(store, prefix(base)),
            lambda: store.commit(Txn()),
            lambda: store.grant(9),
            lambda: store.keep_alive(LeaseId(1)),
            lambda: store.revoke(LeaseId(1)),
        ]
        for call in calls:
            with pytest.raises(RequestRefused):
                await call()
        with pytest.raises(RequestRefused):
            async with store.watch(prefix(base), start=Revision(1)):
                pass


@pytest.mark.parametrize("op", [Put(b"", b""), Delete(b""), Read(b"")], ids=str)
async def test_empty_key(store: Store, base: bytes, op: Operation) -> None:
    """There is no empty key."""
    with pytest.raises(RequestRefused):
        await store.commit(Txn(then=(Put(base + b"k", b""),), otherwise=(op,)))
    assert await store.read(base + b"k") is None


# -- writing --------------------------------------------------------------------------------------


async def test_branches(store: Store, base: bytes) -> None:
    """Compares decide which branch is done; its results come in order, at the one revision."""
    a, b, c = (base + name for name in (b"a", b"b", b"c"))
    txn = Txn(
        (absent(a),), (Put(a, b"1"), Put(b, b"1"), Put(c, b"1")), (Read(a), Delete(b, c), Delete(b))
    )
    done = await store.commit(txn)
    assert (done.succeeded, done.results) == (True, (PutResult(),) * 3)
    page = await list_all(store, prefix(base))
    assert {kv.mod_revision for kv in page.items} == {done.revision} == {page.revision}
    refused = await store.commit(txn)
    stands = (KeyValue(a, b"1", done.revision, done.revision, 1),)
    assert refused.results == (ReadResult(stands, 1), DeleteResult(1), DeleteResult(0))
    assert (refused.succeeded, refused.revision) == (False, done.revision + 1)


async def test_what_moves_the_revision(store: Store, base: bytes) -> None:
    """The revision moves by one with each transaction that changes something, and only then."""
    key = base + b"k"
    start = await put(store, (key, b"1"), (base + b"l", b"1"))
    steps: list[tuple[Operation, int]] = [
        (Read(key), 0),
        (Delete(base + b"nothing"), 0),
        (Txn((absent(key),), (Put(key, b"2"),)), 0),
        (Put(key, b"1"), 1),
        (Txn(then=(Put(key, b"2"), Put(base + b"m", b"2"))), 1),
        (Delete(base, base + b"\xff"), 1),
    ]
    for op, moved in steps:
        start = Revision(start + moved)
        assert (await store.commit(Txn(then=(op,)))).revision == start, op
    assert (await store.commit(Txn())).revision == start


async def test_nothing_is_lost(store: Store, base: bytes) -> None:
    """Fifty that read, compare and write at once, each until it succeeds, lose no increment."""
    key = base + b"counter"
    await put(store, (key, b"0"))
    lost = 0

    async def increment() -> None:
        nonlocal lost
        while True:
            kv = await store.read(key)
            assert kv is not None
            write = Put(key, b"%d" % (int(kv.value) + 1))
            if await decide(store, Txn((at_revision(key, kv.mod_revision),), (write,))):
                return
            lost += 1

    await asyncio.gather(*(increment() for _ in range(50)))
    kv = await store.read(key)
    assert kv is not None
    assert (kv.value, kv.version) == (b"50", 51)
    assert lost > 0, "nobody raced, so nothing was shown"
