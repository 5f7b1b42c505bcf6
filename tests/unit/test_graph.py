"""Pictures: which nodes and edges a blueprint or a flow has, and which way those go."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs, to_builtins

from flowsvc.blueprint import parse_blueprint
from flowsvc.graph import Edge, Graph, of_blueprint, of_flow, recorded
from flowsvc.model import Flow, HistoryEntry, PauseFlow
from flowsvc.status import FlowStatus, InstanceReport, VariantStatus
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.model import Revision
from kvconfig.records import FlowRecord, FlowVariants, VariantRecord
from tests.flows import a_service, start

Topics = Mapping[str, str]


def graph_of(doors: Mapping[str, Topics] = {}, **processors: Topics) -> Graph:
    """Of a blueprint with an own entry for each processor: its topics."""
    entries = {f"{processor}:{{id}}": {"topics": each} for processor, each in processors.items()}
    return of_blueprint(parse_blueprint("b", {"flow": entries, "interfaces": doors}))


def edges_of(graph: Graph) -> set[str]:
    """Each as ``from -> to``, ``one -- other``, with its label after it, if it has one."""
    named = {node.id: "+".join(node.lines).removesuffix(":{id}") for node in graph.nodes}

    def shown(edge: Edge) -> str:
        arrow = "->" if edge.directed else "--"
        return f"{named[edge.source]} {arrow} {named[edge.target]} {edge.label}".rstrip()

    assert len(graph.edges) == len(set(graph.edges)), "none is drawn twice"
    return {shown(edge) for edge in graph.edges}


# -- which way -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "edge"),
    [
        ("input", "t -> p"),
        ("side-input", "t -> p side-input"),
        ("output", "p -> t"),
        ("side-output", "p -> t side-output"),
        ("request", "t -> p"),
        ("response", "p -> t"),
        ("oracle-request", "p -> t oracle-request"),
        ("oracle-response", "t -> p oracle-response"),
        ("thing", "p -- t thing"),
        ("putinput", "p -- t putinput"),
    ],
)
def test_the_name_of_a_topic_says_which_way(name, edge):
    """As TrustGraph's processors name what they read and what they write."""
    assert edges_of(graph_of(p={name: "t"})) == {edge}


@pytest.mark.parametrize(
    ("beside", "edge"),
    [
        ("input", "p -> t thing"),
        ("side-input", "p -> t thing"),
        ("request", "p -> t thing"),
        ("output", "p -- t thing"),
        ("response", "p -- t thing"),
        ("oracle-request", "p -- t thing"),
        ("oracle-response", "p -- t thing"),
        ("other", "p -- t thing"),
    ],
)
def test_who_says_what_it_reads_writes_the_rest(beside, edge):
    """Any other name is of something written, if the entry names by the rule what it reads."""
    assert edge in edges_of(graph_of(p={"thing": "t", beside: "x"}))


@pytest.mark.parametrize(
    ("inside", "edge"),
    [
        ({"a": {"input": "t"}}, "d -> t door"),
        ({"a": {"output": "t"}}, "t -> d door"),
        ({"a": {"input": "t"}, "b": {"output": "t"}}, "d -- t door"),
        ({"a": {"input": "t"}, "b": {"thing": "t"}}, "d -- t door"),
        ({"a": {"thing": "t"}}, "d -- t door"),
        ({}, "d -- t door"),
    ],
    ids=str,
)
def test_a_door_leads_where_the_inside_lacks_something(inside, edge):
    """In where nobody inside writes, out where nobody inside reads; else it is not known."""
    assert edge in edges_of(graph_of({"d": {"door": "t"}}, **inside))


def test_the_plain_words_of_a_door():
    """Requests come in, responses go out; ``flow`` needs no label."""
    doors = {"d": {"request": "q"}, "e": {"response": "r"}, "f": {"flow": "t"}}
    assert edges_of(graph_of(doors, p={"input": "t"})) == {"d -> q", "r -> e", "f -> t", "t -> p"}


def test_a_label_says_only_what_the_topic_does_not():
    """What is part of the topic's text is left out, and two edges that look alike are one."""
    topics = {
        "input": "in",
        "in-input": "in",
        "triples": "flow:triples-store",
        "more-output": "more",
        "why": "log",
    }
    assert edges_of(graph_of(p=topics)) == {
        "in -> p",
        "p -> flow:triples-store",
        "p -> more",
        "p -> log why",
    }


# -- exchanges -----------------------------------------------------------------------------------

ASKED = {"request": "q", "response": "r"}
ASKS = {"x-request": "q", "x-response": "r"}


