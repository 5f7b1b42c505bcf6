"""From an old state to what is written: which variant is whose, its value, and what is said."""

from __future__ import annotations

from typing import Any

import pytest

from flowsvc.migrate.conversion import Migration, convert
from flowsvc.migrate.reading import read
from flowsvc.model import AdoptFlow
from kvconfig.keyspace import VariantName
from kvconfig.records import VariantRecord

TYPES = {
    "size": {"type": "integer", "default": 2000, "maximum": 9000},
    "model": {"type": "string", "default": "gpt", "enum": ["other"]},
}
BLUEPRINT: dict[str, Any] = {
    "blueprint": {"query:{blueprint}": {"topics": {"request": "request:tg:q:{blueprint}"}}},
    "flow": {
        "chunker:{id}": {"topics": {"input": "flow:tg:in:{id}"}, "parameters": {"size": "{size}"}},
        "loader:{id}": {"topics": {"output": "flow:tg:in:{id}"}},
    },
    "parameters": {"size": {"type": "size"}, "model": {"type": "model"}},
}
QUERY = {"request": "request:tg:q:b"}


def record(**changed: Any) -> dict[str, Any]:
    return {
        "blueprint-name": "b",
        "description": "",
        "interfaces": {},
        "parameters": {"size": "5", "model": "gpt"},
        **changed,
    }


def chunker(id_: str, **changed: str) -> dict[str, str]:
    return {"input": f"flow:tg:in:{id_}", "size": "5", **changed}


def document(**changed: Any) -> dict[str, Any]:
    """Two flows of one blueprint, whole."""
    made: dict[str, Any] = {
        "parameter-type": TYPES,
        "flow-blueprint": {"b": BLUEPRINT},
        "flow": {"f1": record(), "f2": record()},
        "active-flow": {
            "chunker": {"f1": chunker("f1"), "f2": chunker("f2")},
            "loader": {"f1": {"output": "flow:tg:in:f1"}, "f2": {"output": "flow:tg:in:f2"}},
            "query": {"b": QUERY},
        },
    }
    return {**made, **{name.replace("_", "-"): value for name, value in changed.items()}}


def blobs(**changed: dict[str, Any]) -> dict[str, Any]:
    return {**document()["active-flow"], **changed}


def converted(made: dict[str, Any], **options: Any) -> Migration:
    return convert(read(made), **options)


def has(flow: AdoptFlow) -> tuple[set[str], set[str]]:
    """What is its own, and what it shares."""
    return set(map(str, flow.own)), set(map(str, flow.shared))


def said(migration: Migration, severity: str = "warning") -> dict[str, str]:
    return {f.path: f.message for f in migration.findings if f.severity == severity}


def test_what_is_in_its_place_needs_no_word() -> None:
    """Own and shared variants with their values, topics told from parameters; no finding."""
    migration = converted(document())
    assert not migration.findings
    assert migration.blueprints == {"b": BLUEPRINT}
    assert migration.parameter_types == TYPES
    for id_, flow in migration.flows.items():
        assert has(flow) == ({f"chunker/{id_}", f"loader/{id_}"}, {"query/b"})
        assert flow.own[VariantName("chunker", id_)] == VariantRecord(
            topics={"input": f"flow:tg:in:{id_}"}, parameters={"size": "5"}
        )
        assert flow.parameters == {"size": "5", "model": "gpt"}
        assert not flow.paused


def test_a_default_that_nobody_could_give_is_not_taken_for_given() -> None:
    """Or every update of the flow would be refused."""
    flow = converted(document()).flows["f1"]
    assert flow.given == {"size": "5"}


def test_the_active_value_counts_where_the_blueprint_makes_another() -> None:
    """And it is said which fields differ, at the entry's place."""
    odd = chunker("f1", size="999", input="elsewhere", more="x")
    migration = converted(document(active_flow=blobs(chunker={"f1": odd, "f2": chunker("f2")})))
    value = migration.flows["f1"].own[VariantName("chunker", "f1")]
    assert value == VariantRecord(
        topics={"input": "elsewhere"}, parameters={"size": "999", "more": "x"}
    )
    ((path, message),) = said(migration).items()
    assert path == "$.active-flow.chunker.f1"
    for field in ("topics.input", "parameters.size", "parameters.more"):
        assert field in message
    assert "elsewhere" not in message, "values may be secret"


def test_what_was_not_active_is_not_made_active() -> None:
    """It is said which variants an update would add."""
    migration = converted(document(active_flow=blobs(loader={"f2": {"output": "flow:tg:in:f2"}})))
    assert has(migration.flows["f1"]) == ({"chunker/f1"}, {"query/b"})
    assert list(said(migration)) == ["$.flow.f1"]
    assert "loader/f1" in said(migration)["$.flow.f1"]


def test_a_flow_of_which_nothing_was_active_comes_over_paused() -> None:
    """With what its blueprint makes of it, also where others run what it would share."""
    active = {"chunker": {"f2": chunker("f2")}, "query": {"b": QUERY}}
    migration = converted(document(active_flow=active))
    flow = migration.flows["f1"]
    assert flow.paused
    assert has(flow) == ({"chunker/f1", "loader/f1"}, {"query/b"})
    assert "resume f1" in said(migration)["$.flow.f1"]
    assert not migration.flows["f2"].paused


def test_without_any_active_section_all_flows_rest() -> None:
    """A document of definitions and records alone."""
    made = document()
    del made["active-flow"]
    assert all(flow.paused for flow in converted(made).flows.values())


