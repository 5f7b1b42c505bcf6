"""The table: a row for each fault, a column for each client, what became of it in each cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from tests.robustness.peers.columns import COLUMNS

__all__ = ["NOT_INSTALLED", "Row", "add", "lines", "taken"]

Row: TypeAlias = tuple[str, dict[str, str]]
"""The scenario, and what became of each client in it, by name."""

NOT_INSTALLED = "not installed"

LEGEND = """\
recovers, N s: it has what etcd has, N s after the last change.
stalls: it had not when the fault was about to end, and was told nothing.
silent, misses k of n: it was told nothing, and does not have k of the n keys that were changed.
ends, says so: its user was told. ends; again: he was, and watched again with the same client.\
"""

_rows: list[Row] = []


def add(scenario: str, cells: Mapping[str, str]) -> None:
    """Keep a row."""
    _rows.append((scenario, dict(cells)))


def taken() -> list[Row]:
    """The rows since the last call."""
    rows = _rows.copy()
    _rows.clear()
    return rows


def lines(rows: Iterable[Row]) -> list[str]:
    """The rows as lines of text."""
    cells = [["scenario", *(column.title for column in COLUMNS)]]
    for scenario, found in rows:
        cells.append([scenario, *(found.get(column.name, NOT_INSTALLED) for column in COLUMNS)])
    return [*_aligned(cells), *LEGEND.splitlines()]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    text = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [text[0], rule, *text[1:]]
