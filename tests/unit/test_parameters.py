"""Parameter types, and where the values of a flow's parameters come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from flowsvc.blueprint import MAX_PARAMETERS, Blueprint, parse_blueprint
from flowsvc.errors import Finding, ParametersInvalid, ParameterTypeInvalid
from flowsvc.parameters import ParameterType, parse_parameter_type, resolve, stringify
from flowsvc.render import render
from flowsvc.schema import MAX_NUMBER_LENGTH
from kvconfig.codec import encode
from kvconfig.keyspace import VariantName
from kvconfig.records import VariantRecord
from tests.texts import text as any_text


def declaring(parameters: Mapping[str, object]) -> Blueprint:
    """A blueprint that declares them, and has one entry."""
    return parse_blueprint("bp", {"flow": {"a:{id}": {}}, "parameters": parameters})


def type_of(name: str = "t", /, **fields: object) -> ParameterType:
    return parse_parameter_type(name, fields)


def violations(raised: pytest.ExceptionInfo[ParametersInvalid]) -> dict[str, str]:
    return {finding.path: finding.message for finding in raised.value.findings}


def findings_of(value: Any, fields: Mapping[str, object]) -> tuple[Finding, ...]:
    """Those of a refusal, where a type with these fields refuses a parameter ``p``."""
    try:
        resolved = resolve(declaring({"p": {"type": "t"}}), {"t": type_of(**fields)}, {"p": value})
    except ParametersInvalid as error:
        return error.findings
    assert resolved.given == resolved.values == {"p": stringify(value, "$")}
    return ()


def refused(value: Any, **fields: object) -> list[str]:
    """Why the value is refused: empty if it is not."""
    findings = findings_of(value, fields)
    assert {(f.path, f.severity) for f in findings} <= {("$.parameters.p", "error")}
    return [finding.message for finding in findings]


# -- resolving -------------------------------------------------------------------------------

CHAIN: dict[str, dict[str, object]] = {
    "grandchild": {"type": "t", "controlled-by": "child"},
    "child": {"type": "t", "controlled-by": "parent"},
    "parent": {"type": "t"},
}


def test_explicit_before_controller_before_default() -> None:
    """The order of the specification."""
    types = {"t": type_of(default="default")}
    every = ("parent", "child", "grandchild")
    for user, expected in (
        ({}, ("default", "default", "default")),
        ({"parent": "p"}, ("p", "p", "p")),
        ({"child": "c"}, ("default", "c", "c")),
        ({"parent": "p", "grandchild": "g"}, ("p", "p", "g")),
    ):
        resolved = resolve(declaring(CHAIN), types, user)
        assert resolved.values == dict(zip(every, expected, strict=True))
        assert resolved.given == user


def test_weakness_6_a_controller_beats_the_default_of_the_type() -> None:
    """In TrustGraph nothing controls a parameter whose type has a default."""
    blueprint = declaring({"llm": {"type": "t"}, "llm-rag": {"type": "t", "controlled-by": "llm"}})
    resolved = resolve(blueprint, {"t": type_of(default="d", required=True)}, {"llm": "mine"})
    assert resolved.values == {"llm": "mine", "llm-rag": "mine"}


@given(st.permutations(["a", "b", "c", "d"]))
def test_weakness_7_chains_in_any_order(chain: list[str]) -> None:
    """What parameters are called, and the order they are declared in, means nothing."""
    declared = {name: {"type": "t", "controlled-by": by} for by, name in pairwise(chain)}
    blueprint = declaring(declared | {chain[0]: {"type": "t"}})
    for first in (0, 2):
        resolved = resolve(blueprint, {"t": type_of()}, {chain[first]: 1})
        assert resolved.values == dict.fromkeys(chain[first:], "1")


def test_a_controller_without_a_value_leaves_the_default() -> None:
    """Rule 3 of the specification."""
    blueprint = declaring({"a": {"type": "none"}, "b": {"type": "some", "controlled-by": "a"}})
    types = {"none": type_of(), "some": type_of(default=7)}
    assert resolve(blueprint, types, {}).values == {"b": "7"}


def test_defaults_become_strings() -> None:
    """As TrustGraph writes them: true, not True."""
    defaults: dict[str, tuple[object, str]] = {
        "b": (True, "true"),
        "n": (False, "false"),
        "i": (2000, "2000"),
        "f": (0.3, "0.3"),
        "s": ("", ""),
    }
    blueprint = declaring({name: {"type": name} for name in defaults})
    types = {name: type_of(default=value) for name, (value, _) in defaults.items()}
    expected = {name: text for name, (_, text) in defaults.items()}
    assert resolve(blueprint, types, {}).values == expected


def test_user_values_become_strings() -> None:
    """Whatever scalar is given; those that nobody declared are kept."""
    resolved = resolve(
        declaring({"p": {"type": "t"}}), {"t": None}, {"p": True, "q": 1.5, "r": 10**30}
    )
    assert resolved.values == {"p": "true", "q": "1.5", "r": "1" + "0" * 30}
    assert resolved.given == resolved.values


def test_what_was_given_is_told_from_what_followed() -> None:
    """Defaults and inherited values are no one's wish, also where they are equal to a given one."""
    types = {"t": type_of(default="d")}
    resolved = resolve(declaring({**CHAIN, "q": {"type": "t"}}), types, {"child": "d", "x": 5})
    assert resolved.given == {"child": "d", "x": "5"}
    every = ("parent", "child", "grandchild", "q")
    assert resolved.values == dict.fromkeys(every, "d") | {"x": "5"}


