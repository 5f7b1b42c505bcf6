"""Parameter types, and where the values of a flow's parameters come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsvc.blueprint import MAX_PARAMETERS, Blueprint, parse_blueprint
from flowsvc.errors import Finding, ParametersInvalid, ParameterTypeInvalid
from flowsvc.parameters import ParameterType, parse_parameter_type, resolve, stringify


def declaring(parameters: Mapping[str, object]) -> Blueprint:
    """A blueprint that declares them, and has one entry."""
    return parse_blueprint("bp", {"flow": {"a:{id}": {}}, "parameters": parameters})


def type_of(**fields: object) -> ParameterType:
    return parse_parameter_type("t", fields)


def violations(raised: pytest.ExceptionInfo[ParametersInvalid]) -> dict[str, str]:
    return {finding.path: finding.message for finding in raised.value.findings}


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
        assert resolve(declaring(CHAIN), types, user) == dict(zip(every, expected, strict=True))


def test_weakness_6_a_controller_beats_the_default_of_the_type() -> None:
    """In TrustGraph nothing controls a parameter whose type has a default."""
    blueprint = declaring({"llm": {"type": "t"}, "llm-rag": {"type": "t", "controlled-by": "llm"}})
    resolved = resolve(blueprint, {"t": type_of(default="d", required=True)}, {"llm": "mine"})
    assert resolved == {"llm": "mine", "llm-rag": "mine"}


@given(st.permutations(["a", "b", "c", "d"]))
def test_weakness_7_chains_in_any_order(chain: list[str]) -> None:
    """What parameters are called, and the order they are declared in, means nothing."""
    declared = {name: {"type": "t", "controlled-by": by} for by, name in pairwise(chain)}
    blueprint = declaring(declared | {chain[0]: {"type": "t"}})
    assert resolve(blueprint, {"t": type_of()}, {chain[0]: 1}) == dict.fromkeys(chain, "1")
    assert resolve(blueprint, {"t": type_of()}, {chain[2]: 1}) == dict.fromkeys(chain[2:], "1")


def test_a_controller_without_a_value_leaves_the_default() -> None:
    """Rule 3 of the specification."""
    blueprint = declaring({"a": {"type": "none"}, "b": {"type": "some", "controlled-by": "a"}})
    types = {"none": type_of(), "some": type_of(default=7)}
    assert resolve(blueprint, types, {}) == {"b": "7"}


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
    assert resolve(blueprint, types, {}) == expected


def test_user_values_become_strings() -> None:
    """Whatever scalar is given; those that nobody declared are kept."""
    resolved = resolve(
        declaring({"p": {"type": "t"}}), {"t": None}, {"p": True, "q": 1.5, "r": 10**30}
    )
    assert resolved == {"p": "true", "q": "1.5", "r": "1" + "0" * 30}


def test_values_outside_the_enum_are_taken_for_now() -> None:
    """TrustGraph's own goldens give such values."""
    types = {"t": type_of(enum=["a"], default="a")}
    assert resolve(declaring({"p": {"type": "t"}}), types, {"p": "b"}) == {"p": "b"}


def test_optional_without_a_default_has_no_value() -> None:
    """It is absent, not empty."""
    blueprint = declaring({"p": {"type": "t"}, "q": {}})
    assert resolve(blueprint, {"t": type_of()}, {}) == {}


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
    assert resolve(blueprint, {"absent": None}, {"a": "1"}) == {"a": "1", "b": "1"}


def test_the_number_of_parameters_is_bounded() -> None:
    """They all go into the flow's record."""
    with pytest.raises(ParametersInvalid, match="at most"):
        resolve(declaring({}), {}, {f"p{n}": "x" for n in range(MAX_PARAMETERS + 1)})


def test_messages_never_hold_values() -> None:
    """A value may be a secret, and messages end up in logs."""
    with pytest.raises(ParametersInvalid) as raised:
        resolve(declaring({}), {}, {"a b": "hunter2", "key": "hunter2\ud800"})
    assert "hunter2" not in str(raised.value)


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
    assert (read.type, read.default, read.required) == ("number", "0.5", True)
    assert (read.minimum, read.maximum, read.findings) == (0, 1, ())
    read = type_of(type="integer", minimum=1, maximum=9, default=5)
    assert (read.minimum, read.maximum, read.findings) == (1, 9, ())
    read = type_of(enum=["a", {"id": "b", "description": "B"}, 3], default="b")
    assert (read.enum, read.findings) == (("a", "b", "3"), ())


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
        (1.0, "integer"),
        (1, "number"),
        (0.5, "float"),
        (True, "boolean"),
    ],
)
def test_fitting_defaults_do_not_warn(default: object, type_: str) -> None:
    """No false alarm."""
    assert type_of(default=default, type=type_).findings == ()


@pytest.mark.parametrize("text", [b"not json", b"[]", b'"x"', b"", b'{"a": 1, "a": 2}'])
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
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["type", "default", "enum", "min", "max", "minimum", "maximum", "required", "description"]
)


@given(st.dictionaries(FIELDS, JSON | st.sampled_from(["integer", "float", "boolean"])))
def test_any_object_is_read(fields: dict[str, object]) -> None:
    """Whatever its fields hold, a type is read, with warnings at most."""
    findings = parse_parameter_type("t", json.dumps(fields).encode()).findings
    assert all(finding.severity == "warning" for finding in findings)