def test_requests_and_responses_are_one_node():
    """Edges follow the requests, from all who ask to who is asked; a label has no word of both."""
    graph = graph_of({"d": ASKED}, asked=ASKED, asks=ASKS)
    assert [node.lines for node in graph.nodes if node.kind == "exchange"] == [("q", "r")]
    assert edges_of(graph) == {"d -> q+r", "asks -> q+r x", "q+r -> asked"}


def test_others_at_an_exchange_say_at_which_of_the_two():
    """Who only listens to the responses does not ask, and who adds a request is told apart."""
    agent = {"request": "q", "response": "r", "next": "q"}
    graph = graph_of(agent=agent, meter={"input": "r"})
    assert edges_of(graph) == {
        "q+r -> agent",
        "agent -> q+r next (requests)",
        "q+r -> meter input (responses)",
    }


@pytest.mark.parametrize(
    "other",
    [
        {"x-request": "q"},
        {"x-response": "r"},
        {"x-request": "q", "x-response": "else"},
        {"x-request": "else", "x-response": "r"},
        {"x-request": "r", "x-response": "q"},
        {"x-request": "q", "y-response": "r"},
    ],
    ids=str,
)
def test_what_does_not_always_go_together_is_no_exchange(other):
    """One who uses the two otherwise is enough: then each topic is a node of its own."""
    graph = graph_of(asked=ASKED, asks=ASKS, other=other)
    assert {node.kind for node in graph.nodes} == {"own", "topic"}
    assert {"q -> asked", "asked -> r", "asks -> q x-request", "r -> asks x-response"} <= edges_of(
        graph
    )


def test_one_topic_for_both_is_no_exchange():
    """Requests and responses on one topic are that topic."""
    graph = graph_of(asked={"request": "t", "response": "t"})
    assert edges_of(graph) == {"t -> asked", "asked -> t"}


# -- blueprints ----------------------------------------------------------------------------------


def test_nodes_are_in_order_and_tell_what_they_are():
    """Entries by name, then topics, then doors; shared entries are told apart from own ones."""
    graph = of_blueprint(
        parse_blueprint(
            "b",
            {
                "flow": {"z:{id}": {"topics": {"input": "t2"}}, "a:{id}-2": {}, "a:{id}": {}},
                "blueprint": {"a:{blueprint}": {"topics": {"output": "t1"}}},
                "interfaces": {"to": {}, "from": {"flow": "t2"}},
            },
        )
    )
    assert graph.title == "blueprint b"
    assert [(node.id, node.kind, node.lines) for node in graph.nodes] == [
        ("e1", "shared", ("a:{blueprint}",)),
        ("e2", "own", ("a:{id}",)),
        ("e3", "own", ("a:{id}-2",)),
        ("e4", "own", ("z:{id}",)),
        ("t1", "topic", ("t1",)),
        ("t2", "topic", ("t2",)),
        ("d1", "door", ("from",)),
        ("d2", "door", ("to",)),
    ]
    assert {node.state for node in graph.nodes} == {None}
    assert [(name, [node.id for node in nodes]) for name, nodes in graph.groups()] == [
        ("a", ["e1", "e2", "e3"]),
        *(("", [id_]) for id_ in ("e4", "t1", "t2", "d1", "d2")),
    ]


def test_topics_that_are_always_the_same_are_one():
    """``{class}`` is ``{blueprint}``, and that is its name; ``{workspace}`` is not."""
    graph = graph_of(
        a={"output": "x:{class}"},
        b={"input": "x:{blueprint}"},
        c={"input": "x:b"},
        d={"input": "x:{workspace}"},
    )
    assert edges_of(graph) == {
        "a -> x:{class}",
        "x:{class} -> b",
        "x:{class} -> c",
        "x:{workspace} -> d",
    }


REAL = ("1.3-everything.converted", "2.5-everything", "2.8-everything", "2.8-structured")


def real(shared_data: Path, name: str) -> tuple[str, dict[str, Any]]:
    file = json.loads((shared_data / "blueprints" / f"{name}.json").read_bytes())
    return file["name"], file["blueprint"]


