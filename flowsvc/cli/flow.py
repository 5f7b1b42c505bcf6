"""``flowctl flow …``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from flowsvc.cli.output import View, output_option, printable, show, show_done
from flowsvc.cli.settings import (
    Settings,
    actor,
    change_options,
    connection_options,
    open_flows,
    run,
)

if TYPE_CHECKING:
    from flowsvc.model import Flow, ParameterValue

__all__ = ["group", "parse_pairs", "parse_parameters"]


@click.group("flow")
def group() -> None:
    """Flows: start, stop, get, list.

    \b
    Example:
      flowctl flow start -n document-index -i f1 --param chunk-size=500
      flowctl flow list
    """


@group.command()
@click.option("-n", "--blueprint-name", required=True, metavar="NAME", help="Blueprint to use.")
@click.option("-i", "--flow-id", required=True, metavar="ID", help="Id of the new flow.")
@click.option("-d", "--description", default="", metavar="TEXT", help="For people.")
@click.option(
    "--param", "pairs", multiple=True, metavar="NAME=VALUE", help="A parameter; may be repeated."
)
@click.option("-p", "--parameters", "text", metavar="JSON", help="Parameters as a JSON object.")
@click.option(
    "--parameters-file",
    "file",
    type=click.File("rb"),
    help="The same in a file; - is standard input.",
)
@click.option(
    "--workspace", default="default", show_default=True, help="What {workspace} stands for."
)
@change_options
@connection_options
@output_option
def start(
    *,
    settings: Settings,
    output: str,
    blueprint_name: str,
    flow_id: str,
    description: str,
    pairs: tuple[str, ...],
    text: str | None,
    file: Any,
    workspace: str,
    op: str,
    by: str | None,
    why: str,
) -> None:
    """Start a flow from a blueprint, in one transaction.

    A parameter given by --param goes before one in --parameters, and that before one in
    --parameters-file.

    \b
    Example:
      flowctl flow start -n document-index -i f1 -d 'Small chunks' --param chunk-size=500
      flowctl flow start -n document-index -i f2 -p '{"chunk-size": 2000}'
    """
    parameters: dict[str, ParameterValue] = {
        **parse_parameters(file.read() if file else b"{}", "--parameters-file"),
        **parse_parameters((text or "{}").encode("utf-8", "surrogateescape"), "--parameters"),
        **parse_pairs(pairs),
    }

    async def main() -> None:
        from flowsvc.model import StartFlow

        request = StartFlow(
            flow=flow_id,
            blueprint_name=blueprint_name,
            description=description,
            parameters=parameters,
            workspace=workspace,
            op=op,
            actor=actor(by, why),
        )
        async with open_flows(settings) as flows:
            done = await flows.start_flow(request)
        show_done(done, name=flow_id, did="started", output=output)

    run(main())


@group.command()
@click.argument("flow_id", metavar="ID")
@change_options
@connection_options
@output_option
def stop(
    *, settings: Settings, output: str, flow_id: str, op: str, by: str | None, why: str
) -> None:
    """Stop a flow, in one transaction. Shared variants stay while another flow needs them.

    \b
    Example:
      flowctl flow stop f1 --why 'no longer needed'
    """

    async def main() -> None:
        from flowsvc.model import StopFlow

        request = StopFlow(flow=flow_id, op=op, actor=actor(by, why))
        async with open_flows(settings) as flows:
            done = await flows.stop_flow(request)
        show_done(done, name=flow_id, did="stopped", output=output)

    run(main())


@group.command()
@click.argument("flow_id", metavar="ID")
@connection_options
@output_option
def get(*, settings: Settings, output: str, flow_id: str) -> None:
    """Show one flow.

    \b
    Example:
      flowctl flow get f1
      flowctl flow get f1 -o json
    """

    async def main() -> None:
        async with open_flows(settings) as flows:
            found = await flows.get_flow(flow_id)
        if output == "table":
            describe(found)
        else:
            show(found, FLOW, output)

    run(main())


@group.command("list")
@connection_options
@output_option
def list_(*, settings: Settings, output: str) -> None:
    """List all flows.

    \b
    Example:
      flowctl flow list
      flowctl flow list -o name
    """

    async def main() -> None:
        async with open_flows(settings) as flows:
            show(await flows.list_flows(), FLOW, output)

    run(main())


# -- in ------------------------------------------------------------------------------------------


def parse_pairs(pairs: Iterable[str], option: str = "--param") -> dict[str, ParameterValue]:
    """``name=value`` each; the value is text, whatever it looks like."""
    found: dict[str, ParameterValue] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE", param_hint=option)
        if name in found:
            raise click.BadParameter(f"{name!r} is given twice", param_hint=option)
        found[name] = value
    return found


def parse_parameters(data: bytes, option: str) -> dict[str, ParameterValue]:
    """A JSON object of plain values."""
    import json

    try:
        parsed = json.loads(data)
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint=option) from error
    if not isinstance(parsed, dict):
        raise click.BadParameter('give an object: {"name": value}', param_hint=option)
    for name, value in parsed.items():
        if not isinstance(value, str | int | float | bool):
            message = f"the value of {name!r} must be text, a number, true or false"
            raise click.BadParameter(message, param_hint=option)
    return parsed


# -- out -----------------------------------------------------------------------------------------


def _as_json(flow: Flow) -> dict[str, Any]:
    """The record as it stands in etcd, and what etcd knows of it."""
    from msgspec import to_builtins

    record: dict[str, Any] = to_builtins(flow.record)
    return {"id": flow.id, "revision": flow.mod_revision, "version": flow.version, **record}


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
    as_json=_as_json,
)


def describe(flow: Flow) -> None:
    """Everything about one flow, for people."""
    record = flow.record
    click.echo(f"id           {flow.id}")
    click.echo(f"description  {printable(record.description)}")
    click.echo(f"blueprint    {record.blueprint_name}")
    click.echo(f"revision     {flow.mod_revision}, version {flow.version}, operation {record.op}")
    _section(
        "parameters", [f"{name} = {value}" for name, value in sorted(record.parameters.items())]
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
