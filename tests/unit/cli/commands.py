"""All commands that there are."""

from __future__ import annotations

from collections.abc import Iterator

import click

from flowsvc.cli import flowctl

__all__ = ["commands"]


def commands(
    command: click.Command = flowctl, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, (*path, name))
