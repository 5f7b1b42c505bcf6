"""What a parameter type demands of a value: a small part of JSON Schema, compiled once.

The keywords are ``type`` (one scalar type), ``enum``, ``minimum``, ``maximum``,
``exclusiveMinimum``, ``exclusiveMaximum``, ``multipleOf``, ``minLength``, ``maxLength`` and
``pattern``; and the words that TrustGraph's types use: ``float`` for ``number``, ``min`` and
``max``, and items of ``enum`` as ``{"id", "description"}``. References are never followed.

A flow holds a value as text, and over gRPC and on a command line it comes as text. So the text is
checked, whatever scalar it was made from: it has to spell a value of the type.

- ``string``: any text.
- ``integer``: as JSON writes one, ``-?(0|[1-9][0-9]*)``. To JSON Schema ``2.0`` is an integer; as
  text it is not, because what reads an integer from text fails on it. Nor are ``1e3``, ``+1``,
  ``01`` and ``" 1"``.
- ``number``: as JSON writes one, and finite as a double. It is compared as a double, unless it is
  written as an integer: that is exact.
- ``boolean``: ``true`` or ``false``.
- no type: any text. Keywords for texts look at it as it is; those for numbers look at it only
  where it spells a number.

``enum`` compares texts: where it lists ``0.5``, ``0.50`` is refused.

A keyword that cannot be used is a warning, and ignored: flows run with such types. So are those
that the type makes meaningless (a ``pattern`` for an integer), which JSON Schema ignores silently.
Patterns are matched in linear time, whatever they are; in exchange, lookaround and back
references are not to be had.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from flowsvc.definition import Findings, child, kind_of
from flowsvc.errors import Finding
from flowsvc.template import stringify

__all__ = ["KEYWORDS", "MAX_NUMBER_LENGTH", "Schema", "compile_schema"]

MAX_NUMBER_LENGTH = 400
"""Characters that a number may have; the largest double has 309 digits."""

_NOUNS = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
}
_TYPES = {**{type_: type_ for type_ in _NOUNS}, "float": "number"}

_WORDS = {"minimum": ("minimum", "min"), "maximum": ("maximum", "max")}
_NUMERIC = {
    "minimum": "be at least {}",
    "maximum": "be at most {}",
    "exclusiveMinimum": "be more than {}",
    "exclusiveMaximum": "be less than {}",
    "multipleOf": "be a multiple of {}",
}
_TEXTUAL = {
    "minLength": "have a length of at least {}",
    "maxLength": "have a length of at most {}",
    "pattern": "match the pattern {}",
}
_KEYWORDS = _NUMERIC | _TEXTUAL
KEYWORDS = frozenset({*_KEYWORDS, "min", "max"})
"""All that a type may ask of one value beside ``type`` and ``enum``, in both spellings."""
_WANTED = {
    **dict.fromkeys(_NUMERIC, "a number"),
    "multipleOf": "a number above 0",
    **dict.fromkeys(_TEXTUAL, "a whole number, 0 or more"),
    "pattern": "a regular expression (without lookaround and back references, and not a huge one)",
}
_NOT_CHECKED = frozenset(
    {"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "const"}
    | {"format"}
)

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(_INTEGER.pattern + r"(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": True, "false": False}

_PATTERNS = RegexOptions(size_limit=1 << 20, dfa_size_limit=1 << 20)
_MAX_SHOWN = 128
_MAX_LISTED = 1500
"""Characters of a message; about 8 KB of messages pass in an error over gRPC."""


class Schema(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A compiled schema, made by :func:`compile_schema`.

    - ``type``: ``string``, ``integer``, ``number`` or ``boolean``; ``None`` where any will do.
    - ``enum``: the texts that are allowed, if only these are.
    - ``keywords``: the other keywords that count, in JSON Schema's spelling, with their values.
    """

    type: str | None
    enum: tuple[str, ...] | None
    keywords: dict[str, Any]
    validator: Draft202012Validator

    def violations(self, text: str) -> tuple[str, ...]:
        """What is wrong with a value: each says what it must do (``must be at least 0``).

        Empty where the value is accepted. Never holds the value itself, which may be a secret.
        Raises nothing; ``text`` must be Unicode text.
        """
        found = []
        if self.enum is not None and text not in self.enum:
            found.append(f"must be one of {_listed(self.enum)}")
        readings = _readings(self.type, text)
        if not readings:
            found.append(self._must_be_of_the_type())
        for reading in readings:
            if not self.validator.is_valid(reading):
                broken = [str(e.schema_path[-1]) for e in self.validator.iter_errors(reading)]
                found += [f"must {self._demand(keyword)}" for keyword in broken]
        return tuple(found)

    def _must_be_of_the_type(self) -> str:
        """With all that a value of the type must be: what is none was not checked for it."""
        demands = [f"be {_NOUNS[self.type or 'string']}", *map(self._demand, self.keywords)]
        return f"must {', '.join(demands)}"

    def _demand(self, keyword: str) -> str:
        value = self.keywords[keyword]
        return _KEYWORDS[keyword].format(_shown(value) if isinstance(value, str) else value)


