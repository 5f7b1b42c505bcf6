"""The async client: :class:`flowsvc.model.Flows` over gRPC, with the errors of the service itself.

Every call ends within ``timeout_s``. It is sent again only where that is safe: after UNAVAILABLE,
and for changes because each carries an operation id, under which it is done once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import grpc
import msgspec
import tenacity

# Generated, with stubs but without py.typed.
from google.rpc import status_pb2  # type: ignore[import-untyped]

from flowsvc.api import convert, methods
from flowsvc.api.errors import DETAILS_KEY, error_from
from flowsvc.api.methods import Method, Req, Resp
from flowsvc.api.v1 import flow_pb2 as pb
from flowsvc.errors import (
    BlueprintInvalid,
    Finding,
    FlowServiceError,
    InvalidInput,
    ParameterTypeInvalid,
)
from flowsvc.ids import new_op
from flowsvc.model import NOBODY, Actor, Definition, Done, Flow, StartFlow, StopFlow
from kvconfig.errors import (
    InvalidValue,
    KvError,
    OutcomeUnknown,
    RequestTooLarge,
    Unavailable,
)

__all__ = ["Client", "ServerUnavailable"]

_DETAILS_BYTES = 256 * 1024
_METADATA = ((methods.DETAILS_LIMIT_KEY, str(_DETAILS_BYTES)),)
_ATTEMPTS = 4
_OPTIONS = [
    ("grpc.enable_retries", 0),  # we know which calls may be sent again, the channel does not
    ("grpc.max_metadata_size", 2 * _DETAILS_BYTES),
    ("grpc.max_send_message_length", methods.MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", 2 * methods.MAX_MESSAGE_BYTES),
    # A link that went silent is noticed, by pings while a call waits, before the call's deadline:
    # what may be sent again then is, over a new connection.
    ("grpc.keepalive_time_ms", methods.PING_EVERY_MS),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
]

_TRY_ELSEWHERE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,  # by the server: it stops, and did not wait for the call
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # more calls at once than it takes
)

_SETTLED = (pb.StartFlowRequest, pb.StopFlowRequest)
"""Requests that can say that they were sent before."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Attempt(Protocol[T_co]):
    """One attempt at a call; ``lost``: the answer to an earlier one was."""

    async def __call__(self, timeout_s: float, *, lost: bool) -> T_co: ...


class ServerUnavailable(Unavailable):
    """The flow service could not be reached, or gave no answer. Nothing was done."""

    def __init__(self, reason: str, *, endpoints: tuple[str, ...] = ()) -> None:
        super().__init__(reason, endpoints=endpoints)
        at = f" at {', '.join(endpoints)}" if endpoints else ""
        self.args = (f"the flow service{at} is not available: {reason}",)