def test_optional_without_a_default_has_no_value() -> None:
    """It is absent, not empty."""
    blueprint = declaring({"p": {"type": "t"}, "q": {}})
    assert resolve(blueprint, {"t": type_of()}, {}).values == {}


def test_every_violation_at_once() -> None:
    """Required ones, missing types, values that are none and names that are none."""
    blueprint = declaring(
        {
            "required": {"type": "must"},
            "inherits": {"type": "must", "controlled-by": "required"},
            "lost": {"type": "absent"},
            "unlisted": {"type": "never-looked-up"},
            "null": {"type": "must"},
        }
    )
    user: Any = {"null": None, "list": [1], "object": {}, "nan": float("nan"), "a b": "x"}
    with pytest.raises(ParametersInvalid) as raised:
        resolve(blueprint, {"must": type_of(required=True), "absent": None}, user)
    found = violations(raised)
    assert found.keys() == {
        f"$.parameters.{name}"
        for name in ("required", "inherits", "lost", "unlisted", "null", "list", "object")
    } | {"$.parameters.nan", "$.parameters.a b"}
    assert "'absent' does not exist" in found["$.parameters.lost"]
    assert "put that parameter type" in found["$.parameters.lost"]
    assert "or for required" in found["$.parameters.inherits"]
    assert "null" in found["$.parameters.null"]


def test_a_missing_type_does_no_harm_where_it_is_not_needed() -> None:
    """A value that is given, or inherited, needs no default."""
    blueprint = declaring({"a": {"type": "absent"}, "b": {"type": "absent", "controlled-by": "a"}})
    resolved = resolve(blueprint, {"absent": None}, {"a": "1"})
    assert resolved.values == {"a": "1", "b": "1"}
    assert [(f.path, f.severity) for f in resolved.findings] == [
        ("$.parameters.a", "warning"),
        ("$.parameters.b", "warning"),
    ]
    assert "is not checked" in resolved.findings[0].message


def test_the_number_of_parameters_is_bounded() -> None:
    """They all go into the flow's record."""
    with pytest.raises(ParametersInvalid, match="at most"):
        resolve(declaring({}), {}, {f"p{n}": "x" for n in range(MAX_PARAMETERS + 1)})


def test_messages_never_hold_values() -> None:
    """A value may be a secret, and messages end up in logs."""
    with pytest.raises(ParametersInvalid) as raised:
        resolve(declaring({}), {}, {"a b": "hunter2", "key": "hunter2\ud800"})
    assert "hunter2" not in str(raised.value)


# -- what a type demands of a value --------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        ("string", ["", "x", " 5", "true", 5, 0.5, True, "{id}", "é\n"]),
        ("integer", ["0", "-0", "500", "-7", "1" + "0" * 300, 5, -5, 10**30]),
        ("number", ["0", "-7", "0.3", "1e-7", "1E+20", "0.30", 5, 0.5, 1e20, 10**30]),
        ("float", ["0.3", 0.3, "2"]),
        ("boolean", ["true", "false", True, False]),
    ],
)
def test_a_text_that_spells_a_value_of_the_type_is_accepted(type_: str, values: list[Any]) -> None:
    """All that comes over gRPC and from a command line is text; a scalar is as good as its text."""
    for value in values:
        assert refused(value, type=type_) == [], value


