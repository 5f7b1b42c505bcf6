"""Blueprints: what is accepted, and that everything wrong is found at once, with its place."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsvc.blueprint import MAX_PARAMETERS, Blueprint, check, parse_blueprint
from flowsvc.definition import MAX_DEFINITION_BYTES, MAX_DEPTH, MAX_FINDINGS
from flowsvc.entries import MAX_ENTRIES
from flowsvc.errors import BlueprintInvalid, Finding


def entry(**topics: object) -> dict[str, object]:
    return {"topics": topics}


def errors(definition: object, name: str = "bp") -> dict[str, str]:
    """Path → message of every error; the same through the checker and through the parser."""
    data = json.dumps(definition).encode()
    found = [finding for finding in check(name, data) if finding.severity == "error"]
    if found:
        with pytest.raises(BlueprintInvalid) as raised:
            parse_blueprint(name, data)
        assert raised.value.findings == check(name, data)
    return {finding.path: finding.message for finding in found}


def warnings(definition: object, name: str = "bp") -> dict[str, str]:
    blueprint = parse_blueprint(name, json.dumps(definition).encode())
    assert all(finding.severity == "warning" for finding in blueprint.findings)
    return {finding.path: finding.message for finding in blueprint.findings}


def with_parameters(**parameters: object) -> dict[str, object]:
    """A blueprint that declares them, ``_`` standing for ``-``."""
    declared = {
        name.replace("_", "-"): value if isinstance(value, dict) else {"type": "t"}
        for name, value in parameters.items()
    }
    return {"flow": {"a:{id}": entry()}, "parameters": declared}


# -- the whole -------------------------------------------------------------------------------


def test_everything_is_read() -> None:
    """All sections of a blueprint end in the compiled value."""
    blueprint = parse_blueprint(
        "bp",
        {
            "description": "d",
            "tags": ["x", "y"],
            "blueprint": {"s:{blueprint}": {"topics": {"in": "t"}}},
            "flow": {"a:b:{id}": {"topics": {"in": "t"}, "parameters": {"n": 1}}},
            "interfaces": {"i": {"flow": "t:{id}"}},
            "parameters": {"p": {"type": "pt", "controlled-by": "q"}, "q": {"type": "qt"}},
        },
    )
    assert (blueprint.name, blueprint.description, blueprint.tags) == ("bp", "d", ("x", "y"))
    assert [(e.path, e.processor, e.variant) for e in blueprint.shared] == [
        ("$.blueprint.s:{blueprint}", "s", "{blueprint}")
    ]
    (own,) = blueprint.own
    assert (own.processor, own.variant) == ("a", "b:{id}")  # split at the first colon
    assert (own.topics, own.parameters) == ({"in": "t"}, {"n": "1"})
    assert blueprint.interfaces == {"i": {"flow": "t:{id}"}}
    assert blueprint.parameter_types == ["pt", "qt"]
    assert blueprint.findings == ()


def test_text_and_object_give_equal_values() -> None:
    """Compiled blueprints compare by value, whichever way and in whichever order they came."""
    definition = {
        "flow": {"b:{id}": entry(y="1", x="{q}", w="{p}"), "a:{id}": {"z": 1, "c": 1}},
        "parameters": {"b": {"type": "t"}, "a": {"type": "t"}},
        "blueprint": {},
    }
    text = json.dumps(definition, indent=2).encode()
    assert parse_blueprint("bp", text) == parse_blueprint("bp", definition)
    assert text != json.dumps(definition, indent=2, sort_keys=True).encode()


def test_older_words() -> None:
    """Section ``class`` and ``{class}`` are read as ``blueprint``; both sections are too many."""
    blueprint = parse_blueprint("bp", {"class": {"s:{class}": entry(x="{class}")}, "flow": {}})
    assert [e.path for e in blueprint.shared] == ["$.class.s:{class}"]
    assert "older word" in errors({"class": {}, "blueprint": {}})["$.class"]


def test_an_empty_blueprint_is_pointed_out() -> None:
    """It is valid, and surely not meant."""
    assert "no entries" in warnings({})["$"]


def test_unknown_sections_and_fields_are_warnings() -> None:
    """They are ignored, as TrustGraph does, and nobody has to find out by himself."""
    definition = {
        "flows": {},
        "flow": {"a:{id}": {"topics": {}, "comment": "x", "settings": {}}},
        "parameters": {"p": {"type": "t", "controlled_by": "q", "order": "x", "advanced": 1}},
        "tags": "x",
        "description": 1,
    }
    assert warnings(definition).keys() == {
        "$.flows",
        "$.flow.a:{id}.comment",
        "$.flow.a:{id}.settings",
        "$.parameters.p.controlled_by",
        "$.parameters.p.order",
        "$.parameters.p.advanced",
        "$.tags",
        "$.description",
    }


def test_every_finding_at_once() -> None:
    """One call tells all that is wrong, in every section, errors before warnings."""
    definition = {
        "extra": 1,
        "blueprint": {"no-colon": {}},
        "flow": {"a:{id}": {"topics": {"in": 1, "out": None}}, "b:{id}": []},
        "interfaces": {"i": "t", "j": {"k": 1}},
        "parameters": {"p": {"type": 7}},
    }
    assert errors(definition).keys() == {
        "$.blueprint.no-colon",
        "$.flow.a:{id}.topics.in",
        "$.flow.a:{id}.topics.out",
        "$.flow.b:{id}",
        "$.interfaces.i",
        "$.interfaces.j.k",
        "$.parameters.p.type",
    }
    severities = [finding.severity for finding in check("bp", definition)]
    assert severities == sorted(severities)
    assert "warning" in severities


# -- not a definition at all -----------------------------------------------------------------


@pytest.mark.parametrize("text", [b"not json", b"", b"[1]", b'"x"', b"null", b"{", b"\xff", b"NaN"])
def test_weakness_11_not_json(text: bytes) -> None:
    """What is no JSON object cannot be put as a blueprint."""
    with pytest.raises(BlueprintInvalid) as raised:
        parse_blueprint("bp", text)
    assert [finding.path for finding in raised.value.findings] == ["$"]


def test_a_name_given_twice_is_an_error() -> None:
    """JSON readers keep one of the two: an entry would vanish."""
    with pytest.raises(BlueprintInvalid, match=r"a:\{id\}: stands twice"):
        parse_blueprint("bp", b'{"flow": {"a:{id}": {}, "b:{id}": {}, "a:{id}": {}}}')


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 129, "\ud800"])
def test_the_name_is_checked(name: str) -> None:
    """``{blueprint}`` stands for it, so it has to be one."""
    with pytest.raises(BlueprintInvalid):
        parse_blueprint(name, {"flow": {}})


def test_bounds() -> None:
    """Size, depth, entries and parameters have a limit each, and say so."""
    deep: Any = {}
    for _ in range(MAX_DEPTH + 1):
        deep = {"x": deep}
    assert "deeper" in errors(deep)["$"]
    assert "deeper" in {f.path: f.message for f in check("bp", deep)}["$"]
    text = "x" * MAX_DEFINITION_BYTES
    assert "bytes" in errors({"description": text})["$"]
    many: dict[str, object] = {f"a:{n}-{{id}}": {} for n in range(MAX_ENTRIES + 1)}
    assert "entries" in errors({"flow": many})["$.flow"]
    declared = {f"p{n}": {"type": "t"} for n in range(MAX_PARAMETERS + 1)}
    assert "parameters" in errors({"parameters": declared})["$.parameters"]
    many.popitem()
    assert errors({"flow": many}) == {}


def test_objects_that_are_no_json() -> None:
    """A definition given as an object is held to what JSON can hold."""
    for odd in ({"flow": {"a:{id}": {"parameters": {"x": float("nan")}}}}, {"flow": object()}):
        with pytest.raises(BlueprintInvalid):
            parse_blueprint("bp", odd)


def test_the_number_of_findings_is_bounded() -> None:
    """A definition that is all wrong gives a report that can still be sent, errors included."""
    definition = {f"unknown{n}": 1 for n in range(MAX_FINDINGS + 500)} | {"flow": 1}
    found = check("bp", definition)
    assert len(found) <= MAX_FINDINGS + 2
    assert found[0] == Finding("$.flow", "must be an object, is a number")


# -- entries ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("chunker", "no"),
        ("", "no"),
        (":{id}", "processor"),
        ("a/b:{id}", "processor"),
        ("{p}:{id}", "first colon"),
        ("a:", "variant"),
        ("a:x/{id}", "variant"),
        ("a:-{id}", "variant"),
        ("a:{id}-", "variant"),
        ("a:{id} {id}", "variant"),
        ("a:{ id }", "variant"),
        ("a:" + "x" * 128 + "{id}", "variant"),
    ],
)
def test_bad_keys(key: str, word: str) -> None:
    """A key that can never become one under ``/active-flow/`` is refused at once."""
    found = check("bp", {"flow": {key: {}}})
    assert any(word in finding.message for finding in found if finding.severity == "error")


@pytest.mark.parametrize("key", ["a:{id}", "a:x.{id}:y", "a:{p}{id}", "a:b:c", "A.1:x"])
def test_good_keys(key: str) -> None:
    """Everything else is left to rendering, which knows the values."""
    assert errors({"flow": {key: {}}}) == {}


def test_weakness_10_scalars_become_strings() -> None:
    """Numbers and booleans in an entry's parameters are taken, as a flow holds them."""
    scalars = {"i": 5, "f": 0.3, "t": True, "n": False, "s": "5"}
    (own,) = parse_blueprint("bp", {"flow": {"a:{id}": {"parameters": scalars}}}).own
    assert own.parameters == {"i": "5", "f": "0.3", "t": "true", "n": "false", "s": "5"}


