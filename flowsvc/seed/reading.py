"""From files to a seed: everything is read and checked before anything is done about it."""

from __future__ import annotations

import fnmatch
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, NamedTuple, Self

from flowsvc.definition import Findings, child, kind_of
from flowsvc.errors import Finding, InvalidInput
from flowsvc.seed import json_text
from flowsvc.seed.shape import (
    BLUEPRINT,
    FLOW,
    NAMED,
    PARAMETER_TYPE,
    SCHEMA,
    Entry,
    Format,
    Readable,
    SeedFlow,
    refused_key,
    refused_type,
)
from flowsvc.seed.staging import Row, Staging
from flowsvc.seed.watching import UNWATCHED, Watcher
from kvconfig.codec import decode, encode
from kvconfig.config import Schema
from kvconfig.errors import InvalidSchema, InvalidValue

__all__ = ["FORMATS", "Seed", "Source", "is_skipped", "parse_seed", "read_seed", "sources"]

FORMATS: Final[Mapping[str, Format]] = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}
"""By the end of a file's name."""

_ONE_BLUEPRINT = ("name", "template-version", "verbatim", "note")
"""What a file of one blueprint says about it, beside ``blueprint`` itself."""


class Seed:
    """What is to be there. ``types`` are those that have a section, be it empty.

    Definitions and flows are held in memory, as the flow service holds them; ``items`` are not.
    Close it, or use it as a context manager, if it has any.
    """

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.types: dict[str, None] = {}
        self.schemas: dict[str, Schema] = {}
        self.parameter_types: dict[str, dict[str, Any]] = {}
        self.blueprints: dict[str, dict[str, Any]] = {}
        self.flows: dict[str, SeedFlow] = {}
        self.items = Staging()

    @property
    def item_types(self) -> list[str]:
        """The types that are configuration and nothing more."""
        return sorted(type_ for type_ in self.types if type_ not in NAMED)

    def close(self) -> None:
        """Let go of the items."""
        self.items.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


# -- where it comes from -------------------------------------------------------------------------


class Source(NamedTuple):
    """One text. ``size`` is its length in bytes, 0 where that is not known."""

    name: str
    open: Callable[[], AbstractContextManager[BinaryIO]]
    format: Format
    size: int = 0


def sources(path: Path, format_: Format | None = None) -> Iterator[Source]:
    """A file, or the files of a folder and of those in it, by name.

    Of a folder those count that end as JSON and YAML files do; whatever begins with a dot is passed
    over. ``format_`` is for all; without it the end of the name decides, and what ends otherwise is
    JSON. Raises :class:`InvalidInput` for a folder without any.
    """
    if not path.is_dir():
        yield _file(path, str(path), format_)
        return
    found = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix in FORMATS
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    if not found:
        ends = ", ".join(f"*{end}" for end in FORMATS)
        raise InvalidInput(str(path), [Finding("$", f"is a folder without any of {ends}")])
    for file in found:
        yield _file(file, str(file), format_)


def _file(path: Path, name: str, format_: Format | None) -> Source:
    size = path.stat().st_size if path.is_file() else 0
    return Source(name, lambda: path.open("rb"), format_ or FORMATS.get(path.suffix, "json"), size)


# -- reading -------------------------------------------------------------------------------------


def parse_seed(data: bytes, subject: str, *, skip: Collection[str] = ()) -> Seed:
    """A seed from JSON: ``{"parameter-type": {…}, "flow-blueprint": {…}, "flow": {…}, …}``.

    See :func:`read_seed`.
    """
    source = Source(subject, lambda: io.BytesIO(data), "json", len(data))
    return read_seed([source], subject, skip=skip)


def read_seed(
    texts: Sequence[Source],
    subject: str,
    *,
    skip: Collection[str] = (),
    watcher: Watcher = UNWATCHED,
) -> Seed:
    """All texts together as one seed.

    A file of one blueprint (``{"name", "blueprint", "parameter-type"}``) is a seed too. Types that
    match a pattern of ``skip`` are left out. Raises :class:`InvalidInput` with every finding: what
    stands in two places, and what has no place in a seed. A text that is no JSON (or YAML) is read
    until there.
    """
    seed = Seed(subject)
    try:
        reading = _Reading(seed, texts, skip)
        watcher.begin("reading", sum(source.size for source in texts))
        for number, source in enumerate(texts):
            try:
                with source.open() as stream:
                    reading.read(number, _entries(source.format, _Watched(stream, watcher)))
            except OSError as error:
                finding = Finding(source.name, f"cannot be read: {error.strerror}")
                raise InvalidInput(subject, [finding]) from error
        reading.finish()
    except BaseException:
        seed.close()
        raise
    return seed


def is_skipped(type_: str, skip: Iterable[str]) -> bool:
    """Whether a type matches one of the patterns."""
    return any(fnmatch.fnmatchcase(type_, pattern) for pattern in skip)


def _entries(format_: Format, stream: Readable) -> Iterator[Entry]:
    if format_ == "json":
        return json_text.entries(stream)
    from flowsvc.seed import yaml_text  # only who has YAML loads PyYAML

    return yaml_text.entries(stream)