@pytest.mark.parametrize(
    ("type_", "noun", "values"),
    [
        (
            "integer",
            "an integer",
            [
                *("", "x", "2.0", "0.5", "1e3", "+1", "01", " 1", "1 ", "1_0", "1\n", "٣", "0x1"),
                *("true", 2.0, 0.5, 1e20, True, "1" * (MAX_NUMBER_LENGTH + 1)),
            ],
        ),
        (
            "number",
            "a number",
            [
                *("", "x", ".5", "5.", "+1", "01", " 1", "1,5", "NaN", "Infinity", "inf", "1\n"),
                *("1e999", "-1e999", "1" * 400, "0." + "1" * MAX_NUMBER_LENGTH, "true", True, "٣"),
            ],
        ),
        ("float", "a number", ["x"]),
        ("boolean", "true or false", ["", "True", "yes", "1", 1, 0, 1.0, " true", "true\n"]),
    ],
)
def test_a_text_that_spells_no_value_of_the_type_is_refused(
    type_: str, noun: str, values: list[Any]
) -> None:
    """2.0 too: what reads an integer from the text that a flow holds would fail on it."""
    for value in values:
        assert refused(value, type=type_) == [f"must be {noun} (parameter type 't')"], value


@pytest.mark.parametrize(
    ("fields", "good", "bad", "demand"),
    [
        ({"type": "integer", "min": 0}, [0, "5"], [-1, "-1"], "be at least 0"),
        ({"type": "integer", "minimum": 0}, ["0"], ["-1"], "be at least 0"),
        ({"type": "float", "max": 1}, ["1", "1.0", "-3e2"], ["1.01", "2"], "be at most 1"),
        ({"type": "number", "maximum": 0.5}, ["0.5"], ["0.51"], "be at most 0.5"),
        ({"type": "number", "max": 2**53}, [2**53], [2**53 + 1], f"be at most {2**53}"),
        ({"type": "number", "exclusiveMinimum": 0}, ["0.1"], ["0", "-1"], "be more than 0"),
        ({"type": "number", "exclusiveMaximum": 1}, ["0.9"], ["1", "1.0"], "be less than 1"),
        ({"type": "integer", "multipleOf": 64}, ["0", "128"], ["65"], "be a multiple of 64"),
        ({"type": "number", "multipleOf": 0.1}, ["0.3", "1.1"], ["0.35"], "be a multiple of 0.1"),
        (
            {"type": "string", "minLength": 2},
            ["ab", "éé"],
            ["", "é"],
            "have a length of at least 2",
        ),
        ({"type": "string", "maxLength": 1}, ["", "😀"], ["ab"], "have a length of at most 1"),
        ({"type": "string", "pattern": "^a+$"}, ["aa"], ["ab"], "match the pattern '^a+$'"),
        ({"type": "string", "pattern": "b"}, ["abc"], ["x"], "match the pattern 'b'"),
        ({"type": "string", "enum": ["a", "b"]}, ["a"], ["", "A", "c"], "be one of 'a', 'b'"),
        ({"type": "integer", "enum": [1, {"id": 2}]}, [1, "2"], ["3"], "be one of '1', '2'"),
        ({"type": "number", "enum": [0.5]}, [0.5, "0.5"], ["0.50"], "be one of '0.5'"),
        ({"type": "boolean", "enum": [True]}, [True, "true"], ["false"], "be one of 'true'"),
        ({"enum": [{"id": "a", "description": "A"}]}, ["a"], ["A"], "be one of 'a'"),
        ({"pattern": "^[0-9]+$"}, ["5", 5], ["x"], "match the pattern '^[0-9]+$'"),
        ({"pattern": "^x"}, ["x5"], ["5", 5], "match the pattern '^x'"),
        ({"minimum": 5}, ["5", "x", 6], ["4", 4, "-1e3"], "be at least 5"),
        ({"minimum": 5}, ["-1e999"], [], "be at least 5"),
    ],
)
def test_what_keywords_demand(
    fields: dict[str, object], good: list[Any], bad: list[Any], demand: str
) -> None:
    """Each refusal says what is allowed, and whose rule it is."""
    for value in good:
        assert refused(value, **fields) == [], value
    for value in bad:
        assert refused(value, **fields) == [f"must {demand} (parameter type 't')"], value


def test_every_violation_of_a_value_at_once() -> None:
    """And what is no value of the type is told all that one has to be."""
    text: dict[str, Any] = {"type": "string", "minLength": 3, "pattern": "^x", "enum": ["xyz"]}
    assert refused("a", **text) == [
        "must be one of 'xyz' (parameter type 't')",
        "must have a length of at least 3 (parameter type 't')",
        "must match the pattern '^x' (parameter type 't')",
    ]
    expected = "must be an integer, be at least 1, be at most 9, be a multiple of 2"
    number: dict[str, Any] = {"type": "integer", "min": 1, "max": 9, "multipleOf": 2}
    assert refused("x", **number) == [f"{expected} (parameter type 't')"]


