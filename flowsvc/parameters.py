"""Parameter types, and the values that a flow's parameters take.

A flow's parameters are strings. Each is what the user gave; else, if another parameter controls
it, that one's value; else the default of its type. That is the order of TrustGraph's
specification ("flow configurable parameters", resolution rules 1 to 3); its code asks the default
first, so that there nothing controls a parameter whose type has a default.

A user's value has to meet the type (:mod:`flowsvc.schema`) of its parameter, and of every
parameter that gets the value because it is controlled. A default only earns a warning: real types
have defaults outside their own ``enum``, and flows run with them. (TrustGraph checks nothing.)

A type with ``"secret": true`` takes references only (:mod:`kvconfig.reference`): ``env:NAME``,
``file:/path``, and those with a scheme of its field ``schemes``. Here nothing earns a mere warning:
whatever is no reference may be the secret itself, and must not come into etcd.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flowsvc.blueprint import MAX_PARAMETERS, Blueprint, Parameter
from flowsvc.definition import Findings, child, kind_of, load
from flowsvc.errors import Finding, ParametersInvalid, ParameterTypeInvalid
from flowsvc.model import ParameterValue
from flowsvc.schema import KEYWORDS, Schema, compile_schema
from flowsvc.template import is_placeholder_name, stringify
from kvconfig.reference import allowed, is_reference, is_scheme

__all__ = [
    "ParameterType",
    "Resolved",
    "parse_parameter_type",
    "resolve",
    "secret_parameters",
    "stringify",
]


class ParameterType(msgspec.Struct, frozen=True, kw_only=True):
    """A parameter type, as far as it makes sense; ``findings`` are warnings about the rest.

    ``default`` is as a flow holds it, as a string. ``default_violations`` says why the type would
    refuse it, were it a user's value; an empty type (``is_empty``) demands nothing. A ``secret``
    takes references only; ``schemes`` are those of plug-ins that count beside ours.
    """

    name: str
    schema: Schema
    default: str | None = None
    default_violations: tuple[str, ...] = ()
    required: bool = False
    is_empty: bool = False
    secret: bool = False
    schemes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    def violations(self, text: str) -> tuple[str, ...]:
        """What is wrong with a value, and never the value itself; empty where it will do."""
        if self.is_plain(text):
            return (_must_refer(self.schemes),)
        return self.schema.violations(text)

    def is_plain(self, text: str) -> bool:
        """Whether a value may be the secret itself, where only a reference to it may stand."""
        return self.secret and not is_reference(text, self.schemes)


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """What a flow's parameters are.

    - ``values``: of every parameter that has one, as a string, and all that the user gave.
    - ``given``: of these the ones that the user gave.
    - ``findings``: warnings, with the paths of the request.
    """

    values: dict[str, str]
    given: dict[str, str]
    findings: tuple[Finding, ...] = ()


def parse_parameter_type(name: str, definition: Mapping[str, Any] | bytes) -> ParameterType:
    """Read a parameter type, given as JSON text or as the object that it holds.

    Raises :class:`ParameterTypeInvalid` only where there is nothing to read: not a name, not JSON,
    not one object, or out of bounds. Real types have defaults outside their own enum, ``min`` or
    ``minimum``, ``float``, enums of strings or of ``{"id", "description"}``, or are empty, and
    flows run with them; so all else is a warning. But a secret type is refused where it is unclear
    that it is one, and where its default or an item of its enum is no reference.
    """
    findings = Findings()
    fields = load("parameter type", name, definition, findings)
    if fields is None or findings.has_errors:
        raise ParameterTypeInvalid(f"parameter type {name!r}", findings.all())
    if not fields:
        findings.warning("$", "is empty: no default, and any value will do")
    secret = _secret(fields, findings)
    schemes = _schemes(fields, findings) if secret else ()
    schema = compile_schema(_asked(fields, schemes, findings) if secret else fields, findings)
    default = _default(fields, findings)
    if secret and default is not None and not is_reference(default, schemes):
        findings.error("$.default", _must_refer(schemes))
    if findings.has_errors:
        raise ParameterTypeInvalid(f"parameter type {name!r}", findings.all())
    violations = () if default is None else schema.violations(default)
    for violation in violations:
        findings.warning("$.default", f"is what a user could not give: it {violation}")
    if not violations and default is not None and not _is_a(fields["default"], schema.type):
        message = f"should be of type {schema.type}, is {kind_of(fields['default'])}"
        findings.warning("$.default", message)
    return ParameterType(
        name=name,
        schema=schema,
        default=default,
        default_violations=violations,
        required=_required(fields, findings),
        is_empty=not fields,
        secret=secret,
        schemes=schemes,
        findings=findings.all(),
    )


def _default(fields: Mapping[str, Any], findings: Findings) -> str | None:
    if "default" not in fields:
        return None
    text = stringify(fields["default"], "$.default")
    if isinstance(text, Finding):
        findings.warning("$.default", f"{text.message}: there is no default")
        return None
    return text


def _required(fields: Mapping[str, Any], findings: Findings) -> bool:
    """Whatever Python takes for true is required, as in TrustGraph."""
    value = fields.get("required", False)
    if not isinstance(value, bool):
        meaning = "true" if value else "false"
        message = f"should be a boolean, is {kind_of(value)}; taken for {meaning}"
        findings.warning("$.required", message)
    return bool(value)


def _secret(fields: Mapping[str, Any], findings: Findings) -> bool:
    value = fields.get("secret", False)
    if not isinstance(value, bool):
        findings.error("$.secret", f"must be true or false, is {kind_of(value)}")
    return value is True


def _schemes(fields: Mapping[str, Any], findings: Findings) -> tuple[str, ...]:
    value = fields.get("schemes", [])
    if isinstance(value, list) and all(isinstance(each, str) and is_scheme(each) for each in value):
        return tuple(value)
    findings.error("$.schemes", 'must be a list of the schemes of resolver plug-ins: ["vault"]')
    return ()


def _asked(
    fields: Mapping[str, Any], schemes: tuple[str, ...], findings: Findings
) -> dict[str, Any]:
    """Of a secret type what can be asked of a reference: to be one of an ``enum``."""
    for keyword in sorted(KEYWORDS & fields.keys()):
        findings.warning(child("$", keyword), "is not checked: only the reference is known here")
    if "enum" not in fields:
        return {}
    items = fields["enum"]
    for index, item in enumerate(items if isinstance(items, list) else ()):
        text = item.get("id") if isinstance(item, dict) else item
        if not (isinstance(text, str) and is_reference(text, schemes)):
            findings.error(f"$.enum[{index}]", _must_refer(schemes))
    return {"enum": items}


def _must_refer(schemes: tuple[str, ...]) -> str:
    return f"must be a reference to a secret ({allowed(schemes)}), never the secret itself"


def _is_a(value: object, type_: str | None) -> bool:
    """Whether a JSON value is of a type, as JSON has it."""
    if type_ is None:
        return True
    if isinstance(value, bool):
        return type_ == "boolean"
    if isinstance(value, str):
        return type_ == "string"
    return type_ in ("integer", "number")


def secret_parameters(
    blueprint: Blueprint, types: Mapping[str, ParameterType | None]
) -> dict[str, ParameterType]:
    """The parameters that take references only, each with its type; ``types`` as for a resolve."""
    found = {name: types.get(each.type or "") for name, each in blueprint.parameters.items()}
    return {name: type_ for name, type_ in found.items() if type_ is not None and type_.secret}


def resolve(
    blueprint: Blueprint,
    types: Mapping[str, ParameterType | None],
    user: Mapping[str, ParameterValue],
) -> Resolved:
    """The value of every parameter of a flow, as a string, checked against its type.

    ``types`` holds what ``blueprint.parameter_types`` names, ``None`` for one that is not there.
    Parameters that the blueprint does not declare are kept, unchecked: its texts may use them all
    the same. A parameter that is not required, has no default and was not given has no value.

    Findings are warnings: a default that is used although its type would refuse it, from a user or
    in a parameter that it controls; a type that is empty; a value whose type does not exist.

    Raises :class:`ParametersInvalid` with every violation; paths are those of the request. A value
    that is refused by the type of a parameter that it controls is at the path where it was given.
    No message holds a value.
    """
    return _Resolver(blueprint, types, user).resolve()


class _Resolver:
    """Finds the values first, then checks them, and goes on after errors to find them all.

    ``sources`` says whose value a parameter has: its own name or that of the first in its chain
    of controllers. A parameter without a value, or whose value is no text, has none.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        types: Mapping[str, ParameterType | None],
        user: Mapping[str, ParameterValue],
    ) -> None:
        self.blueprint, self.types = blueprint, types
        self.findings = Findings()
        self.given: dict[str, str] = {}
        self.values: dict[str, str] = {}
        self.sources: dict[str, str] = {}
        self._take(user)

    def resolve(self) -> Resolved:
        for parameter in self.blueprint.parameters.values():  # controllers come first
            self._settle(parameter)
        self._check()
        if self.findings.has_errors:
            subject = f"what was given for blueprint {self.blueprint.name!r}"
            raise ParametersInvalid(subject, self.findings.all())
        values = self.values | self.given
        return Resolved(values=values, given=self.given, findings=self.findings.all())

    def _take(self, user: Mapping[str, ParameterValue]) -> None:
        """The user's values, as strings."""
        if len(user) > MAX_PARAMETERS:
            message = f"{len(user)} parameters were given, at most {MAX_PARAMETERS} are taken"
            self.findings.error("$.parameters", message)
            return
        for name, value in user.items():
            path = child("$.parameters", name)
            if not is_placeholder_name(name):
                message = "no placeholder can have this name, so nothing can use it"
                self.findings.error(path, message)
            text = stringify(value, path)
            if isinstance(text, Finding):
                self.findings.add(text)
                self.given[name] = ""
            else:
                self.given[name] = text
                self.sources[name] = name

    def _settle(self, parameter: Parameter) -> None:
        name, controller = parameter.name, parameter.controlled_by
        if name in self.given:
            self.values[name] = self.given[name]
        elif controller is not None and controller in self.values:
            self.values[name] = self.values[controller]
            if controller in self.sources:
                self.sources[name] = self.sources[controller]
        else:
            default = self._default(parameter)
            if default is not None:
                self.values[name] = default
                self.sources[name] = name

    def _default(self, parameter: Parameter) -> str | None:
        """What a parameter is that was neither given nor inherits a value."""
        if parameter.type is None:
            return None
        type_ = self.types.get(parameter.type)
        path = child("$.parameters", parameter.name)
        if type_ is None:
            message = (
                f"has no default, because parameter type {parameter.type!r} does not exist: "
                "give a value, or put that parameter type first"
            )
            self.findings.error(path, message)
            return None
        if type_.default is None and type_.required:
            source = f", here or for {parameter.controlled_by}" if parameter.controlled_by else ""
            self.findings.error(path, f"is required and has no default: give a value{source}")
        return type_.default

    # -- checking ----------------------------------------------------------------------------

    def _check(self) -> None:
        """Each value against each type that it meets, once: a chain often has one type only."""
        met: dict[tuple[str, str], list[str]] = {}
        for name, parameter in self.blueprint.parameters.items():
            if parameter.type is None:
                continue
            type_ = self.types.get(parameter.type)
            path = child("$.parameters", name)
            if type_ is not None and type_.is_empty:
                message = f"its type {parameter.type!r} is empty: no default, any value will do"
                self.findings.warning(path, message)
            if name not in self.sources:
                continue
            if type_ is None:
                message = f"is not checked, because its type {parameter.type!r} does not exist"
                self.findings.warning(path, message)
                continue
            met.setdefault((self.sources[name], parameter.type), []).append(name)
        self._check_secrets()
        for (source, type_name), names in met.items():
            type_ = self.types[type_name]
            if type_ is not None:
                self._check_value(source, type_, names)

    def _check_secrets(self) -> None:
        """A reference has to reach its processor whole, not inside a longer text."""
        secrets = secret_parameters(self.blueprint, self.types)
        for template in self.blueprint.templates.values() if secrets else ():
            for name in secrets.keys() & template.names:
                if template.segments != ("", name, ""):
                    message = f"is a secret: {{{name}}} must be all of a value in the blueprint"
                    self.findings.error(child("$.parameters", name), message)

    def _check_value(self, source: str, type_: ParameterType, names: list[str]) -> None:
        """The value of ``source``, which has come to ``names``, all of the same type."""
        own, given = source in names, source in self.given
        path = child("$.parameters", source)
        if own and not given:
            violations = type_.default_violations
        else:
            violations = type_.violations(self.values[source])
        for violation in violations:
            says = f"{violation} (parameter type {type_.name!r})"
            if own and given:
                self.findings.error(path, says)
            elif own:
                self.findings.warning(path, f"its default is what a user could not give: it {says}")
            elif given:
                message = f"also becomes {_listed(names)}, and as such {says}"
                self.findings.error(path, message)
            else:
                message = f"its default also becomes {_listed(names)}, and as such {says}"
                tell = self.findings.error if type_.secret else self.findings.warning
                tell(path, message)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
