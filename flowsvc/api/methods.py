"""Every method of the service, once: what the server registers and what the client calls.

There are no generated stubs: a method is a name on the wire and two message types, and this table
holds them. A test compares it with the descriptor of ``flow.proto``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from flowsvc.api.v1 import flow_pb2 as pb

__all__ = [
    "DETAILS_LIMIT_KEY",
    "GET_BLUEPRINT",
    "GET_FLOW",
    "GET_PARAMETER_TYPE",
    "LIST_BLUEPRINTS",
    "LIST_FLOWS",
    "LIST_PARAMETER_TYPES",
    "MAX_MESSAGE_BYTES",
    "METHODS",
    "PING_EVERY_MS",
    "PUT_BLUEPRINT",
    "PUT_PARAMETER_TYPE",
    "SERVICE",
    "START_FLOW",
    "STOP_FLOW",
    "Method",
]

SERVICE = "kvconfig.flow.v1.FlowService"

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""gRPC's own default. etcd holds 1.5 MiB at most, so nothing larger can be meant."""

PING_EVERY_MS = 5_000
"""How often a waiting client pings, and a server lets it (gRPC's default: every five minutes)."""

DETAILS_LIMIT_KEY = "kvconfig-details-bytes"
"""Request metadata: how many bytes of error details the caller can take.

They travel in trailers, where gRPC's default limit is 8 KiB for everything; a blueprint with a
hundred findings needs more. Our client raises its limit and says so; for others what fits is sent.
"""

Req = TypeVar("Req", bound=Message)
Resp = TypeVar("Resp", bound=Message)


@dataclass(frozen=True, kw_only=True)
class Method(Generic[Req, Resp]):
    """One method. ``streams``: the answer comes in pieces. ``changes``: it may write."""

    name: str
    request: type[Req]
    response: type[Resp]
    changes: bool = False
    streams: bool = False

    @property
    def path(self) -> str:
        """Its name on the wire."""
        return f"/{SERVICE}/{self.name}"


START_FLOW = Method(name="StartFlow", request=pb.StartFlowRequest, response=pb.Done, changes=True)
STOP_FLOW = Method(name="StopFlow", request=pb.StopFlowRequest, response=pb.Done, changes=True)
GET_FLOW = Method(name="GetFlow", request=pb.GetFlowRequest, response=pb.Flow)
LIST_FLOWS = Method(
    name="ListFlows", request=pb.ListFlowsRequest, response=pb.ListFlowsResponse, streams=True
)
PUT_BLUEPRINT = Method(
    name="PutBlueprint", request=pb.PutBlueprintRequest, response=pb.Done, changes=True
)
GET_BLUEPRINT = Method(name="GetBlueprint", request=pb.GetBlueprintRequest, response=pb.Blueprint)
LIST_BLUEPRINTS = Method(
    name="ListBlueprints",
    request=pb.ListBlueprintsRequest,
    response=pb.ListBlueprintsResponse,
    streams=True,
)
PUT_PARAMETER_TYPE = Method(
    name="PutParameterType", request=pb.PutParameterTypeRequest, response=pb.Done, changes=True
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

METHODS: tuple[Method[Any, Any], ...] = (
    START_FLOW,
    STOP_FLOW,
    GET_FLOW,
    LIST_FLOWS,
    PUT_BLUEPRINT,
    GET_BLUEPRINT,
    LIST_BLUEPRINTS,
    PUT_PARAMETER_TYPE,
    GET_PARAMETER_TYPE,
    LIST_PARAMETER_TYPES,
)