def test_violations_of_all_parameters_at_once() -> None:
    """Those of values beside those of names, missing values and missing types."""
    blueprint = declaring(
        {n: {"type": t} for n, t in zip("abcd", ("i", "s", "r", "x"), strict=True)}
    )
    types = {
        "i": type_of(type="integer"),
        "s": type_of(maxLength=1),
        "r": type_of(required=True),
        "x": None,
    }
    user: Any = {"a": "one", "b": "two", "e f": "1", "g": None}
    with pytest.raises(ParametersInvalid) as raised:
        resolve(blueprint, types, user)
    paths = [f"$.parameters.{name}" for name in ("e f", "g", "c", "d", "a", "b")]
    assert list(violations(raised)) == paths


def test_a_value_that_is_no_text_is_refused_once() -> None:
    """For that, and not for what it would have to be besides; nor does it go on to others."""
    blueprint = declaring({"a": {"type": "t"}, "b": {"type": "u", "controlled-by": "a"}})
    user: Any = {"a": None}
    with pytest.raises(ParametersInvalid) as raised:
        resolve(blueprint, {"t": type_of(type="integer"), "u": type_of(minLength=1)}, user)
    assert [finding.path for finding in raised.value.findings] == ["$.parameters.a"]


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "integer", "min": 3},
        {"type": "boolean"},
        {"enum": ["a"]},
        {"pattern": "^x", "maxLength": 3, "minLength": 20},
    ],
)
def test_refusals_never_hold_the_value(fields: dict[str, object]) -> None:
    """Given or inherited, it may be a secret."""
    assert refused("hunter2", **fields)
    blueprint = declaring({"a": {}, "b": {"type": "t", "controlled-by": "a"}})
    with pytest.raises(ParametersInvalid) as raised:
        resolve(blueprint, {"t": type_of(**fields)}, {"a": "hunter2"})
    assert "hunter2" not in str(raised.value)
    assert "hunter2" not in str([refused("hunter2", **fields), raised.value.findings])


def test_long_lists_and_texts_are_cut_in_messages() -> None:
    """About 8 KB of messages pass in an error over gRPC."""
    (message,) = refused("x", enum=["y" * 10_000, *(f"model-{n:03}" for n in range(500))])
    assert "'model-000', 'model-001'" in message
    assert message.endswith(" more (parameter type 't')")
    assert len(message) < 2000
    (message,) = refused("x", pattern="y" * 10_000)
    assert len(message) < 200


def test_patterns_take_linear_time() -> None:
    """One that takes a backtracking engine years, and the largest text that could be stored."""
    assert refused("a" * 1_000_000 + "b", pattern="^(a+)+$")


def test_broken_keywords_are_ignored() -> None:
    """The rest of the type still counts; nothing is ever fetched."""
    assert refused("x", type="string", pattern="(", minLength=-1, maximum="9") == []
    assert refused("xx", type="string", pattern="(", maxLength=1) == [
        "must have a length of at most 1 (parameter type 't')"
    ]
    fields: dict[str, Any] = {"$ref": "http://127.0.0.1:1/x", "$schema": "http://127.0.0.1:1/y"}
    assert refused("x", **fields) == []
    assert refused("x", enum=[]) == []


def test_undeclared_and_untyped_values_are_not_checked() -> None:
    """Nothing says what they have to be."""
    types = {"t": type_of(type="integer")}
    resolved = resolve(declaring({"p": {}}), types, {"p": "x", "t": "y"})
    assert (resolved.values, resolved.findings) == ({"p": "x", "t": "y"}, ())


@pytest.mark.parametrize("value", ['", "x": "', "\\", "}}", "a\nb", "{id}", "%(id)s", "{p}"])
def test_a_value_stays_one_text_whatever_it_holds(value: str) -> None:
    """From the request to the variant: texts are filled in one by one, never a document's."""
    declared = {"p": {"type": "t"}, "q": {"type": "t", "controlled-by": "p"}}
    entry = {"topics": {"x": "{p}"}, "parameters": {"y": "{q}"}}
    blueprint = parse_blueprint("bp", {"flow": {"a:{id}": entry}, "parameters": declared})
    resolved = resolve(blueprint, {"t": type_of(type="string")}, {"p": value})
    rendered = render(blueprint, flow="f1", workspace="w", parameters=resolved.values)
    record = VariantRecord(topics={"x": value}, parameters={"y": value})
    assert rendered.own == {VariantName("a", "f1"): encode(record)}
    assert json.loads(encode(record)) == {"topics": {"x": value}, "parameters": {"y": value}}


