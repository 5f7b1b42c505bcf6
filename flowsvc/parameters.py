"""Parameter types, and the values that a flow's parameters take.

A flow's parameters are strings. Each is what the user gave; else, if another parameter controls
it, that one's value; else the default of its type. That is the order of TrustGraph's
specification ("flow configurable parameters", resolution rules 1 to 3); its code asks the default
first, so that there nothing controls a parameter whose type has a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flowsvc.blueprint import MAX_PARAMETERS, Blueprint, Parameter
from flowsvc.definition import Findings, child, kind_of, load
from flowsvc.errors import Finding, ParametersInvalid, ParameterTypeInvalid
from flowsvc.model import ParameterValue
from flowsvc.template import is_placeholder_name, stringify

__all__ = ["ParameterType", "parse_parameter_type", "resolve", "stringify"]

_TYPES = frozenset({"string", "integer", "number", "float", "boolean"})


class ParameterType(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter type, as far as it makes sense; ``findings`` are warnings about the rest.

    ``default`` and ``enum`` are as a flow holds them, as strings. ``type`` is one of JSON Schema's
    scalar types, TrustGraph's ``float`` read as ``number``; ``None`` where any value will do.
    """

    name: str
    type: str | None = None
    default: str | None = None
    required: bool = False
    enum: tuple[str, ...] | None = None
    minimum: float | None = None
    maximum: float | None = None
    findings: tuple[Finding, ...] = ()


def parse_parameter_type(name: str, definition: Mapping[str, Any] | bytes) -> ParameterType:
    """Read a parameter type, given as JSON text or as the object that it holds.

    Raises :class:`ParameterTypeInvalid` only where there is nothing to read: not a name, not JSON,
    not one object, or out of bounds. Real types have defaults outside their own enum, ``min`` or
    ``minimum``, ``float``, enums of strings or of ``{"id", "description"}``, or are empty, and
    flows run with them; so all else is a warning.
    """
    findings = Findings()
    fields = load("parameter type", name, definition, findings)
    if fields is None or findings.has_errors:
        raise ParameterTypeInvalid(f"parameter type {name!r}", findings.all())
    return _TypeReader(name, fields, findings).read()


class _TypeReader:
    """Makes the best of one definition, and warns of what it cannot use."""

    def __init__(self, name: str, fields: dict[str, Any], findings: Findings) -> None:
        self.name, self.fields, self.findings = name, fields, findings

    def read(self) -> ParameterType:
        if not self.fields:
            self.findings.warning("$", "is empty: no default, and any value will do")
        read = ParameterType(
            name=self.name,
            type=self._type(),
            default=self._default(),
            required=self._required(),
            enum=self._enum(),
            minimum=self._bound("minimum", "min"),
            maximum=self._bound("maximum", "max"),
        )
        self._check_default(read)
        return msgspec.structs.replace(read, findings=self.findings.all())

    def _type(self) -> str | None:
        value = self.fields.get("type")
        if isinstance(value, str) and value in _TYPES:
            return "number" if value == "float" else value
        if "type" in self.fields:
            message = f"is none of {', '.join(sorted(_TYPES))}: any value will do"
            self.findings.warning("$.type", message)
        return None

    def _default(self) -> str | None:
        if "default" not in self.fields:
            return None
        return self._text(self.fields["default"], "$.default", "there is no default")

    def _required(self) -> bool:
        """Whatever Python takes for true is required, as in TrustGraph."""
        value = self.fields.get("required", False)
        if not isinstance(value, bool):
            meaning = "true" if value else "false"
            message = f"should be a boolean, is {kind_of(value)}; taken for {meaning}"
            self.findings.warning("$.required", message)
        return bool(value)

    def _enum(self) -> tuple[str, ...] | None:
        items = self.fields.get("enum")
        if items is None:
            return None
        if not isinstance(items, list):
            self.findings.warning("$.enum", f"should be a list, is {kind_of(items)}; ignored")
            return None
        texts = []
        for index, item in enumerate(items):
            value = item.get("id") if isinstance(item, dict) else item
            text = self._text(value, f"$.enum[{index}]", "ignored")
            if text is not None:
                texts.append(text)
        if not texts:
            self.findings.warning("$.enum", "allows no value at all; ignored")
            return None
        return tuple(texts)

    def _text(self, value: object, path: str, consequence: str) -> str | None:
        text = stringify(value, path)
        if isinstance(text, Finding):
            self.findings.warning(path, f"{text.message}: {consequence}")
            return None
        return text

    def _bound(self, *words: str) -> float | None:
        """Of JSON Schema's word and the older short one, the first that is there."""
        there = [word for word in words if word in self.fields]
        for other in there[1:]:
            if self.fields[other] != self.fields[there[0]]:
                self.findings.warning(f"$.{other}", f"differs from $.{there[0]}, which counts")
        for word in there[:1]:
            value = self.fields[word]
            if isinstance(value, int | float) and not isinstance(value, bool):
                return value
            self.findings.warning(f"$.{word}", f"should be a number, is {kind_of(value)}; ignored")
        return None

    def _check_default(self, read: ParameterType) -> None:
        """A default that its own type would refuse still counts: flows are running with it."""
        low, high = read.minimum, read.maximum
        if low is not None and high is not None and low > high:
            self.findings.warning("$", "its minimum is above its maximum: no number fits")
        if read.default is None:
            return
        if read.enum is not None and read.default not in read.enum:
            self.findings.warning("$.default", "is not among the values of $.enum")
        value = self.fields["default"]
        if read.type is not None and not _is_a(value, read.type):
            message = f"should be of type {read.type}, is {kind_of(value)}"
            self.findings.warning("$.default", message)
        elif _is_a(value, "number") and not (
            (low is None or low <= value) and (high is None or value <= high)
        ):
            self.findings.warning("$.default", "is outside its own minimum and maximum")


