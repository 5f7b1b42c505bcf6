"""Bootstrap: a seed makes what is not there, leaves what is, and writes nothing twice."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flowsvc.bootstrap import BootstrapRefused, Policy, bootstrap, parse_seed
from flowsvc.bootstrap.flows import TO_BE_PAUSED
from flowsvc.cli import main
from flowsvc.errors import BlueprintInvalid, InvalidInput, NotFound
from flowsvc.model import PauseFlow, ResumeFlow, StartFlow
from kvconfig.errors import SchemaNotMet
from kvconfig.etcd import connect
from kvconfig.keyspace import VariantName
from kvconfig.memory import MemoryStore
from kvconfig.txn import Put, Txn
from tests.seeds import SEED, Noted, System, as_seed, system_on

FLAG_REPLACE = Policy(when_different="replace")
FLAG_REFUSE = Policy(when_different="refuse")


@pytest.fixture
async def system(etcd_endpoint, root) -> AsyncIterator[System]:
    async with connect([etcd_endpoint]) as store, system_on(store, root) as made:
        yield made


# -- doing ---------------------------------------------------------------------------------------


async def test_a_seed_makes_all_that_it_names(system):
    """All of it stands in etcd; flows are started like any other."""
    report = await system.seed(SEED)
    assert report.total("created") == sum(report.written.values()) == 8
    assert {type_: dict(counts) for type_, counts in report.counts.items()} == {
        type_: {"created": len(section)} for type_, section in SEED.items()
    }
    ks, stands = system.ks, await system.everything()
    chunker = stands[ks.active_flow(VariantName("chunker", "f2")).decode()][0]
    assert json.loads(chunker) == {"topics": {"input": "t:f2"}, "parameters": {"size": "900"}}
    assert ks.active_flow(VariantName("query", "index")).decode() in stands
    assert stands[ks.item("prompt", "system").decode()][0] == b'"Be brief."'
    assert stands[ks.schema("token-cost").decode()][0] == b'{"required":["input"],"type":"object"}'
    flow = await system.service.get_flow("f1")
    assert (flow.record.description, flow.record.parameters) == ("first", {"size": "500"})


async def test_a_second_run_writes_nothing(system):
    """Run again, not one key has another mod_revision, and none is new."""
    await system.seed(SEED)
    before = await system.everything()
    report = await system.seed(SEED)
    assert (report.total("equal"), sum(report.written.values())) == (8, 0)
    assert await system.everything() == before


async def test_a_second_run_does_not_move_the_revision():
    """The store's own revision stands still: not even an equal value is put again."""
    store = MemoryStore()
    async with system_on(store) as system:
        await system.seed(SEED)
        before = await system.revision()
        await system.seed(SEED)
        assert await system.revision() == before
    await store.close()


def changed_seed() -> dict[str, Any]:
    """The same with another schema, type, blueprint and item, and a flow that does not run yet."""
    seed: dict[str, Any] = json.loads(as_seed(SEED))
    seed["schema"]["token-cost"]["required"] = []
    seed["parameter-type"]["size"]["default"] = 501
    seed["flow-blueprint"]["index"]["description"] = "Another"
    seed["prompt"]["system"] = "Be long."
    seed["flow"]["f1"]["description"] = "changed"
    seed["flow"]["f3"] = {"blueprint-name": "index"}
    return seed


DIFFERENT = ["schema/token-cost", "parameter-type/size", "flow-blueprint/index", "prompt/system"]


async def test_what_differs_is_left_and_said(system):
    """Unless told otherwise nothing that is there is touched; the rest is made."""
    await system.seed(SEED)
    before = await system.everything()
    report = await system.seed(changed_seed())
    assert report.named("different") == [*DIFFERENT, "flow/f1"]
    assert report.counts["flow"] == {"created": 1, "equal": 1, "different": 1}
    stands = await system.everything()
    assert {key: stands[key] for key in before} == before
    assert (await system.service.get_flow("f3")).record.parameters == {"size": "500"}


