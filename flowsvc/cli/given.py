"""Parameters as operators give them: by pairs, as JSON, or in a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

if TYPE_CHECKING:
    from flowsvc.model import ParameterValue

__all__ = ["collect", "parameter_options", "parse_pairs", "parse_parameters", "reset_option"]

Function = TypeVar("Function", bound=Callable[..., Any])


def parameter_options(function: Function) -> Function:
    """Adds --param, --parameters and --parameters-file: ``pairs``, ``text`` and ``file``."""
    pairs = click.option(
        "--param",
        "pairs",
        multiple=True,
        metavar="NAME=VALUE",
        help="A parameter; may be repeated.",
    )
    text = click.option(
        "-p", "--parameters", "text", metavar="JSON", help="Parameters as a JSON object."
    )
    file = click.option(
        "--parameters-file",
        "file",
        type=click.File("rb"),
        help="The same in a file; - is standard input.",
    )
    return pairs(text(file(function)))


def reset_option(function: Function) -> Function:
    """Adds --reset."""
    return click.option(
        "--reset",
        multiple=True,
        metavar="NAME",
        help="A parameter that goes back to its default; may be repeated.",
    )(function)


def collect(
    pairs: Iterable[str], text: str | None, file: BinaryIO | None
) -> dict[str, ParameterValue]:
    """What --param says goes before --parameters, and that before --parameters-file."""
    return {
        **parse_parameters(file.read() if file else b"{}", "--parameters-file"),
        **parse_parameters((text or "{}").encode("utf-8", "surrogateescape"), "--parameters"),
        **parse_pairs(pairs),
    }


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
    from kvconfig.codec import parse_json
    from kvconfig.errors import InvalidValue

    try:
        parsed = parse_json(data)
    except InvalidValue as error:
        raise click.BadParameter(str(error), param_hint=option) from error
    if not isinstance(parsed, dict):
        raise click.BadParameter('give an object: {"name": value}', param_hint=option)
    for name, value in parsed.items():
        if not isinstance(value, str | int | float | bool):
            message = f"the value of {name!r} must be text, a number, true or false"
            raise click.BadParameter(message, param_hint=option)
    return parsed
