"""The observed state of flows, on both stores: records, keys and statuses are written by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from types import MappingProxyType
from typing import Any, cast

import msgspec
import pytest

from flowsvc import observe
from flowsvc.errors import NotFound
from flowsvc.observe import Observer
from flowsvc.status import FlowStatus, ProcessorStatus
from flowsvc.waiting import wait, wait_until_left
from kvconfig.codec import encode
from kvconfig.errors import (
    Compacted,
    InvalidName,
    InvalidValue,
    PermissionDenied,
    Unavailable,
)
from kvconfig.informer import Informer
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.model import KeyValue, LeaseId, Revision
from kvconfig.records import (
    FlowRecord,
    FlowVariants,
    InstanceStatus,
    VariantFailure,
    VariantRecord,
    decode_flow,
)
from kvconfig.store import Store
from kvconfig.txn import Delete, Operation, Put, Txn
from tests.contract.support import PATIENCE_S, Backend

OOPS = VariantFailure(error="oops", attempts=2, since="2026-01-01T00:00:00Z")
A, B = VariantName("chunker", "f1"), VariantName("indexer", "f1")

Flows = Informer[tuple[str, FlowRecord]]


@pytest.fixture
def ks(root: str) -> Keyspace:
    return Keyspace(root)


class Hand:
    """Writes what the flow service and instances write."""

    def __init__(self, store: Store, ks: Keyspace) -> None:
        self.store, self.ks = store, ks

    async def do(self, *operations: Operation) -> Revision:
        return (await self.store.commit(Txn(then=operations))).revision

    def record(
        self, flow: str, names: Sequence[VariantName], *, paused: bool = False, op: str = "op"
    ) -> Put:
        record = FlowRecord(
            blueprint_name="b",
            description="",
            interfaces={},
            parameters={},
            variants=FlowVariants(own=tuple(map(str, names))),
            op=op,
            paused=dict.fromkeys(map(str, names), VariantRecord()) if paused else None,
        )
        return Put(self.ks.flow(flow), encode(record))

    def variants(self, *names: VariantName) -> list[Operation]:
        return [Put(self.ks.active_flow(name), encode(VariantRecord())) for name in names]

    async def start(self, flow: str, *names: VariantName) -> Revision:
        return await self.do(self.record(flow, names), *self.variants(*names))

    async def start_each(self, flows: Mapping[str, VariantName]) -> Revision:
        """Flows of one variant; the revision of the last."""
        return [await self.start(flow, name) for flow, name in flows.items()][-1]

    async def stop(self, flow: str, *names: VariantName) -> Revision:
        keys = [Delete(self.ks.active_flow(name)) for name in names]
        return await self.do(Delete(self.ks.flow(flow)), *keys)

    async def say(
        self,
        processor: str,
        instance: str,
        observed: int,
        *,
        pending: Sequence[str] = (),
        failed: Sequence[str] = (),
        lease: LeaseId = LeaseId(0),
    ) -> Revision:
        status = InstanceStatus(
            observed_revision=observed,
            pending=tuple(pending),
            failed=dict.fromkeys(failed, OOPS),
            host="h",
            started="2026-01-01T00:00:00Z",
            version="1",
        )
        return await self.do(Put(self.ks.processor(processor, instance), encode(status), lease))


@pytest.fixture
def hand(store: Store, ks: Keyspace) -> Hand:
    return Hand(store, ks)


def flows_informer(store: Store, ks: Keyspace) -> Flows:
    def decode(kv: KeyValue) -> tuple[str, FlowRecord]:
        return ks.parse_named(kv.key, "flow"), decode_flow(kv.value, key=kv.key)

    return Informer(store, ks.type_range("flow"), decode)


@asynccontextmanager
async def observing(store: Store, ks: Keyspace) -> AsyncIterator[Observer]:
    async with flows_informer(store, ks) as flows:
        await flows.synced()
        async with Observer(store, ks, flows) as observer:
            yield observer


Watch = AsyncGenerator[FlowStatus, None]


async def told(watch: Watch, flow: str, fits: Callable[[FlowStatus], bool]) -> FlowStatus:
    """The first status of ``flow`` that fits; those before it are passed over."""
    async with asyncio.timeout(PATIENCE_S):
        while not ((status := await anext(watch)).flow == flow and fits(status)):
            pass
    return status


async def told_state(watch: Watch, flow: str, state: str) -> FlowStatus:
    return await told(watch, flow, lambda status: status.state == state)


def states(status: FlowStatus) -> dict[str, str]:
    return {variant.name: variant.state for variant in status.variants}


# -- one flow ------------------------------------------------------------------------------------


async def test_a_status_is_what_stands_in_the_store(store: Store, ks: Keyspace, hand: Hand) -> None:
    """A read right after a write shows it, whatever the caches have heard: record, variants and
    instances."""
    async with observing(store, ks) as observer:
        started = await hand.start("f1", A, B)
        status = await observer.status("f1")
        assert (status.state, status.mod_revision) == ("starting", started)
        assert status.missing == ("chunker", "indexer")
        assert {v.mod_revision for v in status.variants} == {started}

        await hand.say("chunker", "i1", started)
        status = await observer.status("f1")
        assert states(status) == {"chunker/f1": "running", "indexer/f1": "starting"}
        assert status.missing == ("indexer",)

        await hand.say("indexer", "i1", started, failed=["f1"])
        status = await observer.status("f1")
        assert status.state == "failed"
        (report,) = status.variants[1].instances
        assert (report.instance, report.error, report.attempts) == ("i1", "oops", 2)

        await hand.say("indexer", "i2", started)
        assert (await observer.status("f1")).state == "degraded"
        updated = await hand.do(hand.record("f1", [A, B]), *hand.variants(B))
        status = await observer.status("f1")
        assert states(status) == {"chunker/f1": "running", "indexer/f1": "starting"}
        assert [v.mod_revision for v in status.variants] == [started, updated]

        await hand.say("indexer", "i1", updated)
        assert (await observer.status("f1")).state == "running"
        await hand.do(hand.record("f1", [A, B], paused=True))
        assert (await observer.status("f1")).state == "paused"


async def test_a_flow_that_is_gone_is_stopped_and_one_that_never_was_is_not_found(
    store: Store, ks: Keyspace, hand: Hand
) -> None:
    """History tells the two apart; that of another flow with a longer name does not count."""
    async with observing(store, ks) as observer:
        await hand.do(Put(ks.history("flow", "f10", "op"), b"{}"))
        with pytest.raises(NotFound):
            await observer.status("f1")
        await hand.do(Put(ks.history("flow", "f1", "op"), b"{}"))
        assert await observer.status("f1") == FlowStatus(
            flow="f1", state="stopped", mod_revision=Revision(0)
        )


async def test_a_variant_without_a_key_is_named(store: Store, ks: Keyspace, hand: Hand) -> None:
    """The record has it and etcd does not."""
    async with observing(store, ks) as observer:
        started = await hand.start("f1", A, B)
        await hand.say("chunker", "i1", started)
        await hand.do(Delete(ks.active_flow(A)))
        status = await observer.status("f1")
        assert (status.state, states(status)["chunker/f1"]) == ("failed", "failed")
        assert status.variants[0].error
        await hand.do(Put(ks.flow("f2"), b"[]"))
        with pytest.raises(InvalidValue):
            await observer.status("f2")


async def test_a_status_that_cannot_be_read_says_nothing(
    store: Store, ks: Keyspace, hand: Hand
) -> None:
    """Its instance is live; and a key that is no instance is nobody."""
    await hand.start("f1", A, B)
    await hand.do(Put(ks.processor("chunker", "i1"), b"[]"))
    await hand.do(Put(ks.processor("indexer", "i1") + b"/x", b"{}"))
    async with observing(store, ks) as observer, aclosing(observer.watch()) as watch:
        for status in (await observer.status("f1"), await anext(watch)):
            assert (status.state, status.missing) == ("starting", ("indexer",))
            assert [r.instance for r in status.variants[0].instances] == ["i1"]
        assert await observer.statuses() == [status]


async def test_a_flow_larger_than_a_flat_transaction(
    store: Store, ks: Keyspace, hand: Hand
) -> None:
    """Its reads are nested, and each finds its own."""
    names = [VariantName(f"p{n % 7}", f"f{n:03}") for n in range(300)]
    for at in range(0, len(names), 100):
        await hand.do(*hand.variants(*names[at : at + 100]))
    started = await hand.do(hand.record("f1", names))
    for n in range(6):
        await hand.say(f"p{n}", "i", started, failed=["f000"])
    async with observing(store, ks) as observer:
        status = await observer.status("f1")
    assert (len(status.variants), status.missing) == (300, ("p6",))
    assert {name for name, state in states(status).items() if state == "failed"} == {"p0/f000"}
    running = {name for name, state in states(status).items() if state == "running"}
    assert running == {str(n) for n in names if n.processor != "p6"} - {"p0/f000"}


class Stale:
    """An informer whose cache stands still."""

    def __init__(self, items: Mapping[bytes, Any]) -> None:
        self.items = MappingProxyType(dict(items))

    def subscribe(self, handler: object) -> None:
        pass


async def test_a_cache_that_lags_costs_a_read_and_nothing_else(
    store: Store, ks: Keyspace, hand: Hand
) -> None:
    """What is folded was read, with the record that was read."""
    await hand.start("f1", A)
    async with flows_informer(store, ks) as flows:
        await flows.until(lambda items: len(items) == 1)
        stale = cast("Flows", Stale(flows.items))
    await hand.do(hand.record("f1", [B]), *hand.variants(B), Delete(ks.active_flow(A)))
    newest = await hand.start("f2", B)
    async with Observer(store, ks, stale) as observer:
        assert states(await observer.status("f1")) == {"indexer/f1": "starting"}
        assert (await observer.status("f2")).mod_revision == newest
        await hand.stop("f1")
        with pytest.raises(NotFound):
            await observer.status("f1")


# -- all flows -----------------------------------------------------------------------------------


async def test_statuses_are_all_as_of_one_revision(
    backend: Backend, ks: Keyspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Page after page, however much is written between them: no flow is torn."""
    async with backend.open(page_size=2) as store:
        hand = Hand(store, ks)
        names = {f"f{n}": VariantName("chunker", f"f{n}") for n in range(7)}
        started = await hand.start_each(names)
        await hand.say("chunker", "i1", started)
        await hand.do(Put(ks.flow("bad"), b"[]"))
        async with observing(store, ks) as observer:
            listed = store.list

            async def disturbed(*args: Any, **options: Any) -> AsyncIterator[Any]:
                async for page in listed(*args, **options):
                    yield page
                    await hand.do(Delete(ks.processor("chunker", "i1")))
                    for flow, name in names.items():
                        await hand.stop(flow, name)

            monkeypatch.setattr(store, "list", disturbed)
            found = await observer.statuses()
            assert [status.flow for status in found] == sorted(names)
            assert {status.state for status in found} == {"running"}
            monkeypatch.undo()
            assert await observer.statuses() == []