class Client:
    """A flow service at ``target`` (``host:port``, ``unix:path``, or any gRPC name), without TLS.

    ::

        async with Client("127.0.0.1:7480") as flows:
            await flows.start_flow(StartFlow(flow="f1", blueprint_name="document-index"))

    Raises what the service raises, with the same fields. Beside that: ``ServerUnavailable`` (a
    ``kvconfig.errors.Unavailable``) where nothing was done, ``OutcomeUnknown`` where a change may
    have been; asking again with the same ``op`` is safe then. Nothing connects before the first
    call. To be used in one event loop.
    """

    def __init__(
        self, target: str, *, timeout_s: float = 10.0, make_op: Callable[[], str] = new_op
    ) -> None:
        self._target, self._timeout_s, self._make_op = target, timeout_s, make_op
        self._opened: grpc.aio.Channel | None = None
        self._calls: dict[str, Callable[..., Any]] = {}

    async def __aenter__(self) -> Self:
        self._opened = channel = grpc.aio.insecure_channel(self._target, options=_OPTIONS)
        for method in methods.METHODS:
            make = channel.unary_stream if method.streams else channel.unary_unary
            self._calls[method.name] = make(
                method.path, method.request.SerializeToString, method.response.FromString
            )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._opened is not None:
            self._calls.clear()
            await self._opened.close()

    # -- flows -----------------------------------------------------------------------------------

    async def start_flow(self, request: StartFlow) -> Done:
        """See :meth:`flowsvc.model.Flows.start_flow`."""
        request = msgspec.structs.replace(request, op=request.op or self._make_op())
        message = _message(lambda: convert.start_to(request))
        return convert.done_from(await self._one(methods.START_FLOW, message))

    async def stop_flow(self, request: StopFlow) -> Done:
        """See :meth:`flowsvc.model.Flows.stop_flow`."""
        request = msgspec.structs.replace(request, op=request.op or self._make_op())
        message = _message(lambda: convert.stop_to(request))
        return convert.done_from(await self._one(methods.STOP_FLOW, message))

    async def get_flow(self, flow: str) -> Flow:
        """See :meth:`flowsvc.model.Flows.get_flow`."""
        message = _message(lambda: pb.GetFlowRequest(flow=flow))
        return convert.flow_from(await self._one(methods.GET_FLOW, message))

    async def list_flows(self) -> list[Flow]:
        """See :meth:`flowsvc.model.Flows.list_flows`."""
        pieces = await self._all(methods.LIST_FLOWS, pb.ListFlowsRequest())
        return [convert.flow_from(flow) for piece in pieces for flow in piece.flows]

    # -- blueprints and parameter types ----------------------------------------------------------

    async def put_blueprint(
        self, name: str, definition: bytes, *, op: str = "", actor: Actor = NOBODY
    ) -> Done:
        """See :meth:`flowsvc.model.Flows.put_blueprint`."""
        text = _definition_text(definition, f"blueprint {name!r}", BlueprintInvalid)
        return await self._put(methods.PUT_BLUEPRINT, name, text, op, actor)

    async def get_blueprint(self, name: str) -> Definition:
        """See :meth:`flowsvc.model.Flows.get_blueprint`."""
        message = _message(lambda: pb.GetBlueprintRequest(name=name))
        found = await self._one(methods.GET_BLUEPRINT, message)
        return convert.definition_from(found)

    async def list_blueprints(self) -> list[Definition]:
        """See :meth:`flowsvc.model.Flows.list_blueprints`."""
        pieces = await self._all(methods.LIST_BLUEPRINTS, pb.ListBlueprintsRequest())
        return [convert.definition_from(found) for piece in pieces for found in piece.blueprints]

    async def put_parameter_type(
        self, name: str, definition: bytes, *, op: str = "", actor: Actor = NOBODY
    ) -> Done:
        """See :meth:`flowsvc.model.Flows.put_parameter_type`."""
        text = _definition_text(definition, f"parameter type {name!r}", ParameterTypeInvalid)
        return await self._put(methods.PUT_PARAMETER_TYPE, name, text, op, actor)

    async def get_parameter_type(self, name: str) -> Definition:
        """See :meth:`flowsvc.model.Flows.get_parameter_type`."""
        message = _message(lambda: pb.GetParameterTypeRequest(name=name))
        found = await self._one(methods.GET_PARAMETER_TYPE, message)
        return convert.definition_from(found)

    async def list_parameter_types(self) -> list[Definition]:
        """See :meth:`flowsvc.model.Flows.list_parameter_types`."""
        pieces = await self._all(methods.LIST_PARAMETER_TYPES, pb.ListParameterTypesRequest())
        return [
            convert.definition_from(found) for piece in pieces for found in piece.parameter_types
        ]

    async def _put(
        self, method: Method[Any, pb.Done], name: str, text: str, op: str, actor: Actor
    ) -> Done:
        op, by, why = op or self._make_op(), actor.by, actor.why
        message = _message(
            lambda: method.request(name=name, definition=text, op=op, by=by, why=why)
        )
        return convert.done_from(await self._one(method, message))

    # -- one call --------------------------------------------------------------------------------

    async def _one(self, method: Method[Req, Resp], request: Req) -> Resp:
        async def call(timeout_s: float, *, lost: bool) -> Resp:
            if lost and isinstance(request, _SETTLED):
                request.resent = True
            answer: Resp = await self._call(method)(request, timeout=timeout_s, metadata=_METADATA)
            return answer

        return await self._attempts(method, call)

    async def _all(self, method: Method[Req, Resp], request: Req) -> list[Resp]:
        async def call(timeout_s: float, *, lost: bool) -> list[Resp]:
            stream = self._call(method)(request, timeout=timeout_s, metadata=_METADATA)
            return [piece async for piece in stream]

        return await self._attempts(method, call)

    def _call(self, method: Method[Any, Any]) -> Callable[..., Any]:
        if self._opened is None:
            raise RuntimeError("the client is not open: use `async with Client(...)`")
        try:
            return self._calls[method.name]
        except KeyError:
            raise ServerUnavailable("the client is closed", endpoints=(self._target,)) from None

    async def _attempts(self, method: Method[Any, Any], call: _Attempt[T]) -> T:
        """Try, and again after UNAVAILABLE, within the one deadline.

        A refusal after a lost answer is final for those requests that can say so (``resent``); for
        others it does not tell what became of the first one.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        lost = ""  # why an attempt may have been carried out all the same
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Unavailable),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=1.0),
            stop=tenacity.stop_after_attempt(_ATTEMPTS)
            | tenacity.stop_before_delay(self._timeout_s),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    try:
                        left_s = max(deadline - loop.time(), 0.001)
                        return await call(left_s, lost=bool(lost))
                    except grpc.aio.AioRpcError as error:
                        raised = self._error(method, error)
                        again = isinstance(raised, Unavailable)
                        if again and method.changes and not _surely_undone(error):
                            lost = lost or str(raised)
                        raise raised from error
        except (FlowServiceError, KvError) as error:
            settled = issubclass(method.request, _SETTLED) and not isinstance(error, Unavailable)
            if lost and not settled:
                raise OutcomeUnknown(lost) from error
            raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _error(self, method: Method[Any, Any], error: grpc.aio.AioRpcError) -> Exception:
        """The error that a status stands for."""
        for key, value in error.trailing_metadata() or ():
            if key == DETAILS_KEY:
                return error_from(status_pb2.Status.FromString(value))
        code, said = error.code(), error.details() or "no reason given"
        at = (self._target,)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return ServerUnavailable(f"no answer within {self._timeout_s:g} s", endpoints=at)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in said:
            return RequestTooLarge()
        if code in _TRY_ELSEWHERE:
            return ServerUnavailable(said, endpoints=at)
        if code is grpc.StatusCode.UNIMPLEMENTED:
            said = f"does not know {method.path}: is it a flow service, of this version?"
        elif method.changes:
            return OutcomeUnknown(f"{self._target}: {code.name}: {said}")
        return FlowServiceError(f"{self._target}: {code.name}: {said}")


def _surely_undone(error: grpc.aio.AioRpcError) -> bool:
    """Whether a call that failed so cannot have changed anything.

    The service itself said no; or it was never reached, which gRPC tells in words only: where the
    words are others, the answer is no.
    """
    said = error.details() or ""
    return (
        any(key == DETAILS_KEY for key, _ in error.trailing_metadata() or ())
        or "failed to connect" in said
        or "Concurrent RPC limit" in said
    )


def _message(make: Callable[[], T]) -> T:
    """A request, or :class:`InvalidValue` for text that no message can hold."""
    try:
        return make()
    except UnicodeEncodeError as error:
        raise InvalidValue(f"not UTF-8: {error.reason}") from error


def _definition_text(definition: bytes, subject: str, invalid: type[InvalidInput]) -> str:
    try:
        return definition.decode()
    except UnicodeDecodeError as error:
        raise invalid(subject, [Finding("$", f"not JSON: {error}")]) from error
