"""What goes to stdout: a table for people, data or bare names for programs. All else to stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from flowsvc.differences import Difference
    from flowsvc.errors import Finding
    from flowsvc.model import Done

__all__ = [
    "DATA",
    "OUTPUTS",
    "View",
    "count",
    "difference_line",
    "findings_as_json",
    "output_of",
    "output_option",
    "print_data",
    "print_json",
    "print_line",
    "print_table",
    "printable",
    "show",
    "show_done",
    "warn",
]

Function = TypeVar("Function", bound=Callable[..., Any])


def output_of(*names: str) -> Callable[[Function], Function]:
    """Adds -o/--output with these choices, the first one as default."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(names),
        default=names[0],
        show_default=True,
        help="How to print the answer.",
    )


DATA = ("json", "yaml", "jsonl")
"""What programs read: all there is. ``jsonl``: a line of JSON for each object."""

OUTPUTS = ("table", "wide", *DATA, "name")
"""Of every command that prints objects. ``wide`` is the table where there is no more to tell."""

output_option = output_of(*OUTPUTS)
"""For the common command."""


@dataclass(frozen=True, kw_only=True)
class View:
    """One kind of object: its name, its columns, and itself as JSON.

    ``wide`` has the columns that only a wide table has, after the others.
    """

    name: Callable[[Any], str]
    columns: Mapping[str, Callable[[Any], object]]
    as_json: Callable[[Any], dict[str, Any]]
    wide: Mapping[str, Callable[[Any], object]] = field(default_factory=dict)


def show(found: Any | Sequence[Any], view: View, output: str) -> None:
    """Print one object, or a list of them."""
    many = isinstance(found, list)
    items: list[Any] = found if isinstance(found, list) else [found]
    if output == "jsonl":
        for item in items:
            print_line(view.as_json(item))
    elif output in DATA:
        print_data([view.as_json(item) for item in items] if many else view.as_json(found), output)
    elif output == "name":
        for item in items:
            click.echo(view.name(item))
    else:
        columns = {**view.columns, **view.wide} if output == "wide" else view.columns
        print_table(list(columns), [[cell(item) for cell in columns.values()] for item in items])


def show_done(done: Done, *, name: str, did: str, output: str) -> None:
    """Print what a change has done; its warnings go to stderr."""
    warn(done.findings)
    if output in DATA:
        print_data(
            {
                "name": name,
                "op": done.op,
                "revision": done.revision,
                "round-trips": done.round_trips,
                "findings": findings_as_json(done.findings),
            },
            output,
        )
    elif output == "name":
        click.echo(name)
    else:
        click.echo(f"{name} {did} at revision {done.revision}")


def warn(findings: Iterable[Finding]) -> None:
    """Findings about what was accepted, to stderr."""
    for finding in findings:
        click.echo(printable(str(finding)), err=True)


def findings_as_json(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """The fields of each."""
    return [{"severity": f.severity, "path": f.path, "message": f.message} for f in findings]


def difference_line(found: Difference) -> str:
    """One difference for people: where, and the values as JSON."""
    import json

    from flowsvc.differences import ABSENT

    values = [value for value in (found.before, found.after) if value is not ABSENT]
    shown = " -> ".join(json.dumps(value, ensure_ascii=False) for value in values)
    return printable(f"{found.sign} {found.path}: {shown}")


def print_data(value: object, output: str) -> None:
    """One value, in one of the forms of :data:`DATA`."""
    if output == "yaml":
        from flowsvc.seed.writing import yaml_dumper

        click.echo(yaml_dumper(sort_keys=True)(value), nl=False)
    elif output == "jsonl":
        print_line(value)
    else:
        print_json(value)


def print_json(value: object) -> None:
    """For programs, and readable: two spaces deep, keys sorted."""
    import json

    click.echo(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False))


def print_line(value: object) -> None:
    """For programs that read as it comes: JSON on one line."""
    import json

    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    click.echo(text)


def print_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns, numbers to the right. The head is bold on a terminal, and plain elsewhere.

    (click drops the decoration where stdout is no terminal; we, where NO_COLOR is set.)
    """
    import os

    rows = list(rows)
    texts = [list(head), *([printable(str(cell)) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    right = [bool(rows) and all(isinstance(row[n], int) for row in rows) for n in range(len(head))]
    for index, row in enumerate(texts):
        cells = [
            cell.rjust(width) if numbers else cell.ljust(width)
            for cell, width, numbers in zip(row, widths, right, strict=True)
        ]
        line = "  ".join(cells).rstrip()
        bold = index == 0 and not os.environ.get("NO_COLOR")
        click.echo(click.style(line, bold=True) if bold else line)


def count(number: int, noun: str) -> str:
    """``1 item``, ``2 items``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def printable(text: str) -> str:
    """Text of others, safe for a terminal: what is not printable is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
