"""The life of flows after their start, on both stores: each step one transaction."""

from __future__ import annotations

import asyncio
import json
from copy import deepcopy
from functools import partial
from typing import Any, get_args

import msgspec
import pytest

from flowsvc.errors import (
    AlreadyExists,
    BlueprintInvalid,
    FlowDamaged,
    FlowTooLarge,
    InUse,
    NotFound,
    ParametersInvalid,
    PlanStale,
    RequestReused,
    SharedVariantDiffers,
    VariantTaken,
    WrongState,
)
from flowsvc.history import KEEP, MIN_AGE_S, SLACK
from flowsvc.ids import new_op
from flowsvc.model import (
    KIND_WORDS,
    Actor,
    Change,
    DefinitionKind,
    DeleteDefinition,
    PauseFlow,
    PutDefinition,
    ResumeFlow,
    RollBackDefinition,
    RollBackFlow,
    RollOut,
    StartFlow,
    StopFlow,
    UpdateFlow,
)
from flowsvc.service import FlowService
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.model import Revision
from kvconfig.store import Store, list_all
from kvconfig.txn import Delete, Put, Txn
from tests.flows import BLUEPRINT, TYPES, a_service, as_json, revisions, start, state


@pytest.fixture
def ks(root: str) -> Keyspace:
    return Keyspace(root)


def changed(edit: dict[str, Any]) -> bytes:
    """The small blueprint with some of its sections replaced."""
    return as_json({**deepcopy(BLUEPRINT), **edit})


async def everything(store: Store, ks: Keyspace) -> dict[bytes, bytes]:
    return {kv.key: kv.value for kv in (await list_all(store, ks.everything())).items}


# -- update --------------------------------------------------------------------------------------


async def test_an_update_puts_only_the_variants_that_change(store: Store, ks: Keyspace) -> None:
    """A new chunk size: the chunker hears of it, the indexer and the shared query do not."""
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        before = await revisions(store, ks, "active-flow")
        done = await service.change(UpdateFlow(flow="f1", parameters={"size": 50}))
        after = await revisions(store, ks, "active-flow")
        assert after == before | {"chunker/f1": done.revision}
        flow = await service.get_flow("f1")
        assert flow.record.parameters == {"size": "50", "limit": "10"}
        assert (flow.record.given, flow.record.op) == ({"size": "50"}, done.op)


async def test_an_update_that_changes_nothing_writes_nothing(store: Store, ks: Keyspace) -> None:
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1", size=50))
        before = await everything(store, ks)
        done = await service.change(UpdateFlow(flow="f1", parameters={"size": "50"}))
        assert await everything(store, ks) == before
        assert done.revision == (await list_all(store, ks.everything())).revision


async def test_what_was_given_stays_and_defaults_follow_their_type(
    store: Store, ks: Keyspace
) -> None:
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1", size=50))
        for name in ("size", "limit"):
            edited = as_json({**TYPES[name], "default": 7})
            await service.put_parameter_type(name, edited, force=True)
        await service.change(UpdateFlow(flow="f1"))
        assert (await service.get_flow("f1")).record.parameters == {"size": "50", "limit": "7"}
        await service.change(UpdateFlow(flow="f1", reset=("size",)))
        assert (await service.get_flow("f1")).record.parameters == {"size": "7", "limit": "7"}
        with pytest.raises(ParametersInvalid, match="size"):
            await service.change(UpdateFlow(flow="f1", reset=("size",)))


