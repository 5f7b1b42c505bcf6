"""What an instance says of itself: true, coalesced, its own, and gone when it is gone."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from kvconfig import keys
from kvconfig.codec import encode
from kvconfig.errors import Unavailable
from kvconfig.informer import Informer
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.model import KeyValue, LeaseId, Revision
from kvconfig.records import InstanceStatus, VariantFailure, decode_status
from kvconfig.txn import Delete, Put, Txn
from processors import Tasks, Variant
from processors.sessions import Sessions
from processors.status import About, Publisher, Row, fold
from tests.unit.support_processors import Probe, probing

ABOUT = About(host="h", started="2026-01-01T00:00:00Z", version="1")
OOPS = VariantFailure(error="oops", attempts=2, since="2026-01-01T00:00:00Z")
KEY = Keyspace().processor("probe", "i1")


def row(name: str, since: int, failure: VariantFailure | None = None) -> Row:
    return Row(variant=name, since=Revision(since), failure=failure)


def test_fold_names_every_exception() -> None:
    """Everything up to the revision runs, except what is named."""
    status = fold([row("b", 5), row("a", 7, OOPS), row("c", 3)], Revision(9), ABOUT)
    assert status == InstanceStatus(
        observed_revision=9,
        pending=("c", "b"),
        failed={"a": OOPS},
        host="h",
        started="2026-01-01T00:00:00Z",
        version="1",
    )


def test_fold_stays_back_while_a_list_is_incomplete() -> None:
    """The oldest are named first; the revision stays below the first one that is not named."""
    rows = [row(f"v{since}", since) for since in (8, 4, 6)]
    status = fold(rows, Revision(9), ABOUT, most=2)
    assert (status.pending, status.observed_revision) == (("v4", "v6"), 7)
    failed = [row(f"v{since}", since, OOPS) for since in (8, 4, 6)]
    status = fold([*failed, row("p", 2)], Revision(9), ABOUT, most=2)
    assert (set(status.failed), status.pending) == ({"v4", "v6"}, ("p",))
    assert status.observed_revision == 7


@pytest.mark.parametrize("seed", range(50))
def test_fold_is_true(seed: int) -> None:
    """Whatever is not as desired from some revision on is named, or lies above the revision."""
    chance = random.Random(seed)
    rows = [
        row(f"v{n}", chance.randint(1, 30), chance.choice([None, OOPS]))
        for n in range(chance.randint(0, 12))
    ]
    status = fold(rows, Revision(30), ABOUT, most=chance.randint(0, 5))
    named = {*status.pending, *status.failed}
    for one in rows:
        assert one.variant in named or one.since > status.observed_revision


class Board:
    """What there is to say, and a publisher that says it."""

    def __init__(self, store: MemoryStore, sessions: Sessions, *, most_per_s: int = 1000) -> None:
        self.store = store
        self.revision = 1
        self.publisher = Publisher(store, sessions, KEY, self.status, most_per_s=most_per_s)

    def status(self) -> InstanceStatus:
        return fold([], Revision(self.revision), ABOUT)

    def say(self, revision: int) -> None:
        self.revision = revision
        self.publisher.notify()

    async def shows(self, revision: int) -> None:
        """Wait until the key says so."""
        await until(self.store, lambda status: status and status.observed_revision == revision)


async def until(store: MemoryStore, predicate: Callable[[InstanceStatus | None], object]) -> None:
    """Return once the key's status fits."""

    def decode(kv: KeyValue) -> InstanceStatus:
        return decode_status(kv.value, key=kv.key)

    async with Informer(store, keys.one(KEY), decode) as informer:
        await informer.until(
            lambda items: bool(predicate(items[KEY].value if KEY in items else None))
        )


class Heard(logging.Handler):
    """The next log record, to be awaited."""

    def __init__(self, logger: str) -> None:
        super().__init__()
        self.record: asyncio.Future[logging.LogRecord] = asyncio.get_running_loop().create_future()
        logging.getLogger(logger).addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if not self.record.done():
            self.record.set_result(record)


@asynccontextmanager
async def board(store: MemoryStore, **options: object) -> AsyncIterator[Board]:
    async with Sessions(store, **options) as sessions:  # type: ignore[arg-type]
        made = Board(store, sessions)
        async with made.publisher:
            yield made


async def test_written_under_a_lease_and_gone_on_leaving() -> None:
    """Presence and status are one key, and it goes with the instance."""
    store = MemoryStore()
    async with board(store) as one:
        one.say(5)
        await one.shows(5)
        kv = await store.read(KEY)
        assert kv is not None
        assert kv.lease != 0
    assert await store.read(KEY) is None


async def test_changes_are_coalesced_and_equal_ones_not_written() -> None:
    """A thousand changes are a few writes; no change is none."""
    store = MemoryStore()
    async with board(store) as one:
        for revision in range(1, 1001):
            one.say(revision)
            if revision % 100 == 0:
                await asyncio.sleep(0)
        await one.shows(1000)
        assert store.calls["commit"] <= 3
        before = store.calls["commit"]
        for _ in range(5):
            one.publisher.notify()
            await asyncio.sleep(0.03)
        assert store.calls["commit"] == before


