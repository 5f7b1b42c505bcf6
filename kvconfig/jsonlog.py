"""Log lines for services: JSON for machines, text for people, from the standard library's logging.

Modules log as usual, a constant message and ``extra={…}``; this decides what a line looks like. A
JSON line has ``time`` (seconds since the epoch, when it was logged), ``level``, ``event`` (the
message) and ``logger``, then the extra fields, and ``exception`` (a traceback) where there is one.
What a task says with :func:`about` is in each of its lines.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Literal, TextIO

import msgspec

__all__ = ["Format", "about", "configure", "format_as"]

Format = Literal["json", "text"]

_encoder = msgspec.json.Encoder(enc_hook=str)
_context: ContextVar[Mapping[str, object]] = ContextVar(
    "kvconfig.jsonlog", default=MappingProxyType({})
)


def about(**fields: object) -> None:
    """Fields for all that this task, and those it starts from now on, will log.

    A line's own fields count more.
    """
    _context.set({**_context.get(), **fields})


def configure(
    fmt: Format = "text", stream: TextIO | None = None, level: int | str = logging.INFO
) -> None:
    """Send all that is logged from ``level`` up to ``stream`` (standard error), one line each.

    Replaces whatever handlers the root logger had. Needs structlog, which the base install of
    this package does not bring: ``pip install 'kvconfig[service]'``.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    format_as(fmt, handler)
    root = logging.getLogger()
    for old in tuple(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)


def format_as(fmt: Format, handler: logging.StreamHandler[Any]) -> None:
    """Make lines of what a handler is given. Needs structlog, as :func:`configure` does."""
    import structlog

    renderer: Any
    if fmt == "json":
        finish: list[Any] = [structlog.processors.format_exc_info, _in_order]
        renderer = structlog.processors.JSONRenderer(serializer=_serialize)
    else:
        finish = [structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False, key="timestamp")]
        renderer = structlog.dev.ConsoleRenderer(
            colors=handler.stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            _add_context,
        ],
        processors=[
            *([_add_time] if fmt == "json" else []),
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *finish,
            renderer,
        ],
    )
    handler.setFormatter(formatter)


def _add_time(
    _logger: object, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """When it was logged, not when it was written."""
    event["time"] = event["_record"].created
    return event


def _add_context(
    _logger: object, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for name, value in _context.get().items():
        event.setdefault(name, value)
    return event


def _in_order(
    _logger: object, _name: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """What every line has comes first, so that a person can follow."""
    first = {name: event.pop(name) for name in ("time", "level", "event", "logger")}
    last = {name: event.pop(name) for name in ("exception",) if name in event}
    return {**first, **event, **last}


def _serialize(event: Any, **_options: object) -> str:
    return _encoder.encode(event).decode()
