"""What a processor declares it needs, and the check of a variant against it.

Values are strings in the store (TrustGraph's rule); here they become what was declared. Strictly:
``"12"`` is an integer, ``"12.0"`` and ``" 12"`` are not.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar

import msgspec

from kvconfig.keyspace import VariantName
from kvconfig.model import Revision
from kvconfig.records import VariantRecord
from kvconfig.reference import allowed, is_reference, is_scheme
from processors.errors import Finding, InvalidVariant
from processors.secret import Secret
from processors.variant import Value, Variant

__all__ = ["Parameter", "Spec"]

P = TypeVar("P", str, int, float, bool)

_INTEGER = re.compile(r"[+-]?[0-9]{1,400}")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WORDS: dict[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "true or false",
}
_DEFAULTS: dict[type, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    float: (int, float),
    bool: (bool,),
}


@dataclass(frozen=True)
class Parameter(Generic[P]):
    """One declared parameter: ``Parameter(int, default=2000, minimum=1)``.

    Without a ``default`` it is required, unless ``required=False`` says that it may be absent.
    ``minimum`` and ``maximum`` are for numbers; ``choices`` lists all that is allowed.

    ``Parameter(str, secret=True)`` takes a reference to a secret (:mod:`kvconfig.reference`), and
    becomes a :class:`Secret`; a ``default`` is a reference then. ``schemes`` are those of the
    resolver plug-ins that it may refer to, beside ``env`` and ``file``.
    """

    kind: type[P]
    _: KW_ONLY
    default: P | None = None
    required: bool | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[P, ...] = ()
    secret: bool = False
    schemes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in _WORDS:
            raise TypeError(f"a parameter is of str, int, float or bool, not {self.kind!r}")
        bounded = self.minimum is not None or self.maximum is not None
        if bounded and self.kind not in (int, float):
            raise TypeError("minimum and maximum are for numbers")
        if self.secret and (self.kind is not str or self.choices):
            raise TypeError("a secret is of str, and has no choices")
        if self.schemes and not (self.secret and all(map(is_scheme, self.schemes))):
            raise TypeError("schemes are names such as vault, for a secret")
        if self.default is None:
            return
        if self.required:
            raise TypeError("a required parameter takes no default")
        if type(self.default) not in _DEFAULTS[self.kind] or not self._allows(self.default):
            raise TypeError(f"the default is not {self.expected}")

    @property
    def is_required(self) -> bool:
        """Whether a variant without it is refused."""
        return self.default is None if self.required is None else self.required

    @property
    def expected(self) -> str:
        """What is allowed, in words: ``an integer from 1 to 100``."""
        if self.secret:
            return f"a reference to a secret ({allowed(self.schemes)})"
        words = _WORDS[self.kind]
        if self.choices:
            words += f", one of {', '.join(map(str, self.choices))}"
        if self.minimum is not None and self.maximum is not None:
            return f"{words} from {self.minimum:g} to {self.maximum:g}"
        if self.minimum is not None:
            return f"{words}, at least {self.minimum:g}"
        return words if self.maximum is None else f"{words}, at most {self.maximum:g}"

    def convert(self, text: str) -> P | Secret | None:
        """The value that ``text`` stands for, or ``None`` where it is not allowed."""
        value: Any = _read(text, self.kind)
        if value is None or not self._allows(value):
            return None
        return Secret(text) if self.secret else value

    def _allows(self, value: Any) -> bool:
        return (
            (not self.choices or value in self.choices)
            and (not self.secret or is_reference(value, self.schemes))
            and (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
        )


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """The topics and parameters of a processor, and what it reads beside its variants.

    ``topics`` must be there, ``optional_topics`` may. ``undeclared`` says what becomes of others:
    blueprints of TrustGraph are generous, so by default they are handed through, parameters as
    strings; ``"refuse"`` finds misspelt names. ``config`` has each type of configuration that
    ``FlowProcessor.config`` shall give, with the shape of its values: whatever msgspec decodes
    (a ``Struct``, a dataclass, ``dict[str, int]``), or ``object`` for any JSON.
    """

    topics: tuple[str, ...] = ()
    optional_topics: tuple[str, ...] = ()
    parameters: Mapping[str, Parameter[Any]] = {}
    undeclared: Literal["allow", "refuse"] = "allow"
    config: Mapping[str, Any] = {}

    def check(self, name: VariantName, record: VariantRecord, mod_revision: Revision) -> Variant:
        """The variant that a processor gets. Raises :class:`InvalidVariant` with every finding."""
        findings = [
            Finding(f"$.topics.{topic}", "expected a topic, found nothing")
            for topic in self.topics
            if not record.topics.get(topic)
        ]
        parameters: dict[str, Value] = {}
        for key, declared in self.parameters.items():
            value = _typed(declared, record.parameters.get(key))
            if isinstance(value, _Problem):
                findings.append(Finding(f"$.parameters.{key}", value.reason))
            elif value is not None:
                parameters[key] = value
        findings += self._undeclared(record)
        if findings:
            first, *others = findings
            raise InvalidVariant(first.path, first.reason, *others)
        extra = {k: v for k, v in record.parameters.items() if k not in self.parameters}
        return Variant(
            processor=name.processor,
            name=name.variant,
            topics=MappingProxyType(dict(record.topics)),
            parameters=MappingProxyType({**extra, **parameters}),
            mod_revision=mod_revision,
        )

    def _undeclared(self, record: VariantRecord) -> list[Finding]:
        if self.undeclared == "allow":
            return []
        known = {*self.topics, *self.optional_topics}
        return [
            *(
                Finding(f"$.topics.{topic}", "not declared by this processor")
                for topic in sorted(record.topics.keys() - known)
            ),
            *(
                Finding(f"$.parameters.{key}", "not declared by this processor")
                for key in sorted(record.parameters.keys() - self.parameters.keys())
            ),
        ]


class _Problem(msgspec.Struct, frozen=True):
    reason: str


def _typed(declared: Parameter[Any], text: str | None) -> Value | _Problem | None:
    """What a parameter becomes: its value, ``None`` for absent, or what is wrong with it."""
    if text is None:
        if declared.default is None and declared.is_required:
            return _Problem(f"expected {declared.expected}, found nothing")
        if declared.default is None:
            return None
        if declared.secret:
            return Secret(declared.default)
        default: Value = declared.default
        return float(declared.default) if declared.kind is float else default
    value: Value | None = declared.convert(text)
    return value if value is not None else _Problem(f"expected {declared.expected}")


def _read(text: str, kind: type) -> Value | None:
    if kind is str:
        return text
    if kind is bool:
        return {"true": True, "false": False}.get(text)
    if kind is int:
        return int(text) if _INTEGER.fullmatch(text) else None
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    return number if math.isfinite(number) else None
