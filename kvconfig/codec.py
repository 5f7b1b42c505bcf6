"""JSON in one canonical form: UTF-8, sorted keys, no spaces.

Two values are equal exactly when their bytes are, so a value can be compared inside etcd. A person
can read them with ``etcdctl get``.

Text from outside is never trusted, and etcd is outside: anybody may have written there. What two
readers could take for two different things is refused both ways: a name that stands twice in one
object, a number beyond all doubles, half of a surrogate pair, NUL, and whatever is nested too deep.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import msgspec

from kvconfig.errors import InvalidValue, show_key

__all__ = [
    "MAX_DEPTH",
    "Decoder",
    "canonical",
    "decode",
    "encode",
    "encode_parts",
    "parse_json",
]

T = TypeVar("T")

MAX_DEPTH = 100
"""Objects and lists inside each other; protobuf and many a JSON parser take no more by default."""

_MAX_DIGITS = 308
"""So many any double can have; what is longer is looked at."""

_SHORT = 2 * MAX_DEPTH
"""JSON of no more bytes is not too deep, as what is opened is closed; nor has it so many digits."""

_ESCAPE = ord("\\")
"""No NUL without one. It is an ``int`` since bytes find that ten times faster than other bytes."""

_encode = msgspec.json.Encoder(order="sorted").encode
_any_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
_PLACE = re.compile(r" - at `(?:key in )?(\$[^`]*)`$")
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_GOT = re.compile(r"got `(\w+)`")
_PAIRS = bytes.maketrans(b"{[]}", b"(())")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{[]}"))
_LONG = b"0" * (_MAX_DIGITS + 1)
_STRIDE = 38
_SAMPLED = b"0" * (len(_LONG) // _STRIDE)
_DIGITS = bytes(ord("0") if chr(each).isdigit() else ord(" ") for each in range(128)) + b" " * 128
_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels"
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

    Raises :class:`InvalidValue` where JSON in UTF-8 cannot hold it (NaN, infinities, lone
    surrogates, keys that are not strings), and where :func:`parse_json` would refuse it.
    """
    data = _encoded(value)
    if len(data) > _SHORT or _ESCAPE in data:
        _check_suspect(data)
    if b"null" in data:  # the encoder writes NaN as null, which would lose it silently
        plain = msgspec.to_builtins(value, enc_hook=_any_decoder.decode)
        _check_leaves(plain, lambda leaf: isinstance(leaf, float) and not math.isfinite(leaf))
    return data


def encode_parts(value: object) -> bytes:
    """:func:`encode` of text, and of what is in canonical form already (``msgspec.Raw``).

    Its parts are not looked through again, so there must be no number beside them, and few levels
    around them.
    """
    data = _encoded(value)
    if b"\\u0000" in data:
        _check_text(data)
    return data


def _encoded(value: object) -> bytes:
    try:
        return _encode(value)
    except RecursionError as error:
        raise InvalidValue(_TOO_DEEP) from error
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidValue(str(error)) from error


# -- what no value may hold ----------------------------------------------------------------------


# Most values are short and plain; the callers see that without a call, for each event and each put.


def _check_suspect(data: bytes) -> None:
    """Of JSON that is long or has an escape: its depth; and all else where it may be wrong.

    So many digits in a row are some in a row in every 38th byte too, which is seen sooner.
    """
    _check_depth(data)
    if (_ESCAPE in data and b"\\u0000" in data) or (
        _SAMPLED in data[::_STRIDE].translate(_DIGITS) and _LONG in data.translate(_DIGITS)
    ):
        _check_text(data)


