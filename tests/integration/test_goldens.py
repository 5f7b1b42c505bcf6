"""What TrustGraph itself renders for real blueprints, read back from a real etcd."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowsvc.model import StartFlow, StopFlow
from flowsvc.service import FlowService
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from tests.flows import as_json, revisions, state

OWN = sorted((Path(__file__).parents[1] / "data" / "goldens").glob("*.json"))


def _load(path: Path) -> Any:
    return json.loads(path.read_text())


async def _compare(golden: dict[str, Any], bundle: dict[str, Any], endpoint: str, root: str) -> int:
    """Start the golden's flow, compare every key, stop it; how many values were compared."""
    ks = Keyspace(root)
    async with connect([endpoint]) as store, FlowService(store, ks) as service:
        for name, type_ in bundle["parameter-type"].items():
            await service.put_parameter_type(name, as_json(type_))
        await service.put_blueprint(golden["blueprint-name"], as_json(bundle["blueprint"]))
        flow = golden["flow-id"]
        done = await service.start_flow(
            StartFlow(
                flow=flow,
                blueprint_name=golden["blueprint-name"],
                description=golden["flow-record"]["description"],
                parameters=golden["parameters"],
                workspace=golden["workspace"],
            )
        )
        found = await state(store, ks)
        variants = {f"/{key}": v for key, v in found.items() if key.startswith("active-flow/")}
        assert variants == golden["active-flow"]
        record = {key: found[f"flow/{flow}"][key] for key in golden["flow-record"]}
        assert record == golden["flow-record"]
        assert set((await revisions(store, ks, "active-flow")).values()) == {done.revision}
        await service.stop_flow(StopFlow(flow=flow))
        assert await state(store, ks) == {}
    return sum(len(v["topics"]) + len(v["parameters"]) for v in variants.values())


async def test_every_golden_comes_out_equal(
    shared_data: Path, etcd_endpoint: str, root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Key by key and value by value, for every golden there is; and its stop leaves nothing."""
    lines: list[str] = []
    for path in sorted((shared_data / "goldens").glob("*.json")):
        golden = _load(path)
        bundle = _load(shared_data / golden["blueprint-file"])
        values = await _compare(golden, bundle, etcd_endpoint, f"{root}-{len(lines)}")
        keys = len(golden["active-flow"])
        lines.append(f"golden {path.stem}: {keys} keys, {values} values equal")
    assert len(lines) == 5
    with capsys.disabled():
        print("\n" + "\n".join(lines))


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
async def test_our_own_goldens_come_out_equal(path: Path, etcd_endpoint: str, root: str) -> None:
    """The same without shared data, for small blueprints with all that blueprints may have."""
    golden = _load(path)
    assert await _compare(golden, golden, etcd_endpoint, root) > 0
