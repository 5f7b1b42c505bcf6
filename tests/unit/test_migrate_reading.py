"""Documents of all versions, read: whatever it is called, wherever it stands, and what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowsvc.errors import InvalidInput
from flowsvc.migrate.document import assembled, parse_document, sections_of, units
from flowsvc.migrate.reading import OldState, Style, read
from flowsvc.migrate.words import SHAPES, WORDS, meaning, types_of
from kvconfig.keyspace import VariantName

RECORD = {"blueprint-name": "b", "description": "d", "interfaces": {}, "parameters": {}}
CHUNKER = VariantName("chunker", "f1")


def said(state: OldState, severity: str = "error") -> list[tuple[str, str]]:
    return [(f.path, f.message) for f in state.findings if f.severity == severity]


def paths(state: OldState, severity: str = "error") -> list[str]:
    return [path for path, _ in said(state, severity)]


# -- the document --------------------------------------------------------------------------------


def test_what_is_wrapped_around_a_document_is_taken_off() -> None:
    """The answer of an API, and lists of what to put."""
    document: dict[str, dict[str, Any]] = {"flow": {"f1": RECORD}, "prompt": {"system": "x"}}
    put = [
        {"type": type_, "key": key, "value": value}
        for type_, section in document.items()
        for key, value in section.items()
    ]
    for wrapped in (document, {"config": document, "version": 7}, put, {"values": put}):
        assert sections_of(wrapped, "x") == document
    theirs = {"config": {"own": {"a": 1}}}
    assert sections_of(theirs, "x") == theirs, "a type of that name"


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("nonsense", "$", "JSON"),
        ("5", "$", "a number"),
        ('{"a": {"b": 1, "b": 2}}', "$.a.b", "stands twice"),
        ('[{"type": "a", "key": "b"}]', "$[0]", "value"),
        ('[{"type": "a", "key": 5, "value": 1}]', "$[0]", "key"),
        ('[{"type":"a","key":"b","value":1},{"type":"a","key":"b","value":1}]', "$[1]", "twice"),
    ],
)
def test_what_is_no_document_is_refused(text: str, path: str, message: str) -> None:
    """Before anything is read; also where one of two equal names would be lost."""
    with pytest.raises(InvalidInput) as raised:
        parse_document(text.encode(), "x")
    assert raised.value.findings[0].path == path
    assert message in raised.value.findings[0].message


def test_a_document_is_its_units() -> None:
    """Empty sections and those that are none are units too."""
    document = {"a": {"x": 1, "y": None}, "empty": {}, "odd": 5}
    parts = dict(units(document))
    assert parts == {("a", "x"): 1, ("a", "y"): None, ("empty", None): {}, ("odd", None): 5}
    assert assembled(parts) == document


def test_every_word_of_every_shape_is_understood() -> None:
    """And of what no shape writes, the singular and the plural."""
    for shape in SHAPES:
        words = WORDS[shape]
        assert meaning(words.blueprints) == "blueprint"
        assert meaning(words.parameter_types) == "parameter-type"
        assert meaning(words.flows) == "flow"
        assert meaning(words.active) == "active"
    assert meaning("processor:chunker") == "active"
    assert meaning("processor:") is None
    assert meaning("processor") is None
    assert meaning("prompt") is None
    assert types_of("flow") == ["flow", "flows"]


# -- active variants -----------------------------------------------------------------------------

ENTRY = {"topics": {"input": "t"}, "parameters": {"size": "5"}}
FLAT = {"input": "t", "size": "5"}
FORMS: list[tuple[dict[str, Any], Style]] = [
    ({"active-flow": {"chunker": {"f1": FLAT}}}, Style(shape="blob", flat=True)),
    ({"active-flow": {"chunker": {"f1": ENTRY}}}, Style(shape="blob", flat=False)),
    ({"active-flow": {"chunker:f1": ENTRY}}, Style(shape="interim", flat=False)),
    ({"processor:chunker": {"f1": ENTRY}}, Style(shape="processor", flat=False)),
    (
        {"processor:chunker": {"f1": {"topics": {"input": "t"}}}},
        Style(shape="processor", flat=False, sparse=True),
    ),
    ({"flows-active": {"chunker": {"f1": FLAT}}}, Style(shape="class", flat=True)),
    ({"active-flow": {"chunker/f1": ENTRY}}, Style(shape="blob", flat=False)),
    ({"active-flows": {"chunker": json.dumps({"f1": FLAT})}}, Style(shape="blob", flat=True)),
    ({"flows-active": {"chunker": {"f1": json.dumps(FLAT)}}}, Style(shape="class", flat=True)),
]


@pytest.mark.parametrize(("document", "style"), FORMS)
def test_an_active_variant_is_found_in_every_form(document: dict[str, Any], style: Style) -> None:
    """As a blob, by itself, in a type of its processor, flat or nested, or as text."""
    state = read(document)
    assert state.active.keys() == {CHUNKER}
    assert state.active[CHUNKER].fields.items() <= FLAT.items()
    assert state.style == style
    assert not state.findings


def test_of_two_forms_of_one_variant_the_newer_counts() -> None:
    """Equal ones are one; of differing ones the older is an error, with the place of the newer."""
    older, other = {"input": "older"}, {"topics": {"input": "other"}}
    state = read(
        {
            "flows-active": {"chunker": {"f1": older}},
            "active-flow": {"chunker": {"f1": FLAT}, "chunker:f1": FLAT},
            "processor:chunker": {"f1": ENTRY},
        }
    )
    assert state.active[CHUNKER].topics == {"input": "t"}
    assert paths(state) == ["$.flows-active.chunker.f1"]
    assert "$.processor:chunker.f1" in said(state)[0][1]
    state = read({"active-flow": {"chunker": {"f1": FLAT}, "chunker:f1": other}})
    assert state.active[CHUNKER].topics == {"input": "other"}


def test_what_is_no_text_becomes_text_and_is_told() -> None:
    """Booleans and numbers as flows hold them, anything else as its JSON."""
    fields = {"a": 5, "b": 0.5, "c": True, "d": None, "e": [1, "x"], "f": {"g": 1}, "h": "as is"}
    state = read({"active-flow": {"chunker": {"f1": fields}}})
    assert state.active[CHUNKER].loose == {
        "a": "5", "b": "0.5", "c": "true", "d": "null", "e": '[1,"x"]', "f": '{"g":1}',
        "h": "as is",
    }  # fmt: skip
    assert paths(state, "warning") == [f"$.active-flow.chunker.f1.{name}" for name in "abcdef"]
    assert not said(state)


def test_an_entry_that_is_half_flat_is_read_whole() -> None:
    """A field beside the sections goes into one; where it stands in one already it is left out."""
    entry = {**ENTRY, "model": "gpt", "size": "6"}
    state = read({"processor:chunker": {"f1": entry}})
    assert state.active[CHUNKER].loose == {"model": "gpt"}
    assert state.active[CHUNKER].parameters == {"size": "5"}
    assert paths(state, "warning") == ["$.processor:chunker.f1.model"]
    assert paths(state) == ["$.processor:chunker.f1.size"]


# -- flows, definitions, configuration -----------------------------------------------------------


@pytest.mark.parametrize(
    "record",
    [
        RECORD,
        {"class-name": "b", "description": "d"},
        {"blueprint-name": None, "class-name": "b", "description": "d", "parameters": {}},
        {"flow-class": "b", "description": "d", "interfaces": None, "parameters": None},
        json.dumps(RECORD),
    ],
)
def test_a_flow_is_read_from_the_record_of_any_version(record: Any) -> None:
    """With the word for its blueprint that it has; missing fields are empty."""
    for type_ in ("flow", "flows"):
        state = read({type_: {"f1": record}})
        flow = state.flows["f1"]
        assert (flow.blueprint_name, flow.description) == ("b", "d")
        assert (flow.interfaces, flow.parameters) == ({}, {})
        assert not state.findings


def test_interfaces_and_parameters_become_what_records_hold() -> None:
    """One topic is ``flow``; values are text; what a record does not know is left out and told."""
    record = {
        **RECORD,
        "interfaces": {"load": "t", "q": {"request": "r"}, "odd": 5},
        "parameters": {"size": 5},
        "status": "stopping",
        "color": "red",
    }
    state = read({"flow": {"f1": record}})
    flow = state.flows["f1"]
    assert flow.interfaces == {"load": {"flow": "t"}, "q": {"request": "r"}, "odd": {}}
    assert flow.parameters == {"size": "5"}
    assert paths(state) == ["$.flow.f1.interfaces.odd"]
    assert paths(state, "warning") == [
        "$.flow.f1.parameters.size", "$.flow.f1.status", "$.flow.f1.color",
    ]  # fmt: skip


def test_the_record_of_this_layout_has_no_unknown_fields() -> None:
    """A document may come from an export of it."""
    record = {**RECORD, "variants": {}, "op": "1", "given": {}, "workspace": "w", "paused": {}}
    assert not read({"flow": {"f1": record}}).findings


def test_of_two_words_for_one_thing_the_newer_counts() -> None:
    """The same under both is one; another value is an error at the older."""
    new, old = {"description": "new"}, {"description": "old"}
    state = read({"flow-classes": {"a": old, "b": new}, "flow-blueprint": {"b": new}})
    assert {name: each.value for name, each in state.blueprints.items()} == {"a": old, "b": new}
    assert not state.findings
    state = read({"flow-classes": {"b": old}, "flow-blueprint": {"b": new}})
    assert state.blueprints["b"].value == new
    assert paths(state) == ["$.flow-classes.b"]


def test_configuration_is_carried_over_whatever_its_values_are() -> None:
    """Plurals of old versions too: they are types as others are."""
    document = {"prompt": {"a b/c": None, "x": [1]}, "token-costs": {"gpt": {"in": 0.1}}}
    state = read(document)
    assert state.items == {
        ("prompt", "a b/c"): None, ("prompt", "x"): [1], ("token-costs", "gpt"): {"in": 0.1},
    }  # fmt: skip
    assert not state.findings


def test_configuration_in_strings_stays_in_strings_and_is_told() -> None:
    """As TrustGraph's own store dumps it: only what flows are made of is parsed."""
    state = read({"flow": {"f1": json.dumps(RECORD)}, "prompt": {"system": '"x"', "other": "text"}})
    assert state.items["prompt", "system"] == '"x"'
    assert paths(state, "warning") == ["$"]


