"""Every method of the flow service, once: what the server registers and what the client calls.

There are no generated stubs: a method is a name on the wire and two message types, and these tables
hold them. A test compares them with the descriptor of ``flow.proto``.

A new change is one row of ``CHANGES``, with its message in ``flow.proto``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from flowsvc.api.v1 import flow_pb2 as pb
from flowsvc.model import (
    Change,
    DefinitionKind,
    DeleteDefinition,
    PauseFlow,
    PutDefinition,
    ResumeFlow,
    RollBackDefinition,
    RollBackFlow,
    RollOut,
    StartFlow,
    StopFlow,
    UpdateFlow,
)

__all__ = [
    "CHANGES",
    "DETAILS_LIMIT_KEY",
    "GET_BLUEPRINT",
    "GET_FLOW",
    "GET_FLOW_STATUS",
    "GET_HISTORY",
    "GET_PARAMETER_TYPE",
    "LIST_BLUEPRINTS",
    "LIST_FLOWS",
    "LIST_FLOW_STATUSES",
    "LIST_PARAMETER_TYPES",
    "MAX_ANSWER_BYTES",
    "MAX_MESSAGE_BYTES",
    "METHODS",
    "PING_EVERY_MS",
    "PREVIEW",
    "PRUNE_HISTORY",
    "RESTART_FLOW",
    "SERVICE",
    "WATCHING_KEY",
    "WATCH_FLOWS",
    "ChangeMethod",
    "Method",
    "change_method",
]

SERVICE = "kvconfig.flow.v1.FlowService"

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""Of a request; gRPC's own default. etcd holds 1.5 MiB at most, so nothing larger can be meant."""

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Of an answer: a preview says three times over what one transaction can hold."""

PING_EVERY_MS = 5_000
"""How often a waiting client pings, and a server lets it (gRPC's default: every five minutes)."""

DETAILS_LIMIT_KEY = "kvconfig-details-bytes"
"""Request metadata: how many bytes of error details the caller can take.

They travel in trailers, where gRPC's default limit is 8 KiB for everything; a blueprint with a
hundred findings needs more. Our client raises its limit and says so; for others what fits is sent.
"""

WATCHING_KEY = "kvconfig-watching"
"""Initial metadata of a watch: it has begun. A refusal has initial metadata too."""

Req = TypeVar("Req", bound=Message)
Resp = TypeVar("Resp", bound=Message)


@dataclass(frozen=True, kw_only=True)
class Method(Generic[Req, Resp]):
    """One method.

    ``streams``: the answer comes in pieces. ``changes``: it may write. ``settles``: it is one
    transaction, so that a refusal of a request that was ``resent`` tells what became of the one
    whose answer was lost. ``wait_s``: how much longer than others it may take by its nature.
    """

    service: str = SERVICE
    name: str
    request: type[Req]
    response: type[Resp]
    changes: bool = False
    settles: bool = False
    streams: bool = False
    wait_s: float = 0.0

    @property
    def path(self) -> str:
        """Its name on the wire."""
        return f"/{self.service}/{self.name}"

    @property
    def items(self) -> str:
        """The field of a piece that holds its items: the first."""
        field, *_ = self.response.DESCRIPTOR.fields
        return field.name

    @property
    def parts(self) -> tuple[str, ...]:
        """The fields that say something of one thing each: its items, and what is unreadable."""
        told = "unreadable" in self.response.DESCRIPTOR.fields_by_name
        return (self.items, "unreadable") if told else (self.items,)


@dataclass(frozen=True, kw_only=True)
class ChangeMethod(Method[Any, pb.Done]):
    """One change: which request of ours it carries, and for definitions of which kind."""

    asks: type[Change]
    kind: DefinitionKind | None = None

    @property
    def field(self) -> str:
        """Its field in ``PreviewRequest``: start_flow for StartFlow."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", self.name).lower()


def _change(
    name: str, request: type[Message], asks: type[Change], kind: DefinitionKind | None = None
) -> ChangeMethod:
    return ChangeMethod(
        name=name,
        request=request,
        response=pb.Done,
        changes=True,
        settles=True,
        asks=asks,
        kind=kind,
    )


CHANGES: tuple[ChangeMethod, ...] = (
    _change("StartFlow", pb.StartFlowRequest, StartFlow),
    _change("StopFlow", pb.StopFlowRequest, StopFlow),
    _change("UpdateFlow", pb.UpdateFlowRequest, UpdateFlow),
    _change("PauseFlow", pb.PauseFlowRequest, PauseFlow),
    _change("ResumeFlow", pb.ResumeFlowRequest, ResumeFlow),
    _change("RollBackFlow", pb.RollBackFlowRequest, RollBackFlow),
    _change("RollOut", pb.RollOutRequest, RollOut),
    _change("PutBlueprint", pb.PutBlueprintRequest, PutDefinition, "flow-blueprint"),
    _change("DeleteBlueprint", pb.DeleteBlueprintRequest, DeleteDefinition, "flow-blueprint"),
    _change("RollBackBlueprint", pb.RollBackBlueprintRequest, RollBackDefinition, "flow-blueprint"),
    _change("PutParameterType", pb.PutParameterTypeRequest, PutDefinition, "parameter-type"),
    _change(
        "DeleteParameterType", pb.DeleteParameterTypeRequest, DeleteDefinition, "parameter-type"
    ),
    _change(
        "RollBackParameterType",
        pb.RollBackParameterTypeRequest,
        RollBackDefinition,
        "parameter-type",
    ),
)
"""Each is one transaction, or nothing."""

_BY_REQUEST = {(method.asks, method.kind): method for method in CHANGES}


def change_method(request: Change) -> ChangeMethod:
    """The method that carries the request."""
    return _BY_REQUEST[type(request), getattr(request, "kind", None)]


RESTART_FLOW = Method(
    name="RestartFlow", request=pb.RestartFlowRequest, response=pb.Done, changes=True, wait_s=30.0
)
PREVIEW = Method(name="Preview", request=pb.PreviewRequest, response=pb.PreviewResponse)

GET_FLOW = Method(name="GetFlow", request=pb.GetFlowRequest, response=pb.Flow)
LIST_FLOWS = Method(
    name="ListFlows", request=pb.ListFlowsRequest, response=pb.ListFlowsResponse, streams=True
)
GET_BLUEPRINT = Method(name="GetBlueprint", request=pb.GetBlueprintRequest, response=pb.Blueprint)
LIST_BLUEPRINTS = Method(
    name="ListBlueprints",
    request=pb.ListBlueprintsRequest,
    response=pb.ListBlueprintsResponse,
    streams=True,
)
GET_PARAMETER_TYPE = Method(
    name="GetParameterType", request=pb.GetParameterTypeRequest, response=pb.ParameterType
)
LIST_PARAMETER_TYPES = Method(
    name="ListParameterTypes",
    request=pb.ListParameterTypesRequest,
    response=pb.ListParameterTypesResponse,
    streams=True,
)

GET_HISTORY = Method(
    name="GetHistory", request=pb.GetHistoryRequest, response=pb.GetHistoryResponse, streams=True
)
PRUNE_HISTORY = Method(
    name="PruneHistory",
    request=pb.PruneHistoryRequest,
    response=pb.PruneHistoryResponse,
    changes=True,
)

GET_FLOW_STATUS = Method(
    name="GetFlowStatus", request=pb.GetFlowStatusRequest, response=pb.FlowStatus
)
LIST_FLOW_STATUSES = Method(
    name="ListFlowStatuses",
    request=pb.ListFlowStatusesRequest,
    response=pb.ListFlowStatusesResponse,
    streams=True,
)
GET_PROCESSOR = Method(
    name="GetProcessor", request=pb.GetProcessorRequest, response=pb.ProcessorStatus
)
LIST_PROCESSORS = Method(
    name="ListProcessors",
    request=pb.ListProcessorsRequest,
    response=pb.ListProcessorsResponse,
    streams=True,
)
WATCH_FLOWS = Method(
    name="WatchFlows", request=pb.WatchFlowsRequest, response=pb.FlowStatus, streams=True
)

METHODS: tuple[Method[Any, Any], ...] = (
    *CHANGES,
    RESTART_FLOW,
    PREVIEW,
    GET_FLOW,
    LIST_FLOWS,
    GET_BLUEPRINT,
    LIST_BLUEPRINTS,
    GET_PARAMETER_TYPE,
    LIST_PARAMETER_TYPES,
    GET_HISTORY,
    PRUNE_HISTORY,
    GET_FLOW_STATUS,
    LIST_FLOW_STATUSES,
    GET_PROCESSOR,
    LIST_PROCESSORS,
    WATCH_FLOWS,
)
