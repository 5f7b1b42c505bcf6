"""``flowctl config get``, ``list``, ``watch`` and ``dump``: what is configured."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from flowsvc.cli.completion import complete_item
from flowsvc.cli.output import (
    OUTPUTS,
    View,
    count,
    output_of,
    output_option,
    print_json,
    printable,
    show,
)
from flowsvc.cli.settings import Settings, ask_config, connection_options
from flowsvc.cli.unreadable import tell_left_out

if TYPE_CHECKING:
    from flowsvc.seed.writing import Writer
    from kvconfig.config import ConfigChange, ConfigChanges, ConfigItem, Configuration, Found

__all__ = ["dump", "get", "list_", "name_of", "not_found", "watch"]

SHOWN = 60
"""So many characters of a value stand in a table."""

revision_option = click.option(
    "--revision",
    metavar="REVISION",
    type=click.IntRange(min=1),
    help="As it stood at this revision of etcd, which forgets old ones. [default: now]",
)
under_option = click.option(
    "--under", metavar="KEY", default="", help="Only keys below this one: a/b and a/c/d for a."
)


@click.command()
@click.argument("type_", metavar="TYPE", shell_complete=complete_item)
@click.argument("keys", metavar="[KEY]...", nargs=-1, shell_complete=complete_item)
@under_option
@revision_option
@connection_options
@output_of(*OUTPUTS, "value")
def get(
    *,
    settings: Settings,
    output: str,
    type_: str,
    keys: tuple[str, ...],
    under: str,
    revision: int | None,
) -> None:
    """Show items of TYPE: all of them, or those named; all as of one revision.

    A table shows the beginning of each value; one item alone is shown whole. -o json has all there
    is, -o jsonl the same with a line for each item, and -o value only the values: a text as it is,
    anything else as JSON on a line. The exit code is 3 where a KEY is not there.

    Of many, what cannot be read is left out and told on stderr, and the exit code is 1. One alone
    that cannot be read is an error.

    \b
    Example:
      flowctl config get prompt
      flowctl config get prompt greeting
      flowctl config get prompt greeting -o value
      flowctl config get tool --under search -o jsonl
    """
    if keys and under:
        raise click.UsageError("give KEY or --under, not both")
    one = len(set(keys)) == 1

    async def question(config: Configuration) -> Found[ConfigItem]:
        at = revision or 0
        if not keys:
            return await config.list(type_, under, revision=at)
        found = await config.get_many([(type_, key) for key in keys], revision=at)
        return found.whole() if one else found

    found = ask_config(settings, question)
    if output == "value":
        for item in found:
            click.echo(item.value if isinstance(item.value, str) else _text(item.value))
    elif one and found:
        if output in ("table", "wide"):
            _print_item(found[0])
        else:
            show(found[0], ITEM, output)
    elif found or not keys:
        show(list(found), ITEM, output)
    tell_left_out(found.unreadable)
    missing = set(keys) - {each.key for each in found.all_in_order()}
    if missing:
        raise not_found(type_, [key for key in dict.fromkeys(keys) if key in missing])
    if found.unreadable:
        raise click.exceptions.Exit(1)


@click.command("list")
@click.argument("type_", metavar="[TYPE]", required=False, shell_complete=complete_item)
@under_option
@revision_option
@connection_options
@output_option
def list_(
    *, settings: Settings, output: str, type_: str | None, under: str, revision: int | None
) -> None:
    """List the types there are, or the keys of TYPE. No value is read for it.

    What stands among the keys of TYPE and can be none is told on stderr, and the exit code is 1.

    \b
    Example:
      flowctl config list
      flowctl config list prompt -o name
    """
    if under and not type_:
        raise click.UsageError("--under needs a TYPE")
    at = revision or 0
    if type_:
        wanted = type_
        keys = ask_config(settings, lambda config: config.keys(wanted, under, revision=at))
        show(list(keys), KEY, output)
        tell_left_out(keys.unreadable)
        if keys.unreadable:
            raise click.exceptions.Exit(1)
    else:
        show(list(ask_config(settings, lambda config: config.types(revision=at))), TYPE, output)


@click.command()
@click.argument("type_", metavar="TYPE", shell_complete=complete_item)
@click.argument("key", metavar="[KEY]", required=False, default="", shell_complete=complete_item)
@connection_options
@output_of("text", "jsonl")
def watch(*, settings: Settings, output: str, type_: str, key: str) -> None:
    """Show all items of TYPE (or one), and then each change, until interrupted.

    A line each: the revision, the name, and the value as JSON. With -o jsonl a line has "value",
    "deleted" or, where the value cannot be read, "error". An item that changes faster than this is
    read is told as it stands then.

    \b
    Example:
      flowctl config watch prompt
      flowctl config watch prompt greeting -o jsonl
    """

    async def question(config: Configuration) -> None:
        first = True
        async with aclosing(config.changes(type_, key)) as batches:
            async for batch in batches:
                if output == "jsonl":
                    _print_lines(_change_as_json(change, batch) for change in batch.changes)
                else:
                    for change in batch.changes:
                        click.echo(_line(change, batch))
                if first:
                    said = f"{count(len(batch.changes), 'item')} at revision {batch.revision}"
                    click.echo(f"{said}; changes follow", err=True)
                first = False

    ask_config(settings, question)


@click.command()
@click.argument("types", metavar="[TYPE]...", nargs=-1, shell_complete=complete_item)
@revision_option
@connection_options
@output_of("json", "jsonl")
def dump(*, settings: Settings, output: str, types: tuple[str, ...], revision: int | None) -> None:
    """Print everything there is, or all of some types, as of one revision.

    As {"type": {"key": value}}, item by item as it comes; -o jsonl has the revision and the version
    of each as well. Without a TYPE this is all types, those of the flow service too. The revision
    goes to stderr. (`flowctl export` writes what `flowctl import` takes.)

    What cannot be read is left out and told on stderr; the last line says then that this is not
    everything, and the exit code is 1.

    \b
    Example:
      flowctl config dump > everything.json
      flowctl config dump prompt tool -o jsonl
    """

    from flowsvc.seed.writing import writer

    async def question(config: Configuration) -> tuple[int, int, int]:
        had = at = lost = 0
        document, section = writer("json", sys.stdout.buffer), ""
        async with aclosing(config.everything(*types, revision=revision or 0)) as pages:
            async for page in pages:
                had, at, lost = had + len(page), page.revision, lost + len(page.unreadable)
                tell_left_out(page.unreadable)
                if output == "jsonl":
                    _print_lines(map(as_json, page))
                else:
                    section = _print_next(document, page, section)
        if output == "json":
            document.end()
            sys.stdout.buffer.flush()
        return had, at, lost

    had, at, lost = ask_config(settings, question)
    not_all = f"; not complete: {lost} left out" if lost else ""
    click.echo(f"{count(had, 'item')} at revision {at}{not_all}", err=True)
    if lost:
        raise click.exceptions.Exit(1)


# -- in words ------------------------------------------------------------------------------------


def name_of(type_: str, key: str) -> str:
    """How an item is called: as its key in etcd, without the root."""
    return f"{type_}/{key}"


def not_found(type_: str, keys: Sequence[str]) -> Exception:
    """That items are not there."""
    from flowsvc.errors import NotFound

    return NotFound("configuration item", ", ".join(name_of(type_, key) for key in keys))


def as_json(item: ConfigItem) -> dict[str, Any]:
    """All there is to an item; what it holds is ``value``."""
    return {
        "type": item.type,
        "key": item.key,
        "revision": item.mod_revision,
        "version": item.version,
        "value": item.value,
    }


def _owner(type_: str) -> str:
    from kvconfig.keyspace import RESERVED_TYPES

    return RESERVED_TYPES.get(type_, "operators")


ITEM = View(
    name=lambda item: name_of(item.type, item.key),
    columns={
        "KEY": lambda item: item.key,
        "REVISION": lambda item: item.mod_revision,
        "VERSION": lambda item: item.version,
        "VALUE": lambda item: _short(_text(item.value)),
    },
    as_json=as_json,
)
KEY = View(name=str, columns={"KEY": str}, as_json=lambda key: key)
TYPE = View(name=str, columns={"TYPE": str, "WRITTEN BY": _owner}, as_json=lambda type_: type_)


def _text(value: object) -> str:
    """JSON on one line, as it stands in etcd."""
    from kvconfig.codec import encode

    return encode(value).decode()


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _print_item(item: ConfigItem) -> None:
    """Everything about one item, for people."""
    click.echo(f"type      {item.type}")
    click.echo(f"key       {item.key}")
    click.echo(f"revision  {item.mod_revision}, version {item.version}")
    click.echo("value")
    print_json(item.value)


def _print_lines(values: Iterable[object]) -> None:
    if lines := [_text(value) for value in values]:
        click.echo("\n".join(lines))


def _change_as_json(change: ConfigChange, batch: ConfigChanges) -> dict[str, Any]:
    if change.item is not None:
        return as_json(change.item)
    said = {"error": change.error} if change.error else {"deleted": True}
    return {"type": change.type, "key": change.key, "revision": batch.revision, **said}


def _line(change: ConfigChange, batch: ConfigChanges) -> str:
    revision, shown = batch.revision, "(deleted)"
    if change.item is not None:
        revision, shown = change.item.mod_revision, _text(change.item.value)
    elif change.error:
        shown = f"(cannot be read: {change.error})"
    return printable(f"{revision}  {name_of(change.type, change.key)}  {shown}")


def _print_next(writer: Writer, items: Iterable[ConfigItem], section: str) -> str:
    """More items of a document that is in ``section``; in which it is then."""
    from kvconfig.codec import encode

    for type_, some in groupby(items, key=lambda item: item.type):
        if type_ != section:
            writer.section(type_)
            section = type_
        writer.rows((item.key, encode(item.value)) for item in some)
    return section
