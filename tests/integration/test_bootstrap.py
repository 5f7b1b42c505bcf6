"""Bootstrap: a seed makes what is not there, leaves what is, and writes nothing twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flowsvc.bootstrap import BootstrapRefused, Report, bootstrap, parse_seed
from flowsvc.cli import main
from flowsvc.errors import BlueprintInvalid, InvalidInput, NotFound
from flowsvc.service import FlowService
from kvconfig.config import Config
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.store import Store, list_all

SEED: dict[str, Any] = {
    "parameter-type": {"size": {"type": "integer", "default": 500}},
    "flow-blueprint": {
        "index": {
            "description": "An index",
            "parameters": {"size": {"type": "size"}},
            "interfaces": {"query": {"request": "request:query:{blueprint}"}},
            "flow": {
                "chunker:{id}": {"topics": {"input": "t:{id}"}, "parameters": {"size": "{size}"}}
            },
            "blueprint": {
                "query:{blueprint}": {"topics": {"request": "request:query:{blueprint}"}}
            },
        }
    },
    "flow": {
        "f1": {"blueprint-name": "index", "description": "first"},
        "f2": {"blueprint-name": "index", "parameters": {"size": 900}},
    },
    "prompt": {"system": "Be brief.", "template/a": {"text": "…", "n": 1.0}},
    "token-cost": {"gpt-4o": {"input": 0.1}},
}


def seed_of(seed: dict[str, Any], **changed: Any) -> bytes:
    return json.dumps({**seed, **changed}).encode()


class System:
    """A store with what bootstrap needs on it."""

    def __init__(self, store: Store, keyspace: Keyspace, service: FlowService) -> None:
        self.store, self.ks, self.service = store, keyspace, service
        self.config = Config(store, keyspace)

    async def bootstrap(self, seed: dict[str, Any], **options: Any) -> Report:
        parsed = parse_seed(seed_of(seed), "the seed")
        return await bootstrap(parsed, self.service, self.config, **options)

    async def everything(self) -> dict[str, tuple[bytes, int]]:
        """All keys of the system with value and mod_revision."""
        page = await list_all(self.store, self.ks.everything())
        return {kv.key.decode(): (kv.value, kv.mod_revision) for kv in page.items}


@asynccontextmanager
async def system_on(store: Store, root: str) -> AsyncIterator[System]:
    keyspace = Keyspace(root)
    async with FlowService(store, keyspace) as service:
        yield System(store, keyspace, service)


@pytest.fixture
async def system(etcd_endpoint, root) -> AsyncIterator[System]:
    async with connect([etcd_endpoint]) as store, system_on(store, root) as made:
        yield made


# -- doing ---------------------------------------------------------------------------------------


async def test_a_seed_makes_all_that_it_names(system):
    """All of it stands in etcd; flows are started like any other."""
    report = await system.bootstrap(SEED)
    assert set(report.outcomes.values()) == {"created"}
    assert len(report.outcomes) == 7
    ks, stands = system.ks, await system.everything()
    chunker = stands[ks.active_flow(VariantName("chunker", "f2")).decode()][0]
    assert json.loads(chunker) == {"topics": {"input": "t:f2"}, "parameters": {"size": "900"}}
    assert ks.active_flow(VariantName("query", "index")).decode() in stands
    assert stands[ks.item("prompt", "system").decode()][0] == b'"Be brief."'
    flow = await system.service.get_flow("f1")
    assert (flow.record.description, flow.record.parameters) == ("first", {"size": "500"})


async def test_a_second_run_writes_nothing(system):
    """Run again, not one key has another mod_revision, and none is new."""
    await system.bootstrap(SEED)
    before = await system.everything()
    report = await system.bootstrap(SEED)
    assert dict(report.counts()) == {"equal": 5, "running": 2}
    assert await system.everything() == before


async def test_a_second_run_does_not_move_the_revision():
    """The store's own revision stands still: not even an equal value is put again."""
    store = MemoryStore()
    async with system_on(store, "") as system:
        await system.bootstrap(SEED)
        before = (await list_all(store, system.ks.everything())).revision
        await system.bootstrap(SEED)
        assert (await list_all(store, system.ks.everything())).revision == before
    await store.close()


