"""From the references in a variant to their secrets, each time that it is entered.

What a plug-in is: a function that takes what follows ``scheme:`` and returns the value, or raises.
It runs in a thread and may block; it has to end by itself. ``FlowProcessor.secret_resolvers`` has
those of one processor, the entry points of the group ``kvconfig.secrets`` those that are installed.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TypeAlias

import msgspec

from processors.errors import SecretUnavailable
from processors.secret import Secret
from processors.variant import Value, Variant

__all__ = ["GROUP", "MAX_BYTES", "Resolver", "resolved"]

GROUP = "kvconfig.secrets"
"""The group of entry points; each is named by its scheme."""

MAX_BYTES = 64 * 1024
"""How long a secret in a file may be."""

Resolver: TypeAlias = Callable[[str], str]


async def resolved(variant: Variant, resolvers: Mapping[str, Resolver] = {}) -> Variant:
    """The same variant with the values of its secrets, read now and off the loop.

    Raises :class:`SecretUnavailable` for the first that cannot be had. A variant without secrets
    is returned as it is, and nothing is awaited.
    """
    if not any(isinstance(value, Secret) for value in variant.parameters.values()):
        return variant
    return await asyncio.to_thread(_resolved, variant, resolvers)


def _resolved(variant: Variant, resolvers: Mapping[str, Resolver]) -> Variant:
    values: dict[str, Value] = {}
    for name, value in variant.parameters.items():
        if isinstance(value, Secret):
            values[name] = Secret(value.reference, _value(value.reference, resolvers))
        else:
            values[name] = value
    return msgspec.structs.replace(variant, parameters=MappingProxyType(values))


def _value(reference: str, resolvers: Mapping[str, Resolver]) -> str:
    """Raises :class:`SecretUnavailable`, which leads to nothing else that was raised.

    The text of a plug-in's error may hold anything, a token or the secret itself, and so may the
    ``UnicodeDecodeError`` of a file: of these only the kind is told.
    """
    try:
        return _read(reference, resolvers)
    except _Unavailable as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001 - whatever a plug-in raises, its variant has failed
        reason = f"its resolver raised {type(error).__name__}"
    raise SecretUnavailable(reference, reason)  # out here, so that it has no context


def _read(reference: str, resolvers: Mapping[str, Resolver]) -> str:
    scheme, _, place = reference.partition(":")
    resolver = resolvers.get(scheme) or _BUILT_IN.get(scheme) or _installed(scheme)
    value: object = resolver(place)
    if not isinstance(value, str):
        raise _Unavailable(f"its resolver gave no text, but {type(value).__name__}")
    if not value:
        raise _Unavailable("is empty")
    return value


def _installed(scheme: str) -> Resolver:
    found = entry_points(group=GROUP, name=scheme)
    if not found:
        raise _Unavailable(f"no plug-in for {scheme} is installed")
    resolver: Resolver = next(iter(found)).load()
    return resolver


class _Unavailable(Exception):
    """Why a secret cannot be had, in words that hold no value."""


def _from_environment(name: str) -> str:
    if name not in os.environ:
        raise _Unavailable("is not set")
    return os.environ[name]


def _from_file(path: str) -> str:
    """The text of a file, without one line end at its end. Never waits for a pipe's other end."""
    try:
        with open(path, "rb", opener=_opened_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise _Unavailable("is no regular file")
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _Unavailable(error.strerror or "cannot be read") from None
    if len(data) > MAX_BYTES:
        raise _Unavailable(f"has more than {MAX_BYTES} bytes")
    return data.decode().removesuffix("\n").removesuffix("\r")


def _opened_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


_BUILT_IN: Mapping[str, Resolver] = {"env": _from_environment, "file": _from_file}
