"""The flow service where replies are lost, requests come late, and caches are stale.

On the store in memory, which does on cue what a network does when it likes.
"""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from flowsvc.errors import (
    AlreadyExists,
    NotFound,
    RequestReused,
    TooMuchContention,
    VariantTaken,
)
from flowsvc.fsck import repair
from flowsvc.model import PauseFlow, StartFlow, StopFlow
from flowsvc.service import FlowService
from flowsvc.view import Holders
from kvconfig.errors import NoSpace, OutcomeUnknown, Unavailable
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.txn import Put, Txn
from tests.flows import BLUEPRINT, a_service, as_json, start, state
from tests.history.virtual_time import run

KS = Keyspace("@faults")


async def test_start_and_stop_are_one_round_trip_each() -> None:
    """With warm caches: one call to the store, nothing read before and nothing after."""
    store = MemoryStore()
    async with a_service(store, KS) as service:
        await service.flows.until(lambda items: service.parameter_types.stats.events == 2)
        await service.blueprints.until(lambda items: len(items) == 1)
        store.calls.clear()
        started = await service.start_flow(start("f1"))
        await service.flows.until(lambda items: len(items) == 1)
        stopped = await service.stop_flow(StopFlow(flow="f1"))
        assert dict(store.calls) == {"commit": 2}
        assert (started.round_trips, stopped.round_trips) == (1, 1)


async def test_a_blueprint_filled_in_before_is_that_of_now() -> None:
    """Equal parameters are not all: a definition that was put since is another one."""
    store = MemoryStore()
    chunker = VariantName("chunker", "f2")
    async with a_service(store, KS) as service:
        await service.start_flow(start("f1"))
        await service.put_parameter_type("size", as_json({"default": 3000}), force=True)
        changed = {**BLUEPRINT, "flow": {"chunker:{id}": {"topics": {"in": "{id}:{size}"}}}}
        await service.put_blueprint("small", as_json(changed), force=True)
        await service.start_flow(start("f2"))
        found = await store.read(KS.active_flow(chunker))
        assert found is not None
        assert found.value == b'{"parameters":{},"topics":{"in":"f2:3000"}}'


async def test_what_python_takes_for_equal_is_told_apart() -> None:
    """``1``, ``1.0``, ``True`` and ``"1"`` are three texts, whichever a flow was given first."""
    store = MemoryStore()
    blueprint = {"flow": {"a:{id}": {"topics": {"x": "{p}"}}}}
    async with a_service(store, KS, blueprint) as service:
        texts = []
        values: tuple[str | float, ...] = (1, 1.0, True, "1", 0.0, -0.0)
        for number, value in enumerate(values):
            flow, given_ = f"f{number}", {"p": value}
            await service.start_flow(
                StartFlow(flow=flow, blueprint_name="small", parameters=given_)
            )
            texts.append((await service.get_flow(flow)).record.parameters["p"])
        assert texts == ["1", "1.0", "true", "1", "0.0", "-0.0"]


async def test_a_cold_cache_costs_one_more_and_is_never_believed() -> None:
    """The flow of another service is not in our cache yet: it is found all the same."""
    store = MemoryStore()
    async with a_service(store, KS) as one, FlowService(store, KS) as other:
        await one.start_flow(start("f1"))
        other.flows._cache.clear()
        done = await other.stop_flow(StopFlow(flow="f1"))
        assert done.round_trips == 2
        assert await state(store, KS) == {}


async def test_a_lost_compare_is_counted() -> None:
    """The shared variant is there already, which the service does not know: it plans again."""
    store = MemoryStore()
    async with a_service(store, KS) as one, FlowService(store, KS) as other:
        await other.blueprints.until(lambda items: len(items) == 1)
        first = other.start_flow(start("f1"))
        await one.start_flow(start("f2"))
        other._holders = Holders()
        done = await first
        assert (done.round_trips, done.conflicts) == (2, 1)


async def test_a_stale_cache_gives_no_refusal() -> None:
    """ "Exists", "not found" and "invalid" come from what was read, not from what was cached."""
    store = MemoryStore()
    async with a_service(store, KS) as one, FlowService(store, KS) as other:
        await one.start_flow(start("f1"))
        await other.flows.until(lambda items: len(items) == 1)
        stale = dict(other.flows._cache)
        await one.stop_flow(StopFlow(flow="f1"))
        await other.flows.until(lambda items: not items)
        other.flows._cache.update(stale)
        await other.start_flow(start("f1"))
        other.flows._cache.clear()
        with pytest.raises(AlreadyExists):
            await other.start_flow(start("f1"))
        other.blueprints._cache.clear()
        await other.start_flow(start("f2"))