@pytest.mark.parametrize("name", REAL)
def test_nothing_of_a_real_blueprint_is_left_out(shared_data: Path, name):
    """Each entry, each topic and each interface is there once, in whatever order it was written."""
    title, definition = real(shared_data, name)
    graph = of_blueprint(parse_blueprint(title, definition))
    entries = {**definition.get("blueprint", {}), **definition["flow"]}
    lines = Counter(line for node in graph.nodes for line in node.lines)
    topics = {topic for entry in entries.values() for topic in entry["topics"].values()}
    topics |= {topic for door in definition["interfaces"].values() for topic in door.values()}
    assert lines == Counter([*entries, *topics, *definition["interfaces"]])

    def shuffled(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        pairs = [(name, shuffled(inner)) for name, inner in value.items()]
        random.Random(1).shuffle(pairs)
        return dict(pairs)

    assert of_blueprint(parse_blueprint(title, shuffled(definition))) == graph


@pytest.mark.parametrize("name", REAL)
def test_the_rule_knows_every_entry_of_real_blueprints(shared_data: Path, name):
    """Only at doors is a direction unknown; and all who talk are joined by exchanges."""
    title, definition = real(shared_data, name)
    graph = of_blueprint(parse_blueprint(title, definition))
    nodes = {node.id: node for node in graph.nodes}
    unknown = [edge for edge in graph.edges if not edge.directed]
    assert {nodes[edge.source].kind for edge in unknown} == {"door"}
    words = [line for node in graph.nodes if node.kind == "topic" for line in node.lines]
    assert not [text for text in words if "request" in text or "response" in text]
    assert len(graph.edges) < 120, "forty processors are still readable"


# -- flows ---------------------------------------------------------------------------------------

VALUES = {
    "chunker/f1": VariantRecord(topics={"input": "in", "output": "out"}),
    "query/b": VariantRecord(topics=ASKED),
}
FLOW = Flow(
    id="f1",
    record=FlowRecord(
        blueprint_name="b",
        description="",
        interfaces={"search": ASKED},
        parameters={},
        variants=FlowVariants(own=("chunker/f1",), shared=("query/b",)),
        op="op-2",
    ),
    mod_revision=Revision(7),
    version=1,
)


def entry(op: str, after: Any) -> HistoryEntry:
    return HistoryEntry(op=op, revision=Revision(7), action="", by="", at="", why="", after=after)


def status(state: Any = "running", **variants: VariantStatus) -> FlowStatus:
    return FlowStatus(
        flow="f1", state=state, mod_revision=Revision(7), variants=tuple(variants.values())
    )


def variant(name: str, state: Any, *, instances: int = 1, error: str = "") -> VariantStatus:
    report = InstanceReport(instance="i", state="running", observed_revision=Revision(9))
    return VariantStatus(
        name=name,
        shared=False,
        state=state,
        mod_revision=Revision(7),
        instances=(report,) * instances,
        error=error,
    )


def states(graph: Graph) -> dict[str, str | None]:
    return {node.lines[0]: node.state for node in graph.nodes if node.processor}


def test_a_flow_has_the_states_of_its_variants():
    """As ``flow describe`` says them; what its record names is drawn, with the names of etcd."""
    found = status(
        "failed", a=variant("chunker/f1", "degraded"), b=variant("query/b", "failed", instances=0)
    )
    graph = of_flow(FLOW, found, recorded(FLOW, [entry("op-2", {"variants": VALUES})]))
    assert graph.title == "flow f1: failed at revision 7"
    assert states(graph) == {"chunker/f1": "degraded", "query/b": "failed"}
    assert [node.kind for node in graph.nodes] == [
        "own",
        "shared",
        "topic",
        "topic",
        "exchange",
        "door",
    ]
    assert edges_of(graph) == {
        "in -> chunker/f1",
        "chunker/f1 -> out",
        "q+r -> query/b",
        "search -> q+r",
    }


def test_a_flow_is_the_same_in_any_order():
    """A service may give its interfaces and topics in another order than etcd has them."""
    topics = {"input": "b", "more-input": "a", "output": "c"}
    doors = {"x": {"flow": "b", "other": "a"}, "y": {}}

    def drawn(turn: Callable[[Mapping[str, Any]], Iterable[tuple[str, Any]]]) -> Graph:
        interfaces = {name: dict(turn(door)) for name, door in turn(doors)}
        record = structs.replace(FLOW.record, interfaces=interfaces)
        values = {VariantName("chunker", "f1"): VariantRecord(topics=dict(turn(topics)))}
        return of_flow(structs.replace(FLOW, record=record), status(), values)

    assert drawn(lambda pairs: pairs.items()) == drawn(lambda pairs: reversed([*pairs.items()]))


def test_of_what_nobody_runs_nothing_is_known():
    """Without an instance there is nothing that starts; nor of a variant that is new since."""
    graph = of_flow(FLOW, status("starting", a=variant("chunker/f1", "starting", instances=0)), {})
    assert states(graph) == {"chunker/f1": "unknown", "query/b": "unknown"}
    graph = of_flow(FLOW, status("starting", a=variant("chunker/f1", "starting")), {})
    assert states(graph)["chunker/f1"] == "starting"


def test_a_paused_flow_shows_what_it_would_run():
    """Its record has the values; the history of it has none."""
    record = structs.replace(FLOW.record, paused=VALUES)
    paused = structs.replace(FLOW, record=record)
    graph = of_flow(paused, status("paused"), recorded(paused, [entry("op-2", {"variants": {}})]))
    assert states(graph) == {"chunker/f1": "paused", "query/b": "paused"}
    assert "chunker/f1 -> out" in edges_of(graph)


@pytest.mark.parametrize("plain", [False, True])
def test_topics_are_those_of_the_operation_that_the_record_names(plain):
    """Of no other; as it is read from etcd, or came from a service."""
    other = {"variants": {"chunker/f1": VariantRecord()}}
    after = {"record": FLOW.record, "variants": VALUES}
    history = [entry("op-3", other), entry("op-2", to_builtins(after) if plain else after)]
    assert recorded(FLOW, history) == {
        VariantName.parse(name): value for name, value in VALUES.items()
    }


@pytest.mark.parametrize(
    "after",
    [None, "text", {}, {"variants": 5}, {"variants": {"a/b": {"topics": {"x": 1}}}},
     {"variants": {"no-slash": {}}}],
    ids=str,
)  # fmt: skip
def test_a_history_that_tells_nothing_leaves_topics_out(after):
    """What somebody else wrote there is no reason not to draw the rest."""
    assert recorded(FLOW, [entry("op-2", after)]) == {}
    assert recorded(FLOW, [entry("op-1", after)]) == {}
    assert states(of_flow(FLOW, status(), {})).keys() == {"chunker/f1", "query/b"}


async def test_what_a_service_has_made_is_drawn():
    """From its own history while it stands, from its record while it is paused: the same edges."""
    async with a_service(MemoryStore(), Keyspace()) as service:

        async def drawn() -> Graph:
            flow, history = await service.get_flow("f1"), await service.history("flow", "f1")
            return of_flow(flow, await service.get_status("f1"), recorded(flow, history))

        await service.start_flow(start("f1"))
        standing = await drawn()
        await service.change(PauseFlow(flow="f1"))
        paused = await drawn()
    assert edges_of(standing) == {
        "flow:load:f1 -> chunker/f1",
        "chunker/f1 -> flow:chunks:f1",
        "flow:chunks:f1 -> indexer/f1",
        "query -> request:query:small",
        "request:query:small -> query/small",
    }
    assert paused.edges == standing.edges
    assert set(states(standing).values()) == {"unknown"}
    assert set(states(paused).values()) == {"paused"}


# -- whatever there is ---------------------------------------------------------------------------

TEXTS = st.text(max_size=4)
NAMES = st.one_of(
    TEXTS, st.sampled_from(["input", "output", "request", "response", "x-request", "x-response"])
)
TOPICS = st.dictionaries(NAMES, st.sampled_from(["", "q", "r", "s"]) | TEXTS, max_size=4)


@given(
    st.dictionaries(st.sampled_from(["a/1", "a/2", "b/1", "c/1", "c/2"]), TOPICS),
    st.dictionaries(TEXTS, TOPICS, max_size=3),
    st.data(),
)
def test_every_use_of_a_topic_is_an_edge(users, doors, data):
    """Whatever the names: ids are unique, edges end at nodes, and nothing gets lost on the way."""
    shared = {name for name in users if data.draw(st.booleans())}
    record = structs.replace(
        FLOW.record,
        interfaces=doors,
        variants=FlowVariants(
            own=tuple(name for name in users if name not in shared), shared=tuple(shared)
        ),
    )
    values = {VariantName.parse(name): VariantRecord(topics=users[name]) for name in users}
    graph = of_flow(structs.replace(FLOW, record=record), status(), values)
    nodes = {node.id: node for node in graph.nodes}
    assert len(nodes) == len(graph.nodes)
    pairs = [(nodes[edge.source], nodes[edge.target]) for edge in graph.edges]
    joined = {
        (user.lines[0], user.kind, topic)
        for pair in pairs
        for user, joint in (pair, pair[::-1])
        for topic in joint.lines
        if joint.kind in ("topic", "exchange")
    }
    for name, used in users.items():
        kind = "shared" if name in shared else "own"
        assert {(name, kind, topic) for topic in used.values()} <= joined
    for name, used in doors.items():
        assert {(name, "door", topic) for topic in used.values()} <= joined
    topics = {topic for each in (*users.values(), *doors.values()) for topic in each.values()}
    joints = [node for node in graph.nodes if node.kind in ("topic", "exchange")]
    assert Counter(line for node in joints for line in node.lines) == Counter(topics)
    flat = [node for _, nodes in graph.groups() for node in nodes]
    assert flat == list(graph.nodes)
