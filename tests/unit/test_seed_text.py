"""Seeds as text: read entry by entry from JSON and YAML, refused with line and path, written."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsvc.seed import json_text, yaml_text
from flowsvc.seed.shape import Entry, Format
from flowsvc.seed.writing import writer
from kvconfig.codec import encode
from kvconfig.errors import InvalidValue
from tests.texts import text

READERS: dict[Format, Callable[[Any], Iterator[Entry]]] = {
    "json": json_text.entries,
    "yaml": yaml_text.entries,
}


class Trickle:
    """A text that comes in small parts, wherever they end."""

    def __init__(self, data: bytes, most: int) -> None:
        self._stream, self._most = BytesIO(data), most

    def read(self, size: int = -1, /) -> bytes:
        return self._stream.read(self._most)


def read(format_: Format, data: bytes, *, most: int = 1 << 20) -> list[Entry]:
    return list(READERS[format_](Trickle(data, most)))


def refused(format_: Format, data: bytes) -> tuple[str, str]:
    """The path, and the line with what is wrong."""
    with pytest.raises(InvalidValue) as raised:
        read(format_, data)
    assert "secret" not in str(raised.value)
    return raised.value.path, raised.value.reason


# -- reading ---------------------------------------------------------------------------------------

DOCUMENT = {
    "prompt": {"system": "Be brief.", "t/a": {"text": "…\n \U0001f600", "n": [1, 2.5, None, True]}},
    "empty": {},
    "number": 7,
    "limit": {"a": -12345678901234567890, "b": 1.0, "c": 1e300, "d": "", "e": {}, "f": []},
}
ENTRIES = [
    Entry("prompt", "system", "Be brief."),
    Entry("prompt", "t/a", DOCUMENT["prompt"]["t/a"]),  # type: ignore[index]
    Entry("empty", None, {}),
    Entry("number", None, 7),
    *(Entry("limit", key, value) for key, value in DOCUMENT["limit"].items()),  # type: ignore[attr-defined]
]


@pytest.mark.parametrize("most", [1, 2, 3, 7, 64, 4096])
@pytest.mark.parametrize("indent", [None, 2])
def test_json_is_read_whatever_the_parts_it_comes_in(most, indent):
    """Cut anywhere, inside a word, an escape or a character: the entries are the same."""
    for ascii_ in (True, False):
        data = json.dumps(DOCUMENT, indent=indent, ensure_ascii=ascii_).encode()
        found = read("json", b"\xef\xbb\xbf" + data + b" \n", most=most)
        assert found == ENTRIES
        assert [type(entry.value) for entry in found] == [type(entry.value) for entry in ENTRIES]


def test_json_is_yaml():
    """What is written in the form of JSON is read by either reader, to the same entries."""
    assert read("yaml", json.dumps(DOCUMENT, indent=1, ensure_ascii=False).encode()) == ENTRIES


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        (b"", "$", "line 1: give an object"),
        (b"[1]", "$", "line 1: give an object"),
        (b'{"a": 1} x', "$", "line 1: the text goes on after its end"),
        (b'{"a": {"b": 1}', "$", "line 1: a comma, or the end of the object, is missing here"),
        (b'{"a": {"b": 1', "$.a", "line 1: a comma, or the end of the object, is missing here"),
        (b'{"a": {"b":', "$.a.b", "line 1: not JSON: Expecting value"),
        (b'{"a": {\n"b": "secret\n', "$.a.b", "line 2: not JSON: Invalid control character at"),
        (b'{"a": {\n\n"b": [1, 2}}', "$.a.b", "line 3: not JSON: Expecting ',' delimiter"),
        (b'{"a": {"b" 1}}', "$.a", "line 1: a colon is missing here"),
        (b'{"a": {b: 1}}', "$.a", "line 1: a name in double quotes is missing here"),
        (b'{"a": {"b": 1,}}', "$.a", "line 1: a name in double quotes is missing here"),
        (b'{"a": {"b": 1 "c": 2}}', "$.a", "line 1: a comma, or the end"),
        (b'{"a": {"b": NaN}}', "$.a.b", "line 1: not JSON: NaN is no number"),
        (b'{"a": {"b": [-Infinity]}}', "$.a.b", "line 1: not JSON: -Infinity is no number"),
        (b'{"a": {"b": 01}}', "$.a", "line 1: a comma, or the end"),
        (b'{"a": {"b": ' + b"9" * 5000 + b"}}", "$.a.b", "line 1: holds too large a number"),
        (b'{"a": {"b": ' + b"[" * 100_000, "$.a.b", "line 1: is nested too deep"),
        (b'{"a": {},\n"a": {}}', "$.a", "line 2: stands twice in this file"),
        (
            b'{"a": {"b": {"c": [{}, {"d": 1, "e": {"d": 2}, "d": 3}]}}}',
            "$.a.b.c[1].d",
            "line 1: stands twice in one object",
        ),
        (b'{"a": {"b": "\xff"}}', "$", "line 1: not UTF-8"),
        (b"/* {} */", "$", "line 1: give an object"),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes) else None,
)
def test_what_is_no_json_is_refused_with_line_and_path(text, path, reason):
    """The standard's JSON and nothing else; what is said never shows a value."""
    found = refused("json", text)
    assert (found[0], found[1][: len(reason)]) == (path, reason)