def compile_schema(fields: Mapping[str, Any], findings: Findings) -> Schema:
    """The schema that a parameter type holds among its other fields.

    Raises nothing: what cannot be used goes to ``findings`` as a warning, and is left out.
    """
    for unknown in sorted(_NOT_CHECKED & fields.keys()):
        findings.warning(child("$", unknown), "is not checked: no value is refused because of it")
    type_ = _type(fields, findings)
    keywords: dict[str, Any] = {}
    for keyword in _KEYWORDS:
        word = _word(keyword, fields, findings)
        if word is not None and _is_usable(keyword, word, fields[word], type_, findings):
            keywords[keyword] = fields[word]
    for low, high, what in (("minimum", "maximum", "number"), ("minLength", "maxLength", "text")):
        if low in keywords and high in keywords and keywords[low] > keywords[high]:
            findings.warning("$", f"its {low} is above its {high}: no {what} fits")
    schema = Schema(type=type_, enum=None, keywords=keywords, validator=_compiled(keywords))
    return msgspec.structs.replace(schema, enum=_enum(fields, schema, findings))


def _compiled(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, pattern_options=_PATTERNS, offline=True)


def _type(fields: Mapping[str, Any], findings: Findings) -> str | None:
    value = fields.get("type")
    if isinstance(value, str) and value in _TYPES:
        return _TYPES[value]
    if "type" in fields:
        findings.warning("$.type", f"is none of {', '.join(sorted(_TYPES))}: any value will do")
    return None


def _word(keyword: str, fields: Mapping[str, Any], findings: Findings) -> str | None:
    """Of JSON Schema's word and the older short one, the first that is there."""
    there = [word for word in _WORDS.get(keyword, (keyword,)) if word in fields]
    for other in there[1:]:
        if fields[other] != fields[there[0]]:
            findings.warning(f"$.{other}", f"differs from $.{there[0]}, which counts")
    return there[0] if there else None


def _is_usable(
    keyword: str, word: str, value: object, type_: str | None, findings: Findings
) -> bool:
    """Whether a keyword counts; the validator itself is asked whether its value is one."""
    path = f"$.{word}"
    fits = ("integer", "number", None) if keyword in _NUMERIC else ("string", None)
    try:
        _compiled({keyword: value})
    except ValidationError:
        findings.warning(path, f"is not {_WANTED[keyword]}; ignored")
        return False
    if type_ not in fits:
        findings.warning(path, f"means nothing where the type is {type_}; ignored")
        return False
    return True


def _enum(fields: Mapping[str, Any], schema: Schema, findings: Findings) -> tuple[str, ...] | None:
    items = fields.get("enum")
    if items is None:
        return None
    if not isinstance(items, list):
        findings.warning("$.enum", f"should be a list, is {kind_of(items)}; ignored")
        return None
    texts = []
    for index, item in enumerate(items):
        path = f"$.enum[{index}]"
        text = stringify(item.get("id") if isinstance(item, dict) else item, path)
        if isinstance(text, Finding):
            findings.warning(path, f"{text.message}: ignored")
            continue
        for violation in schema.violations(text):
            findings.warning(path, f"can never be given: the type says that it {violation}")
        texts.append(text)
    if not texts:
        findings.warning("$.enum", "allows no value at all; ignored")
        return None
    return tuple(texts)


def _readings(type_: str | None, text: str) -> tuple[str | int | float, ...]:
    """What the text means as a value of the type: nothing where it spells none.

    Without a type it means the text itself, and a number too where it spells one.
    """
    if type_ == "string":
        return (text,)
    if type_ == "boolean":
        return (_BOOLEANS[text],) if text in _BOOLEANS else ()
    if type_ == "integer":
        is_one = len(text) <= MAX_NUMBER_LENGTH and _INTEGER.fullmatch(text)
        return (int(text),) if is_one else ()
    number = _number(text)
    if type_ == "number":
        return () if number is None else (number,)
    return (text,) if number is None else (text, number)


def _number(text: str) -> int | float | None:
    if len(text) > MAX_NUMBER_LENGTH or _NUMBER.fullmatch(text) is None:
        return None
    number = float(text)
    if math.isinf(number):
        return None
    return int(text) if _INTEGER.fullmatch(text) else number


def _listed(texts: Iterable[str]) -> str:
    """Values that are allowed, as many as there is room for."""
    shown: list[str] = []
    room = _MAX_LISTED
    texts = tuple(texts)
    for text in texts:
        shown.append(_shown(text))
        room -= len(shown[-1]) + 2
        if room < 0:
            break
    left = len(texts) - len(shown)
    return ", ".join(shown) + (f" and {left} more" if left else "")


def _shown(text: str) -> str:
    """In quotes, and readable whatever it holds."""
    return repr(text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "...")