async def test_an_update_follows_a_new_version_of_the_blueprint(store: Store, ks: Keyspace) -> None:
    """Variants come, go, and change hands between own and shared; at one revision."""
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        await service.put_blueprint(
            "small",
            changed(
                {
                    "blueprint": {"indexer:{blueprint}": {"topics": {"input": "in"}}},
                    "flow": {
                        "chunker:{id}": BLUEPRINT["flow"]["chunker:{id}"],
                        "query:small": {
                            "topics": {"request": "request:query:small"},
                            "parameters": {"limit": "{limit}"},
                        },
                        "loader:{id}": {},
                    },
                }
            ),
            force=True,
        )
        before = await revisions(store, ks, "active-flow")
        done = await service.change(UpdateFlow(flow="f1"))
        assert await revisions(store, ks, "active-flow") == {
            "chunker/f1": before["chunker/f1"],
            "query/small": before["query/small"],
            "indexer/small": done.revision,
            "loader/f1": done.revision,
        }
        assert set(await revisions(store, ks, "flow-ref")) == {"indexer/small/f1"}
        record = (await service.get_flow("f1")).record
        assert record.variants.own == ("chunker/f1", "loader/f1", "query/small")
        assert record.variants.shared == ("indexer/small",)
        await service.put_blueprint("small", as_json(BLUEPRINT), force=True)
        await service.change(UpdateFlow(flow="f1"))
        assert set(await revisions(store, ks, "active-flow")) == set(before)
        assert set(await revisions(store, ks, "flow-ref")) == {"query/small/f1"}
        await service.stop_flow(StopFlow(flow="f1"))
        assert await state(store, ks) == {}


async def test_an_update_to_another_blueprint_moves_the_use(store: Store, ks: Keyspace) -> None:
    async with a_service(store, ks) as service:
        await service.put_blueprint("other", as_json(BLUEPRINT))
        await service.start_flow(start("f1"))
        request = UpdateFlow(flow="f1", blueprint_name="other", description="moved")
        await service.change(request)
        assert set(await revisions(store, ks, "blueprint-use")) == {"other/f1"}
        assert set(await revisions(store, ks, "flow-ref")) == {"query/other/f1"}
        assert (await service.get_flow("f1")).record.description == "moved"
        await service.change(DeleteDefinition(kind="flow-blueprint", name="small"))


async def test_the_workspace_of_a_flow_outlives_its_start(store: Store, ks: Keyspace) -> None:
    blueprint = {"flow": {"chunker:{id}": {"topics": {"in": "{workspace}:{id}"}}}}
    async with a_service(store, ks, blueprint) as service:
        await service.start_flow(StartFlow(flow="f1", blueprint_name="small", workspace="w"))
        await service.change(UpdateFlow(flow="f1", description="later"))
        found = await state(store, ks)
        assert found["active-flow/chunker/f1"]["topics"] == {"in": "w:f1"}
        usual = json.loads('"default"')  # as a server gets it: equal, and another object
        await service.start_flow(StartFlow(flow="f2", blueprint_name="small", workspace=usual))
        assert "workspace" not in (await state(store, ks))["flow/f2"]


async def test_an_update_refuses_what_a_start_would(store: Store, ks: Keyspace) -> None:
    async with a_service(store, ks) as service:
        await service.put_blueprint("taker", as_json({"flow": {"chunker:f1": {}}}))
        await service.put_blueprint(
            "huge", as_json({"flow": {f"p:{{id}}-{i}": {} for i in range(4096)}})
        )
        await service.start_flow(start("f1"))
        await service.start_flow(start("f2"))
        before = await everything(store, ks)
        refused: dict[type[Exception], UpdateFlow] = {
            NotFound: UpdateFlow(flow="f3"),
            ParametersInvalid: UpdateFlow(flow="f1", parameters={"size": "many"}),
            VariantTaken: UpdateFlow(flow="f2", blueprint_name="taker"),
            FlowTooLarge: UpdateFlow(flow="f1", blueprint_name="huge"),
            SharedVariantDiffers: UpdateFlow(flow="f1", parameters={"limit": 99}),
        }
        for error, request in refused.items():
            with pytest.raises(error):
                await service.change(request)
        with pytest.raises(NotFound, match="blueprint 'gone'"):
            await service.change(UpdateFlow(flow="f1", blueprint_name="gone"))
        assert await everything(store, ks) == before


