"""Old systems at random: a state, and how each version would have written it down.

Nothing here uses the code under test. Rendering is the old flow service's, one name replaced after
the other, and each shape has a writer of its own.
"""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

__all__ = ["BUSY", "SHAPES", "State", "clean", "hurt", "wild", "write"]

SHAPES = ("blob", "interim", "processor", "class")
FLAT = {"blob": True, "interim": False, "processor": False, "class": True}
TYPES: dict[str, dict[str, Any]] = {
    "size": {"type": "integer", "default": 2000, "description": "Größe"},
    "model": {"type": "string", "default": "gpt", "enum": ["other"]},
}
NAMES = ("f1", "f-2", "everything")


@dataclass(frozen=True)
class State:
    """What runs: ``active`` is entries by (processor, variant), ``flows`` are records."""

    blueprints: dict[str, Any]
    flows: dict[str, Any]
    active: dict[tuple[str, str], Any]
    items: dict[str, dict[str, Any]]


# -- writing it down -----------------------------------------------------------------------------


def write(state: State, shape: str, *, flat: bool | None = None) -> dict[str, Any]:
    """The document of a version that used ``shape``."""
    flat = FLAT[shape] if flat is None else flat
    old = shape == "class"
    document: dict[str, Any] = {
        "parameter-types" if old else "parameter-type": TYPES,
        "flow-classes" if old else "flow-blueprint": {
            name: _worded(_blueprint(blueprint, flat), old=old)
            for name, blueprint in state.blueprints.items()
        },
        "flows" if old else "flow": {
            id_: _record(record, flat=flat, old=old) for id_, record in state.flows.items()
        },
    }
    for (processor, variant), entry in state.active.items():
        said = _flat(entry) if flat else entry
        if shape == "processor":
            document.setdefault(f"processor:{processor}", {})[variant] = said
        elif shape == "interim":
            document.setdefault("active-flow", {})[f"{processor}:{variant}"] = said
        else:
            section = document.setdefault("flows-active" if old else "active-flow", {})
            section.setdefault(processor, {})[variant] = said
    return deepcopy({key: value for key, value in {**document, **state.items}.items() if value})


def _blueprint(blueprint: dict[str, Any], flat: bool) -> dict[str, Any]:
    sections = {
        word: {key: _flat(entry) if flat else entry for key, entry in blueprint[word].items()}
        for word in ("blueprint", "flow")
    }
    interfaces = _interfaces(blueprint["interfaces"], flat=flat)
    return {**blueprint, **sections, "interfaces": interfaces}


def _worded(blueprint: dict[str, Any], *, old: bool) -> dict[str, Any]:
    if not old:
        return blueprint
    text = json.dumps({**blueprint, "class": blueprint["blueprint"]}).replace(
        "{blueprint}", "{class}"
    )
    worded: dict[str, Any] = json.loads(text)
    del worded["blueprint"]
    return worded


def _record(record: dict[str, Any], *, flat: bool, old: bool) -> dict[str, Any]:
    said = {**record, "interfaces": _interfaces(record["interfaces"], flat=flat)}
    if old:
        said["class-name"] = said.pop("blueprint-name")
        if not said["parameters"]:
            del said["parameters"]
    return said


def _flat(entry: dict[str, Any]) -> dict[str, Any]:
    return {**entry.get("topics", {}), **entry.get("parameters", {})}


def _interfaces(interfaces: dict[str, Any], *, flat: bool) -> dict[str, Any]:
    return {
        name: kinds["flow"] if flat and kinds.keys() == {"flow"} else kinds
        for name, kinds in interfaces.items()
    }


# -- making one up -------------------------------------------------------------------------------

words = st.text(st.characters(codec="utf-8", exclude_characters="{}:/\0"), max_size=6)
topics = st.dictionaries(
    st.sampled_from(["input", "output", "request", "triples", "librarian-response"]),
    st.sampled_from(
        ["flow:tg:a:{id}", "request:tg:b:{blueprint}", "response:tg:ü", "q1/tg/flow/{id}",
         "persistent://tg/flow/c:{id}", "flow:{size}:{id}"],
    ),
    min_size=1,
    max_size=3,
)  # fmt: skip
parameters = st.dictionaries(
    st.sampled_from(["model", "size", "größe", "x"]),
    st.one_of(st.sampled_from(["{size}", "{model}", "7"]), words),
    min_size=1,
    max_size=2,
)
entries = st.fixed_dictionaries({"topics": topics, "parameters": parameters})


def _section(*variants: str) -> st.SearchStrategy[dict[str, Any]]:
    keys = st.tuples(st.sampled_from(["chunker", "query", "p.1"]), st.sampled_from(variants))
    return st.dictionaries(keys.map(":".join), entries, max_size=4)


blueprints = st.builds(
    lambda shared, own, description, interfaces: {
        "description": description,
        "blueprint": shared,
        "flow": own,
        "interfaces": interfaces,
        "parameters": {name: {"type": name} for name in TYPES},
    },
    _section("{blueprint}", "s-{size}", "common"),
    _section("{id}", "{id}-{size}", "o.{id}"),
    words,
    st.dictionaries(
        st.sampled_from(["agent", "load"]),
        st.sampled_from([{"flow": "flow:tg:{id}"}, {"request": "q:{id}", "response": "r:{size}"}]),
    ),
)
chosen = st.fixed_dictionaries({"size": st.sampled_from(["1", "007"]), "model": words})
configuration = st.dictionaries(
    st.sampled_from(["prompt", "token-cost", "schema-x"]),
    st.dictionaries(
        st.sampled_from(["system", "a b", "x/y"]),
        st.one_of(words, st.integers(), st.none(), st.lists(words, max_size=2)),
        min_size=1,
    ),
)


