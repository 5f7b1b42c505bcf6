"""A seed as text: what a writer is given goes out at once, so memory holds none of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeAlias

from flowsvc.seed.shape import Format
from kvconfig.codec import parse_json

__all__ = ["Row", "Writable", "Writer", "writer", "yaml_dumper"]

Row: TypeAlias = tuple[str, bytes]
"""A key, and its value in canonical form."""


class Writable(Protocol):
    """Where text goes, in bytes."""

    def write(self, data: bytes, /) -> object:
        """All of it."""
        ...


class Writer(Protocol):
    """Writes one document: section after section, each once. Names must be allowed ones."""

    def section(self, type_: str) -> None:
        """One begins, and may stay empty."""
        ...

    def rows(self, rows: Iterable[Row]) -> None:
        """More of the section that has begun."""
        ...

    def end(self) -> None:
        """There is no more."""
        ...


def writer(format_: Format, out: Writable) -> Writer:
    """One that writes to ``out`` in that format."""
    return JsonWriter(out) if format_ == "json" else YamlWriter(out)


class JsonWriter:
    """One line for each item: what changed shows as lines that differ."""

    def __init__(self, out: Writable) -> None:
        self._write = out.write
        self._open = False  # a section
        self._empty = True

    def section(self, type_: str) -> None:
        """See :class:`Writer`."""
        before = self._closing() + b",\n" if self._open else b"{\n"
        self._write(before + b' "%s": {' % type_.encode())
        self._open, self._empty = True, True

    def rows(self, rows: Iterable[Row]) -> None:
        """See :class:`Writer`."""
        lines = [b'\n  "%s": %s' % (key.encode(), value) for key, value in rows]
        if lines:
            self._write((b"" if self._empty else b",") + b",".join(lines))
            self._empty = False

    def end(self) -> None:
        """See :class:`Writer`."""
        self._write(self._closing() + b"\n}\n" if self._open else b"{}\n")

    def _closing(self) -> bytes:
        return b"}" if self._empty else b"\n }"


class YamlWriter:
    """For people: text of several lines stands as it is, and plain words without quotes."""

    def __init__(self, out: Writable) -> None:
        self._write = out.write
        self._dump = yaml_dumper()
        self._begun: bytes | None = None  # the name of a section that has no rows yet
        self._any = False

    def section(self, type_: str) -> None:
        """See :class:`Writer`."""
        self._close()
        self._begun = self._dump({type_: {}}).removesuffix(b" {}\n")

    def rows(self, rows: Iterable[Row]) -> None:
        """See :class:`Writer`."""
        found = {key: parse_json(value) for key, value in rows}
        if not found:
            return
        if self._begun is not None:
            self._write(self._begun + b"\n")
            self._begun, self._any = None, True
        self._write(_LINE.sub(b"  ", self._dump(found)))

    def end(self) -> None:
        """See :class:`Writer`."""
        self._close()
        if not self._any:
            self._write(b"{}\n")

    def _close(self) -> None:
        if self._begun is not None:
            self._write(self._begun + b" {}\n")
            self._begun, self._any = None, True


# -- YAML ----------------------------------------------------------------------------------------

_LINE = re.compile(rb"^(?=.)", re.MULTILINE)
_PLAIN = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_./ -]*[A-Za-z0-9_])?")
_NOT_AS_IT_STANDS = re.compile("[\x85\u2028\u2029]|\n\n\\Z|\\A\n*\\Z")
"""Line breaks that YAML changes; and ends that need a mark, which would end the document."""


def yaml_dumper(*, sort_keys: bool = False) -> Callable[[object], bytes]:
    """A function from a value to its lines: what :mod:`flowsvc.seed.yaml_text` reads as the same.

    PyYAML is loaded only by who wants YAML.
    """
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        """No text goes without quotes that some version of YAML takes for something else."""

    def text(dumper: Any, value: str) -> yaml.Node:
        if "\n" in value and not _NOT_AS_IT_STANDS.search(value):
            style = "|"
        elif _PLAIN.fullmatch(value) and value not in ("y", "n", "Y", "N"):
            style = ""  # unless PyYAML knows better: it quotes yes, no, null, …
        else:
            style = '"'
        node: yaml.Node = dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)
        return node

    Dumper.add_representer(str, text)

    def dump(value: object) -> bytes:
        return bytes(
            yaml.dump(
                value,
                Dumper=Dumper,
                encoding="utf-8",
                allow_unicode=True,
                default_flow_style=False,
                sort_keys=sort_keys,
                width=-1,  # as wide as it is
            )
        )

    return dump