async def test_a_variant_changed_by_hand_is_put_right_by_an_update(
    store: Store, ks: Keyspace
) -> None:
    """Missing or edited, an own variant is again what its flow says."""
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        right = await state(store, ks)
        chunker = ks.active_flow(VariantName("chunker", "f1"))
        indexer = ks.active_flow(VariantName("indexer", "f1"))
        await store.commit(Txn(then=(Put(chunker, b'{"topics":{}}'), Delete(indexer))))
        await service.change(UpdateFlow(flow="f1"))
        now = await state(store, ks)
        now["flow/f1"]["op"] = right["flow/f1"]["op"]
        assert now == right


# -- roll-out ------------------------------------------------------------------------------------


async def test_a_roll_out_changes_a_shared_variant_for_all_at_once(
    store: Store, ks: Keyspace
) -> None:
    async with a_service(store, ks) as service:
        for flow in ("f1", "f2", "f3"):
            await service.start_flow(start(flow))
        await service.change(PauseFlow(flow="f3"))
        with pytest.raises(SharedVariantDiffers) as refused:
            await service.change(UpdateFlow(flow="f1", parameters={"limit": 3}))
        assert refused.value.holder == "f2"
        before = await revisions(store, ks, "active-flow")
        done = await service.change(RollOut(blueprint_name="small", parameters={"limit": 3}))
        assert await revisions(store, ks, "active-flow") == before | {"query/small": done.revision}
        for flow in ("f1", "f2", "f3"):
            found = await service.get_flow(flow)
            assert (found.record.parameters["limit"], found.mod_revision) == ("3", done.revision)
            (newest, *_) = await service.history("flow", flow)
            assert (newest.action, newest.op) == ("roll-out", done.op)
        await service.change(ResumeFlow(flow="f3"))
        again = await service.change(RollOut(blueprint_name="small", parameters={"limit": 3}))
        assert again.revision > done.revision
        flows = await revisions(store, ks, "flow")
        assert again.revision not in flows.values(), "nothing changed for any flow"


async def test_a_roll_out_takes_along_who_shares_what_changes(store: Store, ks: Keyspace) -> None:
    """A flow of another blueprint shares the variant: it comes to the same value, or all stays."""
    shared = {"query:common": {"parameters": {"limit": "{limit}"}}}
    parameters = {"limit": {"type": "limit"}}
    one = {"blueprint": shared, "flow": {"a:{id}": {}}, "parameters": parameters}
    two = {"blueprint": shared, "flow": {"b:{id}": {}}, "parameters": parameters}
    async with a_service(store, ks) as service:
        await service.put_blueprint("one", as_json(one))
        await service.put_blueprint("two", as_json(two))
        await service.start_flow(StartFlow(flow="f1", blueprint_name="one"))
        await service.start_flow(StartFlow(flow="f2", blueprint_name="two"))
        before = await everything(store, ks)
        with pytest.raises(SharedVariantDiffers, match="f2"):
            await service.change(RollOut(blueprint_name="one", parameters={"limit": 3}))
        assert await everything(store, ks) == before
        edited = as_json({**TYPES["limit"], "default": 4})
        await service.put_parameter_type("limit", edited, force=True)
        done = await service.change(RollOut(blueprint_name="one"))
        assert (await revisions(store, ks, "active-flow"))["query/common"] == done.revision
        assert set((await revisions(store, ks, "flow")).values()) == {done.revision}