def test_what_cannot_be_carried_over_is_told_with_its_place() -> None:
    """Names that are none, shapes that are none, types that others write: one error each."""
    state = read(
        {
            "flow": {"a b": RECORD, "f1": {}, "f2": 5, "f3": {"blueprint-name": "a b"}, "": RECORD},
            "flows": [],
            "flow-blueprint": {"b": "text", "ü": {}},
            "active-flow": {"chunker": "text", "ü": {"f1": {}}, "p": {"a b": {}, "x": 5}, "q:": {}},
            "history": {"flow/f1": {}},
            "migration": {"style": {}},
            "no type": {"a": 1},
            "prompt": {"ü": 1, "//": 2},
            "tool": None,
        }
    )
    assert (state.flows, state.blueprints, state.active, state.items) == ({}, {}, {}, {})
    assert sorted(paths(state)) == sorted(
        [
            "$.flow.a b", "$.flow.f1", "$.flow.f2", "$.flow.f3", '$.flow.""', "$.flows",
            "$.flow-blueprint.b", "$.flow-blueprint.ü",
            "$.active-flow.chunker", "$.active-flow.ü.f1", "$.active-flow.p.a b",
            "$.active-flow.p.x", "$.active-flow.q:",
            "$.history", "$.migration", "$.no type", "$.prompt.ü", "$.prompt.//", "$.tool",
        ]
    )  # fmt: skip
