"""The async client: :class:`flowsvc.model.Flows` over gRPC, with the errors of the service itself.

Every call ends within ``timeout_s`` (a restart, which waits for processors, within 30 s more); a
watch does not. It is sent again only where that is safe: after UNAVAILABLE, and for changes because
each carries an operation id, under which it is done once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
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
from flowsvc.errors import FlowServiceError, NotFound, TooMuchContention
from flowsvc.ids import new_op
from flowsvc.model import (
    Change,
    Definition,
    DefinitionKind,
    Done,
    Flow,
    Flows,
    HistoryEntry,
    HistoryKind,
    PauseFlow,
    Preview,
    Pruned,
)
from flowsvc.status import FlowStatus
from kvconfig.backoff import Backoff
from kvconfig.errors import InvalidValue, KvError, OutcomeUnknown, RequestTooLarge, Unavailable
from kvconfig.model import Revision

__all__ = ["Client", "ServerUnavailable"]

_DETAILS_BYTES = 256 * 1024
_METADATA = ((methods.DETAILS_LIMIT_KEY, str(_DETAILS_BYTES)),)
_ATTEMPTS = 4
_OPTIONS = [
    ("grpc.enable_retries", 0),  # we know which calls may be sent again, the channel does not
    ("grpc.max_metadata_size", 2 * _DETAILS_BYTES),
    ("grpc.max_send_message_length", methods.MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", 2 * methods.MAX_ANSWER_BYTES),
    # A link that went silent is noticed, by pings while a call waits, before the call's deadline:
    # what may be sent again then is, over a new connection.
    ("grpc.keepalive_time_ms", methods.PING_EVERY_MS),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.http2.max_pings_without_data", 0),  # a watch may hear nothing for long
]

_TRY_ELSEWHERE = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.CANCELLED,  # by the server: it stops, and did not wait for the call
    grpc.StatusCode.RESOURCE_EXHAUSTED,  # more calls at once than it takes
)

_DEFINITIONS: dict[DefinitionKind, tuple[Method[Any, Any], Method[Any, Any]]] = {
    "flow-blueprint": (methods.GET_BLUEPRINT, methods.LIST_BLUEPRINTS),
    "parameter-type": (methods.GET_PARAMETER_TYPE, methods.LIST_PARAMETER_TYPES),
}
"""How to get one, and how to list them."""

_log = logging.getLogger(__name__)

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


class Client(Flows):
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

    # -- changes ---------------------------------------------------------------------------------

    async def change(self, request: Change) -> Done:
        """See :meth:`flowsvc.model.Flows.change`."""
        request = msgspec.structs.replace(request, op=request.op or self._make_op())
        message = _message(lambda: convert.change_to(request))
        answer = await self._one(methods.change_method(request), message)
        return convert.answer_from(answer, Done)

    async def preview(self, request: Change) -> Preview:
        """See :meth:`flowsvc.model.Flows.preview`."""
        message = _message(lambda: convert.preview_to(request))
        answer = await self._one(methods.PREVIEW, message)
        return convert.answer_from(answer, Preview)

    async def restart_flow(self, request: PauseFlow) -> Done:
        """See :meth:`flowsvc.model.Flows.restart_flow`.

        As it is two transactions, a refusal after a lost answer comes as ``OutcomeUnknown``.
        """
        request = msgspec.structs.replace(request, op=request.op or self._make_op())
        message = _message(lambda: convert.restart_to(request))
        answer = await self._one(methods.RESTART_FLOW, message)
        return convert.answer_from(answer, Done)

    # -- reads -----------------------------------------------------------------------------------

    async def get_flow(self, flow: str) -> Flow:
        """See :meth:`flowsvc.model.Flows.get_flow`."""
        message = _message(lambda: pb.GetFlowRequest(flow=flow))
        return convert.flow_from(await self._one(methods.GET_FLOW, message))

    async def list_flows(self) -> list[Flow]:
        """See :meth:`flowsvc.model.Flows.list_flows`."""
        found = await self._all(methods.LIST_FLOWS, pb.ListFlowsRequest())
        return [convert.flow_from(flow) for flow in found]

    async def get_definition(self, kind: DefinitionKind, name: str) -> Definition:
        """See :meth:`flowsvc.model.Flows.get_definition`."""
        get, _ = _DEFINITIONS[kind]
        return convert.definition_from(
            await self._one(get, _message(lambda: get.request(name=name)))
        )

    async def list_definitions(self, kind: DefinitionKind) -> list[Definition]:
        """See :meth:`flowsvc.model.Flows.list_definitions`."""
        _, list_ = _DEFINITIONS[kind]
        return [convert.definition_from(found) for found in await self._all(list_, list_.request())]

    # -- history ---------------------------------------------------------------------------------

    async def history(self, kind: HistoryKind, name: str) -> list[HistoryEntry]:
        """See :meth:`flowsvc.model.Flows.history`."""
        message = _message(
            lambda: pb.GetHistoryRequest(kind=convert.history_kind_to(kind), name=name)
        )
        return [
            convert.answer_from(entry, HistoryEntry)
            for entry in await self._all(methods.GET_HISTORY, message)
        ]

    async def prune_history(
        self, kind: HistoryKind, *, older_than_s: float, name: str = "", dry_run: bool = False
    ) -> Pruned:
        """See :meth:`flowsvc.model.Flows.prune_history`.

        Where an answer was lost, it counts what the call that was answered has found.
        """
        message = _message(
            lambda: pb.PruneHistoryRequest(
                kind=convert.history_kind_to(kind),
                older_than_s=older_than_s,
                name=name,
                dry_run=dry_run,
            )
        )
        answer = await self._one(methods.PRUNE_HISTORY, message)
        return convert.answer_from(answer, Pruned)

    # -- status ----------------------------------------------------------------------------------

    async def get_status(self, flow: str) -> FlowStatus:
        """See :meth:`flowsvc.model.Flows.get_status`."""
        message = _message(lambda: pb.GetFlowStatusRequest(flow=flow))
        answer = await self._one(methods.GET_FLOW_STATUS, message)
        return convert.answer_from(answer, FlowStatus)

    async def list_statuses(self) -> list[FlowStatus]:
        """See :meth:`flowsvc.model.Flows.list_statuses`."""
        found = await self._all(methods.LIST_FLOW_STATUSES, pb.ListFlowStatusesRequest())
        return [convert.answer_from(status, FlowStatus) for status in found]

    async def watch_flows(self) -> AsyncGenerator[FlowStatus, None]:
        """See :meth:`flowsvc.model.Flows.watch_flows`. Connects again, for ever, when it is cut.

        The first connection has the attempts that any call has, then ``ServerUnavailable`` is
        raised. After a cut every flow's status comes again, and flows that are gone meanwhile come
        as "stopped". An error other than ``Unavailable`` is raised. Whoever stops early closes it
        (``contextlib.aclosing``).
        """
        method, backoff = methods.WATCH_FLOWS, Backoff(first_s=0.1)
        stream = await self._attempts(method, self._begin_watch)
        known: set[str] = set()
        while True:
            try:
                if stream is None:
                    stream = await self._attempts(method, self._begin_watch)
                    for status in await self._gone(known):
                        known.remove(status.flow)
                        yield status
                # An end without an error is a cut too: a watch has none.
                while (message := await stream.read()) is not grpc.aio.EOF:
                    backoff.reset()
                    status = convert.answer_from(message, FlowStatus)
                    (known.discard if status.state == "stopped" else known.add)(status.flow)
                    yield status
            except Unavailable:
                if self._closed:
                    raise
            except grpc.aio.AioRpcError as error:
                raised = self._error(method, error)
                if not isinstance(raised, Unavailable):
                    raise raised from error
            except asyncio.CancelledError:
                if self._closed:  # which cancels the stream, and with it who waits for it
                    raise self._is_closed() from None
                raise
            finally:
                if stream is not None:
                    stream.cancel()
            stream = None
            _log.warning("watch of flows cut", extra={"cuts": backoff.attempts + 1})
            await asyncio.sleep(backoff.next_s())

    async def _gone(self, known: set[str]) -> list[FlowStatus]:
        """Those of the flows that are not there any more. One that cannot be read still is."""
        there = {status.flow for status in await self.list_statuses()}
        gone = []
        for flow in sorted(known - there):
            try:
                status = await self.get_status(flow)
            except NotFound:
                status = FlowStatus(flow=flow, state="stopped", mod_revision=Revision(0))
            except (InvalidValue, TooMuchContention):
                continue
            if status.state == "stopped":  # else it was started again, and the watch tells of it
                gone.append(status)
        return gone

    async def _begin_watch(self, timeout_s: float, *, lost: bool) -> Any:
        """A call of WatchFlows that the server has begun to answer."""
        stream = self._call(methods.WATCH_FLOWS)(pb.WatchFlowsRequest(), metadata=_METADATA)
        try:
            async with asyncio.timeout(timeout_s):
                metadata = await stream.initial_metadata()
                if methods.WATCHING_KEY not in (metadata or ()):
                    await stream.read()  # raises why
                    raise ServerUnavailable("no watch there", endpoints=(self._target,))
        except TimeoutError:
            stream.cancel()
            raise self._too_late(methods.WATCH_FLOWS) from None
        except BaseException:
            stream.cancel()
            raise
        return stream

    # -- one call --------------------------------------------------------------------------------

    async def _one(self, method: Method[Req, Resp], request: Req) -> Resp:
        async def call(timeout_s: float, *, lost: bool) -> Resp:
            if lost and "resent" in request.DESCRIPTOR.fields_by_name:
                setattr(request, "resent", True)  # noqa: B010 - of those messages that have it
            answer: Resp = await self._call(method)(request, timeout=timeout_s, metadata=_METADATA)
            return answer

        return await self._attempts(method, call)

    async def _all(self, method: Method[Req, Resp], request: Req) -> list[Any]:
        """The items of all pieces."""

        async def call(timeout_s: float, *, lost: bool) -> list[Resp]:
            stream = self._call(method)(request, timeout=timeout_s, metadata=_METADATA)
            return [piece async for piece in stream]

        pieces = await self._attempts(method, call)
        return [item for piece in pieces for item in getattr(piece, method.items)]

    def _call(self, method: Method[Any, Any]) -> Callable[..., Any]:
        if self._opened is None:
            raise RuntimeError("the client is not open: use `async with Client(...)`")
        try:
            return self._calls[method.name]
        except KeyError:
            raise self._is_closed() from None

    @property
    def _closed(self) -> bool:
        return not self._calls

    async def _attempts(self, method: Method[Any, Any], call: _Attempt[T]) -> T:
        """Try, and again after UNAVAILABLE, within the one deadline.

        After a lost answer, what a later attempt raises tells what became of the first one only
        where the service has settled it (see ``resent`` in ``flow.proto``).
        """
        loop = asyncio.get_running_loop()
        limit_s = self._timeout_s + method.wait_s
        deadline = loop.time() + limit_s
        lost = ""  # why an attempt may have been carried out all the same
        settled = False
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Unavailable),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=1.0),
            stop=tenacity.stop_after_attempt(_ATTEMPTS) | tenacity.stop_before_delay(limit_s),
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
                        settled = method.settles and _is_refusal(error, raised)
                        raise raised from error
        except (FlowServiceError, KvError) as error:
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
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return self._too_late(method)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in said:
            return RequestTooLarge()
        if code in _TRY_ELSEWHERE:
            return ServerUnavailable(said, endpoints=(self._target,))
        if code is grpc.StatusCode.UNIMPLEMENTED:
            said = f"does not know {method.path}: is it a flow service, of this version?"
        elif method.changes:
            return OutcomeUnknown(f"{self._target}: {code.name}: {said}")
        return FlowServiceError(f"{self._target}: {code.name}: {said}")

    def _too_late(self, method: Method[Any, Any]) -> ServerUnavailable:
        said = f"no answer within {self._timeout_s + method.wait_s:g} s"
        return ServerUnavailable(said, endpoints=(self._target,))

    def _is_closed(self) -> ServerUnavailable:
        return ServerUnavailable("the client is closed", endpoints=(self._target,))


def _told(error: grpc.aio.AioRpcError) -> bool:
    """Whether it is the service's own word, not that of gRPC or of somebody on the way."""
    return any(key == DETAILS_KEY for key, _ in error.trailing_metadata() or ())


def _is_refusal(error: grpc.aio.AioRpcError, raised: Exception) -> bool:
    """Whether the service has judged the request, and said no.

    An error of the store (a ``KvError``) is no judgement, and neither is that a server, perhaps an
    older one beside the first, does not know the method.
    """
    return _told(error) and isinstance(raised, FlowServiceError)


def _surely_undone(error: grpc.aio.AioRpcError) -> bool:
    """Whether a call that failed so cannot have changed anything.

    The service itself said no; or it was never reached, which gRPC tells in words only: where the
    words are others, the answer is no.
    """
    said = error.details() or ""
    return _told(error) or "failed to connect" in said or "Concurrent RPC limit" in said


def _message(make: Callable[[], T]) -> T:
    """A request, or :class:`InvalidValue` for what no message can hold."""
    try:
        return make()
    except UnicodeEncodeError as error:
        raise InvalidValue(f"not UTF-8: {error.reason}") from error
    except ValueError as error:  # a number out of range
        raise InvalidValue(str(error)) from error