async def test_a_compaction_between_the_pages_is_no_error(ks: Keyspace) -> None:
    """All is listed again; not for ever."""
    store = MemoryStore()
    await Hand(store, ks).start("f1", A)
    async with observing(store, ks) as observer:
        store.fail_next(Compacted(), "list")
        assert len(await observer.statuses()) == 1
        for _ in range(observe.LISTS):
            store.fail_next(Compacted(), "list")
        with pytest.raises(Compacted):
            await observer.statuses()


# -- watching ------------------------------------------------------------------------------------


async def test_a_watch_gives_every_flow_and_then_what_changes(
    store: Store, ks: Keyspace, hand: Hand
) -> None:
    """A start, a status, an update, a pause, a stop."""
    before = await hand.start("f0")
    async with observing(store, ks) as observer, aclosing(observer.watch()) as watch:
        first = await anext(watch)
        assert (first.flow, first.state, first.mod_revision) == ("f0", "running", before)

        started = await hand.start("f1", A)
        status = await told_state(watch, "f1", "starting")
        assert (status.mod_revision, status.missing) == (started, ("chunker",))
        await hand.say("chunker", "i1", started - 1)
        assert (await told(watch, "f1", lambda s: not s.missing)).state == "starting"
        await hand.say("chunker", "i1", started, failed=["f1"])
        await told_state(watch, "f1", "failed")
        await hand.say("chunker", "i1", started)
        await told_state(watch, "f1", "running")

        updated = await hand.do(hand.record("f1", [A]), *hand.variants(A))
        status = await told_state(watch, "f1", "starting")
        assert status.mod_revision == status.variants[0].mod_revision == updated
        await hand.say("chunker", "i1", updated)
        await told_state(watch, "f1", "running")
        await hand.do(hand.record("f1", [A], paused=True), Delete(ks.active_flow(A)))
        await told_state(watch, "f1", "paused")
        await hand.stop("f1")
        assert (await told_state(watch, "f1", "stopped")).mod_revision == 0
        await hand.stop("f0")
        assert (await anext(watch)).flow == "f0"
        assert len(observer._variants) == 0, "nothing is kept of flows that are gone"


