"""A seed as YAML text, read entry by entry: the part of YAML that says what JSON can say.

Plain words mean what YAML 1.2 says (its core schema): ``true`` and ``null`` are no text, but ``no``
and ``12:30`` are. Tags, anchors, aliases and merge keys are refused: nothing here comes from
elsewhere, and no few lines grow into gigabytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NoReturn

import yaml

from flowsvc.definition import child
from flowsvc.seed.shape import Entry, Readable
from kvconfig.errors import InvalidValue

__all__ = ["MAX_VALUE_BYTES", "entries"]

MAX_VALUE_BYTES = 2**24
"""No value is longer: etcd takes 1.5 MiB, unless told otherwise."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's, where PyYAML has it

_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def entries(stream: Readable) -> Iterator[Entry]:
    """Every entry, in the order of the text.

    Raises ``InvalidValue``, with line and path, for what is no YAML, or more than JSON can say.
    """
    text = _Text(stream)
    first = text.next("$")
    if not isinstance(first, yaml.MappingStartEvent):
        text.fail("$", "give a mapping: flow-blueprint: {…}, …")
    types: set[str] = set()
    for type_, path in text.names("$"):
        if type_ in types:
            text.fail(path, "stands twice in this file")
        types.add(type_)
        event = text.next(path)
        if not isinstance(event, yaml.MappingStartEvent):
            yield Entry(type_, None, text.value(event, path))
            continue
        empty = True
        for key, inner in text.names(path):
            empty = False
            yield Entry(type_, key, text.value(text.next(inner), inner))
        if empty:
            yield Entry(type_, None, {})
    text.end()


class _TooLong(Exception):
    """A name or a value is longer than any that can be stored."""


class _Bounded:
    """A text of which no part grows without end: the parser holds a scalar as a whole."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self.taken = 0  # since the last name

    def read(self, size: int = -1, /) -> bytes:
        """See :class:`Readable`."""
        if self.taken > MAX_VALUE_BYTES:
            raise _TooLong
        data = self._stream.read(size)
        self.taken += len(data)
        return data


class _Text:
    """The events of a text; each that begins something is checked as it comes."""

    def __init__(self, stream: Readable) -> None:
        self._stream = _Bounded(stream)
        self._events = yaml.parse(self._stream, Loader=_LOADER)
        self._line = 1

    def next(self, path: str) -> yaml.Event:
        """What comes next, stream and document left out."""
        while True:
            event = self._read(path)
            if isinstance(event, yaml.AliasEvent):
                self.fail(path, "is an alias (*): write it out")
            if isinstance(event, yaml.NodeEvent):
                self._check(event, path)
            if not isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
                return event

    def names(self, path: str) -> Iterator[tuple[str, str]]:
        """The names of the mapping that has begun, and their paths; whoever gets one goes on."""
        while not isinstance(event := self.next(path), yaml.MappingEndEvent):
            name = self.value(event, path)
            if not isinstance(name, str):
                self.fail(path, "a name is no text: put it in quotes")
            inner = child(path, name)
            if name == "<<" and isinstance(event, yaml.ScalarEvent) and event.implicit[0]:
                self.fail(inner, "is a merge key: write it out")
            self._stream.taken = 0
            yield name, inner

    def value(self, event: yaml.Event, path: str) -> Any:
        """The value that has begun with ``event``."""
        try:
            return self._value(event, path)
        except RecursionError:
            self.fail(path, "is nested too deep")

    def end(self) -> None:
        """Nothing comes any more."""
        while not isinstance(event := self._read("$"), yaml.StreamEndEvent):
            if not isinstance(event, yaml.DocumentEndEvent):
                self.fail("$", "a second document begins: give one in a file")

    def fail(self, path: str, reason: str) -> NoReturn:
        """Raise it, with the line."""
        raise InvalidValue(f"line {self._line}: {reason}", path=path)

    def _read(self, path: str) -> yaml.Event:
        try:
            event: yaml.Event = next(self._events)
        except yaml.MarkedYAMLError as error:
            if error.problem_mark is not None:
                self._line = error.problem_mark.line + 1
            self.fail(path, f"not YAML: {error.problem}")
        except yaml.YAMLError:
            self.fail(path, "not YAML: characters that may not stand there")
        except _TooLong:
            self.fail(path, f"is longer than {MAX_VALUE_BYTES} bytes")
        if event.start_mark is not None:
            self._line = event.start_mark.line + 1
        return event

    def _check(self, event: yaml.NodeEvent, path: str) -> None:
        if event.anchor is not None:
            self.fail(path, "has an anchor (&): leave it out")
        if getattr(event, "tag", None) is not None:
            self.fail(path, "has a tag (!): leave it out")

    def _value(self, event: yaml.Event, path: str) -> Any:
        if isinstance(event, yaml.MappingStartEvent):
            found: dict[str, Any] = {}
            for name, inner in self.names(path):
                if name in found:
                    self.fail(inner, "stands twice in one mapping")
                found[name] = self._value(self.next(inner), inner)
            return found
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(event := self.next(path), yaml.SequenceEndEvent):
                items.append(self._value(event, f"{path}[{len(items)}]"))
            return items
        if not isinstance(event, yaml.ScalarEvent):
            self.fail(path, "a value is missing here")
        text: str = event.value
        return self._plain(text, path) if event.implicit[0] else text

    def _plain(self, text: str, path: str) -> Any:
        """What a word without quotes means."""
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if _NO_NUMBER.fullmatch(text):
            self.fail(path, "is no number that JSON has")
        try:
            if _INTEGER.fullmatch(text):
                return int(text, 0 if text[:2] in ("0o", "0x") else 10)
            if _FLOAT.fullmatch(text):
                return float(text)
        except ValueError:
            self.fail(path, "is too large a number")
        return text
