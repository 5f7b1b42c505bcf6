"""``flowctl flow describe``, ``wait`` and ``watch``: whether flows run, and if not, why not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from flowsvc.cli.completion import complete
from flowsvc.cli.flow_look import as_json as flow_as_json
from flowsvc.cli.flow_look import print_flow
from flowsvc.cli.graph import PICTURES, draw_flow
from flowsvc.cli.output import (
    DATA,
    OUTPUTS,
    output_of,
    output_option,
    print_data,
    print_line,
    print_table,
    printable,
)
from flowsvc.cli.settings import Duration, Settings, ask, connection, connection_options
from flowsvc.cli.waits import close, until_it_runs

if TYPE_CHECKING:
    from flowsvc.model import Flow, Flows
    from flowsvc.status import FlowStatus, InstanceReport, VariantStatus

__all__ = [
    "as_json",
    "describe",
    "judge",
    "troubles",
    "variant_as_json",
    "variant_rows",
    "wait",
    "watch",
]

MOST_TROUBLES = 10
"""So many variants that do not run are told of one flow; ``describe`` has them all."""


@click.command()
@click.argument("flow_id", metavar="ID", shell_complete=complete("flow"))
@click.option("--graph", is_flag=True, help="Draw it: short for -o mermaid.")
@connection_options
@output_of(*OUTPUTS, *PICTURES)
def describe(*, settings: Settings, output: str, flow_id: str, graph: bool) -> None:
    """Show one flow and how its variants run: instances, errors, processors that nobody runs.

    Or draw it, with the topics that join its variants, in colours that say how they run: as text
    of Mermaid or of Graphviz, or as SVG where Graphviz is installed.

    \b
    Example:
      flowctl flow describe f1
      flowctl flow describe f1 -o json
      flowctl flow describe f1 --graph
      flowctl flow describe f1 --graph -o dot
    """
    if graph and output == "table":
        output = PICTURES[0]
    if output in PICTURES:
        draw_flow(settings, flow_id, output)
        return
    if graph:
        raise click.UsageError(
            f"-o {output} is no picture: --graph goes with {', '.join(PICTURES)}"
        )

    async def question(flows: Flows) -> tuple[Flow, FlowStatus]:
        return await flows.get_flow(flow_id), await flows.get_status(flow_id)

    flow, status = ask(settings, question)
    if output in DATA:
        print_data({**flow_as_json(flow), "status": as_json(status)}, output)
    elif output == "name":
        click.echo(flow.id)
    else:
        print_flow(flow)
        _print_status(status)


@click.command()
@click.argument("flow_id", metavar="ID", shell_complete=complete("flow"))
@click.option(
    "--timeout",
    "wait_s",
    metavar="DURATION",
    type=Duration(bare=True),
    default="60s",
    show_default=True,
    help="How long to wait.",
)
@click.option(
    "--everywhere",
    is_flag=True,
    help="Each variant on all live instances of its processor; without it, on one.",
)
@click.option(
    "--for",
    type=click.Choice(["running"]),
    default="running",
    show_default=True,
    expose_value=False,  # there is one choice
    help="What to wait for.",
)
@click.option(
    "--revision",
    metavar="REVISION",
    type=click.IntRange(min=1),
    help="Of the change to wait for, as it was printed. [default: what stands now]",
)
@connection(timeout=False)
@output_option
def wait(
    *,
    settings: Settings,
    output: str,
    flow_id: str,
    wait_s: float,
    everywhere: bool,
    revision: int | None,
) -> None:
    """Wait until a flow runs. What still lacks is told on stderr.

    The exit code is 0 once it runs, 7 if it does not in time, and 1 if it will not: it has failed,
    is paused, or was stopped.

    \b
    Example:
      flowctl flow wait f1 --timeout 2m
      flowctl flow wait f1 --everywhere --revision 42
    """

    status = ask(
        settings,
        lambda flows: until_it_runs(
            flows, flow_id, revision or 0, everywhere=everywhere, wait_s=wait_s
        ),
    )
    if output in DATA:
        print_data(as_json(status), output)
    judge(status, everywhere=everywhere)
    if output == "name":
        click.echo(status.flow)
    elif output not in DATA:
        click.echo(f"{status.flow} is {status.state}")


@click.command()
@click.argument("flow_ids", metavar="[ID]...", nargs=-1, shell_complete=complete("flow"))
@connection_options
@output_of("text", "jsonl")
def watch(*, settings: Settings, output: str, flow_ids: tuple[str, ...]) -> None:
    """Show the state of all flows (or of those named), and then each change, until interrupted.

    A line each. A flow that changes faster than this is read is told as it stands then.

    \b
    Example:
      flowctl flow watch
      flowctl flow watch f1 -o jsonl
    """

    async def question(flows: Flows) -> None:
        statuses = flows.watch_flows()
        try:
            async for status in statuses:
                if not flow_ids or status.flow in flow_ids:
                    print_line(as_json(status)) if output == "jsonl" else click.echo(_line(status))
        finally:
            await close(statuses)

    ask(settings, question)


# -- waiting -------------------------------------------------------------------------------------


def judge(status: FlowStatus, *, everywhere: bool) -> None:
    """Raise for a flow that does not run as was asked for; warn where some instances failed."""
    from flowsvc.errors import FlowServiceError

    if status.state == "running":
        return
    if status.state == "degraded" and not everywhere:
        for trouble in troubles(status):
            click.echo(printable(f"warning: {trouble}"), err=True)
        return
    why = "".join(f"\n  {trouble}" for trouble in troubles(status))
    raise FlowServiceError(f"flow {status.flow!r} is {status.state}{':' if why else ''}{why}")


# -- in words ------------------------------------------------------------------------------------


def troubles(status: FlowStatus) -> list[str]:
    """Why a flow does not run: each variant that failed, where, and the reason."""
    found = []
    for variant in status.variants:
        if variant.error:
            found.append(f"{variant.name}: {variant.error}")
        found += [
            f"{variant.name} on {report.instance}: {_failure(report)}"
            for report in variant.instances
            if report.state == "failed"
        ]
    more = len(found) - MOST_TROUBLES
    return [*found[:MOST_TROUBLES], f"and {more} more"] if more > 0 else found


def _failure(report: InstanceReport) -> str:
    attempts = "1 attempt" if report.attempts == 1 else f"{report.attempts} attempts"
    return f"{report.error} ({attempts} since {report.since})"


def _line(status: FlowStatus) -> str:
    from flowsvc.status import lacking

    said = [*troubles(status)]
    if status.state not in ("stopped", "paused") and (lacks := lacking(status)):
        said.append(lacks)
    at = f" at revision {status.mod_revision}" if status.mod_revision else ""
    return printable(f"{status.flow} {status.state}{at}{': ' if said else ''}{'; '.join(said)}")


def _print_status(status: FlowStatus) -> None:
    click.echo(f"state        {status.state}, at revision {status.mod_revision}")
    if status.missing:
        click.echo(f"nobody runs  {', '.join(status.missing)}")
    rows = [row for variant in status.variants for row in variant_rows(variant)]
    if rows:
        print_table(["VARIANT", "STATE", "INSTANCE", "REPORTS", "OBSERVED", "ERROR"], rows)


def variant_rows(variant: VariantStatus) -> list[list[object]]:
    """One for each instance; one without, where there is none."""
    if not variant.instances:
        return [[variant.name, variant.state, "", "", "", variant.error]]
    return [
        [
            variant.name,
            variant.state,
            report.instance,
            report.state,
            report.observed_revision,
            _failure(report) if report.state == "failed" else "",
        ]
        for report in variant.instances
    ]


# -- as JSON -------------------------------------------------------------------------------------


def as_json(status: FlowStatus) -> dict[str, Any]:
    """All of a status."""
    return {
        "flow": status.flow,
        "state": status.state,
        "revision": status.mod_revision,
        "missing": list(status.missing),
        "variants": [variant_as_json(variant) for variant in status.variants],
    }


def variant_as_json(variant: VariantStatus) -> dict[str, Any]:
    """All of one variant."""
    return {
        "name": variant.name,
        "shared": variant.shared,
        "state": variant.state,
        "revision": variant.mod_revision,
        "error": variant.error,
        "instances": [_report_as_json(report) for report in variant.instances],
    }


def _report_as_json(report: InstanceReport) -> dict[str, Any]:
    return {
        "instance": report.instance,
        "state": report.state,
        "observed-revision": report.observed_revision,
        "error": report.error,
        "attempts": report.attempts,
        "since": report.since,
    }