async def test_replace_overwrites_all_but_flows(system):
    """--replace writes what differs, nothing else; flows that run are left alone."""
    await system.seed(SEED)
    before, noted = await system.everything(), Noted()
    await system.seed(changed_seed(), policy=FLAG_REPLACE, watcher=noted)
    assert noted.all == [*(f"replaced {what}" for what in DIFFERENT), "created flow/f3"]
    stands, ks = await system.everything(), system.ks
    moved = {key for key in before if stands[key] != before[key]}
    assert moved == {
        key.decode()
        for key in (
            ks.schema("token-cost"),
            ks.parameter_type("size"),
            ks.flow_blueprint("index"),
            ks.item("prompt", "system"),
        )
    }
    assert (await system.service.get_flow("f1")).record.description == "first"
    assert (await system.service.get_flow("f3")).record.parameters == {"size": "501"}


async def test_refuse_writes_nothing_at_all(system):
    """--refuse stops before the first write, and names all that differs."""
    await system.seed(SEED)
    before = await system.everything()
    with pytest.raises(BootstrapRefused) as raised:
        await system.seed(changed_seed(), policy=FLAG_REFUSE)
    assert list(raised.value.differing) == DIFFERENT
    assert await system.everything() == before


async def test_a_flow_that_differs_is_no_reason_to_refuse(system):
    """Flows that run are left alone always, so --refuse goes on with the rest."""
    await system.seed(SEED)
    seed = {**SEED, "flow": changed_seed()["flow"]}
    report = await system.seed(seed, policy=FLAG_REFUSE)
    assert report.written == {"flow": 1}


async def test_a_dry_run_writes_nothing_and_says_all(system):
    """What would be written is noted as if it were, and the revision stands still."""
    await system.seed(SEED)
    before, noted = await system.revision(), Noted()
    report = await system.seed(changed_seed(), policy=FLAG_REPLACE, dry_run=True, watcher=noted)
    assert noted.all == [*(f"replaced {what}" for what in DIFFERENT), "created flow/f3"]
    assert (report.total("replaced"), sum(report.written.values())) == (4, 0)
    assert await system.revision() == before


async def test_numbers_are_compared_as_they_are_written(system):
    """1 and 1.0, 0 and false are different values, whatever Python thinks."""

    def seed(one: float, none: float) -> dict[str, Any]:
        return {
            "schema": {"unused": {"const": one}},
            "parameter-type": {"p": {"type": "number", "default": one}},
            "limit": {"a": one, "b": none},
        }

    await system.seed(seed(1, 0))
    report = await system.seed(seed(1.0, False))
    assert report.total("different") == sum(map(Counter.total, report.counts.values())) == 4


async def test_a_value_that_cannot_be_read_differs(system):
    """What somebody wrote by hand, and is no JSON, is left or replaced like any other."""
    key = system.ks.item("prompt", "system")
    await system.store.commit(Txn(then=(Put(key, b"nope"),)))
    report = await system.seed({"prompt": SEED["prompt"]})
    assert report.named("different") == ["prompt/system"]
    await system.seed({"prompt": SEED["prompt"]}, policy=FLAG_REPLACE)
    assert (await system.everything())[key.decode()][0] == b'"Be brief."'


# -- what is found before anything is written ------------------------------------------------------


async def refused(system: System, seed: dict[str, Any], **options: Any) -> list[str]:
    """The paths of what is wrong with it; nothing was written."""
    before = await system.everything()
    with pytest.raises(InvalidInput) as raised:
        await system.seed(seed, **options)
    assert await system.everything() == before
    return [finding.path for finding in raised.value.findings]


async def test_a_flow_of_no_blueprint_stops_all_before_it_begins(system):
    """A seed that cannot be completed is not begun."""
    before = await system.everything()
    with pytest.raises(NotFound) as raised:
        await system.seed({**SEED, "flow": {"f1": {"blueprint-name": "nowhere"}}})
    assert raised.value.name == "nowhere"
    assert await system.everything() == before