def test_half_a_character_is_no_text():
    """A lone surrogate is read, as Python does, and refused where it would be written."""
    (entry,) = read("json", b'{"a": {"b": "\\ud800"}}')
    with pytest.raises(InvalidValue):
        encode(entry.value)


def test_a_value_that_never_ends_is_not_read_to_its_end(monkeypatch):
    """A text that is no JSON is read on for as long as a value can be, and no further."""
    monkeypatch.setattr(json_text, "MAX_VALUE_CHARS", 1 << 20)

    class Endless:
        given = 0

        def read(self, size: int = -1, /) -> bytes:
            self.given += size
            return b"x" * size if self.given > size else b'{"a": {"b": "'.ljust(size, b"x")

    stream = Endless()
    with pytest.raises(InvalidValue) as raised:
        list(json_text.entries(stream))
    assert raised.value.path == "$.a.b"
    assert stream.given < 6 << 20


@pytest.mark.parametrize("format_", ["json", "yaml"])
def test_memory_does_not_grow_with_the_text(format_):
    """Of a text ten times as long no more is held at a time."""

    class Long:
        """A section of so many items, made as it is read."""

        def __init__(self, items: int) -> None:
            self._parts = self._made(items)

        def _made(self, items: int) -> Iterator[bytes]:
            yield b'{"a": {'
            for number in range(items):
                yield b'"k%d": "%s", ' % (number, b"x" * 1000)
            yield b'"last": 1}}'

        def read(self, size: int = -1, /) -> bytes:
            return next(self._parts, b"")

    def peak(items: int) -> int:
        tracemalloc.start()
        assert sum(1 for _ in READERS[format_](Long(items))) == items + 1
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)  # what is loaded once
    assert peak(5_000) < peak(500) + 300_000


# -- YAML ------------------------------------------------------------------------------------------


def yaml_value(text: str) -> Any:
    (entry,) = read("yaml", b"a:\n  b: " + text.encode() + b"\n")
    return entry.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("Yes", "Yes"), ("on", "on"), ("y", "y"),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("12", 12), ("-3", -3), ("+4", 4), ("0x1f", 31), ("0o17", 15), ("1_000", "1_000"),
        ("1.5", 1.5), ("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("12:30:45", "12:30:45"),
        ("2001-01-01", "2001-01-01"), ('"12"', "12"), ("'true'", "true"), ("'it''s'", "it's"),
        ("a b", "a b"), ("|\n    x\n     y\n", "x\n y\n"), (">-\n    x\n    y\n", "x y"),
        ("[1, {c: [d]}]", [1, {"c": ["d"]}]), ("{}", {}), ("[]", []),
    ],
)  # fmt: skip
def test_plain_words_mean_what_yaml_1_2_says(text, value):
    """No Norway problem, no clock that becomes a number, no date."""
    found = yaml_value(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ("", "$", "give a mapping"),
        ("- a", "$", "give a mapping"),
        ("a: {b: &x 1}", "$.a.b", "has an anchor (&)"),
        ("a: {b: &x [1], c: *x}", "$.a.b", "has an anchor (&)"),
        ("a: {c: *x}", "$.a.c", "is an alias (*)"),
        ("a: {b: !!python/object:os.system secret}", "$.a.b", "has a tag (!)"),
        ("a: {b: !!str 1}", "$.a.b", "has a tag (!)"),
        ("a: {b: ! 1}", "$.a.b", "has a tag (!)"),
        ("!x {a: {}}", "$", "has a tag (!)"),
        ("&x a: {}", "$", "has an anchor (&)"),
        ("a: {b: {<<: {c: 1}}}", "$.a.b.<<", "is a merge key"),
        ("a: {b: .inf}", "$.a.b", "is no number that JSON has"),
        ("a: {b: [.NaN]}", "$.a.b[0]", "is no number that JSON has"),
        ("a: {b: " + "9" * 5000 + "}", "$.a.b", "is too large a number"),
        ("a: {b: 1, c: {d: 1, d: 2}}", "$.a.c.d", "stands twice in one mapping"),
        ("a: {}\na: {}", "$.a", "stands twice in this file"),
        ("a: {1: x}", "$.a", "a name is no text"),
        ("a: {[b]: x}", "$.a", "a name is no text"),
        ("a: {b: [secret}", "$.a.b", "not YAML: did not find expected ',' or ']'"),
        ("a: {b: 'secret", "$.a.b", "not YAML: found unexpected end of stream"),
        ("a: {b: \x07}", "$", "not YAML: characters that may not stand there"),
        ("a: {}\n---", "$", "a second document begins"),
        ("a: {b: " + "[" * 20_000, "$.a.b", "not YAML: exceeded maximum nesting depth"),
        ("a: {b: " + "[" * 990, "$.a.b", "is nested too deep"),
    ],
    ids=lambda value: value[:30],
)
def test_yaml_that_says_more_than_json_can_is_refused(text, path, reason):
    """Nothing is fetched, built, repeated or guessed; what is said never shows a value."""
    found = refused("yaml", text.encode())
    assert found[0] == path
    line, _, said = found[1].partition(": ")
    assert line == f"line {text.count(chr(10)) + 1}"
    assert said.startswith(reason)