async def test_a_stale_sharer_is_no_sharer() -> None:
    """The flow that shared a variant is gone; one of the same value, put by hand, is not shared."""
    store = MemoryStore()
    async with a_service(store, KS) as one, FlowService(store, KS) as other:
        await one.start_flow(start("f1"))
        await other.flows.until(lambda items: len(items) == 1)
        key = KS.active_flow(VariantName("query", "small"))
        value = (await store.read(key)).value  # type: ignore[union-attr]
        record = (await one.get_flow("f1")).record
        await one.stop_flow(StopFlow(flow="f1"))
        await other.flows.until(lambda items: not items)
        other._holders.add("f1", record)
        await store.commit(Txn(then=(Put(key, value),)))
        with pytest.raises(VariantTaken):
            await other.start_flow(start("f2"))


@pytest.mark.parametrize("fate", ["applied", "late", "dropped"])
async def test_a_lost_reply_is_asked_again(fate: str) -> None:
    """The same transaction is sent again; whatever came of the first, the flow starts once."""
    store = MemoryStore()
    async with a_service(store, KS) as service:
        store.lose_next_reply(fate)  # type: ignore[arg-type]
        done = await service.start_flow(start("f1"))
        before = await state(store, KS)
        assert before["flow/f1"]["op"] == done.op
        store.deliver_late()
        assert await state(store, KS) == before, "a late request changes nothing"
        await service.stop_flow(StopFlow(flow="f1"))
        store.deliver_late()
        assert await state(store, KS) == {}


async def test_no_refusal_while_a_lost_request_may_still_come() -> None:
    """A start that is refused after a lost reply is fenced: the lost request finds its op taken."""
    store = MemoryStore()
    async with a_service(store, KS) as one, FlowService(store, KS) as other:
        store.lose_next_reply("late")
        paused = asyncio.Event()
        calls = 0

        async def gate(call: str, moment: str) -> None:
            nonlocal calls
            calls += call == "commit" and moment == "before"
            if calls == 2 and moment == "before":  # the first attempt is lost; now somebody else
                calls += 1
                store.gate = None
                await other.start_flow(start("f1", op="theirs"))
                paused.set()

        store.gate = gate
        with pytest.raises(AlreadyExists):
            await one.start_flow(start("f1", op="ours"))
        assert paused.is_set()
        await other.stop_flow(StopFlow(flow="f1"))
        store.deliver_late()
        assert await state(store, KS) == {}, "the refused start came to life later"
        with pytest.raises(RequestReused):
            await one.start_flow(start("f1", op="ours"))


async def test_a_refusal_of_a_request_that_was_sent_before_is_final() -> None:
    """Another service had it, its answer was lost: refused here, it can't come to life there."""
    store = MemoryStore()
    async with a_service(store, KS) as one, FlowService(store, KS) as other:
        for _ in range(4):
            store.lose_next_reply("late")
        with pytest.raises(OutcomeUnknown):
            await one.start_flow(start("f1", op="ours"))
        await other.start_flow(start("f1", op="theirs"))
        again = msgspec.structs.replace(start("f1", op="ours"), resent=True)
        with pytest.raises(AlreadyExists):
            await other.start_flow(again)
        await other.stop_flow(StopFlow(flow="f1"))
        store.deliver_late()
        assert await state(store, KS) == {}


async def test_a_refusal_after_a_lost_reply_that_was_done_is_no_refusal() -> None:
    """Another service stopped what our lost request had started: it was done, and we say so."""
    store = MemoryStore()
    async with a_service(store, KS) as one, FlowService(store, KS) as other:
        store.lose_next_reply("applied")
        stopped: list[bool] = []

        async def gate(call: str, moment: str) -> None:
            if call == "commit" and moment == "after" and not stopped:
                stopped.append(True)
                store.gate = None
                await other.stop_flow(StopFlow(flow="f1"))

        store.gate = gate
        done = await one.start_flow(start("f1"))
        assert stopped
        assert done.revision
        assert await state(store, KS) == {}


async def test_when_nobody_answers_the_outcome_is_unknown() -> None:
    """Neither "done" nor "not done" is claimed; the same op finds out later."""
    store = MemoryStore()
    async with a_service(store, KS) as service:
        for _ in range(4):
            store.lose_next_reply("applied")
        with pytest.raises(OutcomeUnknown):
            await service.start_flow(start("f1", op="op-1"))
        again = await service.start_flow(start("f1", op="op-1"))
        assert (await service.get_flow("f1")).mod_revision == again.revision


async def test_after_a_lost_reply_not_available_is_unknown_too() -> None:
    """ "Nothing was written" is true of the last attempt only; the first may have been."""
    store = MemoryStore()
    async with a_service(store, KS) as service:
        store.lose_next_reply("applied")
        sent = 0

        async def gate(call: str, moment: str) -> None:
            nonlocal sent
            sent += moment == "before"
            if sent > 1:
                raise Unavailable("gone")

        store.gate = gate
        with pytest.raises(OutcomeUnknown):
            await service.start_flow(start("f1"))
        store.gate = None
        assert "flow/f1" in await state(store, KS)