# -- controlled ones, and defaults -----------------------------------------------------------

FAMILY = {
    "a": {"type": "any"},
    "b": {"type": "short", "controlled-by": "a"},
    "c": {"type": "short", "controlled-by": "b"},
    "d": {"type": "short", "controlled-by": "c"},
}


def test_an_inherited_value_has_to_meet_the_type_too() -> None:
    """It is refused where it was given, and those that get it are named, each type once."""
    types = {"any": type_of(default="d"), "short": type_of("short", maxLength=1, default="e")}
    with pytest.raises(ParametersInvalid) as raised:
        resolve(declaring(FAMILY), types, {"a": "long", "d": "long"})
    assert violations(raised) == {
        "$.parameters.a": "also becomes b, c, and as such "
        "must have a length of at most 1 (parameter type 'short')",
        "$.parameters.d": "must have a length of at most 1 (parameter type 'short')",
    }
    assert resolve(declaring(FAMILY), types, {"a": "long", "b": "s"}).values == {
        "a": "long",
        **dict.fromkeys("bcd", "s"),
    }


def test_an_inherited_value_is_refused_once_for_each_type() -> None:
    """Not again for each parameter of the chain: models of a chain mostly share one type."""
    with pytest.raises(ParametersInvalid) as raised:
        resolve(declaring(CHAIN), {"t": type_of(enum=["x"])}, {"parent": "y"})
    assert [finding.path for finding in raised.value.findings] == ["$.parameters.parent"]


def test_names_of_controlled_ones_are_cut() -> None:
    """A message stays readable."""
    family = {f"b{n:03}": {"type": "short", "controlled-by": "a"} for n in range(200)}
    with pytest.raises(ParametersInvalid, match="b004 and 195 more") as raised:
        resolve(
            declaring({"a": {}, **family}), {"short": type_of("short", maxLength=1)}, {"a": "long"}
        )
    assert len(raised.value.findings) == 1


def test_a_bad_default_that_is_used_warns() -> None:
    """Where it is used, and where it comes to by control; it is not refused: flows run with it."""
    types = {
        "any": type_of(default="long"),
        "short": type_of("short", maxLength=1, default="also long"),
    }
    resolved = resolve(declaring({**FAMILY, "z": {"type": "short"}}), types, {"d": "s"})
    assert resolved.values == {"a": "long", "b": "long", "c": "long", "d": "s", "z": "also long"}
    assert {f.path: f.message for f in resolved.findings} == {
        "$.parameters.a": "its default also becomes b, c, and as such "
        "must have a length of at most 1 (parameter type 'short')",
        "$.parameters.z": "its default is what a user could not give: it "
        "must have a length of at most 1 (parameter type 'short')",
    }
    assert {finding.severity for finding in resolved.findings} == {"warning"}


def test_a_bad_default_that_is_not_used_does_not_warn() -> None:
    """Putting the type did already."""
    types = {"t": type_of(enum=["a"], default="b")}
    assert types["t"].findings
    assert resolve(declaring({"p": {"type": "t"}}), types, {"p": "a"}).findings == ()


def test_an_empty_type_that_is_used_warns() -> None:
    """Whether there is a value or not; real blueprints refer to such types."""
    blueprint = declaring({"p": {"type": "t"}, "q": {"type": "t"}})
    resolved = resolve(blueprint, {"t": type_of()}, {"p": "x"})
    assert resolved.values == {"p": "x"}
    assert [(f.path, f.severity) for f in resolved.findings] == [
        ("$.parameters.p", "warning"),
        ("$.parameters.q", "warning"),
    ]
    assert "is empty" in resolved.findings[0].message
    described = {"t": type_of(description="no schema, but somebody thought of it")}
    assert resolve(blueprint, described, {"p": "x"}).findings == ()


def test_warnings_go_with_the_errors() -> None:
    """Errors first; a warning alone is no reason to refuse."""
    blueprint = declaring({"p": {"type": "bad"}, "q": {"type": "t"}})
    types = {"bad": type_of(enum=["a"], default="b"), "t": type_of(type="integer")}
    with pytest.raises(ParametersInvalid) as raised:
        resolve(blueprint, types, {"q": "x"})
    assert [(f.path, f.severity) for f in raised.value.findings] == [
        ("$.parameters.q", "error"),
        ("$.parameters.p", "warning"),
    ]


# -- against JSON Schema itself --------------------------------------------------------------

KEYWORDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
        st.integers(-9, 9) | st.sampled_from([0.5, -0.5, 2.5]),
    ),
    "multipleOf": st.sampled_from([1, 2, 3, 0.5]),
    **dict.fromkeys(("minLength", "maxLength"), st.integers(0, 4)),
    "pattern": st.sampled_from(["^[0-9]*$", "e", "^-", "[.]", "^.{2}$"]),
}
TYPES = st.sampled_from(["string", "integer", "number", "boolean"])
SCHEMAS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"type": TYPES}, optional=KEYWORDS
)
TEXTS = (
    st.integers(-12, 12).map(str)
    | st.floats(-9, 9).map(lambda number: str(round(number, 1)))
    | st.sampled_from(["", "true", "false", "x", "12345", "1e0", "05", "True", " 1"])
    | any_text(max_size=5)
)


def no_constant(name: str) -> None:
    raise ValueError(name)


def meant(type_: str, text: str) -> list[object]:
    """The JSON value that a text is in a schema of this type, if it is one: Python's own parser."""
    if type_ == "string":
        return [text]
    try:
        value: object = json.loads(text, parse_constant=no_constant)
    except ValueError:
        return []
    kinds = {int: ("integer", "number"), float: ("number",), bool: ("boolean",)}
    return [value] if type_ in kinds.get(type(value), ()) and text == text.strip() else []


@settings(deadline=None)  # each example compiles a dozen schemas; a machine may be busy
@given(st.lists(st.tuples(SCHEMAS, TEXTS), min_size=1, max_size=4))
@example([({"type": "integer", "minimum": 3}, "2"), ({"type": "string", "maxLength": 1}, "ab")])
def test_accepted_is_what_json_schema_accepts(cases: list[tuple[dict[str, Any], str]]) -> None:
    """Parsed, every accepted value satisfies its schema, every other none; all are told at once."""
    expected: dict[str, int] = {}
    for index, (schema, text) in enumerate(cases):
        values = meant(schema["type"], text)
        errors = list(Draft202012Validator(schema).iter_errors(values[0])) if values else [None]
        if errors:
            expected[f"$.parameters.p{index}"] = len(errors)
    blueprint = declaring({f"p{n}": {"type": f"t{n}"} for n in range(len(cases))})
    types = {f"t{n}": parse_parameter_type(f"t{n}", s) for n, (s, _) in enumerate(cases)}
    user = {f"p{n}": text for n, (_, text) in enumerate(cases)}
    found: dict[str, int] = {}
    try:
        assert resolve(blueprint, types, user).values == user
    except ParametersInvalid as error:
        for finding in error.findings:
            found[finding.path] = found.get(finding.path, 0) + 1
    assert found == expected


@given(st.lists(TEXTS, min_size=1, max_size=5), TEXTS)
def test_enums_compare_texts(allowed: list[str], text: str) -> None:
    """Nothing is taken for equal that a flow holds differently."""
    assert bool(refused(text, enum=allowed)) == (text not in allowed)


# -- strings ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [("x", "x"), (True, "true"), (False, "false"), (5, "5"), (-0.5, "-0.5"), (1e20, "1e+20")],
)
def test_stringify(value: object, text: str) -> None:
    """Scalars, as a flow holds them."""
    assert stringify(value, "$") == text


@pytest.mark.parametrize("value", [None, [], {}, (), float("inf"), "\ud800", b"x"])
def test_stringify_refuses(value: object) -> None:
    """What is no scalar, or cannot be stored, gives a finding with the path."""
    finding = stringify(value, "$.x")
    assert isinstance(finding, Finding)
    assert (finding.path, finding.severity) == ("$.x", "error")


def test_stringify_refuses_numbers_that_python_does_not_write() -> None:
    """Thousands of digits: no number anybody meant."""
    assert isinstance(stringify(10**5000, "$.x"), Finding)


# -- parameter types -------------------------------------------------------------------------