async def test_flows_that_cannot_start_are_found_first(system):
    """Parameters are checked by the types as they will stand, with the path of each fault."""
    flows = {
        "good": {"blueprint-name": "index"},
        "bad": {"blueprint-name": "index", "parameters": {"size": "x"}},
        "worse": {"blueprint-name": "index", "parameters": {"size": "y"}},
    }
    paths = ["$.flow.bad.parameters.size", "$.flow.worse.parameters.size"]
    assert await refused(system, {**SEED, "flow": flows}) == paths


async def test_items_that_violate_a_schema_are_found_first(system):
    """By the schema of the seed, or by the one that stands where that is kept."""
    seed = {**SEED, "token-cost": {"good": {"input": 1}, "a": {}, "b": {"output": 1}}}
    assert await refused(system, seed) == ["$.token-cost.a", "$.token-cost.b"]
    await system.config.put_schema("prompt", {"type": "string"})
    assert await refused(system, SEED) == ["$.prompt.template/a"]
    wider = {**SEED, "schema": {"prompt": {"type": ["string", "object"]}}}
    assert await refused(system, wider) == ["$.prompt.template/a"]
    report = await system.seed(wider, policy=FLAG_REPLACE)
    assert report.counts["prompt"] == {"created": 2}


async def test_a_schema_is_not_put_over_what_does_not_meet_it(system):
    """What stays as it is must be as a new schema demands; what is replaced need not."""
    await system.seed({"prompt": {"a": 1, "b": "text", "z": 2}})
    before = await system.everything()
    demand = {"schema": {"prompt": {"type": "string"}}}
    with pytest.raises(SchemaNotMet) as raised:
        await system.seed(demand)
    assert raised.value.keys == (system.ks.item("prompt", "a"), system.ks.item("prompt", "z"))
    with pytest.raises(SchemaNotMet) as raised:
        await system.seed({**demand, "prompt": {"a": "one"}}, policy=FLAG_REPLACE)
    assert raised.value.keys == (system.ks.item("prompt", "z"),)
    assert await system.everything() == before
    await system.seed({**demand, "prompt": {"a": "one", "z": "two"}}, policy=FLAG_REPLACE)
    assert [item.value for item in await system.config.list("prompt")] == ["one", "text", "two"]


async def test_configuration_needs_etcd(system):
    """Through a flow service alone, a seed with configuration is refused before anything."""
    with parse_seed(as_seed(SEED), "x") as seed, pytest.raises(InvalidInput, match="--endpoints"):
        await bootstrap(seed, system.service, None)
    assert await system.service.list_definitions("flow-blueprint") == []


async def test_a_bad_definition_is_the_services_to_judge(system):
    """What is wrong inside a blueprint comes as the service says it, before anything."""
    before = await system.everything()
    with pytest.raises(BlueprintInvalid):
        await system.seed({**SEED, "flow-blueprint": {"b": {"flow": "no object"}}, "flow": {}})
    assert await system.everything() == before


# -- flows -----------------------------------------------------------------------------------------


async def test_a_flow_is_started_to_rest(system):
    """A flow that the seed says is paused is there, and none of its variants is."""
    seed = {**SEED, "flow": {"f1": {"blueprint-name": "index", "paused": True}}}
    await system.seed(seed)
    assert (await system.service.get_flow("f1")).record.paused is not None
    assert not [key for key in await system.everything() if "/active-flow/" in key]
    assert (await system.seed(seed)).counts["flow"] == {"equal": 1}


async def test_a_flow_that_was_not_paused_in_time_is_paused_by_the_next_run(system):
    """What broke off between start and pause is gone on with; what somebody resumed is left."""
    seed = {**SEED, "flow": {"f1": {"blueprint-name": "index", "paused": True}}}
    await system.seed({**SEED, "flow": {}})
    change = system.service.change

    async def breaks_off(request: Any) -> Any:
        if isinstance(request, PauseFlow):
            raise ConnectionError
        return await change(request)

    system.service.change = breaks_off
    with pytest.raises(ConnectionError) as raised:
        await system.seed(seed)
    assert raised.value.__notes__[0].startswith("finished before that: nothing, of 1 in all")
    system.service.change = change
    assert (await system.service.get_flow("f1")).record.paused is None
    assert (await system.seed(seed)).counts["flow"] == {"created": 1}
    assert (await system.service.get_flow("f1")).record.paused is not None

    await change(ResumeFlow(flow="f1"))
    assert (await system.seed(seed)).counts["flow"] == {"different": 1}
    assert (await system.service.get_flow("f1")).record.paused is None


