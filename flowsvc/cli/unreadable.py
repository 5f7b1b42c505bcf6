"""What a command that reads many could not read: told on stderr, each with its cure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from flowsvc.cli.output import printable

if TYPE_CHECKING:
    from kvconfig.config import Unreadable

__all__ = ["tell_left_out"]


def tell_left_out(found: Iterable[Unreadable]) -> None:
    """A line for each."""
    for each in found:
        click.echo(printable(f"left out: {each}; {_cure(each)}"), err=True)


def _cure(unreadable: Unreadable) -> str:
    """What takes it out of the way, or mends it."""
    from shlex import quote

    from kvconfig.keyspace import RESERVED_TYPES

    type_, key = unreadable.type, unreadable.key
    if not key:
        return "somebody wrote it by hand: read it, and delete it with etcdctl"
    if type_ == "schema":
        return f"`flowctl config schema put {key} FILE` replaces it"
    if owner := RESERVED_TYPES.get(type_):
        return f"it is written by {owner}: see `flowctl fsck`"
    name = f"{type_} {quote(key)}"
    put, delete = (f"`flowctl config {what}`" for what in (f"put {name} VALUE", f"delete {name}"))
    return f"{put} replaces it, {delete} removes it"
