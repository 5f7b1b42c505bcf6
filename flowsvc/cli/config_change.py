"""``flowctl config put`` and ``delete``: each one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

import click

from flowsvc.cli.completion import complete_item
from flowsvc.cli.config_look import name_of, not_found
from flowsvc.cli.output import DATA, count, output_option, print_data
from flowsvc.cli.settings import Settings, ask_config, connection_options

__all__ = ["delete", "if_revision_option", "ignore_not_found_option", "put", "show_written"]

if_revision_option = click.option(
    "--if-revision",
    metavar="REVISION",
    type=click.IntRange(min=0),
    help="Only if it is still at this revision (0: if it is not there); of several, each.",
)
ignore_not_found_option = click.option(
    "--ignore-not-found", is_flag=True, help="What is not there is no error."
)


@click.command()
@click.argument("type_", metavar="[TYPE]", required=False, shell_complete=complete_item)
@click.argument("key", metavar="[KEY]", required=False, shell_complete=complete_item)
@click.argument("value", metavar="[VALUE]", required=False)
@click.option(
    "-f", "--file", "file", type=click.File("rb"), help="Take it from a file; - is standard input."
)
@click.option("--text", "as_text", is_flag=True, help="Store it as text, whatever it looks like.")
@if_revision_option
@connection_options
@output_option
def put(
    *,
    settings: Settings,
    output: str,
    type_: str | None,
    key: str | None,
    value: str | None,
    file: BinaryIO | None,
    as_text: bool,
    if_revision: int | None,
) -> None:
    """Write one item, or many in one transaction.

    VALUE is JSON: true, 5, {"text": "hello"}, and "hello" with its quotes. What is no JSON is
    refused, so that a typing error in an object is not stored as a text; --text stores the text
    itself. A VALUE that begins with - goes after --, as in `put t k -- -5`.

    A --file holds the value of KEY; without KEY an object of keys and their values; and without
    TYPE {"type": {"key": value}}, as `flowctl config dump` prints it. All of it is written at one
    revision, or nothing.

    \b
    Example:
      flowctl config put prompt greeting '{"text": "hello"}'
      flowctl config put prompt system 'Be brief.' --text
      flowctl config put prompt system --file system.txt --text
      flowctl config put prompt --file prompts.json
      flowctl config put token-cost gpt 5 --if-revision 42
    """
    if (value is None) == (file is None):
        raise click.UsageError("give KEY and VALUE, or --file")
    if as_text and not key:
        raise click.UsageError("--text needs a KEY")
    data = file.read() if file else (value or "").encode("utf-8", "surrogateescape")
    source = "--file" if file else "VALUE"
    found = _text(data, source) if as_text else _json(data, source)
    items = _items(found, type_, key)
    revisions = {} if if_revision is None else dict.fromkeys(items, if_revision)
    revision = ask_config(settings, lambda config: config.put_many(items, if_revisions=revisions))
    show_written([name_of(*name) for name in items], revision, "put", output)


@click.command()
@click.argument("type_", metavar="TYPE", shell_complete=complete_item)
@click.argument("keys", metavar="KEY...", nargs=-1, required=True, shell_complete=complete_item)
@if_revision_option
@ignore_not_found_option
@connection_options
@output_option
def delete(
    *,
    settings: Settings,
    output: str,
    type_: str,
    keys: tuple[str, ...],
    if_revision: int | None,
    ignore_not_found: bool,
) -> None:
    """Remove items of TYPE, all in one transaction.

    The exit code is 3 where some of them were not there; the others are gone all the same.

    \b
    Example:
      flowctl config delete prompt greeting
      flowctl config delete prompt greeting system --ignore-not-found
      flowctl config delete token-cost gpt --if-revision 42
    """
    names = [(type_, key) for key in dict.fromkeys(keys)]
    revisions = {} if if_revision is None else dict.fromkeys(names, if_revision)
    removed = ask_config(settings, lambda config: config.delete_many(names, if_revisions=revisions))
    if removed.missing and not ignore_not_found:
        if removed:
            said = f"{removed} of {count(len(names), 'item')} deleted"
            click.echo(f"{said} at revision {removed.revision}", err=True)
        raise not_found(type_, [key for _, key in removed.missing])
    did = "gone" if removed.missing else "deleted"
    show_written([name_of(*name) for name in names], removed.revision, did, output)


def show_written(names: Sequence[str], revision: int, did: str, output: str) -> None:
    """Say what was done, and at which revision."""
    if output in DATA:
        print_data({"items": list(names), "revision": revision}, output)
    elif output == "name":
        for name in names:
            click.echo(name)
    else:
        what = names[0] if len(names) == 1 else count(len(names), "item")
        click.echo(f"{what} {did} at revision {revision}")


# -- what is given -------------------------------------------------------------------------------


def _json(data: bytes, source: str) -> Any:
    from kvconfig.codec import parse_json
    from kvconfig.errors import InvalidValue

    try:
        return parse_json(data)
    except InvalidValue as error:
        hint = "" if source == "--file" else " (--text stores it as text)"
        raise click.BadParameter(f"{error.reason}{hint}", param_hint=source) from error


def _text(data: bytes, source: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"not UTF-8: {error.reason}", param_hint=source) from error


def _items(found: Any, type_: str | None, key: str | None) -> dict[tuple[str, str], Any]:
    """The items that ``found`` holds: one, those of a type, or of many types."""
    if type_ and key:
        return {(type_, key): found}
    if type_:
        return {(type_, name): value for name, value in _object(found, '{"key": value}').items()}
    shape = '{"type": {"key": value}}'
    return {
        (name, inner): value
        for name, items in _object(found, shape).items()
        for inner, value in _object(items, shape).items()
    }


def _object(found: Any, shape: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise click.BadParameter(f"give an object: {shape}", param_hint="--file")
    return found