@pytest.mark.parametrize("change_flows", [False, True])
async def test_a_flow_that_was_not_paused_in_time_is_compared_like_any_other(system, change_flows):
    """One that broke off, and that the seed wants otherwise by now, is left or made so."""
    half = StartFlow(flow="f1", blueprint_name="index", op="op" + TO_BE_PAUSED)
    await system.seed({**SEED, "flow": {}})
    await system.service.start_flow(half)
    flow = {"blueprint-name": "index", "parameters": {"size": "7"}, "paused": True}
    report = await system.seed({"flow": {"f1": flow}}, policy=Policy(change_flows=change_flows))
    record = (await system.service.get_flow("f1")).record
    if change_flows:
        assert report.counts["flow"] == {"replaced": 1}
        assert (await system.document())["flow"] == {"f1": flow}
    else:
        assert report.named("different") == ["flow/f1"]
        assert (record.paused, record.op) == (None, half.op)


async def test_a_flow_that_could_not_be_started_any_more_is_left_alone(system):
    """Whatever became of blueprint and types since: a flow that runs is no reason to stop."""
    await system.seed(SEED)
    flow = {"f2": {"blueprint-name": "index", "parameters": {"size": "x"}}}
    report = await system.seed({**SEED, "flow": flow})
    assert report.named("different") == ["flow/f2"]
    report = await system.seed({**SEED, "flow": {"f2": {"blueprint-name": "gone"}}})
    assert report.named("different") == ["flow/f2"]
    change = Policy(change_flows=True)
    assert await refused(system, {**SEED, "flow": flow}, policy=change) == [
        "$.flow.f2.parameters.size"
    ]


# -- others ----------------------------------------------------------------------------------------


async def test_two_at_the_same_time_make_it_once(system):
    """Deployments that bootstrap at once end well, and no item or flow is written twice."""
    reports = await asyncio.gather(*(system.seed(SEED) for _ in range(4)))
    for type_ in SEED:
        counts = [report.counts[type_] for report in reports]
        assert all((+count).keys() <= {"created", "equal"} for count in counts), type_
        if type_ in ("flow", "prompt", "token-cost", "schema"):
            assert sum(c["created"] for c in counts) == len(SEED[type_]), type_
    before = await system.everything()
    await system.seed(SEED)
    assert await system.everything() == before


# -- at the command line -------------------------------------------------------------------------


def test_the_command(etcd_endpoint, root, tmp_path: Path, capsys):
    """Summary on stderr, nothing on stdout; exit codes 0, 4 for --refuse, 5 for a bad seed."""
    file = tmp_path / "seed.json"
    where = ["--endpoints", etcd_endpoint, "--root", root]
    file.write_bytes(as_seed(SEED))
    assert main(["bootstrap", str(file), *where]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "schema          1 created",
        "parameter-type  1 created",
        "flow-blueprint  1 created",
        "prompt          2 created",
        "token-cost      1 created",
        "flow            2 created",
    ]
    file.write_bytes(as_seed(changed_seed()))
    assert main(["bootstrap", str(file), "--refuse", *where]) == 4
    assert ", ".join(DIFFERENT) in capsys.readouterr().err
    assert main(["bootstrap", str(file), *where]) == 0
    err = capsys.readouterr().err
    assert "prompt          1 equal, 1 different" in err
    assert "there with another value, left as they are: schema/token-cost, parameter-type" in err
    assert main(["bootstrap", str(file), "--replace", *where]) == 0
    assert "prompt          1 replaced, 1 equal" in capsys.readouterr().err
    file.write_text('{"active-flow": {}}')
    assert main(["bootstrap", str(file), *where]) == 5
    assert "$.active-flow" in capsys.readouterr().err
    assert main(["bootstrap", str(file), "--skip", "active-*", *where]) == 0
