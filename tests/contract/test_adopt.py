"""Taking over a flow that another system has started, on both stores: one transaction for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from flowsvc.errors import (
    AlreadyExists,
    FlowTooLarge,
    PlanStale,
    RequestReused,
    SharedVariantDiffers,
    VariantTaken,
)
from flowsvc.fsck import check
from flowsvc.model import (
    Actor,
    AdoptFlow,
    OldKey,
    ResumeFlow,
    RollBackFlow,
    StopFlow,
    UpdateFlow,
)
from flowsvc.service import FlowService
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.records import VariantRecord
from kvconfig.store import Store, list_all
from kvconfig.txn import Put, Txn
from tests.flows import a_service, start, state

CHUNKER = VariantName("chunker", "f1")
QUERY = VariantName("query", "small")
LIMIT_10 = VariantRecord(topics={"request": "request:query:small"}, parameters={"limit": "10"})
AS_IT_RAN = VariantRecord(topics={"input": "elsewhere"}, parameters={"size": "7"})


@pytest.fixture
def ks(root: str) -> Keyspace:
    return Keyspace(root)


def adopt(flow: str = "f1", **changed: Any) -> AdoptFlow:
    request = AdoptFlow(
        flow=flow,
        blueprint_name="small",
        description="taken over",
        interfaces={"query": {"request": "request:query:small"}},
        parameters={"size": "7", "limit": "10"},
        own={VariantName("chunker", flow): AS_IT_RAN},
        shared={QUERY: LIMIT_10},
    )
    return msgspec.structs.replace(request, **changed)


async def sound(store: Store, ks: Keyspace) -> None:
    _, found = await check(store, ks)
    assert not found, found


async def put_old(store: Store, ks: Keyspace, values: Mapping[str, bytes]) -> dict[str, OldKey]:
    """Keys of an older layout, and what a request has to say for each to go."""
    base = ks.everything().start
    keys = {name: base + name.encode() for name in values}
    txn = Txn(then=tuple(Put(keys[name], value) for name, value in values.items()))
    revision = (await store.commit(txn)).revision
    return {name: OldKey(key=key, mod_revision=revision) for name, key in keys.items()}


async def test_what_ran_elsewhere_stands_as_it_ran(store: Store, ks: Keyspace) -> None:
    """Record, variants with the values given, references, use and history; nothing is rendered."""
    async with a_service(store, ks) as service:
        done = await service.change(adopt(actor=Actor(by="me", why="moving")))
        assert await state(store, ks) == {
            "active-flow/chunker/f1": {
                "topics": {"input": "elsewhere"},
                "parameters": {"size": "7"},
            },
            "active-flow/query/small": {
                "topics": {"request": "request:query:small"},
                "parameters": {"limit": "10"},
            },
            "blueprint-use/small/f1": {},
            "flow-ref/query/small/f1": {},
            "flow/f1": {
                "blueprint-name": "small",
                "description": "taken over",
                "interfaces": {"query": {"request": "request:query:small"}},
                "parameters": {"size": "7", "limit": "10"},
                "variants": {"own": ["chunker/f1"], "shared": ["query/small"]},
                "op": done.op,
            },
        }
        (entry,) = await service.history("flow", "f1")
        assert (entry.action, entry.by, entry.why) == ("adopt", "me", "moving")
        assert entry.revision == done.revision
        await sound(store, ks)


async def test_an_adopted_flow_has_a_whole_life(store: Store, ks: Keyspace) -> None:
    """It shares with others, is updated to what its blueprint says, goes back, and stops."""
    async with a_service(store, ks) as service:
        await service.start_flow(start("f0"))
        adopted = await service.change(adopt())
        as_it_ran = await state(store, ks)
        await service.change(UpdateFlow(flow="f1"))
        stands = await state(store, ks)
        assert stands["active-flow/chunker/f1"]["topics"]["input"] == "flow:load:f1"
        assert "active-flow/indexer/f1" in stands
        await service.change(RollBackFlow(flow="f1", to=adopted.op))
        back = await state(store, ks)
        assert back["flow/f1"].pop("op") != as_it_ran["flow/f1"].pop("op")
        assert back == as_it_ran
        await sound(store, ks)
        await service.stop_flow(StopFlow(flow="f0"))
        await service.stop_flow(StopFlow(flow="f1"))
        assert await state(store, ks) == {}
        await sound(store, ks)


async def test_a_flow_that_rested_rests_until_it_is_resumed(store: Store, ks: Keyspace) -> None:
    """Paused, none of its variants stands, and its values are in its record."""
    async with a_service(store, ks) as service:
        await service.change(adopt(paused=True))
        assert not [key for key in await state(store, ks) if key.startswith("active-flow")]
        await sound(store, ks)
        await service.change(ResumeFlow(flow="f1"))
        assert (await state(store, ks))["active-flow/chunker/f1"]["parameters"] == {"size": "7"}
        await sound(store, ks)


async def test_a_flow_without_its_blueprint_runs_and_stops(store: Store, ks: Keyspace) -> None:
    """fsck warns of it, and finds nothing else."""
    async with FlowService(store, ks) as service:
        done = await service.change(adopt(blueprint_name="gone"))
        assert [finding.severity for finding in done.findings] == ["warning"]
        _, found = await check(store, ks)
        assert [(each.code, each.severity) for each in found] == [("blueprint-missing", "warning")]
        await service.stop_flow(StopFlow(flow="f1"))
        assert await state(store, ks) == {}


async def test_old_keys_go_at_the_revision_at_which_the_new_ones_come(
    store: Store, ks: Keyspace
) -> None:
    """A blob shrinks, another key goes, an old record is replaced: all in the one transaction."""
    async with a_service(store, ks) as service:
        old = await put_old(
            store, ks, {"active-flow/chunker": b"{}", "old/f1": b"{}", "flow/f1": b"{}"}
        )
        blob = msgspec.structs.replace(old["active-flow/chunker"], value=b'{"left":1}')
        request = adopt(replaces=old["flow/f1"].mod_revision, instead_of=(blob, old["old/f1"]))
        done = await service.change(request)
        page = await list_all(store, ks.everything())
        written = {kv.key for kv in page.items if kv.mod_revision == done.revision}
        assert blob.key in written
        assert ks.active_flow(CHUNKER) in written
        stands = await state(store, ks)
        assert stands["active-flow/chunker"] == {"left": 1}
        assert "old/f1" not in stands
        assert stands["flow/f1"]["op"] == done.op


@pytest.mark.parametrize("name", ["active-flow/chunker", "old/f1", "flow/f1"])
async def test_an_old_key_that_was_written_since_stops_it(
    store: Store, ks: Keyspace, name: str
) -> None:
    """Somebody still changes what is taken over: nothing is written, and the key is named."""
    async with a_service(store, ks) as service:
        values = {"active-flow/chunker": b"{}", "old/f1": b"{}", "flow/f1": b"{}"}
        old = await put_old(store, ks, values)
        await put_old(store, ks, {name: b'{"changed":1}'})
        before = await state(store, ks)
        with pytest.raises(PlanStale) as raised:
            await service.change(
                adopt(replaces=old.pop("flow/f1").mod_revision, instead_of=tuple(old.values()))
            )
        assert raised.value.key == (ks.everything().start + name.encode()).decode()
        assert await state(store, ks) == before


async def test_a_large_flow_is_taken_over_whole_or_not_at_all(store: Store, ks: Keyspace) -> None:
    """300 variants and 100 old keys are nested; one that was written since ends the whole."""
    async with a_service(store, ks) as service:
        values = {f"active-flow/p{number}": b"{}" for number in range(100)}
        old = await put_old(store, ks, values)
        own = {VariantName(f"p{number}", "f1"): AS_IT_RAN for number in range(300)}
        request = adopt(own=own, shared={}, instead_of=tuple(old.values()))
        changed = await put_old(store, ks, {"active-flow/p77": b'{"changed":1}'})
        with pytest.raises(PlanStale, match="p77"):
            await service.change(request)
        assert "flow/f1" not in await state(store, ks)
        old |= changed
        await service.change(msgspec.structs.replace(request, instead_of=tuple(old.values())))
        await sound(store, ks)
        stands = await state(store, ks)
        assert len([key for key in stands if key.startswith("active-flow/")]) == 300


async def test_one_that_could_not_be_stopped_is_not_taken_over(store: Store, ks: Keyspace) -> None:
    """Though it rests, and nothing of it is put: once it is resumed it would run for ever."""
    async with a_service(store, ks) as service:
        own = {VariantName(f"p{number}", "f1"): AS_IT_RAN for number in range(5000)}
        with pytest.raises(FlowTooLarge):
            await service.change(adopt(own=own, paused=True))
        assert await state(store, ks) == {}


async def test_it_is_refused_as_a_start_would_be(store: Store, ks: Keyspace) -> None:
    """The id, a variant, or another value of a shared one are somebody's; nothing is written."""
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1", size=300))
        before = await state(store, ks)
        with pytest.raises(AlreadyExists):
            await service.change(adopt())
        with pytest.raises(VariantTaken, match="f1"):
            await service.change(adopt("f2", own={CHUNKER: AS_IT_RAN}))
        with pytest.raises(SharedVariantDiffers) as raised:
            await service.change(adopt("f2", shared={QUERY: AS_IT_RAN}))
        assert raised.value.holder == "f1"
        assert await state(store, ks) == before


async def test_the_same_request_is_done_once(store: Store, ks: Keyspace) -> None:
    """With its op it has the same answer again; the op of something else is refused."""
    async with a_service(store, ks) as service:
        first = await service.change(adopt(op="once"))
        again = await service.change(adopt(op="once"))
        assert again.revision == first.revision
        await service.stop_flow(StopFlow(flow="f1", op="stopped"))
        with pytest.raises(RequestReused):
            await service.change(adopt(op="stopped"))


async def test_two_that_share_are_taken_over_one_after_the_other(
    store: Store, ks: Keyspace
) -> None:
    """The second finds the variant of the first, refers to it, and puts it not again."""
    async with a_service(store, ks) as service:
        first = await service.change(adopt())
        second = await service.change(adopt("f2"))
        found = await store.read(ks.active_flow(QUERY))
        assert found is not None
        assert found.mod_revision == first.revision < second.revision
        await service.stop_flow(StopFlow(flow="f1"))
        assert "active-flow/query/small" in await state(store, ks)
        await sound(store, ks)
