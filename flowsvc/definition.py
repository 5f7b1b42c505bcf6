"""What reading any definition (a blueprint, a parameter type) takes: bounds, paths, findings.

A definition comes from an operator's file, or from etcd, where anybody may have written it. It is
never trusted, and all that is wrong with it is told at once, each finding with its JSON path.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowsvc.errors import Finding
from kvconfig.codec import encode, parse_json
from kvconfig.errors import InvalidName, InvalidValue, show_key
from kvconfig.keys import check_name

__all__ = [
    "MAX_DEFINITION_BYTES",
    "MAX_DEPTH",
    "MAX_FINDINGS",
    "Findings",
    "child",
    "kind_of",
    "load",
]

MAX_DEFINITION_BYTES = 512 * 1024
"""A definition is put twice in one transaction, as the value and in its history; etcd takes
1.5 MiB for both. The largest real one has 22 KB."""

MAX_DEPTH = 32
"""Real ones have a depth of five; much more is an attack on whatever recurses over it."""

MAX_FINDINGS = 1000
"""As many errors and as many warnings are told, and that there are more: nobody reads further."""

_MAX_SHOWN = 128


class Findings:
    """Collects what is wrong, in order, without repeating itself."""

    def __init__(self) -> None:
        self._errors: dict[Finding, None] = {}
        self._warnings: dict[Finding, None] = {}

    @property
    def has_errors(self) -> bool:
        """Whether the definition is unusable."""
        return bool(self._errors)

    def error(self, path: str, message: str) -> None:
        """Something that makes the definition unusable."""
        self.add(Finding(path, message))

    def warning(self, path: str, message: str) -> None:
        """Something that is accepted, and likely a mistake."""
        self.add(Finding(path, message, "warning"))

    def add(self, finding: Finding) -> None:
        """Take over a finding made elsewhere."""
        found = self._errors if finding.severity == "error" else self._warnings
        if len(found) < MAX_FINDINGS:
            found[finding] = None
        elif finding not in found:
            found[Finding("$", f"has more than {MAX_FINDINGS} findings", finding.severity)] = None

    def all(self) -> tuple[Finding, ...]:
        """Everything found, errors first."""
        return (*self._errors, *self._warnings)


def child(path: str, name: str) -> str:
    """The path of a field: readable, whatever the name holds."""
    shown = name if name.isprintable() else show_key(name.encode("utf-8", "backslashreplace"))
    if len(shown) > _MAX_SHOWN:
        shown = shown[: _MAX_SHOWN - 3] + "..."
    return f"{path}.{shown}" if shown else f'{path}.""'


def kind_of(value: object) -> str:
    """What a JSON value is, in words, for messages: never the value itself."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, list | tuple):
        return "a list"
    return "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}"


def load(
    kind: str, name: str, definition: Mapping[str, Any] | bytes, findings: Findings
) -> dict[str, Any] | None:
    """The definition as plain JSON values, or ``None`` if that is impossible.

    Checks its name (``kind`` says what it names), that it is JSON text (or can be), one object,
    and within the bounds. What comes back is sorted by name, at every level.
    """
    try:
        check_name(name, kind)
        return _plain(definition)
    except InvalidName as error:
        findings.error("$", str(error))
    except InvalidValue as error:
        findings.error(error.path, error.reason)
    return None


def _plain(definition: Mapping[str, Any] | bytes) -> dict[str, Any]:
    """Only what JSON can hold, within the bounds, sorted. Raises :class:`InvalidValue`.

    Sorted, so that nothing made of a definition depends on the order in which it was written: it
    is another one once etcd has it.
    """
    if isinstance(definition, bytes):
        _check_size(definition)
        definition = parse_json(definition)
    if not isinstance(definition, Mapping):
        raise InvalidValue(f"must be a JSON object, is {kind_of(definition)}")
    _check_depth(definition)  # before anything that recurses
    canonical = encode(dict(definition))
    _check_size(canonical)
    plain: dict[str, Any] = parse_json(canonical)
    return plain


def _check_size(data: bytes) -> None:
    if len(data) > MAX_DEFINITION_BYTES:
        raise InvalidValue(f"has {len(data)} bytes, at most {MAX_DEFINITION_BYTES} are taken")


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for node in level:
            if isinstance(node, Mapping):
                inner.extend(node.values())
            elif isinstance(node, list | tuple):
                inner.extend(node)
        if not inner:
            return
        level = inner
    raise InvalidValue(f"is nested deeper than {MAX_DEPTH} levels")