# -- writing ---------------------------------------------------------------------------------------

Sections = list[tuple[str, dict[str, Any]]]


def written(format_: Format, sections: Sections, *, rows_at_once: int = 2) -> bytes:
    out = BytesIO()
    into = writer(format_, out)
    for type_, section in sections:
        into.section(type_)
        rows = [(key, encode(value)) for key, value in section.items()]
        for first in range(0, len(rows), rows_at_once):
            into.rows(rows[first : first + rows_at_once])
        into.rows([])
    into.end()
    return out.getvalue()


SECTIONS: Sections = [
    ("prompt", {"a": "x", "b": {"n": 1}, "c/d": [None]}),
    ("empty", {}),
    ("tool", {"t": "yes"}),
]


def test_json_is_written_an_item_a_line():
    """What changes shows as lines that differ; no section, no items: still a document."""
    assert written("json", SECTIONS).decode() == (
        '{\n "prompt": {\n  "a": "x",\n  "b": {"n":1},\n  "c/d": [null]\n },\n'
        ' "empty": {},\n "tool": {\n  "t": "yes"\n }\n}\n'
    )
    assert written("json", []) == b"{}\n"
    assert written("json", [("a", {})]) == b'{\n "a": {}\n}\n'


def test_yaml_is_written_for_people():
    """Text of several lines stands as it is; what could be taken for something else is quoted."""
    section = {
        "a": "Be brief.\n\n  Really.\n",
        "b": {"plain": "some words", "quoted": ["yes", "n", "12", "a: b", ""], "n": 1.0},
        "no": "x",
        "odd": "a\u2028b\n",  # which not every reader takes for the end of a line
    }
    assert written("yaml", [("prompt", section), ("on", {})]).decode() == (
        "prompt:\n  a: |\n    Be brief.\n\n      Really.\n"
        '  b:\n    "n": 1.0\n    plain: some words\n    quoted:\n'
        '    - \'yes\'\n    - "n"\n    - "12"\n    - "a: b"\n    - ""\n'
        "  'no': x\n  odd: \"a\\Lb\\n\"\n'on': {}\n"
    )
    assert written("yaml", []) == b"{}\n"


texts = text() | st.sampled_from(
    ["yes", "~", "1e3", "0x1", "=", "<<", "---", "...", "\n", "a\n", "\n a", "a\n\n", " \na \n",
     "a\x85b\n", "a\u2028\nb", "\ufeff", "\t\n", "a\r\nb", "# x\n", "- a\n- b", "a: b\n", "\x7f\n"]
)  # fmt: skip
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._:+-]{0,6}[A-Za-z0-9])?", fullmatch=True)
keys = names | st.sampled_from(["k" * 200, "null", "y", "1.0", "a b@c/d:e", "0o17"])


@given(st.dictionaries(names, st.dictionaries(keys, values, max_size=4), max_size=3))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("format_", ["json", "yaml"])
def test_what_is_written_is_read_again(format_, document):
    """Whatever JSON can say: the same sections, keys and values, number for number."""
    data = written(format_, list(document.items()))
    found: dict[str, dict[str, bytes]] = {}
    for entry in read(format_, data, most=50):
        section = found.setdefault(entry.type, {})
        if entry.key is not None:
            section[entry.key] = encode(entry.value)
    assert found == {
        type_: {key: encode(value) for key, value in section.items()}
        for type_, section in document.items()
    }
