"""Names that are allowed, names that are not, and what a range covers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvconfig.errors import InvalidName
from kvconfig.keys import Range, check_item_key, check_name, check_root, everything, one, prefix

NAMES = ["a", "Z9", "a.b", "a..b", "a-b_c:d+e", "2.8-everything", "0", "x" * 128]
ITEM_KEYS = [*NAMES, "a/b", "a/@x y/z", "gpt 4o", "x" * 256]
BAD_EVERYWHERE = [
    "",
    " ",
    "a\n",
    "\na",
    "a\0",
    "a\tb",
    "a ",
    " a",
    ".",
    "..",
    ".a",
    "a.",
    "-a",
    "a_",
    "/",
    "/a",
    "a/",
    "a//b",
    "@a",
    "a*",
    "a%2f",
    "a\\b",
    "{id}",
    "é",
    "сhunker",  # noqa: RUF001 # Cyrillic es: looks like a c
    "１",  # noqa: RUF001 # a full-width digit
    "\u212a",  # the Kelvin sign
    "aéb",
    "a\u0430b",
    "a\uff11b",
    "a\u200bb",
    "a\u2024b",
    "a\u0301",
    "x" * 257,
    "\ud800",
]
BAD_NAMES = [*BAD_EVERYWHERE, "a/b", "a b", "a@b", "x" * 129]


def test_names() -> None:
    """A name is ASCII, starts and ends with a letter or digit, and has at most 128 characters."""
    for name in NAMES:
        assert check_name(name, "flow id") is name
    for name in ITEM_KEYS:
        assert check_item_key(name) is name
    for name in NAMES:
        assert check_root(f"@{name}") == f"@{name}"
    assert check_root("") == ""


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_bad_names(name: str) -> None:
    """Anything else is refused, and the error says what it was to name, without being long."""
    with pytest.raises(InvalidName) as caught:
        check_name(name, "flow id")
    assert (caught.value.name, caught.value.what) == (name, "flow id")
    assert "flow id" in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250
    with pytest.raises(InvalidName):
        check_root(f"@{name}")
    if name in BAD_EVERYWHERE:
        with pytest.raises(InvalidName):
            check_item_key(name)


@pytest.mark.parametrize("root", ["staging", "@", "@@a", "/a", "@a/", "@a\n", " @a", "a@"])
def test_bad_roots(root: str) -> None:
    """A root is ``@`` and a name: no type can look like one."""
    with pytest.raises(InvalidName):
        check_root(root)


@settings(derandomize=True)
@given(st.text(max_size=12))
def test_any_text(text: str) -> None:
    """No text whatsoever passes that holds more than the allowed characters."""
    try:
        check_name(text, "x")
    except InvalidName:
        return
    assert text.isascii()
    assert all(c.isalnum() or c in "._:+-" for c in text)
    assert text[0].isalnum()
    assert text[-1].isalnum()


@pytest.mark.parametrize("start", [b"", b"a", b"/active-flow/chunk", b"/a/ ", b"/a\xff", b"/\0"])
def test_prefix_needs_its_slash(start: bytes) -> None:
    """A prefix that would cover a sibling's keys is refused."""
    with pytest.raises(InvalidName):
        prefix(start)


@settings(derandomize=True)
@given(st.binary(max_size=4), st.binary(max_size=4))
def test_prefix_covers(start: bytes, rest: bytes) -> None:
    """A prefix covers exactly the keys that begin with it, whatever their bytes."""
    range_ = prefix(start + b"/")
    assert start + b"/" + rest in range_
    for key in (rest, start, start + rest, start + b"0" + rest, start + b"." + rest):
        assert (key in range_) is key.startswith(start + b"/")


@settings(derandomize=True)
@given(st.lists(st.binary(min_size=1, max_size=3), min_size=1, max_size=20), st.data())
def test_parts_of_a_range(keys: list[bytes], data: st.DataObject) -> None:
    """Before, at and after a key are the whole range, and nothing is in two of them."""
    key = data.draw(st.sampled_from(keys))
    range_ = Range(b"\0", b"\xff\xff\xff\xff")
    for candidate in keys:
        places = [candidate in part for part in (range_.before(key), one(key), range_.after(key))]
        assert places == [candidate < key, candidate == key, candidate > key]


@pytest.mark.parametrize(
    ("range_", "text"),
    [
        (prefix(b"/flow/"), "/flow/*"),
        (prefix(b"/a\n/"), r"/a\n/*"),
        (Range(b"a", b"c"), "[a, c)"),
        (one(b"/k"), r"[/k, /k\x00)"),
        (prefix(b"/refs/").before(b"/refs/m"), "[/refs/, /refs/m)"),
    ],
)
def test_shown(range_: Range, text: str) -> None:
    """A range prints as a person reads it."""
    assert str(range_) == text


def test_everything() -> None:
    """The range of everything holds any key that text can be."""
    assert all(key in everything() for key in (b"\0", b"/", "\U0010ffff".encode() * 8))