async def test_a_roll_out_loses_against_a_flow_that_joins(store: Store, ks: Keyspace) -> None:
    """A start that commits between the plan and the transaction is not left behind."""
    async with a_service(store, ks) as service, FlowService(store, ks) as other:
        for flow in ("f1", "f2"):
            await service.start_flow(start(flow))
        starts = [other.start_flow(start(f"g{i}")) for i in range(5)]
        rolls = [
            service.change(RollOut(blueprint_name="small", parameters={"limit": n})) for n in (3, 4)
        ]
        results = await asyncio.gather(*starts, *rolls, return_exceptions=True)
        assert not any(isinstance(result, Exception) for result in results[-2:]), results
        refused = [r for r in results[:5] if isinstance(r, Exception)]
        assert all(isinstance(r, SharedVariantDiffers) for r in refused)
        found = await state(store, ks)
        limit = found["active-flow/query/small"]["parameters"]["limit"]
        flows = [value for key, value in found.items() if key.startswith("flow/")]
        assert {flow["parameters"]["limit"] for flow in flows} == {limit}
        assert len(flows) == 7 - len(refused)


# -- pause, resume, restart ----------------------------------------------------------------------


async def test_a_pause_keeps_the_record_and_a_resume_brings_all_back(
    store: Store, ks: Keyspace
) -> None:
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1", size=5))
        await service.start_flow(start("f2"))
        running = await state(store, ks)
        await service.change(PauseFlow(flow="f1"))
        paused = await state(store, ks)
        gone = {"active-flow/chunker/f1", "active-flow/indexer/f1", "flow-ref/query/small/f1"}
        assert running.keys() - paused.keys() == gone
        assert paused["flow/f1"]["paused"]["chunker/f1"] == running["active-flow/chunker/f1"]
        with pytest.raises(WrongState):
            await service.change(PauseFlow(flow="f1"))
        await service.stop_flow(StopFlow(flow="f2"))
        assert "active-flow/query/small" not in await state(store, ks)
        await service.change(ResumeFlow(flow="f1"))
        resumed = await state(store, ks)
        resumed["flow/f1"]["op"] = running["flow/f1"]["op"]
        assert resumed == {key: value for key, value in running.items() if "f2" not in key}
        with pytest.raises(WrongState):
            await service.change(ResumeFlow(flow="f1"))


async def test_a_paused_flow_is_updated_and_stopped(store: Store, ks: Keyspace) -> None:
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        await service.change(PauseFlow(flow="f1"))
        await service.start_flow(start("f2", limit=3))
        with pytest.raises(SharedVariantDiffers):
            await service.change(ResumeFlow(flow="f1"))
        await service.change(UpdateFlow(flow="f1", parameters={"limit": 3, "size": 9}))
        assert "active-flow/chunker/f1" not in await state(store, ks)
        await service.change(ResumeFlow(flow="f1"))
        found = await state(store, ks)
        assert found["active-flow/chunker/f1"]["parameters"] == {"size": "9"}
        await service.change(PauseFlow(flow="f1"))
        for flow in ("f1", "f2"):
            await service.stop_flow(StopFlow(flow=flow))
        assert await state(store, ks) == {}


async def test_a_damaged_flow_is_not_paused(store: Store, ks: Keyspace) -> None:
    """What would be kept is not there, so it could not come back."""
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        await store.commit(Txn(then=(Delete(ks.active_flow(VariantName("chunker", "f1"))),)))
        with pytest.raises(FlowDamaged, match="chunker/f1"):
            await service.change(PauseFlow(flow="f1"))


async def test_a_restart_is_a_pause_and_a_resume(store: Store, ks: Keyspace) -> None:
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        before = await revisions(store, ks, "active-flow")
        done = await service.restart_flow(PauseFlow(flow="f1", op="again"))
        after = await revisions(store, ks, "active-flow")
        assert after == dict.fromkeys(before, done.revision)
        actions = [entry.action for entry in await service.history("flow", "f1")]
        assert actions == ["resume", "pause", "start"]
        again = await service.restart_flow(PauseFlow(flow="f1", op="again"))
        assert (again.op, again.revision) == (done.op, done.revision)
        assert await revisions(store, ks, "active-flow") == after


# -- history and rollback ------------------------------------------------------------------------


