"""``flowctl flow …``: the group, and every command that changes a flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import click

from flowsvc.cli import flow_look, flow_status, history
from flowsvc.cli.changes import How, carry_out, change_options, make
from flowsvc.cli.completion import complete
from flowsvc.cli.given import collect, parameter_options, reset_option
from flowsvc.cli.output import output_option
from flowsvc.cli.settings import Settings, connection_options

if TYPE_CHECKING:
    from flowsvc.model import PauseFlow

__all__ = ["group"]


@click.group("flow")
def group() -> None:
    """Flows: their whole life, and a look at it.

    \b
    Example:
      flowctl flow start -n document-index -i f1 --param chunk-size=500
      flowctl flow wait f1
      flowctl flow list
    """


@group.command()
@click.option(
    "-n",
    "--blueprint-name",
    required=True,
    metavar="NAME",
    shell_complete=complete("flow-blueprint"),
    help="Blueprint to use.",
)
@click.option("-i", "--flow-id", required=True, metavar="ID", help="Id of the new flow.")
@click.option("-d", "--description", default="", metavar="TEXT", help="For people.")
@parameter_options
@click.option(
    "--workspace", default="default", show_default=True, help="What {workspace} stands for."
)
@change_options(strict=True, wait="each of its variants runs")
@connection_options
@output_option
def start(
    *,
    settings: Settings,
    how: How,
    output: str,
    blueprint_name: str,
    flow_id: str,
    description: str,
    pairs: tuple[str, ...],
    text: str | None,
    file: BinaryIO | None,
    workspace: str,
) -> None:
    """Start a flow from a blueprint, in one transaction.

    A parameter given by --param goes before one in --parameters, and that before one in
    --parameters-file.

    \b
    Example:
      flowctl flow start -n document-index -i f1 -d 'Small chunks' --param chunk-size=500
      flowctl flow start -n document-index -i f2 -p '{"chunk-size": 2000}'
      flowctl flow start -n document-index -i f3 --dry-run
      flowctl flow start -n document-index -i f4 --wait --timeout 2m
    """
    parameters = collect(pairs, text, file)
    from flowsvc.model import StartFlow

    request = StartFlow(
        flow=flow_id,
        blueprint_name=blueprint_name,
        description=description,
        parameters=parameters,
        workspace=workspace,
        **how.fields(),
    )
    carry_out(settings, request, how, name=flow_id, did="started", output=output)


@group.command()
@click.argument("flow_id", metavar="ID", shell_complete=complete("flow"))
@change_options(wait="no live instance runs what it had")
@connection_options
@output_option
def stop(*, settings: Settings, how: How, output: str, flow_id: str) -> None:
    """Stop a flow, in one transaction. Shared variants stay while another flow needs them.

    \b
    Example:
      flowctl flow stop f1 --why 'no longer needed'
      flowctl flow stop f1 --dry-run
      flowctl flow stop f1 --wait --timeout 2m
    """
    from flowsvc.model import StopFlow

    request = StopFlow(flow=flow_id, **how.fields())
    carry_out(settings, request, how, name=flow_id, did="stopped", output=output, where="nowhere")


@group.command()
@click.argument("flow_id", metavar="ID", shell_complete=complete("flow"))
@click.option(
    "-n",
    "--blueprint-name",
    default="",
    metavar="NAME",
    shell_complete=complete("flow-blueprint"),
    help="Another blueprint.",
)
@click.option("-d", "--description", metavar="TEXT", help="Another description.")
@parameter_options
@reset_option
@change_options(strict=True, wait="each of its variants runs on all live instances")
@connection_options
@output_option
def update(
    *,
    settings: Settings,
    how: How,
    output: str,
    flow_id: str,
    blueprint_name: str,
    description: str | None,
    pairs: tuple[str, ...],
    text: str | None,
    file: BinaryIO | None,
    reset: tuple[str, ...],
) -> None:
    """Make a flow anew from what its blueprint and parameter types say now, in one transaction.

    Parameters that were given before stay unless given here, or --reset. Variants whose values
    stay the same hear nothing of it.

    \b
    Example:
      flowctl flow update f1 --param chunk-size=800 --dry-run
      flowctl flow update f1 --param chunk-size=800 --check-revision 42
      flowctl flow update f1 -n document-index-2 --reset chunk-size
    """
    parameters = collect(pairs, text, file)
    from flowsvc.model import UpdateFlow

    request = UpdateFlow(
        flow=flow_id,
        parameters=parameters,
        reset=reset,
        blueprint_name=blueprint_name,
        description=description,
        **how.fields(),
    )
    carry_out(
        settings, request, how, name=flow_id, did="updated", output=output, where="everywhere"
    )


@group.command()
@click.option(
    "-n",
    "--blueprint-name",
    required=True,
    metavar="NAME",
    shell_complete=complete("flow-blueprint"),
    help="Whose flows.",
)
@parameter_options
@reset_option
@change_options(strict=True)
@connection_options
@output_option
def rollout(
    *,
    settings: Settings,
    how: How,
    output: str,
    blueprint_name: str,
    pairs: tuple[str, ...],
    text: str | None,
    file: BinaryIO | None,
    reset: tuple[str, ...],
) -> None:
    """Update every flow of a blueprint at once, in one transaction.

    What flows share changes only so. Parameters and --reset are for each of these flows.

    \b
    Example:
      flowctl flow rollout -n document-index --dry-run
      flowctl flow rollout -n document-index --param search-limit=20
    """
    parameters = collect(pairs, text, file)
    from flowsvc.model import RollOut

    request = RollOut(
        blueprint_name=blueprint_name, parameters=parameters, reset=reset, **how.fields()
    )
    carry_out(settings, request, how, name=blueprint_name, did="rolled out", output=output)


@group.command()
@click.argument("flow_id", metavar="ID", shell_complete=complete("flow"))
@change_options(wait="no live instance runs what it had")
@connection_options
@output_option
def pause(*, settings: Settings, how: How, output: str, flow_id: str) -> None:
    """Take away the variants of a flow, and keep its record.

    \b
    Example:
      flowctl flow pause f1 --why 'maintenance'
    """
    request = _pause(flow_id, how)
    carry_out(settings, request, how, name=flow_id, did="paused", output=output, where="nowhere")


@group.command()
@click.argument("flow_id", metavar="ID", shell_complete=complete("flow"))
@change_options(wait="each of its variants runs")
@connection_options
@output_option
def resume(*, settings: Settings, how: How, output: str, flow_id: str) -> None:
    """Put back the variants of a flow that is paused.

    \b
    Example:
      flowctl flow resume f1
    """
    from flowsvc.model import ResumeFlow

    request = ResumeFlow(flow=flow_id, **how.fields())
    carry_out(settings, request, how, name=flow_id, did="resumed", output=output)


@group.command()
@click.argument("flow_id", metavar="ID", shell_complete=complete("flow"))
@change_options(wait="each of its variants runs on all live instances")
@connection_options
@output_option
def restart(*, settings: Settings, how: How, output: str, flow_id: str) -> None:
    """Pause a flow, wait until its processors have seen it (30 s at most), and resume it.

    Two transactions: if this is interrupted between them, the flow is paused. A dry run shows the
    first one.

    \b
    Example:
      flowctl flow restart f1 --why 'a processor hangs'
    """
    request = _pause(flow_id, how)
    if how.dry_run:
        carry_out(settings, request, how, name=flow_id, did="restarted", output=output)
        click.echo("after that, a second transaction puts the same variants back", err=True)
        return
    make(
        settings,
        lambda flows: flows.restart_flow(request),
        how,
        name=flow_id,
        did="restarted",
        output=output,
        where="everywhere",
    )


@group.command()
@click.argument("flow_id", metavar="ID", shell_complete=complete("flow"))
@click.option("--to", required=True, metavar="OP", help="Operation of its history.")
@change_options(strict=True, wait="each of its variants runs on all live instances")
@connection_options
@output_option
def rollback(*, settings: Settings, how: How, output: str, flow_id: str, to: str) -> None:
    """Make a flow what it was after an operation of its history, stopped since or not.

    \b
    Example:
      flowctl flow rollback f1 --to 01936c0e-8d5f-7a10-9f3e-5b6f8f0d2c41 --dry-run
    """
    from flowsvc.model import RollBackFlow

    request = RollBackFlow(flow=flow_id, to=to, **how.fields())
    carry_out(
        settings,
        request,
        how,
        name=flow_id,
        did=f"rolled back to {to}",
        output=output,
        where="everywhere",
    )


def _pause(flow_id: str, how: How) -> PauseFlow:
    from flowsvc.model import PauseFlow

    return PauseFlow(flow=flow_id, **how.fields())


for _command in (
    flow_look.get,
    flow_look.list_,
    flow_status.describe,
    flow_status.wait,
    flow_status.watch,
    history.history_group("flow", "flow", "f1"),
    history.diff_command("flow", "flow", "f1"),
):
    group.add_command(_command)