def _is_a(value: object, type_: str) -> bool:
    if isinstance(value, bool):
        return type_ == "boolean"
    if isinstance(value, str):
        return type_ == "string"
    if isinstance(value, float) and type_ == "integer":
        return value.is_integer()
    return isinstance(value, int | float) and type_ in ("integer", "number")


def resolve(
    blueprint: Blueprint,
    types: Mapping[str, ParameterType | None],
    user: Mapping[str, ParameterValue],
) -> dict[str, str]:
    """The value of every parameter of a flow, as a string.

    ``types`` holds what ``blueprint.parameter_types`` names, ``None`` for one that is not there.
    Parameters that the blueprint does not declare are kept: its texts may use them all the same.
    A parameter that is not required, has no default and was not given has no value.

    Raises :class:`ParametersInvalid` with every violation; paths are those of the request.
    """
    violations = Findings()
    given = _given(user, violations)
    resolved: dict[str, str] = {}
    for parameter in blueprint.parameters.values():  # controllers come before what they control
        name, controller = parameter.name, parameter.controlled_by
        if name in given:
            resolved[name] = given[name]
        elif controller is not None and controller in resolved:
            resolved[name] = resolved[controller]
        else:
            default = _default(parameter, types, violations)
            if default is not None:
                resolved[name] = default
    if violations.has_errors:
        raise ParametersInvalid(f"parameters for blueprint {blueprint.name!r}", violations.all())
    return resolved | given


def _given(user: Mapping[str, ParameterValue], violations: Findings) -> dict[str, str]:
    """The user's values as strings; the one place that every one of them passes, and no other.

    What a parameter type demands of a value has its place here.
    """
    if len(user) > MAX_PARAMETERS:
        message = f"{len(user)} parameters were given, at most {MAX_PARAMETERS} are taken"
        violations.error("$.parameters", message)
        return {}
    given = {}
    for name, value in user.items():
        path = child("$.parameters", name)
        if not is_placeholder_name(name):
            violations.error(path, "no placeholder can have this name, so nothing can use it")
        text = stringify(value, path)
        if isinstance(text, Finding):
            violations.add(text)
            text = ""
        given[name] = text
    return given


def _default(
    parameter: Parameter, types: Mapping[str, ParameterType | None], violations: Findings
) -> str | None:
    """What a parameter is that was neither given nor inherits a value."""
    if parameter.type is None:
        return None
    type_ = types.get(parameter.type)
    path = child("$.parameters", parameter.name)
    if type_ is None:
        message = (
            f"has no default, because parameter type {parameter.type!r} does not exist: "
            "give a value, or put that parameter type first"
        )
        violations.error(path, message)
        return None
    if type_.default is None and type_.required:
        source = f", here or for {parameter.controlled_by}" if parameter.controlled_by else ""
        violations.error(path, f"is required and has no default: give a value{source}")
    return type_.default
