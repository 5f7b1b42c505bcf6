"""``flowctl blueprint graph`` and ``flow describe --graph``: pictures as text, and as SVG."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from flowsvc.cli import graph as graph_command
from flowsvc.cli import main
from flowsvc.cli.drawing import dot, mermaid
from flowsvc.cli.output import printable
from flowsvc.errors import NotFound
from flowsvc.graph import Edge, Graph, Node
from flowsvc.model import Definition, HistoryEntry
from flowsvc.status import InstanceReport
from kvconfig.errors import InvalidName
from kvconfig.model import Revision
from tests.fake_flows import HISTORY, STATUS

GOLDENS = Path(__file__).parents[2] / "data" / "graphs"
SAMPLE = Path(__file__).parents[3] / "processors" / "samples" / "document-index.json"
SMALL = {"flow": {"chunker:{id}": {"topics": {"input": "t:{id}"}}}}


def stored(flows, name: str, definition: dict[str, Any]) -> None:
    """What the flow service has."""
    flows.definition = Definition(name=name, definition=definition, mod_revision=Revision(5))


def said(capsys, *args: str, code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert main(args) == code, capsys.readouterr().err
    out, err = capsys.readouterr()
    return out, err


# -- blueprints ----------------------------------------------------------------------------------


@pytest.mark.parametrize("output", ["mermaid", "dot"])
def test_the_picture_of_the_sample(flows, capsys, output):
    """As it was looked at once, to the letter; the command itself makes the file again."""
    blueprint = json.loads(SAMPLE.read_bytes())["flow-blueprint"]["document-index"]
    stored(flows, "document-index", blueprint)
    out, err = said(capsys, "blueprint", "graph", "document-index", "-o", output)
    assert out == (GOLDENS / f"document-index.{output}").read_text(encoding="utf-8")
    assert err == ""
    assert flows.asked == [("flow-blueprint", "document-index")]


def test_the_picture_of_a_large_blueprint(flows, capsys, shared_data: Path):
    """TrustGraph's largest, with 36 entries; within the 50,000 characters that Mermaid takes."""
    file = json.loads((shared_data / "blueprints" / "2.8-everything.json").read_bytes())
    stored(flows, "everything", file["blueprint"])
    out, _ = said(capsys, "blueprint", "graph", "everything")
    assert out == (GOLDENS / "everything.mermaid").read_text(encoding="utf-8")
    assert len(out) < 10_000


def test_a_blueprint_may_come_from_a_file(flows, capsys, tmp_path: Path, monkeypatch):
    """By its path, by its end, or on standard input; nobody is asked, and its warnings are told."""
    monkeypatch.chdir(tmp_path)
    definition = json.dumps({**SMALL, "more": 1})
    Path("small.json").write_text(definition, encoding="utf-8")
    Path("no name.txt").write_text(definition, encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(definition.encode())))
    for source, name in (
        ("small.json", "small"),
        (str(tmp_path / "small.json"), "small"),
        ("./no name.txt", "blueprint"),
        ("-", "blueprint"),
    ):
        out, err = said(capsys, "blueprint", "graph", source)
        assert f'title: "blueprint {name}"' in out
        assert '["chunker:{id}"]' in out
        assert err == "warning: $.more: unknown section, ignored\n"
    assert flows.asked == []


def test_a_file_that_cannot_be_drawn(flows, capsys, tmp_path: Path):
    """Not there is wrong usage; no blueprint is invalid input, with every finding; no picture."""
    out, err = said(capsys, "blueprint", "graph", str(tmp_path / "none.json"), code=2)
    assert (out, "No such file" in err) == ("", True)
    bad = tmp_path / "bad.json"
    bad.write_text('{"flow": {"no-colon": {}, "p:{id}": 5}}', encoding="utf-8")
    out, err = said(capsys, "blueprint", "graph", str(bad), code=5)
    assert out == ""
    places = [line.split(": ")[:2] for line in err.splitlines()]
    assert places == [
        ["error", "blueprint 'bad' is not valid"],
        ["  error", "$.flow.no-colon"],
        ["  error", "$.flow.p:{id}"],
    ]


def test_what_is_no_name_is_refused_by_the_service(flows, capsys):
    """Anything that does not look like a file is a name."""
    flows.error = InvalidName("x y", what="blueprint name", rule="r")
    assert said(capsys, "blueprint", "graph", "x y", code=5)[0] == ""
    assert flows.asked == [("flow-blueprint", "x y")]


# -- flows ---------------------------------------------------------------------------------------

STARTS = InstanceReport(instance="q1", state="starting", observed_revision=Revision(3))