def test_weakness_10_what_is_no_scalar_is_an_error_with_its_path() -> None:
    """Null, lists and objects are refused when the blueprint is put, not half-way in a start."""
    odd: dict[str, object] = {"null": None, "list": [1], "object": {}}
    definition = {"flow": {"a:{id}": {"parameters": odd, "topics": odd | {"number": 1}}}}
    assert errors(definition).keys() == {
        *(f"$.flow.a:{{id}}.parameters.{name}" for name in odd),
        *(f"$.flow.a:{{id}}.topics.{name}" for name in [*odd, "number"]),
    }
    for field in ("topics", "parameters"):
        for value in list[object]([None, [], "x", 1]):
            found = errors({"flow": {"a:{id}": {field: value}}})
            assert found.keys() == {f"$.flow.a:{{id}}.{field}"}


def test_flat_entries_say_what_they_are() -> None:
    """All they say would be lost, so they are errors; a comment beside topics is none."""
    flat = {"input": "persistent://x", "parameters": {"size": "1"}}
    found = errors({"flow": {"a:{id}": flat}})
    assert found.keys() == {"$.flow.a:{id}"}
    assert "flat entry" in found["$.flow.a:{id}"]
    assert errors({"flow": {"a:{id}": {"topics": {}, "comment": "x"}}}) == {}


