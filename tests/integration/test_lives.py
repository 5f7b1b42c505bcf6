"""Real blueprints, and made-up ones, through a whole life: they start, change, leave nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowsvc.audit import audit
from flowsvc.errors import SharedVariantDiffers, VariantTaken
from flowsvc.model import (
    PauseFlow,
    ResumeFlow,
    RollBackFlow,
    RollOut,
    StartFlow,
    StopFlow,
    UpdateFlow,
)
from flowsvc.service import FlowService
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.store import Store, list_all
from tests.flows import as_json, state


def _number_parameters(types: dict[str, Any], blueprint: dict[str, Any]) -> Iterator[str]:
    """Parameters that take any whole number."""
    for name, parameter in blueprint.get("parameters", {}).items():
        type_ = types.get(parameter["type"], {})
        if type_.get("type") == "integer" and "enum" not in type_:
            yield name


async def _sound(store: Store, ks: Keyspace) -> None:
    items = (await list_all(store, ks.everything())).items
    wrong = [anomaly for anomaly in audit(ks, items) if anomaly.severity == "error"]
    assert not wrong, wrong


async def _live(store: Store, ks: Keyspace, types: dict[str, Any], blueprint: Any) -> None:
    """Two flows start, change together and alone, rest, go back and stop."""
    async with FlowService(store, ks) as service:
        for name, type_ in types.items():
            await service.put_parameter_type(name, as_json(type_))
        await service.put_blueprint("b", as_json(blueprint))
        first = await service.start_flow(StartFlow(flow="f1", blueprint_name="b"))
        flows = ["f1"]
        try:
            await service.start_flow(StartFlow(flow="f2", blueprint_name="b"))
            flows.append("f2")
        except (SharedVariantDiffers, VariantTaken):
            pass  # it is made for one flow at a time
        before = await state(store, ks)
        numbers = dict.fromkeys(_number_parameters(types, blueprint), 7)
        await service.change(RollOut(blueprint_name="b", parameters=numbers))
        await _sound(store, ks)
        await service.change(PauseFlow(flow="f1"))
        await _sound(store, ks)
        await service.change(ResumeFlow(flow="f1"))
        await service.change(UpdateFlow(flow="f1", description="another"))
        await _sound(store, ks)
        if len(flows) == 1:
            await service.change(RollBackFlow(flow="f1", to=first.op))
            after = await state(store, ks)
            assert after["flow/f1"].pop("op") != before["flow/f1"].pop("op")
            assert after == before
        edited = {**blueprint, "flow": {**blueprint.get("flow", {}), "added:{id}": {}}}
        await service.put_blueprint("b", as_json(edited), force=True)
        await service.change(RollOut(blueprint_name="b"))
        await _sound(store, ks)
        assert f"active-flow/added/{flows[-1]}" in await state(store, ks)
        for flow in flows:
            await service.stop_flow(StopFlow(flow=flow))
            await _sound(store, ks)
        assert await state(store, ks) == {}


async def test_real_blueprints_leave_nothing(
    shared_data: Path, etcd_endpoint: str, root: str
) -> None:
    paths = sorted((shared_data / "blueprints").glob("*.json"))
    assert paths
    for number, path in enumerate(paths):
        bundle = json.loads(path.read_text())
        async with connect([etcd_endpoint]) as store:
            ks = Keyspace(f"{root}-{number}")
            await _live(store, ks, bundle["parameter-type"], bundle["blueprint"])


def _blueprint(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    parameters = {name: {"type": name} for name in ("size", "mode")}
    parameters["mode"]["controlled-by"] = "size"
    return {"blueprint": shared, "flow": own, "parameters": parameters}


pieces = st.sampled_from(["a", "-", "{size}", "{mode}", "{id}", "{blueprint}"])
texts = st.lists(pieces, max_size=4).map("".join)
values = st.fixed_dictionaries(
    {},
    optional={
        "topics": st.dictionaries(st.sampled_from(["in", "out"]), texts),
        "parameters": st.dictionaries(st.sampled_from(["x", "y-{mode}"]), texts),
    },
)


def _section(*variants: str) -> st.SearchStrategy[dict[str, Any]]:
    keys = st.tuples(st.sampled_from(["p", "q", "r"]), st.sampled_from(variants))
    return st.dictionaries(keys.map(":".join), values, max_size=6)


blueprints = st.builds(
    _blueprint,
    _section("common", "{blueprint}", "s-{size}"),
    _section("{id}", "{id}-{size}", "o-{id}"),
)


@settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(blueprint=blueprints)
def test_made_up_blueprints_leave_nothing(blueprint: dict[str, Any]) -> None:
    types = {"size": {"type": "integer", "default": 3}, "mode": {"type": "string"}}
    asyncio.run(_live(MemoryStore(), Keyspace("@made-up"), types, blueprint))