@pytest.fixture
def recorded(flows, monkeypatch):
    """A flow whose history has its topics; one failed here and there, one nobody runs."""
    variants = {
        "chunker/f1": {"topics": {"input": "flow:load", "output": "flow:chunks"}},
        "loader/f1": {"topics": {"output": "flow:load"}},
        "query/b": {"topics": {"request": "r", "response": ""}},
    }
    entry = structs.replace(HISTORY[1], after={"record": {}, "variants": variants})
    monkeypatch.setattr("tests.fake_flows.HISTORY", [HISTORY[0], entry])
    chunker, query = STATUS.variants
    query = structs.replace(query, instances=(STARTS,), error="")
    loader = structs.replace(query, name="loader/f1", instances=())
    flows.statuses = [structs.replace(STATUS, variants=(chunker, loader, query))]
    return flows


def test_a_flow_is_drawn_with_its_states(recorded, capsys):
    """In colours and in words: topics from the history, doors, and a legend of what occurs."""
    out, err = said(capsys, "flow", "describe", "f1", "--graph")
    assert out.splitlines() == [
        "---",
        'title: "flow f1: degraded at revision 1099511627776"',
        "config:",
        "  flowchart:",
        "    wrappingWidth: 500",
        "---",
        "flowchart LR",
        '  e1["chunker/f1<br/>degraded"]:::degraded',
        '  e2["loader/f1<br/>unknown"]:::unknown',
        '  e3[["query/b<br/>starting"]]:::starting',
        '  t1(["flow:chunks"]):::topic',
        '  t2(["flow:load"]):::topic',
        '  t3(["r<br/>#40;empty#41;"]):::exchange',
        '  d1{{"agent"}}:::door',
        '  d2{{"none"}}:::door',
        "  t2 --> e1",
        "  e1 --> t1",
        "  e2 --> t2",
        "  t3 --> e3",
        "  d1 --> t3",
        '  subgraph legend["legend"]',
        '    l1["own variant"]:::own',
        '    l2[["shared variant"]]:::shared',
        '    l3(["topic"]):::topic',
        '    l4(["requests and their responses"]):::exchange',
        '    l5{{"interface"}}:::door',
        '    l6["starting"]:::starting',
        '    l7["degraded: failed on some instances"]:::degraded',
        '    l8["unknown: nobody runs its processor"]:::unknown',
        "  end",
        "  classDef own fill:#e7f5ff,stroke:#1971c2,color:#212529",
        "  classDef shared fill:#e7f5ff,stroke:#1971c2,color:#212529",
        "  classDef topic fill:#f8f9fa,stroke:#868e96,color:#212529",
        "  classDef exchange fill:#f8f9fa,stroke:#868e96,color:#212529",
        "  classDef door fill:#ffffff,stroke:#343a40,color:#212529",
        "  classDef starting fill:#fff3bf,stroke:#e67700,color:#212529",
        "  classDef degraded fill:#ffd8a8,stroke:#d9480f,color:#212529",
        "  classDef unknown fill:#dee2e6,stroke:#495057,color:#212529",
    ]
    assert err == ""
    assert said(capsys, "flow", "describe", "f1", "-o", "mermaid")[0] == out
    drawn = said(capsys, "flow", "describe", "f1", "--graph", "-o", "dot")[0]
    assert said(capsys, "flow", "describe", "f1", "-o", "dot")[0] == drawn
    assert 'label="chunker/f1\\ndegraded" shape=box style=filled fillcolor="#ffd8a8"' in drawn


@pytest.mark.parametrize("none", [False, True])
def test_a_flow_without_a_history_is_drawn_without_topics(flows, capsys, monkeypatch, none):
    """Its variants and their states are there; what lacks is told on stderr."""

    async def no_history(*_: object) -> list[HistoryEntry]:
        raise NotFound("history of flow", "f1")

    if none:
        monkeypatch.setattr(flows, "history", no_history)
    out, err = said(capsys, "flow", "describe", "f1", "--graph")
    assert '"chunker/f1<br/>degraded"' in out
    assert err == "warning: the history of flow 'f1' has no topics of its variants\n"


def test_other_output_is_no_picture(flows, capsys):
    """--graph with -o json is wrong usage: nobody is asked."""
    out, err = said(capsys, "flow", "describe", "f1", "--graph", "-o", "json", code=2)
    assert out == ""
    assert "-o json is no picture: --graph goes with mermaid, dot, svg" in err
    assert flows.asked == []


# -- SVG -----------------------------------------------------------------------------------------


