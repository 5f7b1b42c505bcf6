"""``flowctl flow get`` and ``list``: what is wanted of flows, and how it is printed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from flowsvc.cli.completion import complete
from flowsvc.cli.output import View, output_option, printable, show
from flowsvc.cli.settings import Settings, ask, connection_options, look_up

if TYPE_CHECKING:
    from flowsvc.model import Flow, Flows
    from flowsvc.status import FlowStatus

__all__ = ["FLOW", "as_json", "get", "list_", "print_flow"]


@click.command()
@click.argument("flow_id", metavar="ID", shell_complete=complete("flow"))
@connection_options
@output_option
def get(*, settings: Settings, output: str, flow_id: str) -> None:
    """Show one flow.

    \b
    Example:
      flowctl flow get f1
      flowctl flow get f1 -o json
    """
    found = look_up(settings, lambda reader: reader.get_flow(flow_id))
    if output in ("table", "wide"):
        print_flow(found)
    else:
        show(found, FLOW, output)


@click.command("list")
@connection_options
@output_option
def list_(*, settings: Settings, output: str) -> None:
    """List all flows. -o wide says as well whether they run, which takes longer.

    \b
    Example:
      flowctl flow list
      flowctl flow list -o wide
      flowctl flow list -o name
    """
    if output == "wide":
        show(ask(settings, _with_status), WIDE, "table")
    else:
        show(look_up(settings, lambda reader: reader.list_flows()), FLOW, output)


async def _with_status(flows: Flows) -> list[tuple[Flow, FlowStatus | None]]:
    """The two are not of one revision: a flow may be new, or gone, in the second list."""
    found = await flows.list_flows()
    statuses = {status.flow: status for status in await flows.list_statuses()}
    return [(flow, statuses.get(flow.id)) for flow in found]


# -- how they are printed ------------------------------------------------------------------------


def as_json(flow: Flow) -> dict[str, Any]:
    """The record as it stands in etcd, and what etcd knows of it."""
    from msgspec import to_builtins

    record: dict[str, Any] = to_builtins(flow.record)
    return {
        "id": flow.id,
        "revision": flow.mod_revision,
        "version": flow.version,
        **record,
        "workspace": flow.record.workspace,  # left out of the record where it is the default
    }


FLOW = View(
    name=lambda flow: flow.id,
    columns={
        "ID": lambda flow: flow.id,
        "BLUEPRINT": lambda flow: flow.record.blueprint_name,
        "VARIANTS": lambda flow: len(flow.record.variants.own) + len(flow.record.variants.shared),
        "SHARED": lambda flow: len(flow.record.variants.shared),
        "REVISION": lambda flow: flow.mod_revision,
        "DESCRIPTION": lambda flow: flow.record.description,
    },
    as_json=as_json,
)

WIDE = View(
    name=lambda row: row[0].id,
    columns={
        "ID": lambda row: row[0].id,
        "STATE": lambda row: row[1].state if row[1] else "",
        "MISSING": lambda row: ",".join(row[1].missing) if row[1] else "",
        "BLUEPRINT": lambda row: row[0].record.blueprint_name,
        "VARIANTS": lambda row: FLOW.columns["VARIANTS"](row[0]),
        "SHARED": lambda row: len(row[0].record.variants.shared),
        "REVISION": lambda row: row[0].mod_revision,
        "DESCRIPTION": lambda row: row[0].record.description,
    },
    as_json=lambda row: as_json(row[0]),
)


def print_flow(flow: Flow) -> None:
    """Everything about one flow, for people."""
    record = flow.record
    given = record.parameters if record.given is None else record.given
    click.echo(f"id           {flow.id}")
    click.echo(f"description  {printable(record.description)}")
    click.echo(f"blueprint    {record.blueprint_name}")
    click.echo(f"revision     {flow.mod_revision}, version {flow.version}, operation {record.op}")
    if record.paused is not None:
        click.echo("paused       its variants are kept, and run nowhere")
    _section(
        "parameters",
        [
            f"{name} = {value}{'' if name in given else '  (not given)'}"
            for name, value in sorted(record.parameters.items())
        ],
    )
    _section("own variants", record.variants.own)
    _section("shared variants", record.variants.shared)
    _section(
        "interfaces",
        [
            f"{name}: {', '.join(f'{role} {topic}' for role, topic in sorted(topics.items()))}"
            for name, topics in sorted(record.interfaces.items())
        ],
    )


def _section(title: str, lines: Iterable[str]) -> None:
    click.echo(title)
    for line in lines:
        click.echo(f"  {printable(line)}")
