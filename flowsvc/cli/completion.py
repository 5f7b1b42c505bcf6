"""``flowctl completion``, and the names that live in etcd, for the shell to complete."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from flowsvc.cli.settings import ask, ask_config, settings_of

if TYPE_CHECKING:
    from flowsvc.model import Flows

__all__ = ["command", "complete", "complete_item"]

TIMEOUT_S = 1.0
"""So long a shell waits for names; without an answer it completes nothing."""

SHELLS = ("bash", "zsh", "fish")

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(context: click.Context, *, shell: str) -> None:
    """Print what makes a shell complete commands, options, and the names that live in etcd.

    Names come from where the command that is typed would go: --server, --endpoints, variables, the
    configuration file.

    \b
    Example:
      source <(flowctl completion bash)                         # or in ~/.bashrc
      flowctl completion zsh > "${fpath[1]}/_flowctl"
      flowctl completion fish > ~/.config/fish/completions/flowctl.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None, "a shell that click knows"
    root = context.find_root()
    source = made(root.command, {}, "flowctl", "_FLOWCTL_COMPLETE").source()
    click.echo(source)


def complete(names: str) -> Complete:
    """What ``shell_complete`` takes, for the names of one kind: a key of the table below."""

    def completed(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
        found: list[str] = []
        with suppress(Exception):  # a shell that completes has no place for errors
            found = ask(settings_of(context, TIMEOUT_S), _NAMES[names])
        return [name for name in found if name.startswith(begun)]

    return completed


def complete_item(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """The types of configuration, or the keys of the one that was typed before."""
    found: list[str] = []
    type_ = context.params.get("type_") if parameter.name != "type_" else None
    with suppress(Exception):
        settings = settings_of(context, TIMEOUT_S)
        if type_:
            found = ask_config(settings, lambda config: config.keys(str(type_)))
        else:
            found = ask_config(settings, lambda config: config.types())
    return [name for name in found if name.startswith(begun)]


async def _flows(flows: Flows) -> list[str]:
    return [flow.id for flow in await flows.list_flows()]


async def _blueprints(flows: Flows) -> list[str]:
    return [found.name for found in await flows.list_definitions("flow-blueprint")]


async def _parameter_types(flows: Flows) -> list[str]:
    return [found.name for found in await flows.list_definitions("parameter-type")]


async def _processors(flows: Flows) -> list[str]:
    return [found.processor for found in await flows.list_processors()]


_NAMES: Mapping[str, Callable[[Flows], Coroutine[Any, Any, list[str]]]] = {
    "flow": _flows,
    "flow-blueprint": _blueprints,
    "parameter-type": _parameter_types,
    "processor": _processors,
}