async def test_a_watch_tells_only_what_a_change_concerns(
    store: Store, ks: Keyspace, hand: Hand
) -> None:
    """A start on a processor is no news of the flows that run there already."""
    names = {f"f{n}": VariantName("chunker", f"f{n}") for n in range(5)}
    started = await hand.start_each(names)
    await hand.say("chunker", "i1", started)
    async with observing(store, ks) as observer, aclosing(observer.watch()) as watch:
        first = [await anext(watch) for _ in names]
        assert [status.state for status in first] == ["running"] * 5
        last = await hand.start("g", VariantName("chunker", "g"))
        assert (await anext(watch)).flow == "g"
        await hand.say("chunker", "i1", last)
        status = await anext(watch)
        assert (status.flow, status.state) == ("g", "running")
        await hand.say("chunker", "i1", last, pending=["f3"])
        status = await anext(watch)
        assert (status.flow, status.state) == ("f3", "starting")


async def test_an_instance_that_leaves_is_no_longer_live(
    store: Store, ks: Keyspace, hand: Hand
) -> None:
    """Its key goes with its lease; what it said goes too."""
    lease = await store.grant(60)
    async with observing(store, ks) as observer, aclosing(observer.watch()) as watch:
        started = await hand.start("f1", A)
        await hand.say("chunker", "i1", started, lease=lease)
        await hand.say("chunker", "i2", started, failed=["f1"])
        status = await told_state(watch, "f1", "degraded")
        await store.revoke(lease)
        status = await told_state(watch, "f1", "failed")
        assert [r.instance for r in status.variants[0].instances] == ["i2"]
        await hand.do(Delete(ks.processor("chunker", "i2")))
        status = await told(watch, "f1", lambda s: s.missing == ("chunker",))
        assert (status.state, status.variants[0].instances) == ("starting", ())


