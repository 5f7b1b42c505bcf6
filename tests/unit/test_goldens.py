"""What a blueprint renders to, key by key and value by value, against files.

Those in the shared data came out of TrustGraph's own flow service; those in ``tests/data/goldens``
are made by hand and cover the same, and what real blueprints don't use, without them.

TrustGraph checks no value; three of its flows give a parameter a value that its own type does not
allow. Those are refused here, and made from a type that allows it as well.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowsvc.blueprint import parse_blueprint
from flowsvc.errors import ParametersInvalid
from flowsvc.parameters import parse_parameter_type, resolve
from flowsvc.render import Rendered, render
from kvconfig.codec import encode
from kvconfig.keyspace import Keyspace
from kvconfig.records import FlowRecord, FlowVariants

OWN = sorted((Path(__file__).parents[1] / "data" / "goldens").glob("*.json"))
RECORD_FIELDS = ("description", "blueprint-name", "interfaces", "parameters")
REFUSED = [
    "1-2.8-everything-default.json",
    "2-2.8-everything-acme-7.json",
    "3-2.8-structured-s1.json",
]
"""Those of TrustGraph's goldens that give a ``reranker-model`` outside the enum of its type."""


def make_flow(golden: dict[str, Any], source: dict[str, Any]) -> tuple[Rendered, FlowRecord]:
    """The golden's flow, from the blueprint and the parameter types in ``source``."""
    name = golden["blueprint-name"]
    blueprint = parse_blueprint(name, json.dumps(source["blueprint"]).encode())
    types = {
        type_: parse_parameter_type(type_, json.dumps(definition).encode())
        for type_, definition in source["parameter-type"].items()
    }
    resolved = resolve(blueprint, types, golden["parameters"])
    rendered = render(
        blueprint,
        flow=golden["flow-id"],
        workspace=golden["workspace"],
        parameters=resolved.values,
    )
    record = FlowRecord(
        blueprint_name=name,
        description=golden["flow-record"]["description"],
        interfaces=rendered.interfaces,
        parameters=resolved.values,
        variants=FlowVariants(),
        op="1",
    )
    return rendered, record


def compare(golden: dict[str, Any], rendered: Rendered, record: FlowRecord) -> int:
    """As etcd will hold them, through the codec and the keyspace. Returns the variants compared."""
    written = {
        Keyspace().active_flow(name).decode(): json.loads(value)
        for name, value in (rendered.own | rendered.shared).items()
    }
    assert written.keys() == golden["active-flow"].keys()
    for key, value in written.items():
        assert value == golden["active-flow"][key], key
    fields = json.loads(encode(record))
    for field in RECORD_FIELDS:
        assert fields[field] == golden["flow-record"][field], field
    assert golden["flow-record"].keys() == set(RECORD_FIELDS)
    return len(written)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_own_golden(path: Path) -> None:
    """Rendered variants and records are what the file says, shared ones told from own ones."""
    golden = json.loads(path.read_text())
    rendered, record = make_flow(golden, golden)
    assert compare(golden, rendered, record) == len(golden["active-flow"])
    assert sorted(f"/active-flow/{name}" for name in rendered.shared) == golden["shared"]


def test_there_are_own_goldens() -> None:
    """The test above has something to run on."""
    assert len(OWN) >= 2


def shared_goldens(shared_data: Path) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for path in sorted((shared_data / "goldens").glob("*.json")):
        golden = json.loads(path.read_text())
        yield path.name, golden, json.loads((shared_data / golden["blueprint-file"]).read_text())


def widen(golden: dict[str, Any], source: dict[str, Any]) -> None:
    """Let the type of ``reranker-model`` allow what the golden gives."""
    allowed = source["parameter-type"]["reranker-model"]["enum"]
    allowed.append({"id": golden["parameters"]["reranker-model"], "description": "as given"})


def test_values_that_trustgraph_does_not_check_are_refused(shared_data: Path) -> None:
    """Three of its flows: the refusal says where, and what is allowed."""
    refused = []
    for name, golden, source in shared_goldens(shared_data):
        if name not in REFUSED:
            continue
        with pytest.raises(ParametersInvalid) as raised:
            make_flow(golden, source)
        (finding,) = raised.value.findings
        assert finding.path == "$.parameters.reranker-model"
        for item in source["parameter-type"]["reranker-model"]["enum"]:
            assert repr(item["id"]) in finding.message
        assert repr(golden["parameters"]["reranker-model"]) not in finding.message
        refused.append(name)
    assert refused == REFUSED


def test_trustgraph_goldens(shared_data: Path, tell: Callable[[str], None]) -> None:
    """What TrustGraph writes for its own blueprints, we write, in variants and in records."""
    counts = {}
    for name, golden, source in shared_goldens(shared_data):
        if name in REFUSED:
            widen(golden, source)
        rendered, record = make_flow(golden, source)
        counts[name] = compare(golden, rendered, record)
    tell(
        f"goldens: {len(counts)} flows of TrustGraph, {sum(counts.values())} variants equal, "
        f"{len(RECORD_FIELDS)} record fields each"
    )
    assert counts
    assert all(counts.values())


def test_real_definitions_have_no_errors(shared_data: Path) -> None:
    """Every real blueprint and parameter type in the shared data is accepted without a warning."""
    for path in sorted((shared_data / "blueprints").glob("*.json")):
        source = json.loads(path.read_text())
        assert parse_blueprint(source["name"], source["blueprint"]).findings == ()
        for name, definition in source["parameter-type"].items():
            assert parse_parameter_type(name, definition).findings == ()
