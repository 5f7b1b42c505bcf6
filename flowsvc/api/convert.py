"""Our values to the messages of ``kvconfig.flow.v1``, and back. Nothing is lost either way.

The domain's words are :mod:`flowsvc.model`; this is the only module that knows both. Fields have
the same names on both sides, so one function each way does for requests and for most answers. What
differs:

* ``mod_revision`` is ``revision`` on the wire, ``actor`` is ``by`` and ``why``;
* parameters travel as text, values of any shape as JSON text;
* a choice (``"running"``) is an enum (``STATE_RUNNING``). A number that this version does not know
  reads as the first choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableSequence
from typing import Any, NamedTuple, TypeVar, cast

import msgspec
from google.protobuf.message import Message

from flowsvc.api import methods
from flowsvc.api.methods import ChangeMethod
from flowsvc.api.v1 import flow_pb2 as pb
from flowsvc.errors import BlueprintInvalid, Finding, InvalidInput, ParameterTypeInvalid
from flowsvc.model import (
    Actor,
    Change,
    Definition,
    DefinitionKind,
    Done,
    Flow,
    HistoryEntry,
    HistoryKind,
    ParameterValue,
    PauseFlow,
    Preview,
    Pruned,
    PutDefinition,
    VariantChange,
)
from flowsvc.status import (
    FlowStatus,
    InstanceReport,
    ProcessorInstance,
    ProcessorStatus,
    VariantStatus,
)
from kvconfig.codec import encode, parse_json
from kvconfig.model import Revision
from kvconfig.records import FlowRecord, FlowVariants, VariantRecord, decode_json_object

__all__ = [
    "answer_from",
    "answer_to",
    "change_from",
    "change_to",
    "definition_from",
    "definition_to",
    "flow_from",
    "flow_to",
    "history_kind_from",
    "history_kind_to",
    "older_than_from",
    "parameter_text",
    "preview_from",
    "preview_to",
    "restart_from",
    "restart_to",
]

S = TypeVar("S", bound=msgspec.Struct)
M = TypeVar("M", bound=Message)


def parameter_text(value: ParameterValue) -> str:
    """A parameter as flows hold it: text; ``true`` and ``0.3`` as JSON writes them."""
    return value if isinstance(value, str) else encode(value).decode()


# -- one value, one message ----------------------------------------------------------------------

_ANSWERS: dict[type[Message], type[msgspec.Struct]] = {
    pb.Done: Done,
    pb.Finding: Finding,
    pb.PreviewResponse: Preview,
    pb.VariantChange: VariantChange,
    pb.HistoryEntry: HistoryEntry,
    pb.PruneHistoryResponse: Pruned,
    pb.FlowStatus: FlowStatus,
    pb.VariantStatus: VariantStatus,
    pb.InstanceReport: InstanceReport,
    pb.ProcessorStatus: ProcessorStatus,
    pb.ProcessorInstance: ProcessorInstance,
}
_STRUCTS = {message.DESCRIPTOR.full_name: struct for message, struct in _ANSWERS.items()}
_MESSAGES = {struct: message for message, struct in _ANSWERS.items()}

_NAMES = {"mod_revision": "revision"}

# Descriptors are Any below: protobuf has two kinds of them, with one stub too few.


class _Field(NamedTuple):
    """How a field travels that is not what it looks like."""

    to: Callable[[Any], Any]
    back: Callable[[Any], Any]


_JSON = _Field(
    lambda value: encode(value).decode(),
    lambda text: parse_json(text.encode()) if text else None,
)
_FIELDS: dict[str, _Field] = {
    "parameters": _Field(
        lambda given: {name: parameter_text(value) for name, value in given.items()}, dict
    ),
    "definition": _Field(bytes.decode, str.encode),
    "before": _JSON,
    "after": _JSON,
    "txn": _JSON,
}


def _to(value: msgspec.Struct, message: type[M]) -> M:
    """``None`` is left out. Raises what no message can hold: ValueError, ``InvalidValue``."""
    fields: dict[str, Any] = {}
    for name in value.__struct_fields__:
        found = getattr(value, name)
        if isinstance(found, Actor):
            fields |= {"by": found.by, "why": found.why}
            continue
        known = message.DESCRIPTOR.fields_by_name.get(_NAMES.get(name, name))
        if known is None or found is None:  # a definition's kind: the method says it
            continue
        if how := _FIELDS.get(name):
            found = how.to(found)
        elif known.enum_type is not None:
            found = _number(known.enum_type, found)
        elif isinstance(found, tuple):
            found = [answer_to(one) if isinstance(one, msgspec.Struct) else one for one in found]
        fields[known.name] = found
    return message(**fields)


def _from(message: Message, struct: type[S], **more: object) -> S:
    """The inverse of :func:`_to`; ``more`` is what the message does not hold."""
    values: dict[str, Any] = dict(more)
    known = message.DESCRIPTOR.fields_by_name
    for name in struct.__struct_fields__:
        if name == "actor":
            values["actor"] = Actor(by=getattr(message, "by"), why=getattr(message, "why"))  # noqa: B009 - of any request
        elif field := known.get(_NAMES.get(name, name)):
            values[name] = _value(message, name, field)
    return struct(**values)


def _value(message: Message, name: str, field: Any) -> Any:
    if field.has_presence and not message.HasField(field.name):
        return None
    found = getattr(message, field.name)
    if how := _FIELDS.get(name):
        return how.back(found)
    if field.enum_type is not None:
        return _choice(field.enum_type, found)
    if isinstance(found, MutableSequence):
        return tuple(_part(one) if isinstance(one, Message) else one for one in found)
    return found


def _part(message: Message) -> msgspec.Struct:
    return _from(message, _STRUCTS[message.DESCRIPTOR.full_name])


def _prefix(enum: Any) -> str:
    """What the names of an enum's values begin with: HISTORY_KIND_ for HistoryKind."""
    first: str = enum.values[0].name
    return first.removesuffix("UNSPECIFIED")


