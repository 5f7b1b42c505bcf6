"""The table at the end of a run: how long each fault was felt.

Rows are kept until their test is over, and appended to the file ``$ROBUSTNESS_ROWS`` where it is
set: so what a test runs in a process of its own hands them to that test.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROWS_FILE = "ROBUSTNESS_ROWS"


@dataclass(frozen=True, kw_only=True)
class Row:
    """``cache_s``: from the fault (or from its end, see ``since``) until every informer showed a
    write made after it. ``write_s``: until a write was acknowledged. ``None``: not measured.
    """

    scenario: str
    since: str = ""
    cache_s: float | None = None
    write_s: float | None = None
    slowest_read_s: float | None = None
    done: int = 0
    refused: int = 0
    unknown: int = 0
    lists: int = 0


_rows: list[dict[str, Any]] = []


def report(row: Row) -> None:
    """Keep a row for the table."""
    _rows.append(asdict(row))
    if named := os.environ.get(ROWS_FILE):
        with Path(named).open("a") as file:
            file.write(json.dumps(asdict(row)) + "\n")


def take_over(path: Path) -> None:
    """Keep the rows that another process has written."""
    _rows.extend(map(json.loads, path.read_text().splitlines()))


def taken() -> list[dict[str, Any]]:
    """The rows since the last call, each as a JSON object."""
    rows = _rows.copy()
    _rows.clear()
    return rows


def table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The rows as lines of text."""
    head = (
        f"{'scenario':<44} {'since':<12} {'cache':>7} {'write':>7} {'slowest':>7}"
        f" {'done':>6} {'refused':>7} {'unknown':>7} {'lists':>5}"
    )
    return [head, *(_line(Row(**row)) for row in rows)]


def _line(row: Row) -> str:
    times = " ".join(
        f"{'-' if s is None else f'{s:.2f} s':>7}"
        for s in (row.cache_s, row.write_s, row.slowest_read_s)
    )
    counts = f"{row.done:>6} {row.refused:>7} {row.unknown:>7} {row.lists:>5}"
    return f"{row.scenario:<44} {row.since:<12} {times} {counts}"
