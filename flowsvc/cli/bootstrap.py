"""``flowctl bootstrap``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, BinaryIO, get_args

import click

from flowsvc.cli.output import printable
from flowsvc.cli.settings import Settings, actor, connection_options, open_config, open_flows, run

if TYPE_CHECKING:
    from flowsvc.bootstrap import Report, WhenDifferent

__all__ = ["command", "summarise"]


@click.command("bootstrap")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--replace",
    "when_different",
    flag_value="replace",
    help="Overwrite blueprints, types and configuration that differ.",
)
@click.option(
    "--refuse",
    "when_different",
    flag_value="refuse",
    help="Write nothing at all if any of them differs.",
)
@click.option(
    "--skip",
    multiple=True,
    metavar="TYPE",
    help="Leave a type of the file out; a pattern such as 'processor:*'. May be repeated.",
)
@click.option("--by", metavar="NAME", envvar="FLOWCTL_BY", help="Who does it. [default: you]")
@connection_options
def command(
    *,
    settings: Settings,
    file: BinaryIO,
    when_different: WhenDifferent | None,
    skip: tuple[str, ...],
    by: str | None,
) -> None:
    """Seed parameter types, blueprints, configuration and default flows from FILE.

    What is there already stays as it is, so it is safe to run again. FILE is JSON, with an object
    for each type; a file of one blueprint ({"name", "blueprint", "parameter-type"}) will do too.
    Configuration (any type of your own) needs --endpoints.

    \b
    Example:
      flowctl bootstrap seed.json --endpoints 127.0.0.1:2379
    \b
      {"parameter-type": {"chunk-size": {"type": "integer", "default": 500}},
       "flow-blueprint": {"document-index": {"flow": {}, "blueprint": {}}},
       "flow": {"default": {"blueprint-name": "document-index", "parameters": {}}},
       "prompt": {"system": "Be brief."}}
    """
    from flowsvc.bootstrap import bootstrap, parse_seed

    seed = parse_seed(file.read(), file.name, skip=skip)

    async def main() -> Report:
        async with open_flows(settings) as flows, open_config(settings) as config:
            return await bootstrap(
                seed,
                flows,
                config,
                when_different=when_different or "keep",
                actor=actor(by, f"bootstrap {file.name}"),
            )

    for line in summarise(run(main())):
        click.echo(line, err=True)


def summarise(report: Report) -> list[str]:
    """What was done and what was not: counted by type, and named where somebody may have to act."""
    from flowsvc.bootstrap import Outcome

    by_type: dict[str, Counter[str]] = {}
    for what, outcome in report.outcomes.items():
        by_type.setdefault(what.partition("/")[0], Counter())[outcome] += 1
    width = max(map(len, by_type), default=0)
    lines = []
    for type_, counts in by_type.items():
        said = ", ".join(f"{counts[o]} {o}" for o in get_args(Outcome) if counts[o])
        lines.append(f"{type_.ljust(width)}  {said}")
    different = [what for what, outcome in report.outcomes.items() if outcome == "different"]
    if different:
        lines.append(f"left as they are (--replace overwrites them): {', '.join(different)}")
    for what, findings in report.findings.items():
        lines += [printable(f"{what}: {finding}") for finding in findings]
    return lines