def changed_seed() -> dict[str, Any]:
    """The same with another type, blueprint and item, and a flow that does not run yet."""
    seed: dict[str, Any] = json.loads(seed_of(SEED))
    seed["parameter-type"]["size"]["default"] = 501
    seed["flow-blueprint"]["index"]["description"] = "Another"
    seed["prompt"]["system"] = "Be long."
    seed["flow"]["f1"]["description"] = "changed"
    seed["flow"]["f3"] = {"blueprint-name": "index"}
    return seed


DIFFERENT = ["parameter-type/size", "flow-blueprint/index", "prompt/system"]


async def test_what_differs_is_left_and_said(system):
    """Unless told otherwise nothing that is there is touched; the rest is made."""
    await system.bootstrap(SEED)
    before = await system.everything()
    report = await system.bootstrap(changed_seed())
    assert [what for what, o in report.outcomes.items() if o == "different"] == DIFFERENT
    assert report.outcomes["flow/f3"] == "created"
    stands = await system.everything()
    assert {key: stands[key] for key in before} == before
    assert (await system.service.get_flow("f3")).record.parameters == {"size": "500"}


async def test_replace_overwrites_all_but_flows(system):
    """--replace writes what differs, nothing else; flows that run are left alone."""
    await system.bootstrap(SEED)
    before = await system.everything()
    report = await system.bootstrap(changed_seed(), when_different="replace")
    assert [what for what, o in report.outcomes.items() if o == "replaced"] == DIFFERENT
    stands, ks = await system.everything(), system.ks
    moved = {key for key in before if stands[key] != before[key]}
    assert moved == {
        key.decode()
        for key in (
            ks.parameter_type("size"),
            ks.flow_blueprint("index"),
            ks.item("prompt", "system"),
        )
    }
    assert (await system.service.get_flow("f1")).record.description == "first"
    assert (await system.service.get_flow("f3")).record.parameters == {"size": "501"}


async def test_refuse_writes_nothing_at_all(system):
    """--refuse stops before the first write, and names all that differs."""
    await system.bootstrap(SEED)
    before = await system.everything()
    with pytest.raises(BootstrapRefused) as raised:
        await system.bootstrap(changed_seed(), when_different="refuse")
    assert list(raised.value.differing) == DIFFERENT
    assert await system.everything() == before


async def test_numbers_are_compared_as_they_are_written(system):
    """1 and 1.0, 0 and false are different values, whatever Python thinks."""
    await system.bootstrap({"limit": {"a": 1, "b": 0}})
    report = await system.bootstrap({"limit": {"a": 1.0, "b": False}})
    assert report.outcomes == {"limit/a": "different", "limit/b": "different"}


async def test_a_flow_of_no_blueprint_stops_all_before_it_begins(system):
    """A seed that cannot be completed is not begun."""
    before = await system.everything()
    with pytest.raises(NotFound) as raised:
        await system.bootstrap({**SEED, "flow": {"f1": {"blueprint-name": "nowhere"}}})
    assert raised.value.name == "nowhere"
    assert await system.everything() == before


async def test_configuration_needs_etcd(system):
    """Through a flow service alone, a seed with configuration is refused before anything."""
    with pytest.raises(InvalidInput, match="--endpoints"):
        await bootstrap(parse_seed(seed_of(SEED), "the seed"), system.service, None)
    assert await system.service.list_definitions("flow-blueprint") == []


async def test_a_bad_definition_is_the_services_to_judge(system):
    """What is wrong inside a blueprint comes as the service says it."""
    with pytest.raises(BlueprintInvalid):
        await system.bootstrap({"flow-blueprint": {"b": {"flow": "no object"}}})


async def test_two_at_the_same_time_make_it_once(system):
    """Two deployments that bootstrap at once end well, and nothing is written twice."""
    reports = await asyncio.gather(*(system.bootstrap(SEED) for _ in range(4)))
    outcomes = [report.outcomes for report in reports]
    for what in outcomes[0]:
        if what.startswith(("flow/", "prompt/", "token-cost/")):
            assert sum(o[what] == "created" for o in outcomes) == 1, what
        assert {o[what] for o in outcomes} <= {"created", "equal", "running"}
    before = await system.everything()
    await system.bootstrap(SEED)
    assert await system.everything() == before


