"""The table: a row for each fault, a column for each client, what became of it in each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.robustness.peers.columns import COLUMNS

__all__ = ["NOT_INSTALLED", "add", "lines"]

NOT_INSTALLED = "not installed"

LEGEND = """\
recovers, N s: it has what etcd has, N s after the last change.
stalls: it had not when the fault was about to end, and was told nothing.
silent, misses k of n: it was told nothing, and does not have k of the n keys that were changed.
ends, says so: its user was told. ends; again: he was, and watched again with the same client.\
"""

_rows: dict[str, Mapping[str, str]] = {}


def add(scenario: str, cells: Mapping[str, str]) -> None:
    """Keep a row."""
    _rows[scenario] = cells


def lines() -> list[str]:
    """The rows so far as lines of text; none where there are none."""
    if not _rows:
        return []
    rows = [["scenario", *(column.title for column in COLUMNS)]]
    for scenario, cells in _rows.items():
        rows.append([scenario, *(cells.get(column.name, NOT_INSTALLED) for column in COLUMNS)])
    return [*_aligned(rows), *LEGEND.splitlines()]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    text = [
        "| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return [text[0], rule, *text[1:]]