def _check_depth(data: bytes) -> None:
    """Of JSON: its brackets alone, where the innermost pairs go until there are none."""
    if data.count(b"{") + data.count(b"[") <= MAX_DEPTH:
        return
    unescaped = data.replace(rb"\\", b"").replace(rb"\"", b"")
    brackets = b"".join(unescaped.split(b'"')[::2]).translate(_PAIRS, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return
        brackets = brackets.replace(b"()", b"")
    if brackets:
        raise InvalidValue(_TOO_DEEP)


def _check_text(data: bytes) -> None:
    """Of JSON that is not too deep: names that stand twice, NUL, and numbers too large."""
    _check_leaves(json.loads(data, object_pairs_hook=_Pairs, parse_float=str), _is_no_double)


class _Pairs(list[tuple[str, Any]]):
    """An object with all that it has, a name twice as well."""


def _is_no_double(leaf: object) -> bool:
    try:
        return isinstance(leaf, int) and math.isinf(float(leaf))
    except OverflowError:
        return True


def _check_leaves(
    value: object, is_no_number: Callable[[object], bool], path: tuple[str | int, ...] = ()
) -> None:
    """Raise :class:`InvalidValue` for the first thing that is wrong, with its path."""
    if isinstance(value, _Pairs | dict):
        seen: set[str] = set()
        for name, inner in value if isinstance(value, _Pairs) else value.items():
            if name in seen:
                reason = "stands twice in one object; one would be lost"
                raise InvalidValue(reason, path=_shown((*path, name)))
            seen.add(name)
            if "\0" in name:
                raise InvalidValue("holds a NUL character", path=_shown((*path, name)))
            _check_leaves(inner, is_no_number, (*path, name))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _check_leaves(inner, is_no_number, (*path, index))
    elif isinstance(value, str):
        if "\0" in value:
            raise InvalidValue("holds a NUL character", path=_shown(path))
    elif is_no_number(value):
        is_float = isinstance(value, float)
        reason = f"{value} is no JSON number" if is_float else "is too large a number"
        raise InvalidValue(reason, path=_shown(path))


def _shown(path: tuple[str | int, ...]) -> str:
    steps = (f"[{s}]" if isinstance(s, int) else f".{show_key(s.encode())}" for s in path)
    return "$" + "".join(steps)


def _not_json(data: bytes, error: Exception, key: bytes) -> InvalidValue:
    """What is wrong with text that cannot be read."""
    if isinstance(error, RecursionError):
        return InvalidValue(_TOO_DEEP, key=key)
    try:
        _check_depth(data)
        json.loads(data)  # which takes half of a surrogate pair for text
    except (ValueError, RecursionError, InvalidValue):
        return InvalidValue(f"not JSON: {error}", key=key)
    if b"\\u" in data:
        return InvalidValue("not JSON: a lone surrogate is no text", key=key)
    return InvalidValue(f"not JSON: {error}", key=key)


# -- reading -------------------------------------------------------------------------------------


class Decoder(Generic[T]):
    """Decodes bytes to one type, strictly; every failure says where in the JSON it lies."""

    def __init__(self, type_: type[T]) -> None:
        self._decode = msgspec.json.Decoder(type_, strict=True).decode

    def decode(self, data: bytes, *, key: bytes = b"") -> T:
        """Decode ``data``; ``key`` only serves the error. Raises :class:`InvalidValue`.

        What is in canonical form, as all that we write, holds no name twice.
        """
        try:
            value = self._decode(data)
            if len(data) > _SHORT or _ESCAPE in data:
                _check_suspect(data)
            if _encode(value) != data:
                _check_text(data)
            return value
        except InvalidValue as error:
            raise error.at(key) from None
        except msgspec.ValidationError as error:
            raise _finding(str(error), data, key) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _not_json(data, error, key) from error


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
    return Decoder(type_).decode(data, key=key)


def parse_json(data: bytes, *, key: bytes = b"") -> Any:
    """Any JSON value. Raises :class:`InvalidValue`."""
    return _decode_any(data, key=key)


def canonical(data: bytes, *, key: bytes = b"") -> bytes:
    """The canonical form of some JSON text."""
    return encode(parse_json(data, key=key))


_decode_any = Decoder(object).decode