def _number(enum: Any, choice: str) -> int:
    name = _prefix(enum) + choice.upper().replace("-", "_")
    number: int = enum.values_by_name[name].number
    return number


def _choice(enum: Any, number: int) -> str:
    value = enum.values_by_number.get(number) if number else None
    name: str = (value or enum.values[1]).name
    return name.removeprefix(_prefix(enum)).lower().replace("_", "-")


def answer_to(answer: msgspec.Struct) -> Message:
    """The message of an answer, or of a part of one."""
    return _to(answer, _MESSAGES[type(answer)])


def answer_from(message: Message, struct: type[S]) -> S:
    """The inverse of :func:`answer_to`."""
    return _from(message, struct)


# -- requests ------------------------------------------------------------------------------------


def change_to(request: Change) -> Message:
    """The message of :func:`flowsvc.api.methods.change_method`.

    Raises :class:`kvconfig.errors.InvalidValue` for a parameter that is no JSON number, what is
    said of a definition that is no text, and ValueError for what else a message cannot hold.
    """
    try:
        return cast(Message, _to(request, methods.change_method(request).request))
    except UnicodeDecodeError as error:
        assert isinstance(request, PutDefinition), "nothing else holds bytes"
        invalid, word = _DEFINITIONS[request.kind]
        finding = Finding("$", f"not JSON: {error}")
        raise invalid(f"{word} {request.name!r}", [finding]) from error


_DEFINITIONS: dict[DefinitionKind, tuple[type[InvalidInput], str]] = {
    "flow-blueprint": (BlueprintInvalid, "blueprint"),
    "parameter-type": (ParameterTypeInvalid, "parameter type"),
}


def change_from(method: ChangeMethod, message: Message) -> Change:
    """The inverse of :func:`change_to`, but that parameters stay text."""
    more: dict[str, object] = {} if method.kind is None else {"kind": method.kind}
    request = _from(message, method.asks, **more)
    if getattr(request, "workspace", None) == "":
        request = msgspec.structs.replace(request, workspace="default")
    return request


def preview_to(request: Change) -> pb.PreviewRequest:
    """What asks for a preview of the change."""
    field = methods.change_method(request).field
    return pb.PreviewRequest(**{field: change_to(request)})  # type: ignore[arg-type]