def test_a_flow_without_its_blueprint_has_what_bears_its_name() -> None:
    """Its id makes it its own, its blueprint's name shared; all of that is said."""
    migration = converted(document(flow_blueprint={}))
    for id_, flow in migration.flows.items():
        assert has(flow) == ({f"chunker/{id_}", f"loader/{id_}"}, {"query/b"})
        assert not flow.paused
        assert "cannot be updated" in said(migration)[f"$.flow.{id_}"]
    assert len(said(migration)) == 2 + 5
    assert not said(migration, "error")


def test_what_a_blueprint_has_no_more_goes_by_its_name() -> None:
    """An entry was taken out of it while flows ran with it."""
    edited = {
        **BLUEPRINT,
        "blueprint": {},
        "flow": {"chunker:{id}": BLUEPRINT["flow"]["chunker:{id}"]},
    }
    migration = converted(document(flow_blueprint={"b": edited}))
    assert has(migration.flows["f1"]) == ({"chunker/f1", "loader/f1"}, {"query/b"})
    assert "$.active-flow.loader.f1" in said(migration)
    assert "$.active-flow.query.b" in said(migration)


def test_what_two_flows_had_for_themselves_they_share() -> None:
    """One variant, literal in the section ``flow``: neither may lose it when the other stops."""
    lone = {**BLUEPRINT, "flow": {**BLUEPRINT["flow"], "lone:common": {"topics": {"input": "t"}}}}
    made = document(flow_blueprint={"b": lone}, active_flow=blobs(lone={"common": {"input": "t"}}))
    migration = converted(made)
    for flow in migration.flows.values():
        assert has(flow)[1] == {"lone/common", "query/b"}
    assert "shared" in said(migration)["$.active-flow.lone.common"]


def test_what_no_flow_has_is_not_carried_over() -> None:
    """A shared entry that was left over is a warning, what nobody can explain an error."""
    active = blobs(query={"b": QUERY, "other": {"request": "t"}}, odd={"x": {"input": "t"}})
    made = document(active_flow=active)
    made["flow-blueprint"]["other"] = {
        "blueprint": {"query:{blueprint}": {}, "s:{size}-{blueprint}": {}}, "flow": {}
    }  # fmt: skip
    active["s"] = {"7-other": {}, "other": {}}
    migration = converted(made)
    assert set(said(migration)) == {"$.active-flow.query.other", "$.active-flow.s.7-other"}
    assert set(said(migration, "error")) == {"$.active-flow.odd.x", "$.active-flow.s.other"}


def test_a_broken_definition_is_not_carried_over_and_its_flows_are() -> None:
    """The error says where; the flow runs without its blueprint."""
    made = document(flow_blueprint={"b": {"flow": {"no colon": {}}}})
    made["parameter-type"] = {**TYPES, "deep": {"x": _nested(40)}}
    migration = converted(made)
    assert set(said(migration, "error")) == {
        "$.flow-blueprint.b.flow.no colon", "$.parameter-type.deep",
    }  # fmt: skip
    assert migration.blueprints == {}
    assert migration.parameter_types == TYPES
    assert has(migration.flows["f1"]) == ({"chunker/f1", "loader/f1"}, {"query/b"})


def _nested(depth: int) -> Any:
    return {"x": _nested(depth - 1)} if depth else 1


def test_what_an_update_will_refuse_is_said_now() -> None:
    """No old system checked a parameter."""
    migration = converted(
        document(flow={"f1": record(parameters={"size": "10000", "model": "gpt"}), "f2": record()})
    )
    assert "$.flow.f1.parameters.size" in said(migration)
    assert migration.flows["f1"].given == {"size": "10000"}


def test_parameters_that_a_record_lacks_are_filled_in_to_find_what_is_its() -> None:
    """The blueprint is younger than the flow. They are not written into its record."""
    keyed = {**BLUEPRINT, "flow": {"chunker:{id}-{size}": {"topics": {"input": "t:{id}"}}}}
    made = document(
        flow_blueprint={"b": keyed},
        flow={"f1": record(parameters={})},
        active_flow={"chunker": {"f1-2000": {"input": "t:f1"}}},
    )
    flow = converted(made).flows["f1"]
    assert has(flow) == ({"chunker/f1-2000"}, set())
    assert flow.parameters == {}


def test_the_workspace_is_what_it_is_said_to_be() -> None:
    """No old record says it; where it is another, every topic would differ."""
    spaced = {**BLUEPRINT, "flow": {"chunker:{id}": {"topics": {"input": "flow:{workspace}:{id}"}}}}
    active = {"chunker": {"f1": {"input": "flow:acme:f1"}}}
    made = document(flow_blueprint={"b": spaced}, flow={"f1": record()}, active_flow=active)
    assert "$.active-flow.chunker.f1" in said(converted(made))
    migration = converted(made, workspace="acme")
    assert "$.active-flow.chunker.f1" not in said(migration)
    assert migration.flows["f1"].workspace == "acme"


@pytest.mark.parametrize("own", [False, True])
def test_a_flow_joins_what_an_earlier_run_has_adopted_already(own: bool) -> None:
    """What it shares is in no old key any more; it stands, with the value it has there."""
    value = VariantRecord(topics={"request": "as adopted"})
    made = document(active_flow={"chunker": {"f2": chunker("f2")}}, flow={"f2": record()})
    name = VariantName("query", "b")
    if own:
        made["flow-blueprint"] = {"b": {**BLUEPRINT, "flow": {"chunker:{id}": {}, "query:b": {}},
                                        "blueprint": {}}}  # fmt: skip
    migration = converted(made, standing={name: value})
    assert migration.flows["f2"].shared == {name: value}
