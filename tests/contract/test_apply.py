"""Apply, on both stores, in process and through a server: etcd is made equal to files."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest

from flowsvc.apply import AppliedMeanwhile
from flowsvc.audit import audit
from flowsvc.errors import InvalidInput, SharedVariantDiffers, WrongState
from flowsvc.model import StartFlow
from kvconfig.errors import Conflict, InvalidName, InvalidValue, SchemaNotMet
from kvconfig.store import Store, list_all
from kvconfig.txn import Put, Txn
from tests.applying import Applier, applier_on, names
from tests.seeds import SEED

ALL_NAMES = [
    "schema/token-cost",
    "parameter-type/size",
    "flow-blueprint/index",
    "prompt/system",
    "prompt/template/a",
    "token-cost/gpt-4o",
    "flow/f1",
    "flow/f2",
]


@pytest.fixture(params=["process", "server"])
async def applier(
    request: pytest.FixtureRequest, store: Store, root: str
) -> AsyncIterator[Applier]:
    async with applier_on(store, root, way=request.param) as made:
        yield made


def seed_with(**changed: Any) -> dict[str, Any]:
    return {**copy.deepcopy(SEED), **changed}


async def test_all_is_made_and_a_second_time_nothing_is_written(applier):
    """The store's revision does not move; what was made is recorded, and no audit minds it."""
    first = await applier.apply(SEED)
    assert names(first) == [f"created {name}" for name in ALL_NAMES]
    assert await applier.owned() == sorted(ALL_NAMES)
    before = await applier.system.revision()
    second = await applier.apply(SEED, prune=True)
    assert (second.steps, second.left_over) == ([], [])
    assert await applier.system.revision() == before
    page = await list_all(applier.system.store, applier.system.ks.everything())
    assert audit(applier.system.ks, page.items) == []


async def test_what_cannot_be_read_is_replaced_and_pruned(applier):
    """A bad value is no obstacle: by the files it becomes a good one, or goes; the rest is left."""
    await applier.apply({"t": dict.fromkeys("abcde", 1)})
    item = applier.system.ks.item
    await applier.system.store.commit(
        Txn(then=tuple(Put(key, b"{") for key in (item("t", "b"), item("t", "d"), item("t", "x"))))
    )
    pruned = await applier.apply({"t": dict.fromkeys("abc", 1)}, prune=True)
    assert names(pruned) == ["replaced t/b", "deleted t/d", "deleted t/e"]
    found = await applier.system.config.list("t")
    assert [item.key for item in found] == ["a", "b", "c"]
    assert [each.key for each in found.unreadable] == ["x"]


async def test_a_schema_that_cannot_be_read_is_not_taken_for_none(applier):
    """Nothing is written unchecked: it is named, and a schema in its place lets things go on."""
    system = applier.system
    await system.store.commit(Txn(then=(Put(system.ks.schema("t"), b"{"),)))
    before = await system.everything()
    with pytest.raises(InvalidValue) as raised:
        await applier.apply({"t": {"a": 1}})
    assert raised.value.key == system.ks.schema("t")
    assert await system.everything() == before
    await system.config.put_schema("t", {"type": "integer"})
    assert names(await applier.apply({"t": {"a": 1}})) == ["created t/a"]


async def test_what_the_files_no_longer_hold_is_pruned_if_so_said(applier):
    """Whole types too; without a prune it is left, told, and still owned. Flows go first."""
    await applier.apply(SEED)
    files = {"prompt": {"system": "Be brief."}}
    beside = sorted(set(ALL_NAMES) - {"prompt/system"})
    told = await applier.apply(files)
    assert (told.steps, sorted(told.left_over)) == ([], beside)
    assert await applier.owned() == sorted(ALL_NAMES)
    pruned = await applier.apply(files, prune=True)
    assert sorted(names(pruned)) == [f"deleted {name}" for name in beside]
    assert pruned.left_over == []
    assert await applier.system.document() == files
    assert await applier.owned() == ["prompt/system"]


async def test_what_others_made_is_never_pruned(applier):
    """Neither what is no file's, nor what was equal before it was applied."""
    await applier.system.seed({"prompt": {"other": 1, "system": "Be brief."}, "tool": {"t": 1}})
    await applier.apply({"prompt": {"system": "Be brief.", "mine": 2}, "tool": {}})
    assert await applier.owned() == ["prompt/mine"]
    pruned = await applier.apply({"prompt": {}}, prune=True)
    assert names(pruned) == ["deleted prompt/mine"]
    assert await applier.system.document() == {
        "prompt": {"other": 1, "system": "Be brief."},
        "tool": {"t": 1},
    }