_BY_FIELD = {method.field: method for method in methods.CHANGES}


def preview_from(message: pb.PreviewRequest) -> Change:
    """The inverse of :func:`preview_to`. ``InvalidInput`` where there is no change in it."""
    field = message.WhichOneof("change")
    if field is None:
        raise InvalidInput("preview", [Finding("$.change", "is missing")])
    return change_from(_BY_FIELD[field], getattr(message, field))


def restart_to(request: PauseFlow) -> pb.RestartFlowRequest:
    """What asks for a restart."""
    return _to(request, pb.RestartFlowRequest)


def restart_from(message: pb.RestartFlowRequest) -> PauseFlow:
    """The inverse of :func:`restart_to`."""
    return _from(message, PauseFlow)


_KINDS = pb.DESCRIPTOR.enum_types_by_name["HistoryKind"]


def history_kind_to(kind: HistoryKind) -> pb.HistoryKind:
    """Whose history."""
    return cast(pb.HistoryKind, _number(_KINDS, kind))


def history_kind_from(number: int) -> HistoryKind:
    """The inverse. ``InvalidInput`` where it is not said, or not known here."""
    if not number or number not in _KINDS.values_by_number:
        raise InvalidInput("history", [Finding("$.kind", "is none that has a history")])
    return cast(HistoryKind, _choice(_KINDS, number))


def older_than_from(seconds: float) -> float:
    """An age. ``InvalidInput`` for what is none."""
    if not 0 <= seconds < float("inf"):
        raise InvalidInput("history", [Finding("$.older_than_s", "is no number of seconds")])
    return seconds


# -- flows and definitions -----------------------------------------------------------------------


def flow_to(flow: Flow) -> pb.Flow:
    """A flow as it stands."""
    record = flow.record
    return pb.Flow(
        id=flow.id,
        description=record.description,
        blueprint_name=record.blueprint_name,
        interfaces={name: pb.Interface(topics=t) for name, t in record.interfaces.items()},
        parameters=record.parameters,
        own_variants=record.variants.own,
        shared_variants=record.variants.shared,
        op=record.op,
        revision=flow.mod_revision,
        version=flow.version,
        paused=None if record.paused is None else _paused_to(record.paused),
        given=None if record.given is None else pb.Given(parameters=record.given),
        workspace=record.workspace,
    )


def _paused_to(paused: Mapping[str, VariantRecord]) -> pb.Paused:
    return pb.Paused(
        variants={
            name: pb.Variant(topics=variant.topics, parameters=variant.parameters)
            for name, variant in paused.items()
        }
    )


def flow_from(message: pb.Flow) -> Flow:
    """The inverse of :func:`flow_to`."""
    paused = {
        name: VariantRecord(topics=dict(v.topics), parameters=dict(v.parameters))
        for name, v in message.paused.variants.items()
    }
    record = FlowRecord(
        blueprint_name=message.blueprint_name,
        description=message.description,
        interfaces={name: dict(i.topics) for name, i in message.interfaces.items()},
        parameters=dict(message.parameters),
        variants=FlowVariants(
            own=tuple(message.own_variants), shared=tuple(message.shared_variants)
        ),
        op=message.op,
        given=dict(message.given.parameters) if message.HasField("given") else None,
        workspace=message.workspace or "default",
        paused=paused if message.HasField("paused") else None,
    )
    return Flow(
        id=message.id,
        record=record,
        mod_revision=Revision(message.revision),
        version=message.version,
    )


def definition_to(definition: Definition, message: type[M]) -> M:
    """A definition as it stands, as a ``Blueprint`` or a ``ParameterType``."""
    return message(
        name=definition.name,
        definition=encode(definition.definition).decode(),
        revision=definition.mod_revision,
    )


def definition_from(message: pb.Blueprint | pb.ParameterType) -> Definition:
    """The inverse of :func:`definition_to`."""
    return Definition(
        name=message.name,
        definition=decode_json_object(message.definition.encode()),
        mod_revision=Revision(message.revision),
    )