def test_entries_that_always_share_a_key() -> None:
    """Own with own, own with shared, and whatever ``{blueprint}`` makes equal."""
    clashing: dict[str, object] = {
        "blueprint": {"a:{blueprint}": {}, "a:{class}": {}, "b:{id}": {}},
        "flow": {"a:bp": {}, "b:{id}": {}, "b:{workspace}": {}},
    }
    found = errors(clashing)
    assert found.keys() == {"$.blueprint.a:{class}", "$.flow.a:bp", "$.flow.b:{id}"}
    assert "$.blueprint.a:{blueprint}" in found["$.flow.a:bp"]
    assert "$.flow.a:bp" not in errors(clashing, name="other")


def test_topics_that_always_share_a_name() -> None:
    """The second would replace the first without a word."""
    found = errors({"flow": {"a:{id}": entry(**{"{class}": "x", "bp": "y"})}})
    assert found.keys() == {"$.flow.a:{id}.topics.{class}"}


def test_entries_that_let_only_one_flow_run() -> None:
    """They are allowed; the second flow will be refused, so the first to know is the author."""
    definition = {
        "blueprint": {"s:all": entry(x="{id}"), "t:{id}": entry(x="{id}")},
        "flow": {"a:only": {}, "b:{workspace}": {}, "c:{id}": {}, "d:{shard}": {}},
        "parameters": {"shard": {"type": "t"}},
    }
    assert warnings(definition).keys() == {
        "$.blueprint.s:all",
        "$.flow.a:only",
        "$.flow.b:{workspace}",
    }


# -- interfaces ------------------------------------------------------------------------------


def test_interfaces_have_one_shape() -> None:
    """The plain strings of old formats are told what to become."""
    found = errors({"interfaces": {"old": "t", "list": [], "odd": {"flow": 1}, "good": {"x": "y"}}})
    assert found.keys() == {"$.interfaces.old", "$.interfaces.list", "$.interfaces.odd.flow"}
    assert '{"flow"' in found["$.interfaces.old"]