async def test_history_tells_it_all_and_a_rollback_goes_anywhere(
    store: Store, ks: Keyspace
) -> None:
    async with a_service(store, ks) as service:
        me = Actor(by="ann", why="a test")
        first = await service.start_flow(start("f1", size=1))
        was = await state(store, ks)
        await service.change(UpdateFlow(flow="f1", parameters={"size": 2}, actor=me))
        paused = await service.change(PauseFlow(flow="f1"))
        stopped = await service.stop_flow(StopFlow(flow="f1"))
        entries = await service.history("flow", "f1")
        assert [entry.action for entry in entries] == ["stop", "pause", "update", "start"]
        assert entries[2].by == "ann"
        assert entries[2].why == "a test"
        assert entries[2].after["variants"]["chunker/f1"]["parameters"] == {"size": "2"}
        assert entries[0].after is None
        await service.change(RollBackFlow(flow="f1", to=first.op))
        now = await state(store, ks)
        now["flow/f1"]["op"] = first.op
        assert now == was
        await service.change(RollBackFlow(flow="f1", to=paused.op))
        found = await state(store, ks)
        assert found["flow/f1"]["paused"]["chunker/f1"]["parameters"] == {"size": "2"}
        assert not any(key.startswith("active-flow/") for key in found)
        with pytest.raises(WrongState, match="stop it"):
            await service.change(RollBackFlow(flow="f1", to=stopped.op))
        with pytest.raises(NotFound, match="history entry"):
            await service.change(RollBackFlow(flow="f1", to="never"))
        (newest, *_) = await service.history("flow", "f1")
        assert newest.action == "rollback"


async def test_definitions_have_a_history_and_go_back(store: Store, ks: Keyspace) -> None:
    async with a_service(store, ks) as service:
        put = await service.put_parameter_type("size", as_json({"type": "integer", "default": 1}))
        await service.put_parameter_type("size", as_json({"type": "integer", "default": 2}))
        await service.change(RollBackDefinition(kind="parameter-type", name="size", to=put.op))
        found = await service.get_definition("parameter-type", "size")
        assert found.definition == {"type": "integer", "default": 1}
        actions = [e.action for e in await service.history("parameter-type", "size")]
        assert actions == ["rollback", "put", "put", "put"]
        await service.change(DeleteDefinition(kind="flow-blueprint", name="small"))
        (gone, first) = await service.history("flow-blueprint", "small")
        assert (gone.action, gone.after) == ("delete", None)
        back = RollBackDefinition(kind="flow-blueprint", name="small", to=first.op)
        await service.change(back)
        found = await service.get_definition("flow-blueprint", "small")
        assert found.definition == BLUEPRINT
        with pytest.raises(NotFound, match="history entry"):
            await service.change(msgspec.structs.replace(back, to=gone.op))


class Clock:
    """Seconds since 1970, and the ids of that time."""

    def __init__(self) -> None:
        self.now_s = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now_s

    def new_op(self) -> str:
        return new_op(time_ns=lambda: int(self.now_s * 1e9))


async def test_history_is_kept_short_but_not_the_last_hour_of_it(
    store: Store, ks: Keyspace
) -> None:
    clock = Clock()
    async with FlowService(store, ks, now=clock, new_op=clock.new_op) as service:
        await service.put_blueprint("b", as_json({"flow": {"p:{id}": {}}}))
        await service.start_flow(StartFlow(flow="f1", blueprint_name="b"))
        for n in range(KEEP + SLACK):
            await service.change(UpdateFlow(flow="f1", description=str(n)))
        assert len(await service.history("flow", "f1")) == KEEP + SLACK + 1
        clock.now_s += MIN_AGE_S + 1
        last = await service.change(UpdateFlow(flow="f1", description="last"))
        entries = await service.history("flow", "f1")
        assert len(entries) == KEEP
        assert entries[0].op == last.op


