"""Flows on both stores: what one transaction does, and what goes wrong elsewhere and not here.

"Weakness n" is one of the faults of the design that this one replaces.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from flowsvc.errors import (
    AlreadyExists,
    BlueprintInvalid,
    FlowTooLarge,
    NotFound,
    RequestReused,
    SharedVariantDiffers,
    VariantTaken,
)
from flowsvc.model import Actor, StartFlow, StopFlow
from flowsvc.service import FlowService
from kvconfig.errors import InvalidName, LayoutTooNew
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.store import Store, list_all
from kvconfig.txn import Delete, Put, Txn
from tests.flows import BLUEPRINT, a_service, as_json, revisions, start, state


@pytest.fixture
def ks(root: str) -> Keyspace:
    return Keyspace(root)


async def test_a_start_puts_variants_record_references_and_history(
    store: Store, ks: Keyspace
) -> None:
    """All of a flow stands in etcd after its start, in the shape of DESIGN §3, nothing else."""
    async with a_service(store, ks) as service:
        done = await service.start_flow(start("f1", size=300))
        assert await state(store, ks) == {
            "active-flow/chunker/f1": {
                "topics": {"input": "flow:load:f1", "output": "flow:chunks:f1"},
                "parameters": {"size": "300"},
            },
            "active-flow/indexer/f1": {"topics": {"input": "flow:chunks:f1"}, "parameters": {}},
            "active-flow/query/small": {
                "topics": {"request": "request:query:small"},
                "parameters": {"limit": "10"},
            },
            "blueprint-use/small/f1": {},
            "flow-ref/query/small/f1": {},
            "flow/f1": {
                "blueprint-name": "small",
                "description": "",
                "interfaces": {"query": {"request": "request:query:small"}},
                "parameters": {"size": "300", "limit": "10"},
                "given": {"size": "300"},
                "variants": {"own": ["chunker/f1", "indexer/f1"], "shared": ["query/small"]},
                "op": done.op,
            },
        }


async def test_every_key_of_a_start_has_one_mod_revision(store: Store, ks: Keyspace) -> None:
    """A start is one transaction: each key it put, history too, has the revision it reports."""
    async with a_service(store, ks) as service:
        done = await service.start_flow(start("f1"))
        for type_ in ("active-flow", "flow", "flow-ref", "blueprint-use"):
            found = await revisions(store, ks, type_)
            assert found, type_
            assert set(found.values()) == {done.revision}, type_
        history = await revisions(store, ks, "history")
        assert history[f"flow/f1/{done.op}"] == done.revision


async def test_a_stop_deletes_all_at_one_revision(store: Store, ks: Keyspace) -> None:
    """A stop is one transaction: the revision moves by one, and only the history is left."""
    async with a_service(store, ks) as service:
        started = await service.start_flow(start("f1"))
        stopped = await service.stop_flow(StopFlow(flow="f1"))
        assert await state(store, ks) == {}
        before = await list_all(store, ks.type_range("active-flow"), revision=started.revision)
        assert len(before.items) == 3
        history = await revisions(store, ks, "history")
        assert history[f"flow/f1/{stopped.op}"] == stopped.revision


async def test_history_says_who_why_and_what(store: Store, ks: Keyspace) -> None:
    """Each operation leaves an entry: action, by, why, at, and what stands after it."""
    async with a_service(store, ks) as service:
        actor = Actor(by="ann", why="a try")
        request = StartFlow(flow="f1", blueprint_name="small", actor=actor)
        started = await service.start_flow(request)
        await service.stop_flow(StopFlow(flow="f1", actor=actor))
        page = await list_all(store, ks.history_range("flow", "f1"))
        first, second = sorted(page.items, key=lambda kv: kv.create_revision)
        entry = json.loads(first.value)
        assert (entry["action"], entry["by"], entry["why"]) == ("start", "ann", "a try")
        assert entry["at"].endswith("Z")
        assert entry["after"]["record"]["op"] == started.op
        assert set(entry["after"]["variants"]) == {"chunker/f1", "indexer/f1", "query/small"}
        assert json.loads(second.value)["after"] is None


async def test_a_shared_variant_lives_as_long_as_one_flow_needs_it(
    store: Store, ks: Keyspace
) -> None:
    """Weakness 2: shared entries go with the last flow, and not before; nor are they put again."""
    async with a_service(store, ks) as service:
        first = await service.start_flow(start("f1"))
        await service.start_flow(start("f2"))
        shared = (await revisions(store, ks, "active-flow"))["query/small"]
        assert shared == first.revision, "the second start must not put it again"
        await service.stop_flow(StopFlow(flow="f1"))
        assert (await revisions(store, ks, "active-flow"))["query/small"] == first.revision
        await service.stop_flow(StopFlow(flow="f2"))
        assert await state(store, ks) == {}


async def test_a_second_flow_cannot_change_a_shared_variant(store: Store, ks: Keyspace) -> None:
    """Weakness 3: another value is refused, naming both flows and the fields; nothing is done."""
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1", limit=10))
        before = await state(store, ks)
        with pytest.raises(SharedVariantDiffers) as refused:
            await service.start_flow(start("f2", limit=20))
        error = refused.value
        assert (error.flow, error.holder, error.variant) == ("f2", "f1", "query/small")
        assert error.fields == ("parameters.limit",)
        assert await state(store, ks) == before


async def test_an_equal_shared_value_in_another_form_is_shared(store: Store, ks: Keyspace) -> None:
    """Somebody rewrote it by hand, with spaces and in another order: the values are equal."""
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        key = ks.active_flow(VariantName("query", "small"))
        by_hand = b'{ "topics": {"request": "request:query:small"}, "parameters": {"limit": "10"} }'
        await store.commit(Txn(then=(Put(key, by_hand),)))
        await service.start_flow(start("f2"))
        await store.commit(Txn(then=(Put(key, b"broken"),)))
        with pytest.raises(SharedVariantDiffers) as refused:
            await service.start_flow(start("f3"))
        assert refused.value.fields == ("$",)


async def test_a_blueprint_edited_while_a_flow_runs_leaks_nothing(
    store: Store, ks: Keyspace
) -> None:
    """Weakness 4: a stop works from the flow's own list, not from today's blueprint."""
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        edited = BLUEPRINT | {"flow": {"other:{id}": {"topics": {}, "parameters": {}}}}
        await service.put_blueprint("small", as_json(edited), force=True)
        await service.stop_flow(StopFlow(flow="f1"))
        assert await state(store, ks) == {}


async def test_a_stop_takes_nothing_that_is_not_the_flows(store: Store, ks: Keyspace) -> None:
    """Weakness 12: the last flow of a workspace goes, and what others have stays as it is."""
    topic = ks.item("topic", "request:query:small")
    await store.commit(Txn(then=(Put(topic, b'{"owner":"another service"}'),)))
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        before = await state(store, ks)
        request = StartFlow(flow="f2", blueprint_name="small", workspace="theirs")
        await service.start_flow(request)
        await service.stop_flow(StopFlow(flow="f2"))
        assert await state(store, ks) == before


async def test_a_flow_stops_without_its_blueprint(store: Store, ks: Keyspace) -> None:
    """Weakness 5: the blueprint is gone, and the flow stops all the same."""
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        await store.commit(Txn(then=(Delete(ks.flow_blueprint("small")),)))
        await service.stop_flow(StopFlow(flow="f1"))
        assert await state(store, ks) == {}


async def test_text_that_is_no_json_is_no_blueprint(store: Store, ks: Keyspace) -> None:
    """Weakness 11: it is refused, and nothing is stored."""
    async with a_service(store, ks, blueprint=None) as service:
        for text in (b"not json", b"[]", b'"text"', b"\xff", b""):
            with pytest.raises(BlueprintInvalid):
                await service.put_blueprint("small", text)
        assert await service.list_definitions("flow-blueprint") == []


async def test_values_that_are_no_strings_do_not_crash_a_start(store: Store, ks: Keyspace) -> None:
    """Weakness 10: numbers and booleans in a blueprint come out as text."""
    blueprint = {
        "blueprint": {},
        "flow": {"a:{id}": {"topics": {}, "parameters": {"n": 5, "x": 0.5, "on": True}}},
    }
    async with a_service(store, ks, blueprint) as service:
        await service.start_flow(start("f1"))
        found = (await state(store, ks))["active-flow/a/f1"]
        assert found == {"topics": {}, "parameters": {"n": "5", "x": "0.5", "on": "true"}}


async def test_two_flows_cannot_own_one_literal_variant(store: Store, ks: Keyspace) -> None:
    """Weakness 13: the second start is refused, so no stop can take what another flow uses."""
    blueprint: dict[str, Any] = {
        "blueprint": {},
        "flow": {"a:only": {"topics": {}, "parameters": {}}},
    }
    async with a_service(store, ks, blueprint) as service:
        await service.start_flow(start("f1"))
        with pytest.raises(VariantTaken) as refused:
            await service.start_flow(start("f2"))
        assert (refused.value.variant, refused.value.holder) == ("a/only", "f1")
        assert list(await revisions(store, ks, "active-flow")) == ["a/only"]


async def test_a_variant_written_by_hand_is_never_taken_over(store: Store, ks: Keyspace) -> None:
    """An own or a shared variant without a reference belongs to somebody: the start is refused."""
    async with a_service(store, ks) as service:
        by_hand = b'{"parameters":{"limit":"10"},"topics":{"request":"request:query:small"}}'
        for name in (VariantName("query", "small"), VariantName("indexer", "f1")):
            key = ks.active_flow(name)
            await store.commit(Txn(then=(Put(key, by_hand),)))
            with pytest.raises(VariantTaken) as refused:
                await service.start_flow(start("f1"))
            assert refused.value.holder is None
            await store.commit(Txn(then=(Delete(key),)))
        await service.start_flow(start("f1"))


async def test_refusals_name_what_is_missing_or_there(store: Store, ks: Keyspace) -> None:
    """Not found, exists already and bad names are told apart, and leave nothing."""
    async with a_service(store, ks) as service:
        with pytest.raises(NotFound) as missing:
            await service.start_flow(StartFlow(flow="f1", blueprint_name="none"))
        assert (missing.value.kind, missing.value.name) == ("blueprint", "none")
        with pytest.raises(NotFound) as missing:
            await service.stop_flow(StopFlow(flow="f1"))
        assert (missing.value.kind, missing.value.name) == ("flow", "f1")
        for name in ("", "a/b", "..", "f1\n", "ünder"):
            with pytest.raises(InvalidName):
                await service.start_flow(start(name))
        assert await state(store, ks) == {}
        await service.start_flow(start("f1"))
        with pytest.raises(AlreadyExists):
            await service.start_flow(start("f1"))


async def test_the_same_request_twice_gets_the_same_answer(store: Store, ks: Keyspace) -> None:
    """An op id makes a request idempotent; used for something else it is refused."""
    async with a_service(store, ks) as service:
        first = await service.start_flow(start("f1", op="op-1"))
        again = await service.start_flow(start("f1", op="op-1"))
        assert (again.op, again.revision) == (first.op, first.revision)
        with pytest.raises(RequestReused):
            await service.stop_flow(StopFlow(flow="f1", op="op-1"))
        stopped = await service.stop_flow(StopFlow(flow="f1", op="op-2"))
        assert (await service.stop_flow(StopFlow(flow="f1", op="op-2"))).revision == (
            stopped.revision
        )
        late = await service.start_flow(start("f1", op="op-1"))
        assert late.revision == first.revision, "it was done, and the flow stays stopped"
        assert await state(store, ks) == {}


async def test_an_equal_definition_is_not_written_again(store: Store, ks: Keyspace) -> None:
    """Putting what stands there moves no revision, whatever the spaces and the order of keys."""
    async with a_service(store, ks) as service:
        before = await revisions(store, ks, "flow-blueprint")
        turned = dict(reversed(BLUEPRINT.items()))
        await service.put_blueprint("small", json.dumps(turned, indent=4).encode())
        assert await revisions(store, ks, "flow-blueprint") == before


async def test_a_start_uses_the_parameter_types_of_now(store: Store, ks: Keyspace) -> None:
    """Weakness 8: another service changes a default; the next start of this one has the new one."""
    async with a_service(store, ks) as one, FlowService(store, ks) as other:
        await other.put_parameter_type("size", as_json({"type": "integer", "default": 7}))
        await one.start_flow(start("f1"))
        assert (await one.get_flow("f1")).record.parameters["size"] == "7"


async def test_two_services_racing_to_start_one_flow(store: Store, ks: Keyspace) -> None:
    """200 times: exactly one wins, and nothing is left of the loser."""
    async with a_service(store, ks) as one, FlowService(store, ks) as other:
        for round_ in range(200):
            flow = f"f{round_}"
            answers = await asyncio.gather(
                one.start_flow(start(flow, op=f"one-{round_}", size=1)),
                other.start_flow(start(flow, op=f"other-{round_}", size=2)),
                return_exceptions=True,
            )
            lost = [answer for answer in answers if isinstance(answer, BaseException)]
            assert [type(error) for error in lost] == [AlreadyExists]
            winner = "one" if isinstance(answers[1], AlreadyExists) else "other"
            record = (await one.get_flow(flow)).record
            assert record.op == f"{winner}-{round_}"
            assert record.parameters["size"] == ("1" if winner == "one" else "2")
            assert [*await revisions(store, ks, "history")].count(f"flow/{flow}/{record.op}") == 1
            assert (
                sum(
                    key.startswith(f"flow/{flow}/") for key in await revisions(store, ks, "history")
                )
                == 1
            )
            await one.stop_flow(StopFlow(flow=flow))
        assert await state(store, ks) == {}


async def test_flows_without_variants_of_their_own_race_too(store: Store, ks: Keyspace) -> None:
    """Where a flow only shares, its record alone tells: one start wins, and one stop."""
    shared: dict[str, Any] = {"a:{blueprint}": {"topics": {}, "parameters": {}}}
    blueprint = {"flow": {}, "blueprint": shared}
    async with a_service(store, ks, blueprint) as one, FlowService(store, ks) as other:
        for _ in range(10):
            await one.start_flow(start("holder"))
            started = await asyncio.gather(
                one.start_flow(start("f1")), other.start_flow(start("f1")), return_exceptions=True
            )
            assert [type(a) for a in started if isinstance(a, Exception)] == [AlreadyExists]
            stopped = await asyncio.gather(
                one.stop_flow(StopFlow(flow="f1")),
                other.stop_flow(StopFlow(flow="f1")),
                return_exceptions=True,
            )
            assert [type(a) for a in stopped if isinstance(a, Exception)] == [NotFound]
            assert "active-flow/a/small" in await state(store, ks)
            await other.stop_flow(StopFlow(flow="holder"))
            assert await state(store, ks) == {}


async def test_racing_starts_and_stops_keep_a_shared_variant_exactly(
    store: Store, ks: Keyspace
) -> None:
    """Flows that share a variant come and go at once: it is there while needed, then gone."""
    async with a_service(store, ks) as one, FlowService(store, ks) as other:
        for _ in range(25):
            await asyncio.gather(
                *(s.start_flow(start(f"f{i}")) for i, s in enumerate([one, other]))
            )
            assert "query/small" in await revisions(store, ks, "active-flow")
            await asyncio.gather(
                one.stop_flow(StopFlow(flow="f1")),
                other.stop_flow(StopFlow(flow="f0")),
                one.start_flow(start("f2")),
            )
            assert list(await revisions(store, ks, "active-flow")) == [
                "chunker/f2",
                "indexer/f2",
                "query/small",
            ]
            await other.stop_flow(StopFlow(flow="f2"))
            assert await state(store, ks) == {}


async def test_a_flow_of_a_thousand_variants_is_one_transaction(store: Store, ks: Keyspace) -> None:
    """Weakness 1: however large, all or nothing; a conflict on the 999th variant leaves nothing."""
    entries: dict[str, Any] = {
        f"p{i:04}:{{id}}": {"topics": {}, "parameters": {}} for i in range(1000)
    }
    async with a_service(store, ks, {"blueprint": {}, "flow": entries}) as service:
        taken = ks.active_flow(VariantName("p0998", "f1"))
        await store.commit(Txn(then=(Put(taken, b"{}"),)))
        with pytest.raises(VariantTaken) as refused:
            await service.start_flow(start("f1"))
        assert refused.value.variant == "p0998/f1"
        assert list(await state(store, ks)) == ["active-flow/p0998/f1"]
        await store.commit(Txn(then=(Delete(taken),)))
        done = await service.start_flow(start("f1"))
        found = await revisions(store, ks, "active-flow")
        assert len(found) == 1000
        assert set(found.values()) == {done.revision}
        await service.stop_flow(StopFlow(flow="f1"))
        assert await state(store, ks) == {}


async def test_a_flow_too_large_for_one_transaction_is_refused(store: Store, ks: Keyspace) -> None:
    """It is never split in two: a clear error with count and limit, and nothing is left."""
    entries: dict[str, Any] = {
        f"p{i}:{{id}}": {"topics": {}, "parameters": {}} for i in range(4090)
    }
    async with a_service(store, ks, {"blueprint": {}, "flow": entries}) as service:
        with pytest.raises(FlowTooLarge) as refused:
            await service.start_flow(start("f1"))
        assert refused.value.count > refused.value.limit > 3000
        assert await state(store, ks) == {}


async def test_a_newer_layout_is_refused(store: Store, ks: Keyspace) -> None:
    """A service does not touch keys that a newer version laid out."""
    await store.commit(Txn(then=(Put(ks.layout(), b'{"version":2}'),)))
    with pytest.raises(LayoutTooNew) as refused:
        async with FlowService(store, ks):
            pass
    assert (refused.value.found, refused.value.supported) == (2, 1)


async def test_lists_leave_out_what_cannot_be_read(store: Store, ks: Keyspace) -> None:
    """A record that somebody broke by hand hides no other."""
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        bad = (Put(ks.flow("bad"), b"nope"), Put(ks.flow("f1") + b"/x", b"{}"))
        await store.commit(Txn(then=bad))
        assert [flow.id for flow in await service.list_flows()] == ["f1"]