# -- placeholders and parameters -------------------------------------------------------------


def test_undeclared_placeholders_are_warnings() -> None:
    """A flow may give them; one finding each, at the first place, with the number of others."""
    definition = {
        "flow": {"a:{id}": entry(x="{typo}", y="{typo}", z="{workspace}{blueprint}{class}{size}")},
        "parameters": {"size": {"type": "t"}},
    }
    found = warnings(definition)
    assert found.keys() == {"$.flow.a:{id}.topics.x"}
    assert "{typo} (and 1 more places)" in found["$.flow.a:{id}.topics.x"]


def test_a_placeholder_with_a_space_is_pointed_out() -> None:
    """``{ id }`` is text, and so is very likely a mistake."""
    found = warnings({"flow": {"a:{id}": entry(x="{ id }", y="{a b}{}{3}{ }")}})
    assert found.keys() == {"$.flow.a:{id}.topics.x"}


def test_parameters_are_checked() -> None:
    """Names that no placeholder can have, odd types and unknown controllers are errors."""
    found = errors(
        {
            "parameters": {
                "a b": {"type": "t"},
                "3": {"type": "t"},
                "text": "t",
                "bad-type": {"type": "a/b"},
                "lost": {"type": "t", "controlled-by": "nobody"},
                "odd": {"type": "t", "controlled-by": 1},
            }
        }
    )
    assert found.keys() == {
        "$.parameters.a b",
        "$.parameters.3",
        "$.parameters.text",
        "$.parameters.bad-type.type",
        "$.parameters.lost.controlled-by",
        "$.parameters.odd.controlled-by",
    }
    assert "nobody" in found["$.parameters.lost.controlled-by"]


def test_reserved_words_and_missing_types_are_warnings() -> None:
    """Such a parameter does nothing, or has nothing to fall back on."""
    found = warnings(with_parameters(id={"type": "t"}, loose={}))
    assert found.keys() == {"$.parameters.id", "$.parameters.loose"}


@pytest.mark.parametrize(
    ("controllers", "cycle"),
    [
        ({"a": "a"}, {"a"}),
        ({"a": "b", "b": "a"}, {"a", "b"}),
        ({"a": "b", "b": "c", "c": "d", "d": "b"}, {"b", "c", "d"}),
    ],
)
def test_weakness_7_cycles_are_errors_that_name_them(
    controllers: dict[str, str], cycle: set[str]
) -> None:
    """One finding for each cycle, naming those in it and not those that lead to it."""
    declared = {name: {"type": "t", "controlled-by": by} for name, by in controllers.items()}
    found = errors({"parameters": declared})
    (message,) = found.values()
    named = message.removeprefix("is a cycle: ").split(", which is controlled by ")
    assert set(named) == cycle
    assert named[0] == named[-1]


@given(st.permutations(["a", "b", "c", "d", "e"]))
def test_weakness_7_controllers_come_first(chain: list[str]) -> None:
    """Whatever they are called, a controller is settled before what it controls."""
    declared = {name: {"type": "t", "controlled-by": by} for by, name in pairwise(chain)}
    declared[chain[0]] = {"type": "t"}
    assert list(parse_blueprint("bp", {"parameters": declared}).parameters) == chain


# -- any JSON --------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
WORDS = st.sampled_from(
    [
        *("flow", "blueprint", "class", "interfaces", "parameters", "description", "tags"),
        *("topics", "type", "controlled-by", "p", "{p}", "{", "id", "{id}"),
        *("a:{id}", "a:{x}", "b:", "a:{class}", "a"),
    ]
)
ANY_JSON = st.recursive(
    SCALARS | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=30,
)


@given(ANY_JSON)
def test_any_json_parses_or_is_refused(value: object) -> None:
    """Nothing but ``BlueprintInvalid`` ever comes out of the parser, as text or as an object."""
    text = json.dumps(value).encode()
    for definition in (text, value) if isinstance(value, dict) else (text,):
        with suppress(BlueprintInvalid):
            assert isinstance(parse_blueprint("bp", definition), Blueprint)


@given(st.binary(max_size=64) | st.text().map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_parse_or_are_refused(data: bytes) -> None:
    """The same for what is not even JSON."""
    with suppress(BlueprintInvalid):
        parse_blueprint("bp", data)
