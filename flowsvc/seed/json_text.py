"""A seed as JSON text, read entry by entry: however long it is, memory holds a part of it.

The parser is the standard library's, given one value at a time: what is cut off at the end of the
part that was read is tried again with more. It takes what JSON is and nothing else: no name twice
in one object, no NaN, no half of a surrogate pair.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from flowsvc.definition import child
from flowsvc.seed.shape import Entry, Readable
from kvconfig.errors import InvalidValue

__all__ = ["MAX_VALUE_CHARS", "entries"]

MAX_VALUE_CHARS = 2**24
"""No value is longer: etcd takes 1.5 MiB, unless told otherwise."""

_CHUNK_BYTES = 2**18
_SPACE = re.compile(r"[ \t\n\r]*")
_PLAIN_NAME = re.compile(r'[ \t\n\r]*"([\w.:+/@ -]*)"[ \t\n\r]*:[ \t\n\r]*(?=[^ \t\n\r])')
_GOES_ON = ("", *"0123456789.eE+-")  # with these, what looks like the end of a number
_SPACES = ("", " ", "\t", "\n", "\r")
_AFTER_VALUE = re.compile(r"[ \t\n\r]*([,}])")


def entries(stream: Readable) -> Iterator[Entry]:
    """Every entry, in the order of the text.

    Raises ``InvalidValue``, with line and path, where the text ends being JSON, or is no object.
    """
    text = _Text(stream)
    if text.peek() != "{":
        text.fail("$", 'give an object: {"flow-blueprint": {…}, …}')
    types: set[str] = set()
    for type_ in text.names("$"):
        path = child("$", type_)
        if type_ in types:
            text.fail(path, "stands twice in this file")
        types.add(type_)
        if text.peek() != "{":
            yield Entry(type_, None, text.value(path))
            continue
        empty = True
        for key in text.names(path):
            empty = False
            yield Entry(type_, key, text.value(path, key))
        if empty:
            yield Entry(type_, None, {})
    if text.peek():
        text.fail("$", "the text goes on after its end")


class _Text:
    """A window on a text that is read once, from front to back."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._window = ""
        self._at = 0  # where in the window
        self._lines = 1  # on which line the window begins
        self._ended = False

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            space = _SPACE.match(self._window, self._at)
            assert space is not None
            self._at = space.end()
            if self._at < len(self._window):
                return self._window[self._at]
            if not self._more():
                return ""

    def names(self, path: str) -> Iterator[str]:
        """The names of the object that begins here; whoever gets one reads its value."""
        self._at += 1
        if self.peek() == "}":
            self._at += 1
            return
        while True:
            yield self._name(path)
            if found := _AFTER_VALUE.match(self._window, self._at):
                self._at, after = found.end(), found[1]
            else:
                after = self.peek()
                if after not in (",", "}"):
                    self.fail(path, "a comma, or the end of the object, is missing here")
                self._at += 1
            if after == "}":
                return

    def _name(self, path: str) -> str:
        """A name and its colon; the common case at once."""
        if found := _PLAIN_NAME.match(self._window, self._at):
            self._at = found.end()
            return found[1]
        if self.peek() != '"':
            self.fail(path, "a name in double quotes is missing here")
        name: str = self.value(path)
        if self.peek() != ":":
            self.fail(path, "a colon is missing here")
        self._at += 1
        return name

    def value(self, path: str, name: str | None = None) -> Any:
        """The value that begins here, at ``path``, or there under ``name``."""
        if self._window[self._at : self._at + 1] in _SPACES:
            self.peek()
        while True:
            wrong: Exception | None = None
            value, end = None, self._at
            try:
                value, end = _STRICT.raw_decode(self._window, self._at)
            except (ValueError, RecursionError) as error:
                wrong = error
            # What is wrong may just be cut off, and so may a number.
            if wrong is None and self._window[end : end + 1] not in _GOES_ON:
                break
            if len(self._window) - self._at > MAX_VALUE_CHARS or not self._more():
                if wrong is not None:
                    self._explain(path if name is None else child(path, name), wrong)
                break
        self._at = end
        return value

    def fail(self, path: str, reason: str) -> NoReturn:
        """Raise it, with the line."""
        line = self._lines + self._window.count("\n", 0, self._at)
        raise InvalidValue(f"line {line}: {reason}", path=path)

    def _more(self) -> bool:
        """Move the window on: what was taken goes, what follows comes. False at the end."""
        if self._ended:
            return False
        rest = len(self._window) - self._at
        chunk = self._stream.read(max(_CHUNK_BYTES, rest))
        self._ended = not chunk
        try:
            text = self._decode(chunk, self._ended)
        except UnicodeDecodeError:
            self.fail("$", "not UTF-8, here or soon after")
        if not text:
            return self._more()
        self._lines += self._window.count("\n", 0, self._at)
        self._window, self._at = self._window[self._at :] + text, 0
        return True

    def _explain(self, path: str, error: Exception) -> NoReturn:
        """Say what is wrong with the value that begins here, and never what it is."""
        if isinstance(error, json.JSONDecodeError):
            self._at = error.pos
            self.fail(path, f"not JSON: {error.msg}")
        if isinstance(error, _Twice):
            document, _ = _LAX.raw_decode(self._window, self._at)
            self.fail(next(_given_twice(document, path), path), "stands twice in one object")
        if isinstance(error, _NoNumber):
            self.fail(path, f"not JSON: {error}")
        if isinstance(error, RecursionError):
            self.fail(path, "is nested too deep")
        self.fail(path, "holds too large a number")


# -- the parser ----------------------------------------------------------------------------------


class _Twice(ValueError):
    """A name stands twice in one object."""


class _NoNumber(ValueError):
    """NaN and the infinities."""


class _Pairs(list[tuple[str, Any]]):
    """An object with all that it has, a name twice as well."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice
    return found


def _no_number(name: str) -> NoReturn:
    raise _NoNumber(f"{name} is no number")


def _given_twice(value: object, path: str) -> Iterator[str]:
    """The path of every name that stands in its object a second time."""
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for name, inner in value:
            if name in seen:
                yield child(path, name)
            seen.add(name)
            yield from _given_twice(inner, child(path, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _given_twice(inner, f"{path}[{index}]")


_STRICT = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number)
_LAX = json.JSONDecoder(object_pairs_hook=_Pairs)
