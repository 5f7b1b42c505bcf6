"""``flowctl completion``, and the names that live in etcd, for the shell to complete."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from flowsvc.cli import settings as opening
from flowsvc.cli.settings import Settings, run, settings_of

if TYPE_CHECKING:
    from flowsvc.model import Flows

__all__ = ["command", "complete", "complete_item"]

TIMEOUT_S = 1.0
"""So long a shell waits for names in all; without an answer it completes nothing."""

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
        return _offered(context, lambda settings: _names(settings, names), begun)

    return completed


def complete_item(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """The types of configuration, or the keys of the one that was typed before."""
    type_ = context.params.get("type_") if parameter.name != "type_" else None

    async def found(settings: Settings) -> Iterable[str]:
        async with opening.open_config(settings) as config:
            return await (config.keys(str(type_)) if type_ else config.types())

    return _offered(context, found, begun)


def _offered(
    context: click.Context,
    find: Callable[[Settings], Coroutine[Any, Any, Iterable[str]]],
    begun: str,
) -> list[str]:
    """Those of what is found that begin so. A shell that completes has no place for errors."""
    import asyncio
    import logging

    async def main() -> Iterable[str]:
        async with asyncio.timeout(TIMEOUT_S):
            return await find(settings_of(context, TIMEOUT_S))

    found: Iterable[str] = ()
    logging.disable()
    try:
        with suppress(Exception):
            found = run(main())
    finally:
        logging.disable(logging.NOTSET)
    return [name for name in found if name.startswith(begun)]


# -- names ---------------------------------------------------------------------------------------


async def _names(settings: Settings, kind: str) -> Iterable[str]:
    """From a service what it lets the caller see; in process by keys alone, and nothing is written.

    (A flow service in this process would read every value, and claim an etcd that is empty.)
    """
    list_, types = _NAMES[kind]
    if settings.server:
        async with opening.open_flows(settings) as flows:
            return await list_(flows)
    async with opening.open_config(settings) as config:
        keys = [key for type_ in types for key in await config.keys(type_)]
    return sorted({key.partition("/")[0] for key in keys})


async def _flows(flows: Flows) -> list[str]:
    return [flow.id for flow in await flows.list_flows()]


async def _blueprints(flows: Flows) -> list[str]:
    return [found.name for found in await flows.list_definitions("flow-blueprint")]


async def _parameter_types(flows: Flows) -> list[str]:
    return [found.name for found in await flows.list_definitions("parameter-type")]


async def _processors(flows: Flows) -> list[str]:
    return [found.processor for found in await flows.list_processors()]


_List = Callable[["Flows"], Coroutine[Any, Any, list[str]]]

_NAMES: Mapping[str, tuple[_List, tuple[str, ...]]] = {
    "flow": (_flows, ("flow",)),
    "flow-blueprint": (_blueprints, ("flow-blueprint",)),
    "parameter-type": (_parameter_types, ("parameter-type",)),
    "processor": (_processors, ("active-flow", "processor")),
}
"""How a service lists each kind, and the types of keys that begin with such a name."""
