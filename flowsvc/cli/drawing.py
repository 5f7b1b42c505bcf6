"""A graph as text that others draw: Mermaid, and DOT, the language of Graphviz. Pure.

Both pictures look alike. An entry is a box, with double sides if flows share it; a topic has round
corners, a door is a hexagon. The entries of a processor that has several are in one frame. Colours
are those of states, which are written as well; a legend has all that occurs.

Names and topics may hold any text. What is not printable is escaped in labels as everywhere in
``flowctl``, and what means something to the language as the language wants it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from flowsvc.cli.output import printable
from flowsvc.graph import Edge, Graph, Kind, Node, State

__all__ = ["dot", "mermaid"]


class _Look(NamedTuple):
    """How something is coloured, inside and around; and what that means."""

    name: str
    fill: str
    line: str
    meaning: str


_KINDS: Mapping[Kind, _Look] = {
    "own": _Look("own", "#e7f5ff", "#1971c2", "own variant"),
    "shared": _Look("shared", "#e7f5ff", "#1971c2", "shared variant"),
    "topic": _Look("topic", "#f8f9fa", "#868e96", "topic"),
    "exchange": _Look("exchange", "#f8f9fa", "#868e96", "requests and their responses"),
    "door": _Look("door", "#ffffff", "#343a40", "interface"),
}
_STATES: Mapping[State, _Look] = {
    "running": _Look("running", "#d3f9d8", "#2b8a3e", "running"),
    "starting": _Look("starting", "#fff3bf", "#e67700", "starting"),
    "degraded": _Look("degraded", "#ffd8a8", "#d9480f", "degraded: failed on some instances"),
    "failed": _Look("failed", "#ffc9c9", "#c92a2a", "failed"),
    "paused": _Look("paused", "#e5dbff", "#5f3dc4", "paused"),
    "unknown": _Look("unknown", "#dee2e6", "#495057", "unknown: nobody runs its processor"),
}
_INK = "#212529"


class _Box(NamedTuple):
    """A node as it is drawn. No line is empty: Mermaid takes no empty label."""

    id: str
    kind: Kind
    look: _Look
    lines: tuple[str, ...]


def _box(node: Node) -> _Box:
    look, lines = _KINDS[node.kind], node.lines
    if node.state is not None:
        look, lines = _STATES[node.state], (*lines, node.state)
    return _Box(node.id, node.kind, look, tuple(line or "(empty)" for line in lines))


def _legend(graph: Graph) -> list[_Box]:
    """One for each kind and each state that the graph has."""
    kinds = {node.kind for node in graph.nodes}
    states = {node.state for node in graph.nodes}
    samples = [(kind, look) for kind, look in _KINDS.items() if kind in kinds]
    samples += [("own", look) for state, look in _STATES.items() if state in states]
    return [
        _Box(f"l{number}", kind, look, (look.meaning,))
        for number, (kind, look) in enumerate(samples, 1)
    ]


# -- Mermaid -------------------------------------------------------------------------------------

_MERMAID_SHAPES: Mapping[Kind, tuple[str, str]] = {
    "own": ("[", "]"),
    "shared": ("[[", "]]"),
    "topic": ("([", "])"),
    "exchange": ("([", "])"),
    "door": ("{{", "}}"),
}

# Of a line with "style" or "classDef" Mermaid drops a semicolon, which ends our escapes. It looks
# for these words, for its directives and for mathematics in the whole text, quotes or not.
_MERMAID_SPECIAL = re.compile(r"[^\w .:/{}+-]|s(?=tyle)|c(?=lassDef)")


def mermaid(graph: Graph) -> str:
    """The graph as a Mermaid flowchart. (What draws it may have a limit: 500 edges by default.)"""
    legend = _legend(graph)
    lines = [
        "---",
        f"title: {json.dumps(printable(graph.title))}",
        "config:",
        "  flowchart:",
        "    wrappingWidth: 500",  # topics are long words
        "---",
        "flowchart LR",
    ]
    for number, (name, nodes) in enumerate(graph.groups(), 1):
        drawn = [_mermaid_box(_box(node)) for node in nodes]
        lines += _mermaid_frame(f"p{number}", name, drawn) if name else drawn
    lines += [_mermaid_edge(edge) for edge in graph.edges]
    if legend:
        lines += _mermaid_frame("legend", "legend", [_mermaid_box(box) for box in legend])
    for look in (box.look for box in legend):
        lines.append(f"  classDef {look.name} fill:{look.fill},stroke:{look.line},color:{_INK}")
    return "\n".join(lines) + "\n"


def _mermaid_frame(id_: str, title: str, inner: list[str]) -> list[str]:
    head = f"  subgraph {id_}[{_mermaid_text(title)}]"
    return [head, *(f"  {line}" for line in inner), "  end"]


def _mermaid_box(box: _Box) -> str:
    opening, closing = _MERMAID_SHAPES[box.kind]
    return f"  {box.id}{opening}{_mermaid_text(*box.lines)}{closing}:::{box.look.name}"


def _mermaid_edge(edge: Edge) -> str:
    label = f"|{_mermaid_text(edge.label)}|" if edge.label else ""
    return f"  {edge.source} {'-->' if edge.directed else '---'}{label} {edge.target}"


def _mermaid_text(*lines: str) -> str:
    def escaped(line: str) -> str:
        return _MERMAID_SPECIAL.sub(lambda found: f"#{ord(found[0])};", printable(line))

    return f'"{"<br/>".join(map(escaped, lines))}"'


# -- DOT -----------------------------------------------------------------------------------------

_DOT_SHAPES: Mapping[Kind, str] = {
    "own": "shape=box style=filled",
    "shared": "shape=box style=filled peripheries=2",
    "topic": 'shape=box style="filled,rounded"',
    "exchange": 'shape=box style="filled,rounded"',
    "door": "shape=hexagon style=filled",
}

_DOT_SPECIAL = str.maketrans({"\\": r"\\", '"': r"\"", "&": "&amp;"})


def dot(graph: Graph) -> str:
    """The graph in DOT."""
    return "\n".join(_dot_lines(graph)) + "\n"


def _dot_lines(graph: Graph) -> Iterator[str]:
    font = f'fontname="Helvetica,Arial,sans-serif" fontcolor="{_INK}"'
    yield f"digraph {_dot_text(graph.title)} {{"
    yield f"  graph [label={_dot_text(graph.title)} labelloc=t rankdir=LR {font}]"
    yield f"  node [fontsize=12 {font}]"
    yield f'  edge [fontsize=10 color="#868e96" {font}]'
    for number, (name, nodes) in enumerate(graph.groups(), 1):
        drawn = [_dot_box(_box(node)) for node in nodes]
        yield from _dot_frame(f"cluster_p{number}", name, drawn) if name else drawn
    yield from map(_dot_edge, graph.edges)
    legend = [_dot_box(box) for box in _legend(graph)]
    yield from _dot_frame("cluster_legend", "legend", legend)
    yield "}"


def _dot_frame(id_: str, title: str, inner: list[str]) -> list[str]:
    head = [f"  subgraph {id_} {{", f"    label={_dot_text(title)}"]
    return [*head, *(f"  {line}" for line in inner), "  }"]


def _dot_box(box: _Box) -> str:
    look, shape, text = box.look, _DOT_SHAPES[box.kind], _dot_text(*box.lines)
    return f'  {box.id} [label={text} {shape} fillcolor="{look.fill}" color="{look.line}"]'


def _dot_edge(edge: Edge) -> str:
    label = f"label={_dot_text(edge.label)}" if edge.label else ""
    attributes = " ".join(filter(None, (label, "" if edge.directed else "dir=none")))
    return f"  {edge.source} -> {edge.target}{f' [{attributes}]' if attributes else ''}"


def _dot_text(*lines: str) -> str:
    return '"' + r"\n".join(printable(line).translate(_DOT_SPECIAL) for line in lines) + '"'