async def test_what_the_record_names_is_never_trimmed(store: Store, ks: Keyspace) -> None:
    """However many requests were abandoned after it: their entries count too, and show nothing."""
    clock = Clock()
    async with FlowService(store, ks, now=clock, new_op=clock.new_op) as service:
        await service.put_blueprint("b", as_json({"flow": {"p:{id}": {}}}))
        first = await service.start_flow(StartFlow(flow="f1", blueprint_name="b"))
        for _ in range(KEEP + SLACK):
            with pytest.raises(WrongState):
                await service.change(ResumeFlow(flow="f1", resent=True))
        (only,) = await service.history("flow", "f1")
        assert only.op == first.op
        clock.now_s += MIN_AGE_S + 1
        await service.change(UpdateFlow(flow="f1"))  # changes nothing, and is not recorded
        assert [e.op for e in await service.history("flow", "f1")] == [first.op]
        found = await list_all(store, ks.history_range("flow", "f1"), keys_only=True)
        assert len(found.items) == KEEP + 1


async def test_history_is_pruned_by_age_and_of_what_stands_the_newest_stays(
    store: Store, ks: Keyspace
) -> None:
    clock = Clock()
    async with FlowService(store, ks, now=clock, new_op=clock.new_op) as service:
        await service.put_blueprint("b", as_json({"flow": {"p:{id}": {}}}))
        for flow in ("stands", "ended"):
            await service.start_flow(StartFlow(flow=flow, blueprint_name="b"))
            await service.change(UpdateFlow(flow=flow, description="new"))
        await service.stop_flow(StopFlow(flow="ended", op="an-id-that-says-no-time"))
        young = await service.prune_history("flow", older_than_s=0)
        assert (young.removed, young.found) == (0, 5), "an hour at least is kept"
        clock.now_s += MIN_AGE_S + 1
        prune = partial(service.prune_history, "flow", older_than_s=MIN_AGE_S)
        assert (await prune(dry_run=True)).removed == 4
        assert (await prune(name="stands")).removed == 1
        assert (await prune()).removed == 3
        (kept,) = await service.history("flow", "stands")
        assert kept.action == "update"
        with pytest.raises(NotFound):
            await service.history("flow", "ended")
        assert (await prune()).removed == 0


# -- definitions and their users -----------------------------------------------------------------


async def test_definitions_are_guarded_by_use(store: Store, ks: Keyspace) -> None:
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        before = await everything(store, ks)
        blueprint, size = "flow-blueprint/small", TYPES["size"]
        edited = changed({"description": "another"})
        refused: list[tuple[Change, tuple[str, ...]]] = [
            (DeleteDefinition(kind="flow-blueprint", name="small"), ("flow/f1",)),
            (DeleteDefinition(kind="parameter-type", name="size"), (blueprint,)),
            (
                PutDefinition(kind="flow-blueprint", name="small", definition=edited),
                ("flow/f1",),
            ),
            (
                PutDefinition(
                    kind="parameter-type",
                    name="size",
                    definition=as_json({**size, "default": 1}),
                ),
                ("flow/f1",),
            ),
        ]
        for request, users in refused:
            with pytest.raises(InUse) as error:
                await service.change(request)
            assert error.value.users == users
        assert await everything(store, ks) == before
        for request, users in reversed(refused):
            forced = await service.change(msgspec.structs.replace(request, force=True))
            assert any(users[0] in finding.message for finding in forced.findings)
        with pytest.raises(NotFound, match="blueprint"):
            await service.change(UpdateFlow(flow="f1"))
        await service.stop_flow(StopFlow(flow="f1"))
        assert await state(store, ks) == {}


async def test_what_nobody_uses_is_replaced_and_deleted(store: Store, ks: Keyspace) -> None:
    async with a_service(store, ks) as service:
        await service.put_blueprint("small", changed({"description": "another"}))
        await service.put_parameter_type("size", as_json({"type": "integer", "default": 1}))
        with pytest.raises(InUse, match="small"):
            await service.change(DeleteDefinition(kind="parameter-type", name="size"))
        await service.change(DeleteDefinition(kind="flow-blueprint", name="small"))
        await service.change(DeleteDefinition(kind="parameter-type", name="size"))
        with pytest.raises(NotFound):
            await service.change(DeleteDefinition(kind="parameter-type", name="size"))