async def test_what_was_overwritten_is_owned(applier):
    """The value is ours then."""
    await applier.system.config.put("prompt", "system", "Be long.")
    (step,) = (await applier.apply({"prompt": {"system": "Be brief."}})).steps
    assert (step.outcome, step.before, step.after) == ("replaced", b'"Be long."', b'"Be brief."')
    assert await applier.owned() == ["prompt/system"]


async def test_sets_do_not_know_each_other(applier):
    """What one has made is nothing that the other would prune."""
    await applier.apply({"prompt": {"a": 1}}, set_="one")
    await applier.apply({"prompt": {"b": 1}}, set_="two", prune=True)
    assert await applier.system.document() == {"prompt": {"a": 1, "b": 1}}
    assert (await applier.owned("one"), await applier.owned("two")) == (["prompt/a"], ["prompt/b"])
    with pytest.raises(InvalidName):
        await applier.plan({}, set_="no/name")


async def test_what_somebody_else_wrote_since_is_told(applier):
    """Also of what is pruned; what stands as it was made is not."""
    await applier.apply({"prompt": {"a": 1, "b": 2, "c": 3}})
    await applier.system.config.put("prompt", "a", "another")
    await applier.system.config.put("prompt", "b", "another")
    found = await applier.plan({"prompt": {"b": 2}}, prune=True)
    told = {step.name: found.is_changed_since(step) for step in found.steps}
    assert told == {"prompt/a": True, "prompt/b": True, "prompt/c": False}


async def test_a_flow_is_updated_in_place_when_its_blueprint_is_another(applier):
    """In one transaction each, though what was given is the same; what is not concerned stays."""
    await applier.apply(SEED)
    seed = seed_with()
    variants = seed["flow-blueprint"]["index"]["flow"]
    variants["chunker:{id}"]["topics"]["output"] = "out:{id}"
    found = await applier.apply(seed)
    assert names(found) == [
        "replaced flow-blueprint/index",
        "replaced flow/f1",
        "replaced flow/f2",
    ]
    assert found.report.findings == {}, "that flows stay as they are would be wrong"
    history = await applier.system.service.history("flow", "f1")
    assert [entry.action for entry in history] == ["update", "start"]
    assert history[0].after["variants"]["chunker/f1"]["topics"]["output"] == "out:f1"
    assert (await applier.plan(seed)).steps == []


async def test_a_default_that_changes_reaches_the_flows_that_use_it(applier):
    """The flow that was given a value keeps it, and is not touched."""
    await applier.apply(SEED)
    seed = seed_with(**{"parameter-type": {"size": {"type": "integer", "default": 600}}})
    found = await applier.apply(seed)
    assert names(found) == ["replaced parameter-type/size", "replaced flow/f1"]
    assert (await applier.system.service.get_flow("f1")).record.parameters == {"size": "600"}


async def test_a_shared_variant_changes_for_all_flows_of_the_files_at_once(applier):
    """Flows that share cannot be updated one by one."""
    await applier.apply(SEED)
    seed = seed_with()
    shared = seed["flow-blueprint"]["index"]["blueprint"]["query:{blueprint}"]
    shared["topics"]["response"] = "response:query"
    await applier.apply(seed)
    for flow in ("f1", "f2"):
        (last, *_) = await applier.system.service.history("flow", flow)
        assert "response" in last.after["variants"]["query/index"]["topics"]
    assert (await applier.plan(seed)).steps == []


async def test_a_shared_variant_is_not_changed_under_the_flows_of_others(applier):
    """It is refused, and names both; what was made until then is recorded."""
    await applier.apply(SEED)
    await applier.system.service.start_flow(StartFlow(flow="x", blueprint_name="index"))
    seed = seed_with(tool={"t": 1})
    shared = seed["flow-blueprint"]["index"]["blueprint"]["query:{blueprint}"]
    shared["topics"]["response"] = "response:query"
    with pytest.raises(SharedVariantDiffers):
        await applier.apply(seed)
    assert "tool/t" in await applier.owned()


async def test_a_flow_that_somebody_else_starts_meanwhile_is_left_and_told(applier, monkeypatch):
    """It runs otherwise than the files say, so the apply has failed; and it is not ours."""
    found = await applier.plan(SEED)
    write = found._prepared.write

    async def overtaken() -> None:
        await applier.system.seed({**SEED, "flow": {}})
        request = StartFlow(flow="f1", blueprint_name="index", description="another")
        await applier.system.service.start_flow(request)
        await write()

    monkeypatch.setattr(found._prepared, "write", overtaken)
    with pytest.raises(Conflict, match="/flow/f1 "):
        await found.carry_out()
    assert set(ALL_NAMES) - set(await applier.owned()) >= {"flow/f1", "prompt/system"}
    assert names(await applier.plan(SEED)) == ["replaced flow/f1"]


