"""What TrustGraph itself renders for real blueprints, read back from a real etcd.

TrustGraph checks no value: three of its flows give a ``reranker-model`` that its type does not
allow. That is refused here, and the type widened, before the flow is started as it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowsvc.errors import ParametersInvalid
from flowsvc.model import StartFlow, StopFlow
from flowsvc.service import FlowService
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from tests.flows import as_json, revisions, state

REFUSED = {"1-2.8-everything-default", "2-2.8-everything-acme-7", "3-2.8-structured-s1"}
OWN = sorted((Path(__file__).parents[1] / "data" / "goldens").glob("*.json"))


def _load(path: Path) -> Any:
    return json.loads(path.read_text())


async def _refused(service: FlowService, start: StartFlow, type_: dict[str, Any]) -> None:
    """The start is refused for its ``reranker-model``, until the type allows the value."""
    with pytest.raises(ParametersInvalid) as raised:
        await service.start_flow(start)
    errors = [finding for finding in raised.value.findings if finding.severity == "error"]
    assert [finding.path for finding in errors] == ["$.parameters.reranker-model"]
    assert all(repr(item["id"]) in errors[0].message for item in type_["enum"])
    added = {"id": start.parameters["reranker-model"], "description": "as given"}
    wider = type_ | {"enum": [*type_["enum"], added]}
    await service.put_parameter_type("reranker-model", as_json(wider))


async def _compare(
    golden: dict[str, Any],
    bundle: dict[str, Any],
    endpoint: str,
    root: str,
    *,
    refused: bool = False,
) -> int:
    """Start the golden's flow, compare every key, stop it; how many values were compared.

    ``refused``: a first start, with the types as they come, is refused.
    """
    ks = Keyspace(root)
    async with connect([endpoint]) as store, FlowService(store, ks) as service:
        for name, type_ in bundle["parameter-type"].items():
            await service.put_parameter_type(name, as_json(type_))
        await service.put_blueprint(golden["blueprint-name"], as_json(bundle["blueprint"]))
        flow = golden["flow-id"]
        start = StartFlow(
            flow=flow,
            blueprint_name=golden["blueprint-name"],
            description=golden["flow-record"]["description"],
            parameters=golden["parameters"],
            workspace=golden["workspace"],
        )
        if refused:
            await _refused(service, start, bundle["parameter-type"]["reranker-model"])
        done = await service.start_flow(start)
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
    shared_data: Path, etcd_endpoint: str, root: str, tell: Callable[[str], None]
) -> None:
    """Key by key and value by value, for every golden there is; and its stop leaves nothing."""
    lines: list[str] = []
    for path in sorted((shared_data / "goldens").glob("*.json")):
        golden = _load(path)
        bundle = _load(shared_data / golden["blueprint-file"])
        values = await _compare(
            golden,
            bundle,
            etcd_endpoint,
            f"{root}-{len(lines)}",
            refused=path.stem in REFUSED,
        )
        keys = len(golden["active-flow"])
        lines.append(f"golden {path.stem}: {keys} keys, {values} values equal")
    assert len(lines) == 5
    for line in lines:
        tell(line)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
async def test_our_own_goldens_come_out_equal(path: Path, etcd_endpoint: str, root: str) -> None:
    """The same without shared data, for small blueprints with all that blueprints may have."""
    golden = _load(path)
    assert await _compare(golden, golden, etcd_endpoint, root) > 0