@pytest.fixture
def graphviz(tmp_path: Path, monkeypatch):
    """Puts a program called ``dot`` on PATH, and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def install(script: str) -> None:
        program = folder / "dot"
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)

    return install


def test_svg_is_what_graphviz_makes_of_dot(flows, capsysbinary, graphviz):
    """Its bytes go to stdout as they are."""
    stored(flows, "b", SMALL)
    graphviz('echo "<svg $*>"; while read -r line; do echo "$line"; done')
    assert main(["blueprint", "graph", "b", "-o", "svg"]) == 0
    head, *rest = capsysbinary.readouterr().out.decode().splitlines()
    assert head == "<svg -Tsvg>"
    assert main(["blueprint", "graph", "b", "-o", "dot"]) == 0
    text = capsysbinary.readouterr().out.decode()
    assert rest == [line.strip() for line in text.splitlines()]


def test_svg_without_graphviz_says_what_to_do(flows, capsys, graphviz):
    """An error with its cure, on stderr; no half a picture."""
    stored(flows, "b", SMALL)
    out, err = said(capsys, "blueprint", "graph", "b", "-o", "svg", code=1)
    assert out == ""
    assert err.splitlines() == [
        "error: SVG is drawn by `dot` of Graphviz, and there is none on PATH",
        "hint: install Graphviz, or take -o mermaid or -o dot, which need nothing",
    ]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo half; echo 'no such font' >&2; exit 3", "`dot` ended with 3: no such font"),
        ("while :; do :; done", "`dot` was not done after 0.2 s"),
    ],
    ids=["fails", "hangs"],
)
def test_a_graphviz_that_does_not_do_it(  # noqa: PLR0917 - fixtures
    flows, capsys, graphviz, monkeypatch, script, told
):
    """What it said is told; it has a limit; no half a picture."""
    monkeypatch.setattr(graph_command, "LAYOUT_TIMEOUT_S", 0.2)
    stored(flows, "b", SMALL)
    graphviz(script)
    out, err = said(capsys, "blueprint", "graph", "b", "-o", "svg", code=1)
    assert out == ""
    assert err.splitlines()[0] == f"error: {told}"


# -- whatever the texts are ----------------------------------------------------------------------


class Drawing(NamedTuple):
    """What a text says: the lines in each node, the edges, the frames. The legend is left out."""

    nodes: dict[str, list[str]]
    edges: list[tuple[str, str, str, bool]]
    frames: list[str]


def drawing_of(graph: Graph) -> Drawing:
    """What is to be read back."""
    return Drawing(
        {
            node.id: [
                printable(line) or "(empty)"
                for line in (*node.lines, node.state)
                if line is not None
            ]
            for node in graph.nodes
        },
        [(edge.source, edge.target, printable(edge.label), edge.directed) for edge in graph.edges],
        [printable(name) for name, _ in graph.groups() if name],
    )


_NODE = re.compile(r' {2,4}([a-z]\d+)(\[|\[\[|\(\[|\{\{)"([^"]+)"(\]|\]\]|\]\)|\}\}):::([a-z]+)')
_EDGE = re.compile(r'  ([a-z]\d+) (-->|---)(?:\|"([^"]+)"\|)? ([a-z]\d+)')
_FRAME = re.compile(r'  subgraph ([a-z]+\d*)\["([^"]+)"\]')
_CLASS = re.compile(r"  classDef ([a-z]+) fill:#\w{6},stroke:#\w{6},color:#\w{6}")


def read_mermaid(text: str) -> Drawing:
    """By a grammar of its own: each line is one of five things, or the test fails."""
    head, _, body = text.partition("flowchart LR\n")
    assert re.fullmatch(r'---\ntitle: ".*"\nconfig:\n(  .*\n)+---\n', head)
    read = Drawing({}, [], [])
    looks: set[str] = set()
    defined: set[str] = set()
    open_frames: list[str] = []
    for line in body.splitlines():
        if found := _NODE.fullmatch(line):
            id_, opening, label, closing, look = found.groups()
            assert closing == opening[::-1].translate(str.maketrans("([{", ")]}"))
            looks.add(look)
            if open_frames != ["legend"]:
                assert id_ not in read.nodes
                read.nodes[id_] = [mermaid_text(part) for part in label.split("<br/>")]
        elif found := _EDGE.fullmatch(line):
            source, arrow, label, target = found.groups()
            read.edges.append((source, target, mermaid_text(label or ""), arrow == "-->"))
        elif found := _FRAME.fullmatch(line):
            open_frames.append(found[1])
            read.frames.append(mermaid_text(found[2]))
        elif line == "  end":
            open_frames.pop()
        else:
            found = _CLASS.fullmatch(line)
            assert found, line
            defined.add(found[1])
        assert len(open_frames) <= 1
    assert (looks, open_frames) == (defined, [])
    return read._replace(frames=read.frames[:-1])


def mermaid_text(label: str) -> str:
    """What Mermaid shows; it may hold nothing that Mermaid looks for between quotes as well."""
    assert not re.search(r"style|classDef|[%$`<>\\]|#(?!\d+;)", label)
    return re.sub(r"#(\d+);", lambda found: chr(int(found[1])), label)


_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([A-Za-z_]\w*|\d+)|(->|[{}\[\]=]))')


def read_dot(text: str) -> Drawing:
    """By a small part of the grammar of DOT: that which we write."""
    tokens: list[str] = []
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        assert found, text[at : at + 80]
        tokens.append(found[0].strip())
        at = found.end()
    tokens.reverse()
    read = Drawing({}, [], [])
    assert tokens.pop() == "digraph"
    dot_text(tokens.pop())
    _read_block(tokens, read, frame="")
    assert tokens == []
    return read._replace(frames=read.frames[:-1])


def _read_block(tokens: list[str], read: Drawing, *, frame: str) -> None:
    """``{ statements }``; ``tokens`` are in reverse."""
    assert tokens.pop() == "{"
    while (first := tokens.pop()) != "}":
        if first == "subgraph":
            _read_block(tokens, read, frame=tokens.pop())
        elif tokens[-1] == "=":
            tokens.pop()
            assert first == "label"
            read.frames.append("".join(dot_text(tokens.pop())))
        elif tokens[-1] == "->":
            tokens.pop()
            target, attributes = tokens.pop(), _read_attributes(tokens)
            (label,) = dot_text(attributes.get("label", '""'))
            read.edges.append((first, target, label, attributes.get("dir") != "none"))
        else:
            attributes = _read_attributes(tokens)
            if frame != "cluster_legend" and first not in ("graph", "node", "edge"):
                assert first not in read.nodes
                read.nodes[first] = dot_text(attributes["label"])


def _read_attributes(tokens: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    if tokens[-1] == "[":
        tokens.pop()
        while (name := tokens.pop()) != "]":
            assert tokens.pop() == "="
            found[name] = tokens.pop()
    return found


def dot_text(label: str) -> list[str]:
    """The lines of a label in quotes: escapes, and the entities of HTML, which Graphviz knows."""
    assert label[0] == label[-1] == '"', label
    said = re.sub(r"\\(.)", lambda found: {"n": "\0"}.get(found[1], found[1]), label[1:-1])
    assert not re.search(r"&(?!amp;)", said)
    return said.replace("&amp;", "&").split("\0")


TEXTS = st.lists(
    st.one_of(
        st.text(max_size=3),
        st.sampled_from(
            ['"', "\\", "\n", "\\n", "&amp;", "#35;", "#", ";", "%%{init: {}}%%", "style x:#y;",
             "classDef a:#b;", "$$", "<b>", "<br/>", "`", "end", "]", "}", "-->", "|", "ﬂ°°35¶ß",
             "\x1b", "é"]
        ),
    ),
    max_size=4,
).map("".join)  # fmt: skip


@st.composite
def graphs(draw) -> Graph:
    """Any text in every place that can have one; the entries by processor, as they always are."""
    processors = sorted(draw(st.lists(st.sampled_from(["a", "b"]) | TEXTS, max_size=4)))
    nodes = [
        Node(
            id=f"e{number}",
            kind=draw(st.sampled_from(["own", "shared"])),
            lines=(draw(TEXTS),),
            processor=processor,
            state=draw(
                st.sampled_from(
                    [None, "running", "starting", "degraded", "failed", "paused", "unknown"]
                )
            ),
        )
        for number, processor in enumerate(processors)
    ]
    for number, kind in enumerate(draw(st.lists(st.sampled_from(["topic", "exchange", "door"])))):
        lines = (draw(TEXTS), draw(TEXTS)) if kind == "exchange" else (draw(TEXTS),)
        nodes.append(Node(id=f"t{number}", kind=kind, lines=lines))
    ends = st.sampled_from([node.id for node in nodes]) if nodes else st.nothing()
    edge = st.builds(Edge, source=ends, target=ends, label=TEXTS, directed=st.booleans())
    edges = draw(st.lists(edge, max_size=4 if nodes else 0))
    return Graph(title="flow f1: running at revision 7", nodes=tuple(nodes), edges=tuple(edges))


@pytest.mark.parametrize(("draw", "read"), [(mermaid, read_mermaid), (dot, read_dot)])
@given(graph=graphs())
def test_what_is_drawn_can_be_read_back(draw, read, graph):
    """Each language's own escapes: no text breaks out of its quotes, and none is changed."""
    assert read(draw(graph)) == drawing_of(graph)