async def test_writes_keep_their_distance() -> None:
    """However long changes go on: a few writes a second."""
    store, loop = MemoryStore(), asyncio.get_running_loop()
    async with Sessions(store) as sessions:
        one = Board(store, sessions, most_per_s=3)
        async with one.publisher:
            began = loop.time()
            revision = 0
            while loop.time() < began + 1.3:
                revision += 1
                one.say(revision)
                await asyncio.sleep(0.001)
            assert 4 <= store.calls["commit"] <= 6


async def test_a_lost_reply_is_sorted_out() -> None:
    """Whether a write whose answer was lost was done or not: what should stand there does."""
    store = MemoryStore()
    async with board(store) as one:
        one.say(1)
        await one.shows(1)
        for revision, fate in ((2, "applied"), (3, "dropped"), (4, "applied")):
            store.lose_next_reply(fate)  # type: ignore[arg-type]
            one.say(revision)
            await one.shows(revision)
            one.say(revision + 100)
            await one.shows(revision + 100)
    assert await store.read(KEY) is None


async def test_a_delayed_write_loses() -> None:
    """A write that arrives late, after a newer one, changes nothing."""
    store = MemoryStore()
    async with board(store) as one:
        one.say(1)
        await one.shows(1)
        store.lose_next_reply("late")
        one.say(2)
        await one.shows(2)
        one.say(3)
        await one.shows(3)
        store.deliver_late()
        await one.shows(3)


async def test_a_lost_lease_means_a_new_one_and_all_written_again() -> None:
    """The key comes back under another lease, without any change to report."""
    store = MemoryStore()
    async with board(store, ttl_s=1) as one:
        one.say(1)
        await one.shows(1)
        kv = await store.read(KEY)
        assert kv is not None
        await store.revoke(kv.lease)
        assert await store.read(KEY) is None
        await one.shows(1)
        again = await store.read(KEY)
        assert again is not None
        assert again.lease not in (0, kv.lease)


async def test_an_outage_is_waited_out() -> None:
    """Errors of the store change nothing but the time at which it is written."""
    store = MemoryStore()
    async with board(store) as one:
        for _ in range(3):
            store.fail_next(Unavailable("test"), "commit")
        one.say(7)
        await one.shows(7)


async def test_a_foreign_key_is_left_alone_and_said() -> None:
    """Two instances of one name notice; the second waits, and comes in when the first has gone."""
    store, heard = MemoryStore(), Heard("processors.status")
    lease = await store.grant(60)
    value = encode(fold([], Revision(1), About(host="other", started="then", version="1")))
    await store.commit(Txn(then=(Put(KEY, value, lease),)))
    async with board(store) as one:
        one.say(2)
        record = await heard.record
        logging.getLogger("processors.status").removeHandler(heard)
        assert record.getMessage() == "another instance holds this key"
        assert vars(record)["holder"] == "other, since then"
        kv = await store.read(KEY)
        assert kv is not None
        assert (kv.value, kv.lease) == (value, lease)
        await store.revoke(lease)
        await one.shows(2)


async def test_a_foreign_key_survives_our_end() -> None:
    """Leaving deletes only what is ours."""
    store = MemoryStore()
    async with board(store) as one:
        one.say(1)
        await one.shows(1)
        await store.commit(Txn(then=(Delete(KEY),)))
        await store.commit(Txn(then=(Put(KEY, b"{}", LeaseId(0)),)))
    kv = await store.read(KEY)
    assert kv is not None
    assert kv.value == b"{}"


async def test_an_instance_reports_and_is_idle_when_nothing_changes() -> None:
    """After a start the key covers its revision; then nothing is written, even to other types."""
    store = MemoryStore()
    async with probing(Probe(), store=store) as (desk, _):
        revision = await desk.put("a", n=1)
        await until(store, lambda s: s and s.observed_revision >= revision and not s.pending)
        await desk.put_raw(desk.key("bad"), b"x")
        await until(store, lambda s: s and set(s.failed) == {"bad"})
        await asyncio.sleep(0.3)
        before = store.revision
        store.progress()
        await asyncio.sleep(0.4)
        assert store.revision == before
    assert await store.read(KEY) is None


async def test_an_equal_put_moves_the_revision() -> None:
    """A reader waits for the revision of the put, also where nothing had to be done for it."""
    store = MemoryStore()
    async with probing(Probe(), store=store) as (desk, _):
        for _ in range(2):
            revision = await desk.put("a", n=1)
            await until(store, lambda s, r=revision: s and s.observed_revision >= r)  # type: ignore[misc]


async def test_draining_is_pending() -> None:
    """While an instance stops its variants, it does not claim that they run."""
    store = MemoryStore()
    seen: list[InstanceStatus] = []

    class Slow(Probe):
        stop_timeout_s = 5.0

        def variant(self, variant: Variant, tasks: Tasks):
            return slow(super().variant(variant, tasks))

    @asynccontextmanager
    async def slow(inner) -> AsyncIterator[None]:
        async with inner:
            yield

            def note(status: InstanceStatus | None) -> bool:
                seen.extend([status] if status else [])
                return bool(status and status.pending)

            await until(store, note)

    async with probing(Slow(), store=store) as (desk, instance):
        await instance.settled(await desk.put("a"))
        await until(store, lambda s: s and s.observed_revision > 0 and not s.pending)
    assert seen[-1].pending == ("a",)
