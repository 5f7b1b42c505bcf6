"""Our values to the messages of ``kvconfig.flow.v1``, and back. Nothing is lost either way.

The domain's words are :mod:`flowsvc.model`; this is the only module that knows both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowsvc.api.v1 import flow_pb2 as pb
from flowsvc.errors import Finding
from flowsvc.model import Actor, Definition, Done, Flow, ParameterValue, StartFlow, StopFlow
from kvconfig.codec import encode
from kvconfig.model import Revision
from kvconfig.records import FlowRecord, FlowVariants, VariantRecord, decode_json_object

__all__ = [
    "actor_from",
    "blueprint_to",
    "definition_from",
    "done_from",
    "done_to",
    "flow_from",
    "flow_to",
    "parameter_text",
    "parameter_type_to",
    "start_from",
    "start_to",
    "stop_from",
    "stop_to",
]

_SEVERITY: dict[str, pb.Finding.Severity] = {
    "error": pb.Finding.SEVERITY_ERROR,
    "warning": pb.Finding.SEVERITY_WARNING,
}


def parameter_text(value: ParameterValue) -> str:
    """A parameter as flows hold it: text; ``true`` and ``0.3`` as JSON writes them."""
    return value if isinstance(value, str) else encode(value).decode()


# -- requests ------------------------------------------------------------------------------------


def start_to(request: StartFlow) -> pb.StartFlowRequest:
    """Raises :class:`kvconfig.errors.InvalidValue` for a parameter that is no JSON number."""
    return pb.StartFlowRequest(
        flow=request.flow,
        blueprint_name=request.blueprint_name,
        description=request.description,
        parameters={name: parameter_text(value) for name, value in request.parameters.items()},
        workspace=request.workspace,
        op=request.op,
        by=request.actor.by,
        why=request.actor.why,
        resent=request.resent,
    )


def start_from(message: pb.StartFlowRequest) -> StartFlow:
    """The inverse of :func:`start_to`, but that parameters stay text."""
    return StartFlow(
        flow=message.flow,
        blueprint_name=message.blueprint_name,
        description=message.description,
        parameters=dict(message.parameters),
        workspace=message.workspace or "default",
        op=message.op,
        resent=message.resent,
        actor=actor_from(message),
    )


def stop_to(request: StopFlow) -> pb.StopFlowRequest:
    """What asks to stop a flow."""
    return pb.StopFlowRequest(
        flow=request.flow,
        op=request.op,
        by=request.actor.by,
        why=request.actor.why,
        resent=request.resent,
    )


def stop_from(message: pb.StopFlowRequest) -> StopFlow:
    """The inverse of :func:`stop_to`."""
    return StopFlow(
        flow=message.flow, op=message.op, resent=message.resent, actor=actor_from(message)
    )


def actor_from(
    message: pb.StartFlowRequest
    | pb.StopFlowRequest
    | pb.PutBlueprintRequest
    | pb.PutParameterTypeRequest,
) -> Actor:
    """Who asks, and why."""
    return Actor(by=message.by, why=message.why)


# -- answers -------------------------------------------------------------------------------------


def done_to(done: Done) -> pb.Done:
    """What was committed."""
    return pb.Done(
        op=done.op,
        revision=done.revision,
        round_trips=done.round_trips,
        findings=[
            pb.Finding(path=f.path, message=f.message, severity=_SEVERITY[f.severity])
            for f in done.findings
        ],
    )


def done_from(message: pb.Done) -> Done:
    """The inverse of :func:`done_to`."""
    return Done(
        op=message.op,
        revision=Revision(message.revision),
        round_trips=message.round_trips,
        findings=tuple(_findings(message.findings)),
    )


def _findings(messages: Iterable[pb.Finding]) -> Iterable[Finding]:
    for message in messages:
        warning = message.severity == pb.Finding.SEVERITY_WARNING
        yield Finding(message.path, message.message, "warning" if warning else "error")


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
        paused=paused if message.HasField("paused") else None,
    )
    return Flow(
        id=message.id,
        record=record,
        mod_revision=Revision(message.revision),
        version=message.version,
    )


def blueprint_to(definition: Definition) -> pb.Blueprint:
    """A blueprint as it stands."""
    return pb.Blueprint(
        name=definition.name,
        definition=encode(definition.definition).decode(),
        revision=definition.mod_revision,
    )


def parameter_type_to(definition: Definition) -> pb.ParameterType:
    """A parameter type as it stands."""
    return pb.ParameterType(
        name=definition.name,
        definition=encode(definition.definition).decode(),
        revision=definition.mod_revision,
    )


def definition_from(message: pb.Blueprint | pb.ParameterType) -> Definition:
    """The inverse of both."""
    return Definition(
        name=message.name,
        definition=decode_json_object(message.definition.encode()),
        mod_revision=Revision(message.revision),
    )
