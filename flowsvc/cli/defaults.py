"""The configuration file of ``flowctl``: what an option is where neither a flag nor a variable is.

``$FLOWCTL_CONFIG``, or else ``flowctl/config.toml`` under ``$XDG_CONFIG_HOME`` (``~/.config``):

    server = "127.0.0.1:7480"
    # or: endpoints = ["10.0.0.1:2379", "10.0.0.2:2379"]
    timeout = "30s"
    output = "wide"
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import click

from flowsvc.cli.output import OUTPUTS
from flowsvc.cli.settings import Duration, split_endpoints

__all__ = ["default_map"]


def default_map(flowctl: click.Group, environ: Mapping[str, str]) -> dict[str, Any] | None:
    """What click takes as ``default_map``; ``None`` where there is no file.

    A file that cannot be read or holds what is no setting is a ``click.UsageError`` of each command
    that has such options, once it runs: help and completion go on without the file.
    """
    try:
        settings = _read(environ)
    except click.UsageError as error:
        settings = dict.fromkeys((name for name, _ in _KEYS.values()), _refusing(error))
    return _Defaults(flowctl, settings) if settings else None


def _read(environ: Mapping[str, str]) -> dict[str, Any]:
    """The settings, by the names of the parameters that take them; none where there is no file."""
    path = environ.get("FLOWCTL_CONFIG", "")
    named = bool(path)
    if not named:
        # os.path: loading pathlib costs each command more than reading this file.
        base = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
        path = os.path.join(base, "flowctl", "config.toml")  # noqa: PTH118
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            text = file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        if named:
            raise click.UsageError(f"FLOWCTL_CONFIG: {path}: no such file") from error
        return {}
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}") from error
    return _parse(text, path)


def _refusing(error: click.UsageError) -> Callable[[], None]:
    """A default that click calls once it looks for it."""

    def refuse() -> None:
        if not click.get_current_context().resilient_parsing:  # a shell completes
            raise error

    return refuse


def _parse(text: bytes, path: str) -> dict[str, Any]:
    import tomllib

    try:
        document = tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.UsageError(f"{path}: not TOML: {error}") from error
    settings = {}
    for key, value in document.items():
        if key not in _KEYS:
            known = ", ".join(_KEYS)
            raise click.UsageError(f"{path}: there is no setting {key!r}; there are {known}")
        parameter, check = _KEYS[key]
        try:
            settings[parameter] = check(value)
        except click.UsageError as error:
            raise click.UsageError(f"{path}: {key}: {error.message}") from error
    return settings


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise click.UsageError(f"{value!r} is no text")
    return value


def _endpoints(value: object) -> str:
    parts = value if isinstance(value, list) else [value]
    text = ",".join(_text(part) for part in parts)
    try:
        split_endpoints(text)
    except click.BadParameter as error:
        raise click.UsageError(error.message) from error
    return text


def _timeout(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise click.UsageError(f'{value!r} is no time such as "30s"')
    return Duration(bare=True).convert(str(value), None, None)


def _output(value: object) -> str:
    if value not in OUTPUTS:
        raise click.UsageError(f"{value!r} is none of {', '.join(OUTPUTS)}")
    return str(value)


_KEYS: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "server": ("server", _text),
    "endpoints": ("endpoints", _endpoints),
    "root": ("root", _text),
    "timeout": ("timeout_s", _timeout),
    "output": ("output", _output),
    "by": ("by", _text),
}


class _Defaults(dict[str, Any]):
    """The settings that a command takes, by its parameters; and by name the same for those in it.

    click asks for the latter when it has loaded the command that is named, so no other is.
    """

    def __init__(self, command: click.Command, settings: Mapping[str, Any]) -> None:
        names = {parameter.name or "": parameter for parameter in command.params}
        super().__init__(
            (name, value)
            for name, value in settings.items()
            if name in names and _takes(names[name], value)
        )
        self._inner = command.commands if isinstance(command, click.Group) else {}
        self._settings = settings

    def get(self, name: str, default: Any = None) -> Any:
        """See ``dict``."""
        if name not in self and (command := self._inner.get(name)) is not None:
            self[name] = _Defaults(command, self._settings)
        return super().get(name, default)


def _takes(parameter: click.Parameter, value: object) -> bool:
    """Whether a choice is one: a watch, say, has no tables."""
    choices = parameter.type.choices if isinstance(parameter.type, click.Choice) else [value]
    return callable(value) or value in choices