async def test_what_the_store_refuses_is_said_and_leaves_nothing() -> None:
    """Weakness 1: a start that fails, fails as a whole; here because etcd is out of space."""
    store = MemoryStore()
    async with a_service(store, KS) as service:
        store.out_of_space = True
        with pytest.raises(NoSpace):
            await service.start_flow(start("f1"))
        assert await state(store, KS) == {}


async def test_a_flow_stops_while_etcd_is_out_of_space() -> None:
    """A stop is deletes, and its history, which it does without then, and says so."""
    store = MemoryStore()
    async with a_service(store, KS) as service:
        await service.start_flow(start("f1"))
        await service.change(PauseFlow(flow="f1"))
        await service.start_flow(start("f2"))
        store.out_of_space = True
        for flow in ("f1", "f2"):
            stopped = await service.stop_flow(StopFlow(flow=flow))
            assert "out of space" in stopped.findings[0].message
        assert await state(store, KS) == {}
        with pytest.raises(NoSpace):
            await service.start_flow(start("f1"))
        store.out_of_space = False
        actions = [entry.action for entry in await service.history("flow", "f1")]
        assert actions == ["pause", "start"]
        assert not (await repair(store, KS)).left
        (newest, *_) = await service.history("flow", "f1")
        assert newest.after is None


async def test_a_preview_reads_in_bulk() -> None:
    """However many variants: the plan's reads, and then what would be written, 128 at a time."""
    blueprint: dict[str, object] = {"flow": {f"p{i}:{{id}}": {} for i in range(100)}}
    store = MemoryStore()
    async with a_service(store, KS, blueprint) as service:
        await service.start_flow(start("f1"))
        store.calls.clear()
        preview = await service.preview(StopFlow(flow="f1"))
        assert len(preview.changes) == 100
        assert store.calls == {"commit": 2}


async def test_a_preview_over_a_compaction_begins_anew() -> None:
    """What the plan was made from is compacted before all that would be written is read."""
    store = MemoryStore()
    async with a_service(store, KS) as service:
        await service.start_flow(start("f1"))
        calls = 0

        async def gate(call: str, moment: str) -> None:
            nonlocal calls
            calls += (call, moment) == ("commit", "after")
            if calls == 1 and moment == "after":
                store.gate = None
                await store.commit(Txn(then=(Put(b"/elsewhere", b"1"),)))
                store.compact(store.revision)

        store.gate = gate
        preview = await service.preview(StopFlow(flow="f1"))
        assert preview.check_revision == store.revision
        assert len(preview.changes) == 3


async def test_a_large_read_over_a_compaction_begins_anew() -> None:
    """More than one transaction reads at once, at one revision; which is compacted in between."""
    blueprint: dict[str, object] = {"flow": {f"p{i}:{{id}}": {} for i in range(200)}}
    store = MemoryStore()
    async with a_service(store, KS, blueprint) as service:
        await service.start_flow(start("f1"))
        reads = 0

        async def gate(call: str, moment: str) -> None:
            nonlocal reads
            reads += call == "commit" and moment == "after"
            if reads == 1 and moment == "after":
                store.gate = None
                await store.commit(Txn(then=(Put(b"/elsewhere", b"1"),)))
                store.compact(store.revision)

        store.gate = gate
        await service.change(PauseFlow(flow="f1"))
        assert reads == 1
        assert len((await service.get_flow("f1")).record.paused or ()) == 200


async def test_endless_contention_ends_in_an_error() -> None:
    """Somebody rewrites the blueprint before each of our commits: we give way, and say so."""
    store = MemoryStore()
    async with a_service(store, KS) as service:
        turn = 0

        async def gate(call: str, moment: str) -> None:
            nonlocal turn
            if call == "commit" and moment == "before":
                turn += 1
                store.gate = None
                value = as_json(BLUEPRINT | {"description": str(turn)})
                await store.commit(Txn(then=(Put(KS.flow_blueprint("small"), value),)))
                store.gate = gate

        store.gate = gate
        with pytest.raises(TooMuchContention) as gave_way:
            await service.start_flow(start("f1"))
        store.gate = None
        assert gave_way.value.attempts == turn
        assert await state(store, KS) == {}
        with pytest.raises(NotFound):
            await service.get_flow("f1")


async def _starts_in_an_election() -> None:
    """Nobody answers for two seconds, and the answer to the first request after that is lost."""
    loop = asyncio.get_running_loop()
    store = MemoryStore(clock=loop.time)
    store.lose_next_reply("applied")

    async def gate(call: str, moment: str) -> None:
        if loop.time() < 2.0:
            raise Unavailable("no leader")

    store.gate = gate
    async with FlowService(store, KS) as service:
        assert await service.list_flows() == []
    assert loop.time() >= 2.0


def test_a_service_that_starts_in_an_election_waits_for_its_end() -> None:
    """Its first write is sent again: to another member, and until there is a leader."""
    run(_starts_in_an_election())