def test_a_type_is_read() -> None:
    """Both spellings of bounds, both kinds of enum items, ``float`` as ``number``."""
    read = type_of(type="float", default=0.5, min=0, max=1, required=True, helper="x")
    assert (read.schema.type, read.default, read.required) == ("number", "0.5", True)
    assert (read.schema.keywords, read.findings) == ({"minimum": 0, "maximum": 1}, ())
    read = type_of(type="integer", minimum=1, maximum=9, default=5)
    assert (read.schema.keywords, read.findings) == ({"minimum": 1, "maximum": 9}, ())
    read = type_of(enum=["a", {"id": "b", "description": "B"}, 3], default="b")
    assert (read.schema.enum, read.findings) == (("a", "b", "3"), ())
    read = type_of(type="string", minLength=1, maxLength=3, pattern="^a", default="ab")
    assert read.schema.keywords == {"minLength": 1, "maxLength": 3, "pattern": "^a"}
    assert (read.findings, read.is_empty) == ((), False)


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "$"),
        ({"type": "object"}, "$.type"),
        ({"type": 1}, "$.type"),
        ({"default": None}, "$.default"),
        ({"default": ["x"]}, "$.default"),
        ({"default": "z", "enum": ["a"]}, "$.default"),
        ({"default": "z", "enum": [{"id": "a"}]}, "$.default"),
        ({"default": 9, "max": 5}, "$.default"),
        ({"default": 0.5, "minimum": 1}, "$.default"),
        ({"default": "5", "type": "integer"}, "$.default"),
        ({"default": 0.5, "type": "integer"}, "$.default"),
        ({"default": 5, "type": "string"}, "$.default"),
        ({"default": 1, "type": "boolean"}, "$.default"),
        ({"default": True, "type": "number"}, "$.default"),
        ({"min": 1, "minimum": 2}, "$.min"),
        ({"max": "9"}, "$.max"),
        ({"minimum": 5, "maximum": 1}, "$"),
        ({"minLength": 5, "maxLength": 1}, "$"),
        ({"default": 1.0, "type": "integer"}, "$.default"),
        ({"default": "x", "minLength": 2}, "$.default"),
        ({"default": "x", "pattern": "^y"}, "$.default"),
        ({"pattern": "("}, "$.pattern"),
        ({"pattern": 5}, "$.pattern"),
        ({"pattern": "(?=x)x"}, "$.pattern"),
        ({"pattern": r"(a)\1"}, "$.pattern"),
        ({"pattern": "((a{50}){50}){50}"}, "$.pattern"),
        ({"pattern": "a", "type": "integer"}, "$.pattern"),
        ({"minLength": -1}, "$.minLength"),
        ({"maxLength": 1.5}, "$.maxLength"),
        ({"maxLength": 5, "type": "boolean"}, "$.maxLength"),
        ({"multipleOf": 0}, "$.multipleOf"),
        ({"exclusiveMinimum": None}, "$.exclusiveMinimum"),
        ({"minimum": True}, "$.minimum"),
        ({"min": 1, "type": "string"}, "$.min"),
        ({"enum": [1, "x"], "type": "integer"}, "$.enum[1]"),
        ({"enum": [1, 9], "max": 5}, "$.enum[1]"),
        ({"$ref": "http://127.0.0.1:1/x"}, "$.$ref"),
        ({"const": 5}, "$.const"),
        ({"required": ["x"]}, "$.required"),
        ({"enum": "a"}, "$.enum"),
        ({"enum": []}, "$.enum"),
        ({"enum": ["a", {"name": "b"}]}, "$.enum[1]"),
    ],
)
def test_oddities_only_warn(fields: dict[str, object], path: str) -> None:
    """Real types have them, and flows run with them."""
    found = parse_parameter_type("t", json.dumps(fields).encode()).findings
    assert path in {finding.path for finding in found}
    assert {finding.severity for finding in found} == {"warning"}


def test_a_default_that_its_type_would_refuse_still_counts() -> None:
    """Flows are running with it."""
    assert type_of(default="z", enum=["a"]).default == "z"
    assert type_of(default=9, max=5).default == "9"


@pytest.mark.parametrize(
    ("default", "type_"),
    [
        ("x", "string"),
        (1, "integer"),
        (10**30, "integer"),
        (1, "number"),
        (1e20, "number"),
        (0.5, "float"),
        (True, "boolean"),
    ],
)
def test_fitting_defaults_do_not_warn(default: object, type_: str) -> None:
    """No false alarm."""
    assert type_of(default=default, type=type_).findings == ()


@pytest.mark.parametrize("text", [b"not json", b"[]", b'"x"', b""])
def test_what_is_no_object_is_refused(text: bytes) -> None:
    """The only errors there are."""
    with pytest.raises(ParameterTypeInvalid) as raised:
        parse_parameter_type("t", text)
    assert [finding.path for finding in raised.value.findings] == ["$"]


