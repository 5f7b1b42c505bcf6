"""Every method of the config service, once: what the server registers and what the client calls.

As :mod:`flowsvc.api.methods` has those of the flow service; a test compares them with
``config.proto``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from flowsvc.api.methods import Method
from flowsvc.api.v1 import config_pb2 as pb

__all__ = [
    "DELETE",
    "DELETE_SCHEMA",
    "GET",
    "GET_EVERYTHING",
    "GET_VALUES",
    "LIST_KEYS",
    "LIST_TYPES",
    "METHODS",
    "PUT",
    "PUT_APPLIED",
    "PUT_SCHEMA",
    "SERVICE",
    "WATCH_CONFIG",
]

SERVICE = "kvconfig.config.v1.ConfigService"

_method = partial(Method, service=SERVICE)

GET = _method(name="Get", request=pb.GetRequest, response=pb.GetResponse, streams=True)
LIST_TYPES = _method(name="ListTypes", request=pb.ListTypesRequest, response=pb.ListTypesResponse)
LIST_KEYS = _method(
    name="ListKeys", request=pb.ListKeysRequest, response=pb.ListKeysResponse, streams=True
)
GET_VALUES = _method(
    name="GetValues", request=pb.GetValuesRequest, response=pb.GetValuesResponse, streams=True
)
GET_EVERYTHING = _method(
    name="GetEverything",
    request=pb.GetEverythingRequest,
    response=pb.GetEverythingResponse,
    streams=True,
)
PUT = _method(name="Put", request=pb.PutRequest, response=pb.PutResponse, changes=True)
DELETE = _method(name="Delete", request=pb.DeleteRequest, response=pb.DeleteResponse, changes=True)
PUT_SCHEMA = _method(
    name="PutSchema", request=pb.PutSchemaRequest, response=pb.PutSchemaResponse, changes=True
)
DELETE_SCHEMA = _method(
    name="DeleteSchema",
    request=pb.DeleteSchemaRequest,
    response=pb.DeleteSchemaResponse,
    changes=True,
)
PUT_APPLIED = _method(
    name="PutApplied", request=pb.PutAppliedRequest, response=pb.PutAppliedResponse, changes=True
)
WATCH_CONFIG = _method(
    name="WatchConfig", request=pb.WatchConfigRequest, response=pb.WatchConfigResponse, streams=True
)

METHODS: tuple[Method[Any, Any], ...] = (
    GET,
    LIST_TYPES,
    LIST_KEYS,
    GET_VALUES,
    GET_EVERYTHING,
    PUT,
    DELETE,
    PUT_SCHEMA,
    DELETE_SCHEMA,
    PUT_APPLIED,
    WATCH_CONFIG,
)
