"""What bootstrap and import have in common: which seed, how it is made, and what is told of it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from flowsvc.cli.output import printable
from flowsvc.cli.progress import watched
from flowsvc.cli.settings import Settings, actor, open_flows, open_store, run

if TYPE_CHECKING:
    from flowsvc.bootstrap import Outcome, Policy, Report
    from flowsvc.seed.reading import Source
    from flowsvc.seed.shape import Format
    from kvconfig.config.bulk import Bulk

__all__ = [
    "STANDARD_INPUT",
    "carry_out",
    "counted",
    "counts_of",
    "findings_of",
    "format_option",
    "notes_told",
    "open_bulk",
    "seed_options",
    "sources_of",
    "subject_of",
    "summarise",
]

Function = TypeVar("Function", bound=Callable[..., Any])

STANDARD_INPUT = "-"


def format_option(help_: str) -> Callable[[Function], Function]:
    """Adds --format: ``format_``."""
    return click.option("--format", "format_", type=click.Choice(["json", "yaml"]), help=help_)


def seed_options(function: Function) -> Function:
    """Adds SEED…, --format, --skip, --dry-run and --by, which :func:`carry_out` takes."""
    for add in (
        click.option(
            "--by", metavar="NAME", envvar="FLOWCTL_BY", help="Who does it. [default: you]"
        ),
        click.option("--dry-run", is_flag=True, help="Show what it would do, and write nothing."),
        click.option(
            "--skip",
            multiple=True,
            metavar="TYPE",
            help="Leave a type of the seed out; a pattern such as 'processor:*'. May be repeated.",
        ),
        format_option("What SEED is. [default: what its name ends with, else JSON]"),
        click.argument(
            "seeds",
            metavar="SEED...",
            nargs=-1,
            required=True,
            type=click.Path(exists=True, allow_dash=True),
        ),
    ):
        function = add(function)
    return function


def carry_out(
    settings: Settings,
    policy: Policy,
    *,
    verb: str,
    seeds: Sequence[str],
    format_: Format | None,
    skip: Sequence[str],
    dry_run: bool,
    by: str | None,
) -> None:
    """Read the seeds, make of them what the policy says, and tell what was done."""
    from flowsvc.bootstrap import bootstrap
    from flowsvc.seed.reading import read_seed

    subject = subject_of(seeds)
    found = [source for seed in seeds for source in sources_of(seed, format_)]
    with (
        watched(listed=dry_run) as watcher,
        read_seed(found, subject, skip=skip, watcher=watcher) as seed,
    ):

        async def main() -> Report:
            async with open_flows(settings) as flows, open_bulk(settings) as bulk:
                return await bootstrap(
                    seed,
                    flows,
                    bulk,
                    policy=policy,
                    dry_run=dry_run,
                    actor=actor(by, f"{verb} {subject}"),
                    watcher=watcher,
                )

        with notes_told():
            report = run(main())
    for line in summarise(report):
        click.echo(line, err=True)
    if dry_run:
        click.echo("nothing was written", err=True)


@contextmanager
def notes_told() -> Iterator[None]:
    """What is noted on an error, such as how far the work has come, goes to stderr."""
    try:
        yield
    except Exception as error:
        for note in getattr(error, "__notes__", ()):
            click.echo(printable(note), err=True)
        raise


@asynccontextmanager
async def open_bulk(settings: Settings) -> AsyncIterator[Bulk | None]:
    """The configuration in etcd itself; ``None`` where no endpoints are set.

    Raises as :func:`kvconfig.layout.check_layout`: that etcd need not be the flow service's.
    """
    if not settings.endpoints:
        yield None
        return
    from kvconfig.config.bulk import Bulk
    from kvconfig.keyspace import Keyspace
    from kvconfig.layout import check_layout

    keyspace = Keyspace(settings.root)
    async with open_store(settings) as store:
        await check_layout(store, keyspace)
        yield Bulk(store, keyspace)


def subject_of(seeds: Sequence[str]) -> str:
    """What is spoken of."""
    return " ".join("standard input" if seed == STANDARD_INPUT else seed for seed in seeds)


def sources_of(seed: str, format_: Format | None) -> Iterator[Source]:
    """The texts of a file, a folder, or standard input."""
    from pathlib import Path

    from flowsvc.seed.reading import Source, sources

    if seed == STANDARD_INPUT:
        stream = sys.stdin.buffer
        yield Source(STANDARD_INPUT, lambda: nullcontext(stream), format_ or "json")
    else:
        yield from sources(Path(seed), format_)


# -- what is told --------------------------------------------------------------------------------

_WHY_LEFT: dict[Literal["different", "left"], str] = {
    "different": "there with another value, left as they are",
    "left": "not in the seed, left since flows run or rest on them",
}


def summarise(report: Report) -> list[str]:
    """What was done and what was not: counted by type, and named where somebody may have to act."""
    lines = counts_of(report)
    for outcome, why in _WHY_LEFT.items():
        if names := report.named(outcome):
            more = report.total(outcome) - len(names)
            shown = ", ".join(names) + (f" and {more} more" if more else "")
            lines.append(printable(f"{why}: {shown}"))
    return lines + findings_of(report)


def counts_of(report: Report) -> list[str]:
    """What was done, counted by type."""
    from flowsvc.bootstrap import OUTCOMES

    return counted({type_: _said(counts, OUTCOMES) for type_, counts in report.counts.items()})


def findings_of(report: Report) -> list[str]:
    """What is to be said about some of it."""
    return [
        printable(f"{what}: {finding}")
        for what, findings in report.findings.items()
        for finding in findings
    ]


def counted(said: dict[str, str]) -> list[str]:
    """A line for each type, aligned."""
    width = max(map(len, said), default=0)
    return [printable(f"{type_.ljust(width)}  {what}") for type_, what in said.items()]


def _said(counts: dict[Outcome, int], outcomes: Sequence[Outcome]) -> str:
    return ", ".join(f"{counts[outcome]} {outcome}" for outcome in outcomes if counts[outcome])
