"""``flowctl config schema …``: what the values of a type must be."""

from __future__ import annotations

from typing import BinaryIO

import click

from flowsvc.cli.completion import complete_item
from flowsvc.cli.config_change import (
    if_revision_option,
    ignore_not_found_option,
    show_written,
)
from flowsvc.cli.output import output_option, print_json
from flowsvc.cli.settings import Settings, ask_config, connection_options

__all__ = ["group"]


@click.group("schema")
def group() -> None:
    """JSON Schemas, which the values of a type must meet from then on.

    `flowctl config list schema` lists the types that have one.

    \b
    Example:
      flowctl config schema put prompt prompt.schema.json
      flowctl config schema get prompt
    """


@group.command()
@click.argument("type_", metavar="TYPE", shell_complete=complete_item)
@connection_options
def get(*, settings: Settings, type_: str) -> None:
    """Print the schema of TYPE, as JSON; its revision goes to stderr.

    \b
    Example:
      flowctl config schema get prompt > prompt.schema.json
    """
    found = ask_config(settings, lambda config: config.get("schema", type_))
    if found is None:
        raise _none(type_)
    print_json(found.value)
    click.echo(f"at revision {found.mod_revision}", err=True)


@group.command()
@click.argument("type_", metavar="TYPE", shell_complete=complete_item)
@click.argument("file", type=click.File("rb"))
@click.option("--force", is_flag=True, help="Though something stands there that does not meet it.")
@if_revision_option
@connection_options
@output_option
def put(
    *,
    settings: Settings,
    output: str,
    type_: str,
    file: BinaryIO,
    force: bool,
    if_revision: int | None,
) -> None:
    """Demand the JSON Schema in FILE (- is standard input) of all values of TYPE.

    What is put from then on must meet it. If something stands there that does not, nothing is
    written, unless --force; what stands there stays as it is then.

    \b
    Example:
      flowctl config schema put prompt prompt.schema.json
      flowctl config schema put prompt prompt.schema.json --force
    """
    from kvconfig.codec import parse_json
    from kvconfig.errors import InvalidSchema, InvalidValue

    try:
        document = parse_json(file.read())
    except InvalidValue as error:
        raise InvalidSchema(type_, error.reason) from error
    revision = ask_config(
        settings,
        lambda config: config.put_schema(type_, document, if_revision=if_revision, force=force),
    )
    show_written([f"schema/{type_}"], revision, "put", output)


@group.command()
@click.argument("type_", metavar="TYPE", shell_complete=complete_item)
@ignore_not_found_option
@connection_options
@output_option
def delete(*, settings: Settings, output: str, type_: str, ignore_not_found: bool) -> None:
    """Demand nothing of the values of TYPE any more.

    \b
    Example:
      flowctl config schema delete prompt
    """
    removed = ask_config(settings, lambda config: config.delete_schema(type_))
    if removed:
        show_written([f"schema/{type_}"], removed.revision, "deleted", output)
    elif not ignore_not_found:
        raise _none(type_)


def _none(type_: str) -> Exception:
    from flowsvc.errors import NotFound

    return NotFound("schema", type_)