# -- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "paths"),
    [
        ("[]", ["$"]),
        ("{", ["$"]),
        ('{"active-flow": {}}', ["$.active-flow"]),
        (
            '{"processor:chunker": {}, "flows-active": {}}',
            ["$.processor:chunker", "$.flows-active"],
        ),
        ('{"flow-ref": {}, "history": {}}', ["$.flow-ref", "$.history"]),
        ('{"blueprint-use": {}, "schema": {}}', ["$.blueprint-use", "$.schema"]),
        ('{"applied": {}, "kvconfig": {}}', ["$.applied", "$.kvconfig"]),
        ('{"processor": {}}', ["$.processor"]),
        ('{"flow-classes": {}, "flows": {}}', ["$.flow-classes", "$.flows"]),
        ('{"@other": {}, "": {}, "a b": {}}', ["$.@other", "$.", "$.a b"]),
        ('{"prompt": 7}', ["$.prompt"]),
        ('{"prompt": {"a//b": 1, "ok/x": 1}}', ["$.prompt.a//b"]),
        ('{"flow-blueprint": {"a/b": {}, "c": 7}}', ["$.flow-blueprint.a/b", "$.flow-blueprint.c"]),
        ('{"flow": {"f": {}}}', ["$.flow.f"]),
        ('{"flow": {"f": {"blueprint-name": "b", "parameters": {"x": [1]}}}}', ["$.flow.f"]),
        ('{"name": "b", "blueprint": {}, "prompt": {}}', ["$.prompt"]),
    ],
)
def test_a_seed_that_is_none_is_refused_with_every_place(seed, paths):
    """All that is wrong is said at once; reserved and old types are named as such."""
    with pytest.raises(InvalidInput) as raised:
        parse_seed(seed.encode(), "the seed")
    assert [finding.path for finding in raised.value.findings] == paths


def test_a_file_of_one_blueprint_is_a_seed():
    """``{"name", "blueprint", "parameter-type"}`` needs no rewriting; remarks are passed over."""
    file = {
        "name": "b",
        "template-version": "2.8",
        "blueprint": {"flow": {}},
        "parameter-type": {"p": {"type": "string"}},
    }
    seed = parse_seed(json.dumps(file).encode(), "the seed")
    assert seed.blueprints == {"b": {"flow": {}}}
    assert seed.parameter_types == {"p": {"type": "string"}}
    assert (seed.items, seed.flows) == ({}, {})


def test_types_can_be_left_out():
    """``skip`` takes patterns: rendered state of an older system is left out so."""
    data = b'{"processor:chunker": {"x": {}}, "processor:x": 1, "prompt": {"a": 1}}'
    assert parse_seed(data, "the seed", skip=["processor:*"]).items == {("prompt", "a"): 1}


# -- at the command line -------------------------------------------------------------------------


def test_the_command(etcd_endpoint, root, tmp_path: Path, capsys):
    """Summary on stderr, nothing on stdout; exit codes 0, 4 for --refuse, 5 for a bad seed."""
    file = tmp_path / "seed.json"
    where = ["--endpoints", etcd_endpoint, "--root", root]
    file.write_bytes(seed_of(SEED))
    assert main(["bootstrap", str(file), *where]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "parameter-type  1 created",
        "flow-blueprint  1 created",
        "prompt          2 created",
        "token-cost      1 created",
        "flow            2 created",
    ]
    file.write_bytes(seed_of(changed_seed()))
    assert main(["bootstrap", str(file), "--refuse", *where]) == 4
    assert "parameter-type/size, flow-blueprint/index, prompt/system" in capsys.readouterr().err
    assert main(["bootstrap", str(file), *where]) == 0
    err = capsys.readouterr().err
    assert "prompt          1 equal, 1 different" in err
    assert "left as they are (--replace overwrites them): parameter-type/size" in err
    assert main(["bootstrap", str(file), "--replace", *where]) == 0
    assert "prompt          1 replaced, 1 equal" in capsys.readouterr().err
    file.write_text('{"active-flow": {}}')
    assert main(["bootstrap", str(file), *where]) == 5
    assert "$.active-flow" in capsys.readouterr().err
    assert main(["bootstrap", str(file), "--skip", "active-*", *where]) == 0