async def test_a_slow_consumer_gets_the_latest_of_each_flow(
    store: Store, ks: Keyspace, hand: Hand
) -> None:
    """What it did not come for in time it does not get; what came and went, not at all."""
    async with observing(store, ks) as observer, aclosing(observer.watch()) as watch:
        await hand.start("f1", A)
        await told_state(watch, "f1", "starting")
        last = Revision(0)
        for turn in range(10):
            last = await hand.do(hand.record("f1", [A], op=f"op{turn}"), *hand.variants(A))
            await hand.say("chunker", "i1", last, failed=["f1"])
            await hand.start(f"brief{turn}")
            await hand.stop(f"brief{turn}")
        observed = await hand.say("chunker", "i1", last)
        await hand.start("g")
        await observer.processors.until(lambda _: observer.processors.revision >= observed)
        await observer._flows.until(lambda items: ks.flow("g") in items)
        assert [len(watcher) for watcher in observer._watchers] == [2]
        status = await anext(watch)
        assert (status.flow, status.state, status.mod_revision) == ("f1", "running", last)
        assert (await anext(watch)).flow == "g"


async def test_many_flows_are_read_by_lists(store: Store, ks: Keyspace, hand: Hand) -> None:
    """Not by a transaction for each; all come, and changes after that too."""
    names = {f"f{n:03}": VariantName("chunker", f"f{n:03}") for n in range(150)}
    started = await hand.start_each(names)
    await hand.say("chunker", "i1", started, failed=["f007"])
    async with observing(store, ks) as observer, aclosing(observer.watch()) as watch:
        calls = getattr(store, "calls", {})
        before = sum(calls.values())
        async with asyncio.timeout(PATIENCE_S):
            found = {status.flow: status async for status in _first(watch, 150)}
        assert sum(calls.values()) - before < 10
        assert found.keys() == names.keys()
        assert {flow for flow, s in found.items() if s.state != "running"} == {"f007"}
        await hand.say("chunker", "i1", started)
        status = await anext(watch)
        assert (status.flow, status.state) == ("f007", "running")


async def _first(watch: Watch, count: int) -> AsyncIterator[FlowStatus]:
    for _ in range(count):
        yield await anext(watch)


