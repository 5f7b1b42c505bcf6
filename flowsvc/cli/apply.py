"""``flowctl apply`` and ``flowctl diff``: etcd is made equal to files, or told how it differs."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from flowsvc.cli.output import DATA, difference_line, output_option, print_data, printable
from flowsvc.cli.progress import watched
from flowsvc.cli.seeds import (
    STANDARD_INPUT,
    counts_of,
    findings_of,
    format_option,
    notes_told,
    open_bulk,
    sources_of,
    subject_of,
)
from flowsvc.cli.settings import (
    Settings,
    actor,
    connection_options,
    open_config,
    open_flows,
    run,
)

if TYPE_CHECKING:
    from flowsvc.apply import Apply
    from flowsvc.differences import Difference
    from flowsvc.seed.reading import Seed
    from flowsvc.seed.shape import Format
    from flowsvc.seed.watching import Step
    from kvconfig.config.bulk import ItemPort

__all__ = ["command", "diff"]

Function = TypeVar("Function", bound=Callable[..., Any])

DIFFERENT = 1
"""The exit code of ``diff`` where something differs, as that of ``kubectl diff``."""

MOST_NAMED = 20
"""So many of what is left over are named."""

SIGNS = {"created": "+", "replaced": "~", "deleted": "-"}


def file_options(function: Function) -> Function:
    """Adds -f, --format, --skip, --set and --prune."""
    for add in (
        click.option(
            "--prune",
            is_flag=True,
            help="Also delete what an earlier apply of the set made and the files no longer hold.",
        ),
        click.option(
            "--set",
            "set_",
            metavar="NAME",
            default="default",
            show_default=True,
            help="Under which name it is remembered what was made of these files.",
        ),
        click.option(
            "--skip",
            multiple=True,
            metavar="TYPE",
            help="Leave a type of the files out; a pattern such as 'tool*'. May be repeated.",
        ),
        format_option("What the files are. [default: what their names end with, else JSON]"),
        click.option(
            "-f",
            "--file",
            "files",
            metavar="PATH",
            multiple=True,
            required=True,
            type=click.Path(exists=True, allow_dash=True),
            help="A file, a folder, or - for standard input. May be repeated.",
        ),
    ):
        function = add(function)
    return function


@click.command("apply")
@file_options
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show the plan, and write nothing.")
@click.option("--by", metavar="NAME", envvar="FLOWCTL_BY", help="Who does it. [default: you]")
@connection_options
@output_option
def command(
    *,
    settings: Settings,
    output: str,
    files: Sequence[str],
    yes: bool,
    dry_run: bool,
    by: str | None,
    **options: Any,
) -> None:
    """Make etcd equal to files: schemas, parameter types, blueprints, configuration and flows.

    All files are checked first, and compared with what is there. The plan is printed to stdout: +
    is made, ~ is changed, - is deleted. Then it asks, unless --yes. A flow that runs otherwise than
    the files and their blueprints say is updated in place, in one transaction. Applied again,
    nothing is written; what broke off is applied again as well.

    What was made is remembered under the name of the set: what an apply has written, not what was
    equal before. Only that is deleted by --prune: flows first, then the blueprints they used. Use
    a name of its own for each set of files in one system.

    \b
    Example:
      flowctl apply -f deployment/ --yes
      flowctl apply -f deployment/ --prune --dry-run
      flowctl apply -f prompts.yaml -f flows.yaml --set search --prune --yes
    """
    if not (yes or dry_run):
        if STANDARD_INPUT in files:
            raise click.UsageError("standard input has the document, so it cannot be asked: --yes")
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask on: give --yes, or --dry-run")
    why = f"apply {subject_of(files)}"

    async def work(apply: Apply) -> None:
        show(apply, output)
        if dry_run:
            click.echo("nothing was written", err=True)
        elif not apply.steps or yes or await _agreed():
            known = apply.left_over
            with watched() as watcher:
                await apply.carry_out(watcher)
            tell(apply, known)
        else:
            click.echo("nothing was written", err=True)
            raise click.exceptions.Exit(1)

    _with_plan(settings, files, work, by=by, why=why, **options)


@click.command("diff")
@file_options
@connection_options
@output_option
def diff(*, settings: Settings, output: str, files: Sequence[str], **options: Any) -> None:
    """Show what `flowctl apply` would do with the same files, and write nothing.

    As with kubectl, the exit code is 0 where nothing would be written and 1 where something would
    be. A failure has its own code, as everywhere; one without a code of its own is 1 too, and
    stdout is empty then.

    \b
    Example:
      flowctl diff -f deployment/
      flowctl diff -f deployment/ --prune -o name
    """

    async def work(apply: Apply) -> None:
        show(apply, output)
        if apply.steps:
            raise click.exceptions.Exit(DIFFERENT)

    _with_plan(settings, files, work, by="", why="", **options)


# -- how it is done ------------------------------------------------------------------------------


def _with_plan(
    settings: Settings,
    files: Sequence[str],
    work: Callable[[Apply], Any],
    *,
    by: str | None,
    why: str,
    format_: Format | None,
    skip: Sequence[str],
    set_: str,
    prune: bool,
) -> None:
    """Read the files, compare, and do ``work`` with the plan while all is open."""
    from flowsvc.apply import plan
    from flowsvc.seed.reading import read_seed
    from kvconfig.keys import check_name

    check_name(set_, "set")
    found = [source for file in files for source in sources_of(file, format_)]

    async def main(seed: Seed) -> None:
        async with open_flows(settings) as flows, _open_items(settings) as items:
            with watched() as watcher:
                apply = await plan(
                    seed,
                    flows,
                    items,
                    set_=set_,
                    prune=prune,
                    skip=skip,
                    actor=actor(by, why),
                    watcher=watcher,
                )
            await work(apply)

    with watched() as watcher:
        seed = read_seed(found, subject_of(files), skip=skip, watcher=watcher)
    with seed, notes_told():
        run(main(seed))


@asynccontextmanager
async def _open_items(settings: Settings) -> AsyncIterator[ItemPort]:
    """Through the server where one is set, so that it is that of the flows; else etcd itself."""
    from kvconfig.config.bulk import AskedBulk

    if settings.server:
        async with open_config(settings) as config:
            yield AskedBulk(config)
    else:
        async with open_bulk(settings) as bulk:
            assert bulk is not None, "without a server there are endpoints"
            yield bulk


async def _agreed() -> bool:
    """Ask on the terminal. The loop goes on meanwhile, since connections want to be kept.

    (Not ``click.confirm`` in a thread: Ctrl-C would wait for that thread.)
    """
    import asyncio

    click.echo("apply? [y/N] ", nl=False, err=True)
    loop, answered = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), answered.set)  # a terminal gives whole lines
    try:
        await answered.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline().strip().lower() in ("y", "yes")


# -- what is told --------------------------------------------------------------------------------


def show(apply: Apply, output: str) -> None:
    """The plan on stdout; what is left over, and what is to be said beside it, on stderr."""
    if output in DATA:
        changes = [_as_json(apply, step) for step in apply.steps]
        told = {"set": apply.set, "changes": changes, "left-over": apply.left_over}
        print_data(told, output)
    elif output == "name":
        for step in apply.steps:
            click.echo(step.name)
    else:
        for step in apply.steps:
            _print_step(apply, step)
    if not apply.steps:
        click.echo("nothing to do: all is as the files say", err=True)
    if names := apply.left_over:
        click.echo(f"{len(names)} left over: --prune removes them: {_listed(names)}", err=True)


def tell(apply: Apply, known: Collection[str]) -> None:
    """What was done; of what was to be pruned, what others rest on."""
    for line in (*counts_of(apply.report), *findings_of(apply.report)):
        click.echo(line, err=True)
    if kept := [name for name in apply.left_over if name not in known]:
        click.echo(f"left, since others rest on them: {_listed(kept)}", err=True)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return printable(", ".join(names[:MOST_NAMED]) + more)


def _print_step(apply: Apply, step: Step) -> None:
    since = "  (written since the last apply)" if apply.is_changed_since(step) else ""
    click.echo(printable(f"{SIGNS[step.outcome]} {step.name}{since}"))
    for found in _differences(step):
        click.echo(f"    {difference_line(found)}")


def _differences(step: Step) -> list[Difference]:
    from flowsvc.differences import ABSENT, differences
    from kvconfig.codec import parse_json

    before, after = (
        ABSENT if value is None else parse_json(value) for value in (step.before, step.after)
    )
    return differences(before, after)


def _as_json(apply: Apply, step: Step) -> dict[str, Any]:
    return {
        "action": step.outcome,
        "type": step.type,
        "key": step.key,
        "written-since": apply.is_changed_since(step),
        "differences": [_difference_as_json(found) for found in _differences(step)],
    }


def _difference_as_json(found: Difference) -> dict[str, Any]:
    from flowsvc.differences import ABSENT

    values = {"before": found.before, "after": found.after}
    there = {name: value for name, value in values.items() if value is not ABSENT}
    return {"path": found.path, **there}
