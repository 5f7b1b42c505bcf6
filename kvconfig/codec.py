"""JSON in one canonical form: UTF-8, sorted keys, no spaces.

Two values are equal exactly when their bytes are, so a value can be compared inside etcd. A person
can read them with ``etcdctl get``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

from kvconfig.errors import InvalidValue

__all__ = ["Decoder", "canonical", "decode", "encode", "parse_json"]

T = TypeVar("T")

_encoder = msgspec.json.Encoder(order="sorted")
_any_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_PLACE = re.compile(r" - at `(?:key in )?(\$[^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_GOT = re.compile(r"got `(\w+)`")
_JSON_NAMES: dict[type, str] = {
    dict: "object",
    list: "array",
    str: "str",
    bool: "bool",
    int: "int",
    float: "float",
    type(None): "null",
}


def encode(value: object) -> bytes:
    """``value`` (a record, or what JSON can hold) in canonical form.

    Raises :class:`InvalidValue` where JSON in UTF-8 cannot hold it: NaN, infinities, lone
    surrogates, keys that are not strings.
    """
    try:
        data = _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidValue(str(error)) from error
    if b"null" in data:  # the encoder writes NaN as null, which would lose it silently
        for path, leaf in _leaves(msgspec.to_builtins(value, enc_hook=_any_decoder.decode), "$"):
            if isinstance(leaf, float) and not math.isfinite(leaf):
                raise InvalidValue(f"{leaf} is no JSON number", path=path)
    return data


def _leaves(value: object, path: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{index}]")
    else:
        yield path, value


class Decoder(Generic[T]):
    """Decodes bytes to one type, strictly; every failure says where in the JSON it lies."""

    def __init__(self, type_: type[T]) -> None:
        self._decoder = msgspec.json.Decoder(type_, strict=True)

    def __call__(self, data: bytes, *, key: bytes = b"") -> T:
        """Decode ``data``; ``key`` only serves the error. Raises :class:`InvalidValue`."""
        try:
            return self._decoder.decode(data)
        except msgspec.ValidationError as error:
            raise _finding(str(error), data, key) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidValue(f"not JSON: {error}", key=key) from error


def _finding(message: str, data: bytes, key: bytes) -> InvalidValue:
    """msgspec ends its messages with the place, ``[...]`` for any key; both become exact here."""
    found = _PLACE.search(message)
    if found is None:
        return InvalidValue(message, key=key)
    reason, path = message[: found.start()], found.group(1)
    got = _GOT.search(reason)
    if "[...]" in path and got is not None:
        steps = [name or index for name, index in _STEP.findall(path)]
        path = next(_places(parse_json(data), steps, got.group(1), "$"), path)
    return InvalidValue(reason, path=path, key=key)


def _places(value: Any, steps: list[str], got: str, path: str) -> Iterator[str]:
    """Every path that fits ``steps`` and ends at a value of the JSON type ``got``."""
    if not steps:
        if _JSON_NAMES[type(value)] == got:
            yield path
        return
    step, rest = steps[0], steps[1:]
    if isinstance(value, dict):
        for name in value if step == "..." else [step]:
            if name in value:
                yield from _places(value[name], rest, got, f"{path}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            if step in ("...", str(index)):
                yield from _places(inner, rest, got, f"{path}[{index}]")


def decode(data: bytes, type_: type[T], *, key: bytes = b"") -> T:
    """Decode once; for a hot path keep a :class:`Decoder`."""
    return Decoder(type_)(data, key=key)


def parse_json(data: bytes, *, key: bytes = b"") -> Any:
    """Any JSON value. Raises :class:`InvalidValue`."""
    try:
        return _any_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidValue(f"not JSON: {error}", key=key) from error


def canonical(data: bytes, *, key: bytes = b"") -> bytes:
    """The canonical form of some JSON text."""
    return encode(parse_json(data, key=key))