@pytest.mark.parametrize("kind", get_args(DefinitionKind))
async def test_only_what_is_new_is_put_if_so_asked(
    store: Store, ks: Keyspace, kind: DefinitionKind
) -> None:
    """Another definition stays, force or not; the same one is no reason to refuse."""
    first, second = b"{}", b'{"description":"another"}'
    async with a_service(store, ks, None) as service:
        put = PutDefinition(kind=kind, name="b", definition=first, only_new=True)
        await service.change(put)
        before = await everything(store, ks)
        assert (await service.change(put)).revision
        for force in (False, True):
            another = msgspec.structs.replace(put, definition=second, force=force)
            for ask in (service.preview, service.change):
                with pytest.raises(AlreadyExists) as refused:
                    await ask(another)
                assert (refused.value.kind, refused.value.name) == (KIND_WORDS[kind], "b")
        assert await everything(store, ks) == before
        await service.change(DeleteDefinition(kind=kind, name="b"))
        await service.change(msgspec.structs.replace(put, definition=second))
        assert (await service.get_definition(kind, "b")).definition == {"description": "another"}


async def test_a_delete_races_starts_and_one_of_them_wins(store: Store, ks: Keyspace) -> None:
    """Never a flow of a blueprint that is gone, never a blueprint of a type that is."""
    async with a_service(store, ks) as service, FlowService(store, ks) as other:
        for n in range(10):
            name = f"b{n}"
            await service.put_blueprint(name, as_json({"flow": {"p:{id}": {}}}))
            started, deleted = await asyncio.gather(
                other.start_flow(StartFlow(flow=name, blueprint_name=name)),
                service.change(DeleteDefinition(kind="flow-blueprint", name=name)),
                return_exceptions=True,
            )
            assert isinstance(started, NotFound) != isinstance(deleted, InUse), (started, deleted)
            type_ = f"t{n}"
            await service.put_parameter_type(type_, b"{}")
            user = {"flow": {"p:{id}": {}}, "parameters": {"x": {"type": type_}}}
            put, deleted = await asyncio.gather(
                other.put_blueprint(f"u{n}", as_json(user)),
                service.change(DeleteDefinition(kind="parameter-type", name=type_)),
                return_exceptions=True,
            )
            assert not isinstance(put, BaseException)
            missing = any("does not exist" in finding.message for finding in put.findings)
            assert missing != isinstance(deleted, InUse), (put, deleted)


# -- dry run, check-revision, strict, idempotence ------------------------------------------------


def _every_change() -> list[Change]:
    """One after the other on a system with flow f1; each changes something."""
    return [
        StartFlow(flow="f2", blueprint_name="small", parameters={"size": 3}),
        UpdateFlow(flow="f2", parameters={"size": 4}),
        PauseFlow(flow="f2"),
        ResumeFlow(flow="f2"),
        RollOut(blueprint_name="small", parameters={"limit": 6}),
        RollBackFlow(flow="f2", to="op-2"),
        StopFlow(flow="f1"),
        RollBackFlow(flow="f2", to="op-0"),
        StopFlow(flow="f2"),
        PutDefinition(kind="parameter-type", name="size", definition=b'{"default":1}'),
        PutDefinition(kind="parameter-type", name="size", definition=b'{"default":2}'),
        RollBackDefinition(kind="parameter-type", name="size", to="op-9"),
        PutDefinition(kind="flow-blueprint", name="b", definition=b"{}"),
        DeleteDefinition(kind="flow-blueprint", name="b"),
    ]


