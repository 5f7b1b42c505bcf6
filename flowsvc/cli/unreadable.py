"""What a command that reads many could not read: told on stderr, each with its cure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from flowsvc.cli.output import printable

if TYPE_CHECKING:
    from kvconfig.config import Unreadable

__all__ = ["tell_left_out"]

_PUTS = {
    "flow-blueprint": "blueprint put",
    "parameter-type": "parameter-type put",
    "schema": "config schema put",
}
"""What replaces one of these types, from a file."""


def tell_left_out(found: Iterable[Unreadable]) -> None:
    """A line for each."""
    for each in found:
        click.echo(printable(f"left out: {each}; {_cure(each)}"), err=True)


def _cure(unreadable: Unreadable) -> str:
    """What mends it, or takes it out of the way."""
    from shlex import quote

    from kvconfig.keyspace import RESERVED_TYPES

    type_, key = unreadable.type, quote(unreadable.key)
    if not unreadable.key:
        return "somebody wrote it by hand: read it, and delete it with etcdctl"
    if type_ in _PUTS:
        return f"`flowctl {_PUTS[type_]} {key} FILE` replaces it"
    if type_ in RESERVED_TYPES:
        return f"{RESERVED_TYPES[type_]} should have written it: see `flowctl fsck`"
    put, delete = f"put {type_} {key} VALUE", f"delete {type_} {key}"
    return f"`flowctl config {put}` replaces it, `flowctl config {delete}` removes it"