@st.composite
def clean(draw: st.DrawFn) -> State:
    """A system that nobody has hurt: every flow runs all that its blueprint says."""
    made = draw(st.dictionaries(st.sampled_from(["b", "b+c"]), blueprints, min_size=1))
    flows, active = {}, dict[tuple[str, str], Any]()
    for id_ in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3)):
        name = draw(st.sampled_from(sorted(made)))
        values = draw(chosen)

        def fill(text: str, id_: str = id_, name: str = name, values: Any = values) -> str:
            text = text.replace("{blueprint}", name).replace("{id}", id_)
            for parameter, value in values.items():
                text = text.replace(f"{{{parameter}}}", value)
            return text

        for word in ("blueprint", "flow"):
            for key, entry in made[name][word].items():
                processor, _, variant = key.partition(":")
                said = {
                    section: {field: fill(text) for field, text in fields.items()}
                    for section, fields in entry.items()
                }
                active.setdefault((processor, fill(variant)), said)
        flows[id_] = {
            "description": draw(words),
            "blueprint-name": name,
            "interfaces": {
                interface: {kind: fill(text) for kind, text in kinds.items()}
                for interface, kinds in made[name]["interfaces"].items()
            },
            "parameters": values,
        }
    return State(made, flows, active, draw(configuration))


# -- and hurting it ------------------------------------------------------------------------------

scalars = st.one_of(words, st.integers(), st.booleans(), st.none(), st.floats(-9, 9))
junk = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(words, inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def hurt(draw: st.DrawFn, shape: str) -> dict[str, Any]:
    """A document of that shape to which something has happened, once or more often."""
    document = write(draw(clean()), shape)
    for _ in range(draw(st.integers(1, 4))):
        draw(st.sampled_from(_HURTS))(draw, document)
    return document


def _place(draw: st.DrawFn, document: dict[str, Any]) -> tuple[Any, str] | None:
    """Somewhere in it: the object, and the name of a field in it."""
    at: Any = document
    found = None
    for _ in range(draw(st.integers(1, 5))):
        if not isinstance(at, dict) or not at:
            break
        found = at, draw(st.sampled_from(sorted(at)))
        at = at[found[1]]
    return found


def _replace(draw: st.DrawFn, document: dict[str, Any]) -> None:
    if (place := _place(draw, document)) is not None:
        place[0][place[1]] = draw(junk)


def _remove(draw: st.DrawFn, document: dict[str, Any]) -> None:
    if (place := _place(draw, document)) is not None:
        del place[0][place[1]]


def _add(draw: st.DrawFn, document: dict[str, Any]) -> None:
    if (place := _place(draw, document)) is not None:
        place[0][draw(st.sampled_from(["f1", "topics", "b", "x", "left", "a/b", ":", ""]))] = draw(
            junk
        )


def _wrap(draw: st.DrawFn, document: dict[str, Any]) -> None:
    if (place := _place(draw, document)) is not None:
        place[0][place[1]] = json.dumps(place[0][place[1]])


def _copy(draw: st.DrawFn, document: dict[str, Any]) -> None:
    """The same under another version's word."""
    if document:
        word = draw(st.sampled_from(_WORDS))
        document[word] = deepcopy(document[draw(st.sampled_from(sorted(document)))])


_HURTS = (_replace, _remove, _add, _wrap, _copy)
_WORDS = (
    "active-flow", "flows-active", "processor:chunker", "processor:", "flow", "flows",
    "flow-classes", "flow-class", "flow-blueprint", "parameter-types", "migration", "history",
    "no type", "prompt",
)  # fmt: skip
wild = st.dictionaries(
    st.sampled_from(_WORDS), st.one_of(junk, st.dictionaries(words, junk, max_size=3)), max_size=5
)
"""Anything at all, as long as it is JSON."""


BUSY = State(
    blueprints={
        "b": {
            "description": "two that share",
            "blueprint": {
                "query:{blueprint}": {"topics": {"request": "request:tg:q:{blueprint}"}},
            },
            "flow": {
                "chunker:{id}": {
                    "topics": {"input": "flow:tg:load:{id}"},
                    "parameters": {"size": "{size}"},
                },
                "lone:common": {"topics": {"input": "flow:tg:one"}},
            },
            "interfaces": {"load": {"flow": "flow:tg:load:{id}"}},
            "parameters": {"size": {"type": "size"}},
        }
    },
    flows={
        id_: {
            "description": id_,
            "blueprint-name": blueprint,
            "interfaces": {"load": {"flow": f"flow:tg:load:{id_}"}},
            "parameters": {"size": "5"},
        }
        for id_, blueprint in (("f1", "b"), ("f2", "b"), ("f3", "gone"), ("f4", "b"))
    },
    active={
        ("query", "b"): {"topics": {"request": "request:tg:q:b"}, "parameters": {}},
        ("lone", "common"): {"topics": {"input": "flow:tg:one"}, "parameters": {}},
        ("lone", "gone"): {"topics": {"input": "flow:tg:two"}, "parameters": {"x": "1"}},
        **{
            ("chunker", id_): {
                "topics": {"input": f"flow:tg:load:{id_}"},
                "parameters": {"size": size},
            }
            for id_, size in (("f1", "5"), ("f2", "6"), ("f3", "7"), ("nobody", "8"))
        },
    },
    items={"prompt": {"system": "Be brief.", "a b": None}},
)
"""Flows that share, that own one variant both, one whose blueprint is gone, one that rests, and
what nobody has."""