async def test_a_preview_shows_just_what_is_done_then(store: Store, ks: Keyspace) -> None:
    """The changes that it lists are the difference that the change makes. It writes nothing."""
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        for n, change in enumerate(_every_change()):
            request = msgspec.structs.replace(change, op=f"op-{n}")
            before, raw = await state(store, ks), await everything(store, ks)
            try:
                preview = await service.preview(request)
            except SharedVariantDiffers:
                assert n == 5, "back to the old limit, which f1 does not have any more"
                with pytest.raises(SharedVariantDiffers):
                    await service.change(request)
                continue
            assert await everything(store, ks) == raw
            checked = msgspec.structs.replace(request, check_revision=preview.check_revision)
            await service.change(checked)
            after = await state(store, ks)
            keys = {key for key in before.keys() | after.keys() if key.startswith("active-flow/")}
            assert {
                f"active-flow/{c.processor}/{c.variant}": (c.before, c.after)
                for c in preview.changes
            } == {
                key: (before.get(key), after.get(key))
                for key in keys
                if before.get(key) != after.get(key)
            }, request
            assert json.loads(json.dumps(preview.txn))["then"]
            assert "put" in preview.text


async def test_a_preview_refuses_what_the_change_would(store: Store, ks: Keyspace) -> None:
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        refused: dict[type[Exception], Change] = {
            AlreadyExists: start("f1"),
            NotFound: StopFlow(flow="f2"),
            WrongState: ResumeFlow(flow="f1"),
            InUse: DeleteDefinition(kind="flow-blueprint", name="small"),
        }
        for error, request in refused.items():
            with pytest.raises(error):
                await service.preview(request)


async def test_a_stale_plan_is_refused(store: Store, ks: Keyspace) -> None:
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        request = UpdateFlow(flow="f1", parameters={"size": 9})
        preview = await service.preview(request)
        await service.change(UpdateFlow(flow="f1", description="meanwhile"))
        before = await everything(store, ks)
        with pytest.raises(PlanStale, match="flow/f1"):
            await service.change(
                msgspec.structs.replace(request, check_revision=preview.check_revision)
            )
        with pytest.raises(PlanStale):
            await service.change(
                StartFlow(flow="f2", blueprint_name="small", check_revision=Revision(1))
            )
        assert await everything(store, ks) == before


async def test_strict_takes_no_warnings(store: Store, ks: Keyspace) -> None:
    async with a_service(store, ks) as service:
        lonely = as_json({"flow": {"p:x": {}}})
        request = PutDefinition(kind="flow-blueprint", name="b", definition=lonely)
        with pytest.raises(BlueprintInvalid, match="only one flow"):
            await service.change(msgspec.structs.replace(request, strict=True))
        assert (await service.change(request)).findings
        with pytest.raises(BlueprintInvalid, match="only one flow"):
            await service.change(StartFlow(flow="f1", blueprint_name="b", strict=True))
        assert (await service.change(StartFlow(flow="f1", blueprint_name="b"))).findings


async def test_every_change_is_done_once_for_each_id(store: Store, ks: Keyspace) -> None:
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1"))
        for n, change in enumerate(_every_change()):
            if n == 5:
                continue
            request = msgspec.structs.replace(change, op=f"op-{n}")
            first = await service.change(request)
            before = await everything(store, ks)
            again = await service.change(request)
            assert (again.revision, again.op) == (first.revision, first.op)
            assert await everything(store, ks) == before
        with pytest.raises(RequestReused):
            await service.change(StopFlow(flow="f2", op="op-1"))


async def test_a_repeated_put_gets_its_first_answer(store: Store, ks: Keyspace) -> None:
    """Also when the service knows by then that all is as it should be, and has nothing to write."""
    async with a_service(store, ks) as service:
        edited = changed({"description": "another"})
        request = PutDefinition(kind="flow-blueprint", name="small", definition=edited, op="op-1")
        first = await service.change(request)
        key = ks.flow_blueprint("small")
        await service.blueprints.until(lambda items: items[key].mod_revision == first.revision)
        await service.start_flow(start("f1"))
        assert (await service.change(request)).revision == first.revision