async def test_a_definition_that_others_use_is_not_pruned(applier):
    """A flow that somebody else started keeps its blueprint, which stays owned."""
    await applier.apply(seed_with(flow={}))
    await applier.system.service.start_flow(StartFlow(flow="x", blueprint_name="index"))
    found = await applier.apply({"prompt": {}}, prune=True)
    assert found.left_over == ["parameter-type/size", "flow-blueprint/index"]
    assert await applier.owned() == ["flow-blueprint/index", "parameter-type/size"]
    assert (await applier.system.document())["flow"].keys() == {"x"}


async def test_what_is_skipped_is_neither_pruned_nor_forgotten(applier):
    """As if it were in the files just as it stands."""
    await applier.apply({"prompt": {"a": 1}, "tool": {"t": 1}})
    assert (await applier.apply({"prompt": {"a": 1}}, prune=True, skip=["to*"])).steps == []
    await applier.apply({"prompt": {"a": 2}}, prune=True, skip=["to*"])
    assert await applier.owned() == ["prompt/a", "tool/t"]
    assert (await applier.system.document())["tool"] == {"t": 1}


async def test_what_is_gone_since_is_forgotten(applier):
    """Somebody else may make it anew then, and keep it."""
    await applier.apply({"prompt": {"a": 1, "b": 2}})
    await applier.system.config.delete("prompt", "b")
    await applier.apply({"prompt": {"a": 1}})
    assert await applier.owned() == ["prompt/a"]
    await applier.system.config.put("prompt", "b", 3)
    assert (await applier.plan({"prompt": {"a": 1}}, prune=True)).steps == []


async def test_what_is_wrong_is_found_before_anything_is_written(applier):
    """Parameters, a schema that is not met, a flow that cannot be moved: no key is touched."""
    await applier.apply(seed_with(flow={"f1": {"blueprint-name": "index"}}))
    before = await applier.system.everything()
    wrong: list[tuple[dict[str, Any], type[Exception]]] = [
        ({"flow": {"f3": {"blueprint-name": "index", "parameters": {"size": "x"}}}}, InvalidInput),
        ({"token-cost": {"x": {}}, "prompt": {"new": 1}}, InvalidInput),
        ({"schema": {"prompt": {"type": "integer"}}, "tool": {"t": 1}}, SchemaNotMet),
        ({"flow": {"f1": {"blueprint-name": "index", "workspace": "w"}}}, WrongState),
    ]
    for files, error in wrong:
        with pytest.raises(error):
            await applier.apply(files)
    assert await applier.system.everything() == before


async def test_of_two_at_once_one_loses_and_nothing_is_lost(applier):
    """Who comes second to the record has written nothing; it is named, and so is the cure."""
    first = await applier.plan({"prompt": {"a": 1}})
    second = await applier.plan({"prompt": {"b": 1}})
    await first.carry_out()
    before = await applier.system.revision()
    with pytest.raises(AppliedMeanwhile) as lost:
        await second.carry_out()
    assert isinstance(lost.value, Conflict)
    assert "/applied/default: " in str(lost.value)
    assert "apply again" in str(lost.value)
    assert await applier.system.revision() == before
    await applier.apply({"prompt": {"b": 1}})
    assert await applier.owned() == ["prompt/a", "prompt/b"]


async def test_who_is_overtaken_while_it_writes_says_so_and_is_recorded(applier, monkeypatch):
    """Both have written: the record knows all of it, whoever ends last."""
    slow = await applier.plan({"prompt": {"a": 1}})
    write = slow._prepared.write

    async def overtaken() -> None:
        await applier.apply({"prompt": {"b": 1}})
        await write()

    monkeypatch.setattr(slow._prepared, "write", overtaken)
    with pytest.raises(AppliedMeanwhile) as lost:
        await slow.carry_out()
    assert lost.value.begun
    assert await applier.owned() == ["prompt/a", "prompt/b"]
    assert (await applier.system.document())["prompt"] == {"a": 1, "b": 1}


async def test_a_record_that_is_not_ours_is_refused(applier):
    """Whoever wrote it: nothing is deleted by its word."""
    ks = applier.system.ks
    for value in (b'{"keys": "x"}', b'{"keys": ["active-flow/chunker/f1"]}'):
        await applier.system.store.commit(Txn(then=(Put(ks.applied("default"), value),)))
        with pytest.raises(InvalidValue):
            await applier.plan({}, prune=True)
