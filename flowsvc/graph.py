"""What a picture of a blueprint or of a flow shows: who uses which topic, and which way that goes.

Pure: a graph is a value; how it is drawn is not said here. Equal input gives an equal graph, in
whatever order a blueprint's text has its entries. Nothing is left out but parameters.

*Nodes* are the entries (a processor's variants, shared ones apart from a flow's own); the topics,
each of which joins all that use it, be it only one; and the *doors*, which are the interfaces.

*Directions* follow from the names under which entries hold their topics. The rule is TrustGraph's,
whose processors keep to it without exception:

======================  =======================================================================
name                    the entry
======================  =======================================================================
``input, x-input``      reads the topic
``output, x-output``    writes it
``request``             is asked: it reads requests,
``response``            and writes the responses
``x-request``           asks x: it writes requests,
``x-response``          and reads the responses
any other, ``triples``  writes it, if the entry says by this rule what it reads (``input``,
                        ``x-input`` or ``request``); otherwise that cannot be known
======================  =======================================================================

A door's ``request`` comes in, its ``response`` goes out. ``flow``, or any other word, brings in
what is only read inside and takes out what is only written there; where it is both, that cannot be
known. What cannot be known is an edge without a direction.

*An exchange* is one node for two topics, requests and the responses to them, where all that use the
one under such a name use the other under its partner. Its edges follow the requests; the responses
come back the same way. With a node for each, any two who talk would be a circle, and forty
processors a tangle.

An edge bears the entry's name for the topic where that says more than the topic's own text.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from flowsvc.blueprint import Blueprint
from flowsvc.model import Flow, HistoryEntry
from flowsvc.status import FlowStatus, VariantState, VariantStatus
from kvconfig.errors import InvalidName
from kvconfig.keyspace import VariantName
from kvconfig.records import VariantRecord

__all__ = ["Edge", "Graph", "Kind", "Node", "State", "of_blueprint", "of_flow", "recorded"]

Kind: TypeAlias = Literal["own", "shared", "topic", "exchange", "door"]

State: TypeAlias = VariantState | Literal["paused", "unknown"]
"""As ``flow describe`` has it; but ``unknown`` where no instance is there to say anything."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """Something to draw. ``id`` is a letter and a number; ``lines`` is any text, one line or two.

    ``processor`` is that of an entry, "" for others. ``state``: of an entry of a flow.
    """

    id: str
    kind: Kind
    lines: tuple[str, ...]
    processor: str = ""
    state: State | None = None


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """From one node to another, by their ids. Not ``directed``: one way, or the other, or both."""

    source: str
    target: str
    label: str = ""
    directed: bool = True


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """What a picture shows. Nodes: entries by name, then topics by text, then doors by name."""

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def groups(self) -> list[tuple[str, list[Node]]]:
        """All nodes, in order. The entries of a processor that has several are together, with its
        name; any other node is alone, with "".
        """
        several = {name for name, n in Counter(n.processor for n in self.nodes).items() if n > 1}
        groups: list[tuple[str, list[Node]]] = []
        for node in self.nodes:
            name = node.processor if node.processor in several else ""
            if name and groups and groups[-1][0] == name:
                groups[-1][1].append(node)
            else:
                groups.append((name, [node]))
        return groups


# -- from what there is --------------------------------------------------------------------------


def of_blueprint(blueprint: Blueprint) -> Graph:
    """The blueprint as it is written, placeholders and all.

    Two topics are one if they give the same text in every flow: ``x:{class}``, ``x:{blueprint}``.
    """
    entries = [(entry, False) for entry in blueprint.own]
    entries += [(entry, True) for entry in blueprint.shared]
    compiled: Mapping[str, object] = {**blueprint.literals, **blueprint.templates}
    written: dict[object, str] = {}
    for topics in (*(entry.topics for entry, _ in entries), *blueprint.interfaces.values()):
        for text in topics.values():
            written.setdefault(compiled[text], text)

    def same(topics: Mapping[str, str]) -> dict[str, str]:
        return {name: written[compiled[text]] for name, text in topics.items()}

    users = [
        _User(
            kind="shared" if shared else "own",
            text=f"{entry.processor}:{entry.variant}",
            topics=same(entry.topics),
            processor=entry.processor,
        )
        for entry, shared in entries
    ]
    doors = {name: same(topics) for name, topics in blueprint.interfaces.items()}
    return _graph(f"blueprint {blueprint.name}", users, doors)


def of_flow(flow: Flow, status: FlowStatus, values: Mapping[VariantName, VariantRecord]) -> Graph:
    """A flow with the state of each of its variants.

    ``values`` are the variants' own, as :func:`recorded` finds them. A variant without one is drawn
    without topics. Raises ``InvalidName`` for a record that names what is no variant.
    """
    variants = flow.record.variants
    states = {variant.name: variant for variant in status.variants}
    users = [
        _User(
            kind="shared" if shared else "own",
            text=str(name),
            topics=values[name].topics if name in values else {},
            processor=name.processor,
            state="paused" if status.state == "paused" else _state(states.get(str(name))),
        )
        for names, shared in ((variants.own_names(), False), (variants.shared_names(), True))
        for name in names
    ]
    title = f"flow {flow.id}: {status.state} at revision {status.mod_revision}"
    return _graph(title, users, flow.record.interfaces)


def recorded(flow: Flow, history: Iterable[HistoryEntry]) -> dict[VariantName, VariantRecord]:
    """The values of a flow's variants, as the operation that its record names has written them.

    Of a flow that is paused they are in the record itself, otherwise in its history. Empty where
    neither has them.
    """
    if flow.record.paused is not None:
        found = flow.record.paused
    else:
        after = next((entry.after for entry in history if entry.op == flow.record.op), None)
        try:
            found = msgspec.convert(after, _After).variants
        except msgspec.ValidationError:  # written by hand
            found = {}
    try:
        return {VariantName.parse(name): value for name, value in found.items()}
    except InvalidName:
        return {}


class _After(msgspec.Struct, frozen=True):
    """What is needed of ``after`` in the history of a flow."""

    variants: dict[str, VariantRecord] = {}


def _state(variant: VariantStatus | None) -> State:
    if variant is None or (variant.state == "starting" and not variant.instances):
        return "unknown"
    return variant.state


# -- which way -----------------------------------------------------------------------------------

_Way: TypeAlias = Literal["reads", "writes", "unknown"]

_WAYS: Mapping[str, _Way] = {
    "input": "reads",
    "output": "writes",
    "request": "reads",
    "response": "writes",
}
_OPPOSITE: Mapping[_Way, _Way] = {"reads": "writes", "writes": "reads"}
_TALK = ("request", "response")


def _split(name: str) -> tuple[str, str]:
    """What a name says, and the word that says which way: ``("graph-rag", "request")``.

    ``("", "input")`` where it says no more than that, ``("triples", "")`` where nothing of it, and
    ``("", "")`` for ``flow``, the plain word for a door.
    """
    if name == "flow":
        return "", ""
    said, _, word = name.rpartition("-")
    return (said, word) if word in _WAYS else (name, "")


def _way(name: str, names: Iterable[str]) -> _Way:
    """What an entry does with its topic ``name``; ``names`` are those of all its topics."""
    said, word = _split(name)
    if word:
        asks = word in _TALK and said
        return _OPPOSITE[_WAYS[word]] if asks else _WAYS[word]
    says_what_it_reads = any(each == "request" or _split(each)[1] == "input" for each in names)
    return "writes" if says_what_it_reads else "unknown"


def _way_of_door(kind: str, inside: set[_Way]) -> _Way:
    """What comes by a door; ``inside`` is what the entries do with the topic."""
    word = _split(kind)[1]
    if word in _TALK:
        return _OPPOSITE[_WAYS[word]]
    if inside == {"reads"}:
        return "writes"
    if inside == {"writes"}:
        return "reads"
    return "unknown"


# -- putting together ----------------------------------------------------------------------------


class _User(NamedTuple):
    """An entry, before it has an id."""

    kind: Kind
    text: str
    topics: Mapping[str, str]
    processor: str
    state: State | None = None


class _Use(NamedTuple):
    """One topic that a node uses, under a name of its own."""

    node: str
    name: str
    topic: str
    way: _Way


def _graph(title: str, users: Iterable[_User], doors: Mapping[str, Mapping[str, str]]) -> Graph:
    users = sorted(users, key=lambda user: (user.processor, user.text))
    entries = [
        Node(
            id=f"e{number}",
            kind=user.kind,
            lines=(user.text,),
            processor=user.processor,
            state=user.state,
        )
        for number, user in enumerate(users, 1)
    ]
    uses = [
        _Use(entry.id, name, topic, _way(name, user.topics))
        for entry, user in zip(entries, users, strict=True)
        for name, topic in sorted(user.topics.items())
    ]
    inside: defaultdict[str, set[_Way]] = defaultdict(set)
    for use in uses:
        inside[use.topic].add(use.way)
    ends = []
    for number, (door, topics) in enumerate(sorted(doors.items()), 1):
        ends.append(Node(id=f"d{number}", kind="door", lines=(door,)))
        uses += [
            _Use(f"d{number}", kind, topic, _way_of_door(kind, inside[topic]))
            for kind, topic in sorted(topics.items())
        ]
    joints = _joints(uses, _exchanges([*(user.topics for user in users), *doors.values()]))
    edges = [edge for use in uses if (edge := _edge(use, joints[use.topic])) is not None]
    return Graph(
        title=title,
        nodes=(*entries, *dict.fromkeys(joints.values()), *ends),
        edges=tuple(dict.fromkeys(edges)),
    )


def _exchanges(all_topics: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Topics of requests, each with that of the responses, where the two always go together."""
    pairs = {
        (topics.get(f"{stem}request"), topics.get(f"{stem}response"))
        for topics in all_topics
        for name in topics
        if (word := _split(name)[1]) in _TALK
        for stem in (name.removesuffix(word),)
    }
    occurs = Counter(topic for pair in pairs for topic in pair)
    return {
        request: response
        for request, response in pairs
        if request is not None and response is not None and occurs[request] == occurs[response] == 1
    }


def _joints(uses: Sequence[_Use], exchanges: Mapping[str, str]) -> dict[str, Node]:
    """The node of each topic, in order: its own, or that of the exchange which it is part of."""
    joints: dict[str, Node] = {}
    answers = set(exchanges.values())
    topics = sorted({use.topic for use in uses} - answers)
    for number, topic in enumerate(topics, 1):
        response = exchanges.get(topic)
        lines = (topic,) if response is None else (topic, response)
        kind: Kind = "topic" if response is None else "exchange"
        joints.update(dict.fromkeys(lines, Node(id=f"t{number}", kind=kind, lines=lines)))
    return joints


def _edge(use: _Use, joint: Node) -> Edge | None:
    """The edge for one use of a topic; ``None`` for responses, which come the way of requests."""
    said, word = _split(use.name)
    label = "" if any(said in text for text in joint.lines) else use.name
    if joint.kind == "exchange":
        if word == "response":
            return None
        if word == "request":
            label = said if label else ""
        else:
            which = "requests" if use.topic == joint.lines[0] else "responses"
            label = f"{use.name} ({which})"
    if use.way == "reads":
        return Edge(source=joint.id, target=use.node, label=label)
    return Edge(source=use.node, target=joint.id, label=label, directed=use.way == "writes")
