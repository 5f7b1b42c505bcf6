"""What stands in a system, as a seed that makes it anew: all at one revision, page by page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import aclosing

import msgspec

from flowsvc.definition import Findings
from flowsvc.errors import Finding, InvalidInput
from flowsvc.seed.shape import (
    DERIVED,
    FLOW,
    NAMED,
    SCHEMA,
    SeedFlow,
    refused_key,
    refused_type,
)
from flowsvc.seed.watching import UNWATCHED, Watcher
from flowsvc.seed.writing import Row, Writer
from kvconfig.codec import encode
from kvconfig.config.bulk import Bulk, Standing
from kvconfig.errors import InvalidValue, show_key
from kvconfig.model import Revision
from kvconfig.records import decode_flow

__all__ = ["Exported", "export"]


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What stood at ``revision``: how many of each type; ``left_out``, with keys as paths."""

    revision: Revision
    counts: Counter[str]
    left_out: tuple[Finding, ...]


async def export(
    bulk: Bulk, out: Writer, *, types: Iterable[str] = (), watcher: Watcher = UNWATCHED
) -> Exported:
    """Write all that can stand in a seed, or what there is of ``types``, each as a section.

    What cannot be read, or could not be read back, is left out and said. Memory holds a page.
    Raises :class:`InvalidInput` for types that are in no seed, and ``StoreError``.
    """
    named = sorted(set(types))
    findings = [Finding(type_, reason) for type_ in named if (reason := refused_type(type_))]
    if findings:
        raise InvalidInput("the types to export", findings)
    ranges = bulk.ranges(named) if named else bulk.all_ranges(but=DERIVED)
    revision, total = await bulk.count(ranges)
    watcher.begin("exporting", total)
    exporting = _Exporting(out)
    for range_ in ranges:
        async with aclosing(bulk.pages(range_, revision=revision)) as pages:
            async for page in pages:
                exporting.take(page)
                watcher.advance(len(page))
    exporting.finish(named)
    out.end()
    return Exported(revision=revision, counts=exporting.counts, left_out=exporting.left_out.all())


class _Exporting:
    """Turns keys into rows of sections."""

    def __init__(self, out: Writer) -> None:
        self._out = out
        self._section = ""
        self._rows: list[Row] = []
        self._refused: dict[str, str] = {}  # by type
        self.counts: Counter[str] = Counter()
        self.left_out = Findings()

    def take(self, page: Iterable[Standing]) -> None:
        """More keys, in order."""
        for standing in page:
            try:
                self._take(standing)
            except InvalidValue as error:
                where = "" if error.path == "$" else f"at {error.path}: "
                self.left_out.error(show_key(standing.raw), where + error.reason)
        self._flush()

    def finish(self, types: Iterable[str]) -> None:
        """Those of ``types`` of which nothing stands get their section too."""
        for type_ in types:
            if type_ not in self.counts:
                self._out.section(type_)
                self.counts[type_] = 0

    def _take(self, standing: Standing) -> None:
        if standing.name is None or standing.value is None:
            raise InvalidValue(standing.problem)
        type_, key = standing.name
        if type_ not in self._refused:
            self._refused[type_] = refused_type(type_)
        if self._refused[type_]:
            raise InvalidValue(f"type {type_} {self._refused[type_]}")
        value = _named(type_, key, standing.value) if type_ in NAMED else standing.value
        if type_ != self._section:
            self._flush()
            self._out.section(type_)
            self._section = type_
        self._rows.append((key, value))

    def _flush(self) -> None:
        if self._rows:
            self._out.rows(self._rows)
            self.counts[self._section] += len(self._rows)
            self._rows = []


def _named(type_: str, key: str, value: bytes) -> bytes:
    """A definition, a schema, or a flow, as a seed has it."""
    if reason := refused_key(type_, key):
        raise InvalidValue(f"its key {reason}")
    if type_ == FLOW:
        return encode(SeedFlow.of(decode_flow(value)))
    if type_ != SCHEMA and not value.startswith(b"{"):
        raise InvalidValue("must be an object")
    return value
