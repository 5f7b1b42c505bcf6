"""The gRPC server: messages in, :class:`flowsvc.model.Flows` called, messages out. No decisions.

Not here: TLS and who may call. The server binds loopback addresses and Unix sockets only, so those
who can reach it are those who have an account on the machine.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.message import Message

from flowsvc.api import convert, methods
from flowsvc.api.errors import DETAILS_KEY, status_to
from flowsvc.api.methods import Method
from flowsvc.api.v1 import flow_pb2 as pb
from flowsvc.errors import FlowServiceError
from flowsvc.model import Flows
from kvconfig.errors import KvError

__all__ = ["ListenRefused", "serve"]

_log = logging.getLogger(__name__)

PIECE_BYTES = 1024 * 1024
"""How large a piece of a list grows; one item may be larger, up to the message limit."""

_DETAILS_BYTES = 5_000  # for callers that say nothing: gRPC clients take 8 KiB of metadata
_DETAILS_MOST_BYTES = 512 * 1024
_MAX_CONCURRENT_CALLS = 1_000

T = TypeVar("T", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]


class ListenRefused(ValueError):
    """An address that cannot be listened on, or that others than this machine could reach."""

    def __init__(self, listen: str, reason: str) -> None:
        self.listen, self.reason = listen, reason
        super().__init__(f"cannot listen on {listen!r}: {reason}")


@asynccontextmanager
async def serve(
    flows: Flows, listen: str = "127.0.0.1:0", *, grace_s: float = 5.0
) -> AsyncIterator[int]:
    """Serve ``flows`` on ``listen`` (``host:port``, ``[::1]:port``, ``unix:path``); gives the port.

    On leaving, no new call is accepted and those that run have ``grace_s`` seconds to end.
    Raises :class:`ListenRefused` before anything is bound.
    """
    _check_listen(listen)
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),  # else two servers could share a port, and neither notice
            ("grpc.http2.min_ping_interval_without_data_ms", methods.PING_EVERY_MS - 1_000),
            ("grpc.max_receive_message_length", methods.MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", methods.MAX_MESSAGE_BYTES),
        ],
        maximum_concurrent_rpcs=_MAX_CONCURRENT_CALLS,
    )
    handlers = {method.name: _handler(flows, method) for method in methods.METHODS}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(methods.SERVICE, handlers),)
    )
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise ListenRefused(listen, "is the port in use? choose another, or 0") from error
    await server.start()
    try:
        yield port
    finally:
        await server.stop(grace_s)


def _check_listen(listen: str) -> None:
    if listen.startswith("unix:"):
        return
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ListenRefused(listen, "give host:port with a port of 0 to 65535")
    try:
        loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise ListenRefused(
            listen, "without TLS only loopback addresses are served (127.0.0.1, [::1], localhost)"
        )


# -- one call ------------------------------------------------------------------------------------


def _handler(flows: Flows, method: Method[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
    """What gRPC calls: decode, call, encode, and turn every error into a status."""
    if method.streams:
        listing = _LISTS[method]

        async def stream(request: Message, context: Context) -> AsyncIterator[Message]:
            try:
                pieces = await listing(flows)
            except Exception as error:  # noqa: BLE001 - the boundary: all that is raised is told
                await _abort(context, method, error)
            for piece in pieces:
                yield piece

        return grpc.unary_stream_rpc_method_handler(
            stream, method.request.FromString, method.response.SerializeToString
        )

    call = _CALLS[method]

    async def unary(request: Message, context: Context) -> Message:
        try:
            return await call(flows, request)
        except Exception as error:  # noqa: BLE001 - the boundary: all that is raised is told
            await _abort(context, method, error)

    return grpc.unary_unary_rpc_method_handler(
        unary, method.request.FromString, method.response.SerializeToString
    )


async def _abort(context: Context, method: Method[Any, Any], error: Exception) -> NoReturn:
    """End the call with the error. What is not of our tree is a defect: logged, and not told."""
    if not isinstance(error, FlowServiceError | KvError):
        _log.error("a call failed by a defect", exc_info=error, extra={"method": method.name})
        await context.abort(grpc.StatusCode.INTERNAL, "a defect of the service: see its log")
    code, status = status_to(error, limit_bytes=_details_limit(context))
    _log.info(
        "a call was refused",
        extra={"method": method.name, "code": code.name, "error": type(error).__name__},
    )
    trailer = ((DETAILS_KEY, status.SerializeToString()),)
    await context.abort(code, status.message, trailing_metadata=trailer)


def _details_limit(context: Context) -> int:
    """How many bytes of details the caller takes: see ``DETAILS_LIMIT_KEY``."""
    for key, value in context.invocation_metadata() or ():
        if key == methods.DETAILS_LIMIT_KEY and str(value).isdecimal():
            return min(int(value), _DETAILS_MOST_BYTES)
    return _DETAILS_BYTES


# -- what each method does -----------------------------------------------------------------------


async def _start_flow(flows: Flows, request: pb.StartFlowRequest) -> pb.Done:
    return convert.done_to(await flows.start_flow(convert.start_from(request)))


async def _stop_flow(flows: Flows, request: pb.StopFlowRequest) -> pb.Done:
    return convert.done_to(await flows.stop_flow(convert.stop_from(request)))


async def _get_flow(flows: Flows, request: pb.GetFlowRequest) -> pb.Flow:
    return convert.flow_to(await flows.get_flow(request.flow))


async def _put_blueprint(flows: Flows, request: pb.PutBlueprintRequest) -> pb.Done:
    definition, actor = request.definition.encode(), convert.actor_from(request)
    return convert.done_to(
        await flows.put_blueprint(request.name, definition, op=request.op, actor=actor)
    )


async def _get_blueprint(flows: Flows, request: pb.GetBlueprintRequest) -> pb.Blueprint:
    return convert.blueprint_to(await flows.get_blueprint(request.name))


async def _put_parameter_type(flows: Flows, request: pb.PutParameterTypeRequest) -> pb.Done:
    definition, actor = request.definition.encode(), convert.actor_from(request)
    return convert.done_to(
        await flows.put_parameter_type(request.name, definition, op=request.op, actor=actor)
    )


async def _get_parameter_type(
    flows: Flows, request: pb.GetParameterTypeRequest
) -> pb.ParameterType:
    return convert.parameter_type_to(await flows.get_parameter_type(request.name))


async def _list_flows(flows: Flows) -> Iterable[pb.ListFlowsResponse]:
    items = [convert.flow_to(flow) for flow in await flows.list_flows()]
    return (pb.ListFlowsResponse(flows=piece) for piece in pieces_of(items))


async def _list_blueprints(flows: Flows) -> Iterable[pb.ListBlueprintsResponse]:
    items = [convert.blueprint_to(found) for found in await flows.list_blueprints()]
    return (pb.ListBlueprintsResponse(blueprints=piece) for piece in pieces_of(items))


async def _list_parameter_types(flows: Flows) -> Iterable[pb.ListParameterTypesResponse]:
    items = [convert.parameter_type_to(found) for found in await flows.list_parameter_types()]
    return (pb.ListParameterTypesResponse(parameter_types=piece) for piece in pieces_of(items))


def pieces_of(items: Sequence[T], most_bytes: int = PIECE_BYTES) -> Iterable[list[T]]:
    """The items in order, in pieces that stay below ``most_bytes`` unless one item is larger."""
    piece: list[T] = []
    size = 0
    for item in items:
        grown = item.ByteSize() + 8
        if piece and size + grown > most_bytes:
            yield piece
            piece, size = [], 0
        piece.append(item)
        size += grown
    if piece:
        yield piece


_CALLS: dict[Method[Any, Any], Callable[[Flows, Any], Awaitable[Message]]] = {
    methods.START_FLOW: _start_flow,
    methods.STOP_FLOW: _stop_flow,
    methods.GET_FLOW: _get_flow,
    methods.PUT_BLUEPRINT: _put_blueprint,
    methods.GET_BLUEPRINT: _get_blueprint,
    methods.PUT_PARAMETER_TYPE: _put_parameter_type,
    methods.GET_PARAMETER_TYPE: _get_parameter_type,
}

_LISTS: dict[Method[Any, Any], Callable[[Flows], Awaitable[Iterable[Message]]]] = {
    methods.LIST_FLOWS: _list_flows,
    methods.LIST_BLUEPRINTS: _list_blueprints,
    methods.LIST_PARAMETER_TYPES: _list_parameter_types,
}
