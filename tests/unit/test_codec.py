"""JSON in one canonical form, and errors that say where."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvconfig.codec import MAX_DEPTH, Decoder, canonical, decode, encode, encode_parts, parse_json
from kvconfig.errors import InvalidValue
from tests.texts import text

NAN, INFINITY = math.nan, math.inf


@pytest.mark.parametrize(
    ("value", "data"),
    [
        ({"b": 1, "a": [True, None, "x"]}, b'{"a":[true,null,"x"],"b":1}'),
        ({"a": {"z": {}, "Z": {}, "é": "é\n"}}, '{"a":{"Z":{},"z":{},"é":"é\\n"}}'.encode()),
        ({"null": "null", "x": None}, b'{"null":"null","x":null}'),
        ({"raw": msgspec.Raw(b'{"z":null}'), "x": None}, b'{"raw":{"z":null},"x":null}'),
        (2**70, b"1180591620717411303424"),
        (1.5, b"1.5"),
        ("", b'""'),
    ],
)
def test_encode(value: object, data: bytes) -> None:
    """Keys are sorted, nothing is spaced, what is not ASCII is UTF-8."""
    assert encode(value) == data


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (NAN, "$"),
        ({"a": NAN}, "$.a"),
        ({"x": [1, {"y": INFINITY}], "n": None}, "$.x[1].y"),
        ([None, -INFINITY], "$[1]"),
        ("\ud800", "$"),
        ({1: "x"}, "$"),
        ({None: "x"}, "$"),
        (object(), "$"),
    ],
)
def test_encode_refuses(value: object, path: str) -> None:
    """What JSON cannot hold is refused, not bent; a number that is none is named by its path."""
    with pytest.raises(InvalidValue) as caught:
        encode(value)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (b' {"b" : 1,\n"a": "\\u00e9"} ', '{"a":"é","b":1}'.encode()),
        (b"123456789012345678901234567890", b"123456789012345678901234567890"),
        (b"[1.50, -0, 1e2]", b"[1.5,0,100.0]"),
    ],
)
def test_canonical(data: bytes, form: bytes) -> None:
    """Any JSON text has one canonical form, and that one is its own."""
    assert canonical(data) == form
    assert canonical(form) == form


NO_JSON = [
    b"",
    b"not json",
    b"{",
    b"[1,]",
    b"{} {}",
    b"NaN",
    b"1e400",
    b"{'a': 1}",
    b'"\xff"',
    b'"\\ud800"',
    b'"\xed\xa0\x80"',
    b"[" * 100_000,
]


@pytest.mark.parametrize("data", NO_JSON, ids=range(len(NO_JSON)))
def test_no_json(data: bytes) -> None:
    """Bytes that are no JSON in UTF-8 are refused, with the key under which they stood."""
    for read in (parse_json, canonical, Decoder(dict[str, str]).decode):
        with pytest.raises(InvalidValue, match="/k at") as caught:
            read(data, key=b"/k")
        assert caught.value.key == b"/k"


@pytest.mark.parametrize("before", range(80))
def test_a_number_too_large_is_found(before: int) -> None:
    """Wherever it stands, and only where it is one: text may have as many digits."""
    start = b'["%s",' % (b"x" * before)
    for read in (canonical, lambda data: encode(msgspec.json.decode(data))):
        assert read(start + b"9" * 308 + b"]") == start + b"9" * 308 + b"]"
        assert read(start + b'"' + b"9" * 400 + b'"]') == start + b'"' + b"9" * 400 + b'"]'
        with pytest.raises(InvalidValue, match=r"\$\[1\]: is too large a number"):
            read(start + b"9" * 309 + b"]")


@pytest.mark.parametrize("more", ["", "x" * 500])
def test_depth_is_counted(more: str) -> None:
    """So many levels and no more; a bracket in text is none."""
    for levels, refused in ((MAX_DEPTH, False), (MAX_DEPTH + 1, True)):
        value: Any = ["[" * 200 + more] if more else []
        for _ in range(levels - 1):
            value = [value]
        data = json.dumps(value, separators=(",", ":")).encode()
        for work in (lambda data=data: parse_json(data), lambda value=value: encode(value)):
            with pytest.raises(InvalidValue, match="deeper") if refused else nullcontext():
                work()


@pytest.mark.parametrize("more", [b"", b"x" * 500, b"\\n"])
def test_nul_is_found(more: bytes) -> None:
    """In short text and in long, among other escapes, and not where its backslash is text."""
    assert parse_json(b'"%s\\\\u0000"' % more) == json.loads(b'"%s\\\\u0000"' % more)
    for work in (
        lambda: parse_json(b'"%s\\u0000"' % more),
        lambda: encode(more.decode() + "\0"),
    ):
        with pytest.raises(InvalidValue, match="NUL"):
            work()


@pytest.mark.parametrize(
    ("type_", "data", "path", "reason"),
    [
        (dict[str, str], b"[]", "$", "Expected `object`, got `array`"),
        (dict[str, str], b'{"a":"x","b":1}', "$.b", "Expected `str`, got `int`"),
        (dict[str, str], b'{"a":"x","b":null,"c":1}', "$.b", "Expected `str`, got `null`"),
        (dict[str, str], b'{"a":"x","b":true}', "$.b", "Expected `str`, got `bool`"),
        (dict[str, int], b'{"a":1,"b":1.5}', "$.b", "Expected `int`, got `float`"),
        (dict[str, int], b'{"a":1,"b":"2"}', "$.b", "Expected `int`, got `str`"),
        (dict[str, dict[str, str]], b'{"a":{"b":"x"},"c":{"d":[]}}', "$.c.d", None),
        (dict[str, list[int]], b'{"a":[1],"b":[1,{}]}', "$.b[1]", None),
        (list[dict[str, str]], b'[{"a":"x"},{"b":3}]', "$[1].b", None),
    ],
)
def test_where(type_: Any, data: bytes, path: str, reason: str | None) -> None:
    """A value of the wrong type is found by its exact path."""
    with pytest.raises(InvalidValue) as caught:
        decode(data, type_)
    assert caught.value.path == path
    assert reason in (None, caught.value.reason)


def test_where_is_kept() -> None:
    """A finding can be given the key later, and loses nothing."""
    finding = InvalidValue("wrong", path="$.a").at(b"/k\n")
    assert (finding.key, finding.path, finding.reason) == (b"/k\n", "$.a", "wrong")
    assert str(finding) == r"/k\n at $.a: wrong"


texts = text()
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=10,
)


@settings(derandomize=True, deadline=None)
@given(json_values)
def test_round_trip(value: Any) -> None:
    """What is encoded decodes to itself, here and for everybody else; its form is stable."""
    data = encode(value)
    assert parse_json(data) == json.loads(data) == value
    assert canonical(data) == data
    assert canonical(json.dumps(value, indent=2).encode()) == data


@given(st.lists(st.text('[]{}"\\', max_size=4), min_size=1, max_size=3))
def test_depth_is_that_of_the_brackets_outside_of_texts(texts: list[str]) -> None:
    """Whatever brackets, quotes and backslashes the texts hold: one level more is too deep."""
    value: Any = texts[0]
    for level in range(MAX_DEPTH):
        value = {texts[0]: value} if level % 2 else [*texts, value, *texts]
    assert parse_json(encode(value)) == value
    with pytest.raises(InvalidValue, match="nested deeper"):
        encode([value])
    with pytest.raises(InvalidValue, match="nested deeper"):
        parse_json(json.dumps([value]).encode())


def test_parts_are_put_together_as_they_are() -> None:
    """Sorted with what is beside them, which may still hold no NUL."""
    part = msgspec.Raw(encode({"z": [1]}))
    assert encode_parts({"b": part, "a": "x"}) == b'{"a":"x","b":{"z":[1]}}'
    with pytest.raises(InvalidValue, match="NUL") as caught:
        encode_parts({"b": part, "a": "\0"})
    assert caught.value.path == "$.a"