class _Watched:
    """A stream that tells how much of it was read."""

    def __init__(self, stream: BinaryIO, watcher: Watcher) -> None:
        self._stream, self._watcher = stream, watcher

    def read(self, size: int = -1, /) -> bytes:
        """See :class:`Readable`."""
        data = self._stream.read(size)
        self._watcher.advance(len(data))
        return data


class _Reading:
    """Takes in one source after the other, and notes all that is wrong."""

    def __init__(self, seed: Seed, texts: Sequence[Source], skip: Collection[str]) -> None:
        self._seed, self._sources, self._skip = seed, texts, skip
        self._findings = Findings()
        self._wanted: dict[str, bool] = {}  # by type
        self._first: dict[tuple[str, str], int] = {}  # where each of NAMED stood first
        self._number = 0

    def read(self, number: int, entries: Iterator[Entry]) -> None:
        """One source."""
        self._number = number
        self._seed.items.add(self._items(entries), self._stands_twice)

    def _items(self, entries: Iterator[Entry]) -> Iterator[Row]:
        """Those entries of one source that are items; the others are kept on the way."""
        aside: list[Entry] = []
        others: dict[str, None] = {}
        try:
            for entry in entries:
                if _may_be_of_one_blueprint(entry):
                    aside.append(entry)
                    continue
                others[entry.type] = None
                if (row := self._take(entry)) is not None:
                    yield row
        except InvalidValue as error:
            self._wrong(error.path, error.reason)
        blueprint = _one_blueprint(aside)
        for entry in aside if blueprint is None else [blueprint]:
            if (row := self._take(entry)) is not None:
                yield row
        if blueprint is not None:
            for type_ in sorted(others.keys() - {PARAMETER_TYPE}):
                self._wrong(child("$", type_), "does not belong in a file of one blueprint")

    def finish(self) -> None:
        """Raise :class:`InvalidInput` if anything was wrong."""
        if self._findings.has_errors:
            raise InvalidInput(self._seed.subject, self._findings.all())

    def _take(self, entry: Entry) -> Row | None:
        """Check an entry and keep it; or give it back, if it is an item."""
        type_, key, value = entry
        if type_ not in self._wanted:
            self._wanted[type_] = self._is_wanted(type_)
        if not self._wanted[type_]:
            return None
        if key is None:
            if value != {}:
                reason = f"must be an object, {{key: value}}; is {kind_of(value)}"
                self._wrong(child("$", type_), reason)
        elif reason := refused_key(type_, key):
            self._wrong(_path(type_, key), reason)
        elif type_ in NAMED:
            self._take_named(type_, key, value)
        else:
            try:
                return type_, key, encode(value), self._number
            except InvalidValue as error:
                self._wrong(_path(type_, key) + error.path[1:], error.reason)
        return None

    def _is_wanted(self, type_: str) -> bool:
        if is_skipped(type_, self._skip):
            return False
        if reason := refused_type(type_):
            self._wrong(child("$", type_), reason)
            return False
        self._seed.types[type_] = None
        return True

    def _take_named(self, type_: str, key: str, value: Any) -> None:
        """What is inside a definition is for the flow service to judge."""
        seed, path = self._seed, _path(type_, key)
        if (type_, key) in self._first:
            self._stands_twice(type_, key, self._first[type_, key])
            return
        self._first[type_, key] = self._number
        try:
            if type_ == SCHEMA:
                seed.schemas[key] = Schema(key, value)
            elif not isinstance(value, dict):
                self._wrong(path, f"must be an object, is {kind_of(value)}")
            elif type_ == FLOW:
                seed.flows[key] = decode(encode(value), SeedFlow)
            else:
                kind = seed.blueprints if type_ == BLUEPRINT else seed.parameter_types
                kind[key] = value
        except (InvalidValue, InvalidSchema) as error:
            self._wrong(path + error.path[1:], error.reason)

    def _stands_twice(self, type_: str, key: str, first: int) -> None:
        where = "twice in this file"
        if first != self._number:
            where = f"in {self._sources[first].name} too"
        self._wrong(_path(type_, key), f"stands {where}")

    def _wrong(self, path: str, reason: str) -> None:
        if len(self._sources) > 1:
            path = f"{self._sources[self._number].name}: {path}"
        self._findings.error(path, reason)


def _path(type_: str, key: str) -> str:
    return child(child("$", type_), key)


def _may_be_of_one_blueprint(entry: Entry) -> bool:
    """Whether it belongs there if the file turns out to be one of one blueprint."""
    if entry.type == "blueprint":
        return True
    return entry.type in _ONE_BLUEPRINT and not isinstance(entry.value, dict) and entry.key is None


def _one_blueprint(entries: Iterable[Entry]) -> Entry | None:
    """The blueprint that they are, with its name, if they are one."""
    name: object = None
    blueprint: dict[str, Any] | None = None
    for entry in entries:
        if entry.type == "name":
            name = entry.value
        elif entry.type == "blueprint" and entry.key is not None:
            blueprint = {} if blueprint is None else blueprint
            blueprint[entry.key] = entry.value
        elif entry.type == "blueprint" and entry.value == {}:
            blueprint = {}
    if not isinstance(name, str) or blueprint is None:
        return None
    return Entry(BLUEPRINT, name, blueprint)