async def test_a_variant_that_is_put_back_is_seen(store: Store, ks: Keyspace, hand: Hand) -> None:
    """By whom who runs it, though nobody wrote the flow's record."""
    async with observing(store, ks) as observer, aclosing(observer.watch()) as watch:
        await hand.say("chunker", "i1", 1)
        await hand.do(hand.record("f1", [A]))
        status = await told_state(watch, "f1", "failed")
        assert status.variants[0].error
        put_back = await hand.do(*hand.variants(A))
        await hand.say("chunker", "i1", put_back)
        await told_state(watch, "f1", "running")


async def test_a_watch_ends_when_it_is_closed_or_cancelled_or_the_observer_is_left(
    store: Store, ks: Keyspace, hand: Hand
) -> None:
    """Nothing of it stays behind."""
    await hand.start("f1", A)
    async with observing(store, ks) as observer:
        async with aclosing(observer.watch()) as closed:
            await anext(closed)
        assert observer._watchers == set()

        cancelled = observer.watch()
        await anext(cancelled)
        waiting = asyncio.ensure_future(anext(cancelled))
        await hand.start("f2", VariantName("chunker", "f2"))
        assert (await waiting).flow == "f2"
        waiting = asyncio.ensure_future(anext(cancelled))
        other = observer.watch()
        await anext(other)  # by now the other one waits
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert len(observer._watchers) == 1
        assert len(observer._variants) == 2
        await other.aclose()
        assert len(observer._variants) == 0

        left = observer.watch()
        assert [(await anext(left)).flow for _ in range(2)] == ["f1", "f2"]
        waiting = asyncio.ensure_future(anext(left))
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_two_who_watch_get_the_same(store: Store, ks: Keyspace, hand: Hand) -> None:
    """Each is told of each flow; one that has gone takes nothing away from the other."""
    started = await hand.start("f1", A)
    async with observing(store, ks) as observer, aclosing(observer.watch()) as one:
        async with aclosing(observer.watch()) as two:
            assert await anext(one) == await anext(two)
            await hand.say("chunker", "i1", started)
            assert await anext(one) == await anext(two)
        await hand.say("chunker", "i1", started, failed=["f1"])
        await told_state(one, "f1", "failed")


async def test_what_is_taken_away_is_waited_for(store: Store, ks: Keyspace, hand: Hand) -> None:
    """Until no live instance runs it. What another flow kept, no instance will hear of."""
    kept = VariantName("query", "shared")
    async with observing(store, ks) as observer:
        started = await hand.start("f1", A, B, kept)
        for processor in ("chunker", "indexer", "query"):
            await hand.say(processor, "i1", started)
        stopped = await hand.stop("f1", A, B)
        taken = asyncio.ensure_future(observer.taken_away([A, B, kept], stopped))
        await hand.say("chunker", "i1", stopped)
        said = await hand.say("indexer", "i1", stopped, pending=["f1"])
        await observer.processors.until(lambda _: observer.processors.revision >= said)
        assert not taken.done()
        await hand.say("indexer", "i1", stopped)
        async with asyncio.timeout(PATIENCE_S):
            await taken
            await observer.taken_away([], stopped)


async def test_wait_on_an_observer(store: Store, ks: Keyspace, hand: Hand) -> None:
    """Until each variant of the flow runs, at the revision asked for."""
    async with observing(store, ks) as observer:

        class Service:
            get_status = staticmethod(observer.status)
            watch_flows = staticmethod(observer.watch)

        started = await hand.start("f1", A)
        waiting = asyncio.ensure_future(
            wait(Service(), "f1", revision=started, timeout_s=PATIENCE_S)
        )
        async with aclosing(observer.watch()) as watch:
            await told_state(watch, "f1", "starting")
            await hand.say("chunker", "i1", started)
            await told_state(watch, "f1", "running")
        assert (await waiting).state == "running"


# -- faults, in memory ---------------------------------------------------------------------------


async def test_a_watch_lives_through_an_outage(ks: Keyspace) -> None:
    """It tells nothing while the store does not answer, then what is true; a refusal ends it."""
    store = MemoryStore()
    hand = Hand(store, ks)
    started = await hand.start("f1", A)
    await hand.say("chunker", "i1", started)
    async with observing(store, ks) as observer:
        async with aclosing(observer.watch()) as watch:
            for _ in range(3):
                store.fail_next(Unavailable("down"), "commit")
            assert (await anext(watch)).state == "running"
        async with aclosing(observer.watch()) as watch:
            store.fail_next(PermissionDenied(ks.flow("f1")), "commit")
            with pytest.raises(PermissionDenied):
                await anext(watch)