def test_the_name_of_a_type_is_checked() -> None:
    """It becomes part of a key."""
    with pytest.raises(ParameterTypeInvalid):
        parse_parameter_type("a/b", {})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(any_text(max_size=2), inner, max_size=2)
    ),
    max_leaves=3,
)
FIELDS = st.sampled_from(
    ["type", "default", "enum", "min", "max", "required", "description", "$ref", *KEYWORDS]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a machine may be busy
@given(st.dictionaries(FIELDS, JSON | st.sampled_from(["integer", "float", "boolean"]), max_size=6))
def test_any_object_is_read(fields: dict[str, object]) -> None:
    """Whatever its fields hold, a type is read, with warnings at most, and can be used."""
    read = parse_parameter_type("t", json.dumps(fields).encode())
    assert all(finding.severity == "warning" for finding in read.findings)
    for text in ("", "x", "5", "-0.5", "1e400", "true"):
        read.schema.violations(text)


# -- secrets ---------------------------------------------------------------------------------

SECRET: dict[str, object] = {"type": "string", "secret": True}
MUST_REFER = (
    "must be a reference to a secret (env:NAME or file:/path), never the secret itself"
    " (parameter type 't')"
)


def test_a_secret_is_given_by_reference_only() -> None:
    """A reference is kept as it is; what is none is refused, whatever else the type says."""
    for reference in ("env:KEY", "file:/run/key"):
        assert refused(reference, **SECRET) == []
    assert refused("vault:key", **SECRET, schemes=["vault"]) == []
    for value in ("hunter2", "vault:hunter2", "https://hunter2@host", 5, True, "env:a b", ""):
        assert refused(value, **SECRET) == [MUST_REFER]
    assert refused("env:B", **SECRET, enum=["env:A"]) == [
        "must be one of 'env:A' (parameter type 't')"
    ]
    assert refused("hunter2", secret=False) == []


@given(st.text())
def test_no_refusal_shows_a_secret(value: str) -> None:
    """Neither the error nor its findings hold what was given."""
    marked = f"☃{value}☃"
    findings = findings_of(marked, SECRET)
    assert findings
    assert marked not in str(ParametersInvalid("p", findings))


def test_a_value_that_becomes_a_secret_is_refused_where_it_comes_from() -> None:
    """Given to what controls it, or that one's default: an error, never a mere warning."""
    blueprint = declaring({"plain": {"type": "p"}, "key": {"type": "t", "controlled-by": "plain"}})
    types = {"p": type_of("p", default="hunter2"), "t": type_of(**SECRET)}
    for user in ({}, {"plain": "hunter3"}):
        with pytest.raises(ParametersInvalid) as raised:
            resolve(blueprint, types, user)
        assert MUST_REFER in violations(raised)["$.parameters.plain"]
        assert "hunter" not in str(raised.value)
    assert resolve(blueprint, types, {"plain": "env:A"}).values == {
        "plain": "env:A",
        "key": "env:A",
    }


@pytest.mark.parametrize(
    "entry",
    [{"parameters": {"url": "https://{key}@host"}}, {"topics": {"in": "t-{key}"}}],
    ids=["value", "topic"],
)
def test_a_secret_stands_alone(entry: dict[str, Any]) -> None:
    """Inside a longer text a reference refers to nothing: refused before anything is written."""
    blueprint = parse_blueprint(
        "bp", {"flow": {"a:{id}": entry}, "parameters": {"key": {"type": "t"}}}
    )
    with pytest.raises(ParametersInvalid, match="must be all of a value"):
        resolve(blueprint, {"t": type_of(**SECRET)}, {"key": "env:KEY"})


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"secret": "true"}, "$.secret"),
        ({"secret": 1}, "$.secret"),
        ({"secret": True, "default": "hunter2"}, "$.default"),
        ({"secret": True, "default": 5}, "$.default"),
        ({"secret": True, "default": "vault:hunter2"}, "$.default"),
        ({"secret": True, "enum": ["env:A", "hunter2"]}, "$.enum[1]"),
        ({"secret": True, "enum": [{"id": "hunter2"}]}, "$.enum[0]"),
        ({"secret": True, "enum": [["hunter2"]]}, "$.enum[0]"),
        ({"secret": True, "schemes": "vault"}, "$.schemes"),
        ({"secret": True, "schemes": ["env"]}, "$.schemes"),
    ],
)
def test_a_secret_type_that_may_hold_a_secret_is_refused(
    fields: dict[str, object], path: str
) -> None:
    """So is one that may have been meant to be secret: an error, which shows no value."""
    with pytest.raises(ParameterTypeInvalid) as raised:
        type_of(**fields)
    assert [f.path for f in raised.value.findings if f.severity == "error"] == [path]
    assert "hunter2" not in "".join(map(str, raised.value.findings))


def test_what_a_secret_type_cannot_check() -> None:
    """The service knows the reference only, and says so."""
    type_ = type_of(**SECRET, default="env:KEY", minLength=20, min=3)
    assert type_.default == "env:KEY"
    assert [finding.path for finding in type_.findings] == ["$.min", "$.minLength"]
    assert type_.violations("env:A") == ()