async def test_a_watch_sees_a_restored_store_as_it_is(ks: Keyspace) -> None:
    """Flows of the other history are gone, and statuses that speak of it do not count."""
    store = MemoryStore()
    hand = Hand(store, ks)
    started = await hand.start("f1", A)
    await hand.say("chunker", "i1", started)
    snapshot = store.snapshot()
    async with observing(store, ks) as observer, aclosing(observer.watch()) as watch:
        await told_state(watch, "f1", "running")
        await hand.start("f2", B)
        await told_state(watch, "f2", "starting")
        await hand.say("chunker", "i2", started)
        late = await hand.do(hand.record("f1", [A]), *hand.variants(A))
        for _ in range(5):
            await hand.say("chunker", "i1", late + 4)
        await told_state(watch, "f1", "running")

        store.restore(snapshot)
        # What an instance had to say before it noticed: the same value, at a lower revision.
        await hand.say("chunker", "i1", late + 4)
        latest: dict[str, FlowStatus] = {}
        async with asyncio.timeout(PATIENCE_S):
            while not (
                (status := latest.get("f1"))
                and (status.state, status.mod_revision) == ("starting", started)
                and (gone := latest.get("f2"))
                and gone.state == "stopped"
            ):
                latest.update({(status := await anext(watch)).flow: status})
        assert [r.observed_revision for r in status.variants[0].instances] == [0]
        await hand.say("chunker", "i1", store.revision)
        await told_state(watch, "f1", "running")
        assert [s.state for s in await observer.statuses()] == ["running"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_record_that_moves_on_while_it_is_read_is_told_once_it_is_known(
    ks: Keyspace, when: str
) -> None:
    """Variants are never folded with a record that they were not read with, nor an old one told."""
    store = MemoryStore()
    hand = Hand(store, ks)
    await hand.start("f1", A)
    async with observing(store, ks) as observer, aclosing(observer.watch()) as watch:
        moved: list[Revision] = []

        async def gate(call: str, moment: str) -> None:
            if call == "commit" and moment == when and not moved:
                moved.append(Revision(0))
                operations = [Delete(ks.active_flow(A)), *hand.variants(B)]
                moved[0] = await hand.do(hand.record("f1", [B]), *operations)
                await observer._flows.until(lambda _: observer._flows.revision >= moved[0])

        store.gate = gate
        status = await anext(watch)
        assert (status.mod_revision, states(status)) == (moved[0], {"indexer/f1": "starting"})


async def test_a_watch_tells_nothing_that_its_cache_has_wrong(
    store: Store, ks: Keyspace, hand: Hand
) -> None:
    """A flow whose record has moved on is told when the informer has it, not before."""
    for flow in ("f1", "f2"):
        await hand.start(flow, A)
    async with flows_informer(store, ks) as flows:
        await flows.until(lambda items: len(items) == 2)
        stale = cast("Flows", Stale(flows.items))
    await hand.do(hand.record("f1", [A], op="another"))
    async with Observer(store, ks, stale) as observer, aclosing(observer.watch()) as watch:
        assert (await anext(watch)).flow == "f2"


async def test_what_was_done_by_hand_is_seen_when_the_informers_list_again(ks: Keyspace) -> None:
    """A variant deleted without a word in the record of its flow."""
    store = MemoryStore()
    hand = Hand(store, ks)
    started = await hand.start("f1", A)
    await hand.say("chunker", "i1", started)
    async with observing(store, ks) as observer, aclosing(observer.watch()) as watch:
        await told_state(watch, "f1", "running")
        await hand.do(Delete(ks.active_flow(A)))
        store.cut_watches("test")
        assert (await told_state(watch, "f1", "failed")).variants[0].error


# -- processors ----------------------------------------------------------------------------------


async def test_a_processor_is_what_stands_in_the_store(
    store: Store, ks: Keyspace, hand: Hand
) -> None:
    """Its own variants and instances, whatever the caches have heard; nothing of another one."""
    async with observing(store, ks) as observer:
        shared = VariantName("chunker", "common")
        await hand.start("f1", A, B)
        at = await hand.do(*hand.variants(shared), Put(ks.flow_ref(shared, "f1"), encode({})))
        await hand.start("f2", VariantName("chunker2", "f2"))
        await hand.say("chunker", "c1", at, failed=["f1"])
        await hand.say("chunker", "c2", at - 1, pending=["x"])
        await hand.say("chunker2", "other", at)
        found = await observer.processor("chunker")
    assert (found.processor, found.state) == ("chunker", "degraded")
    assert [(v.name, v.state, v.shared) for v in found.variants] == [
        ("chunker/common", "running", True),
        ("chunker/f1", "degraded", False),
    ]
    assert (found.desired, found.running) == (2, 1)
    assert [(i.instance, i.observed_revision, i.pending, i.failed) for i in found.instances] == [
        ("c1", at, 0, 1),
        ("c2", at - 1, 1, 0),
    ]
    assert {(i.host, i.started, i.version) for i in found.instances} == {
        ("h", "2026-01-01T00:00:00Z", "1")
    }


async def test_what_was_taken_away_is_waited_for_until_every_instance_has_left(
    store: Store, ks: Keyspace, hand: Hand
) -> None:
    """What instances still name, or have not heard of, is told; variants that stay do not count."""
    told: list[str] = []
    heard = asyncio.Event()

    def tell(text: str) -> None:
        told.append(text)
        heard.set()

    async with observing(store, ks) as observer:

        class Seen:
            async def get_processor(self, processor: str) -> ProcessorStatus:
                return await observer.processor(processor)

        at = await hand.start("f1", A, B)
        await hand.say("chunker", "c1", at)
        gone = await hand.do(Delete(ks.active_flow(A)))
        await hand.say("chunker", "c2", gone, failed=["f1"])
        with pytest.raises(TimeoutError, match="chunker/f1 on c1, chunker/f1 on c2"):
            await wait_until_left(Seen(), [A, B], gone, timeout_s=0.05)
        assert (await observer.processor("chunker")).instances[1].leaving == ("f1",)
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(
                wait_until_left(Seen(), [A, B], gone, timeout_s=5, tell=tell)
            )
            await heard.wait()
            await hand.say("chunker", "c1", gone)
            await hand.say("chunker", "c2", gone)
            await waiting
    assert told[0] == "not seen to have ended: chunker/f1 on c1, chunker/f1 on c2"


async def test_processors_are_all_that_have_something_to_run_or_an_instance(
    store: Store, ks: Keyspace, hand: Hand
) -> None:
    """By name and without their variants: one that nobody runs, and one that has nothing to run."""
    async with observing(store, ks) as observer:
        assert await observer.processors_all() == []
        at = await hand.start("f1", A, B)
        await hand.say("chunker", "c1", at)
        await hand.say("idler", "i1", at)
        found = await observer.processors_all()
        assert [(p.processor, p.state, p.desired, p.running) for p in found] == [
            ("chunker", "running", 1, 1),
            ("idler", "idle", 0, 0),
            ("indexer", "missing", 1, 0),
        ]
        assert [p.variants for p in found] == [()] * 3
        for status in found:
            alone = await observer.processor(status.processor)
            assert msgspec.structs.replace(alone, variants=()) == status
        await hand.say("idler", "i1", at, pending=["f0"])
        (idle,) = [p for p in await observer.processors_all() if p.processor == "idler"]
        assert (idle.instances[0].pending, idle.instances[0].leaving) == (1, ())


async def test_a_processor_that_never_was_is_not_found(
    store: Store, ks: Keyspace, hand: Hand
) -> None:
    """Nor one whose name another one's begins with; what is no name is refused."""
    async with observing(store, ks) as observer:
        await hand.start("f1", A)
        with pytest.raises(NotFound):
            await observer.processor("chunk")
        with pytest.raises(InvalidName):
            await observer.processor("chunker/")


async def test_keys_that_are_no_variant_hide_no_processor(
    store: Store, ks: Keyspace, hand: Hand
) -> None:
    """What somebody else wrote in between is passed over; a status of rubbish is a silent
    instance."""
    async with observing(store, ks) as observer:
        at = await hand.start("f1", A)
        base = ks.active_flow_range("chunker").start
        await hand.do(Put(base + b"a/b", b"{}"), Put(base + b"\xff", b"{}"))
        await hand.do(Put(ks.processor("chunker", "c1"), b"nonsense"))
        await hand.say("chunker", "c2", at)
        found = await observer.processor("chunker")
    assert [(i.instance, i.observed_revision) for i in found.instances] == [("c1", 0), ("c2", at)]
    assert (found.desired, found.running) == (1, 1)
