"""The gRPC server: messages in, :class:`flowsvc.model.Flows` called, messages out. No decisions.

Beside the flow service it offers the configuration, where it is given one, ``grpc.health.v1``, and
reflection where that is asked for. Any number of servers may work on one etcd: none holds anything
that another one needs, so each of them can be killed at any moment.

What is logged never holds a value, neither of a request nor of an answer: names of methods, codes,
classes of errors, and for a defect the lines of code that it went through.

Not here: TLS and who may call. The server binds loopback addresses and Unix sockets only, so those
who can reach it are those who have an account on the machine.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

# Without types.
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]

from flowsvc import config_server
from flowsvc.api import config_methods, convert, methods
from flowsvc.api.errors import DETAILS_KEY, status_to
from flowsvc.api.health import HEALTH_SERVICE, Health
from flowsvc.api.methods import Method
from flowsvc.api.pieces import pieces_of
from flowsvc.api.v1 import flow_pb2 as pb
from flowsvc.errors import FlowServiceError
from flowsvc.model import DefinitionKind, Flows, HistoryEntry, Pruned
from kvconfig.config import Configuration
from kvconfig.errors import KvError
from kvconfig.owner import until_one_ends

__all__ = ["ListenRefused", "serve"]

_log = logging.getLogger(__name__)

_DETAILS_BYTES = 5_000  # for callers that say nothing: gRPC clients take 8 KiB of metadata
_DETAILS_MOST_BYTES = 512 * 1024
_MAX_CONCURRENT_CALLS = 1_000
_MAX_WATCHES = 500  # of those calls: watches last, and must leave room for the others

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]

_Answer = Callable[[Any], Awaitable[Message]]
_Answers = Callable[[Any], AsyncIterator[Message]]
_Handlers: TypeAlias = "dict[str, grpc.RpcMethodHandler[Any, Any]]"


class ListenRefused(ValueError):
    """An address that cannot be listened on, or that others than this machine could reach."""

    def __init__(self, listen: str, reason: str) -> None:
        self.listen, self.reason = listen, reason
        super().__init__(f"cannot listen on {listen!r}: {reason}")


@asynccontextmanager
async def serve(
    flows: Flows,
    listen: str = "127.0.0.1:0",
    *,
    config: Configuration | None = None,
    grace_s: float = 5.0,
    reflection: bool = False,
    fresh: Callable[[], bool] = lambda: True,
    fresh_every_s: float = 0.5,
) -> AsyncIterator[int]:
    """Serve ``flows`` on ``listen`` (``host:port``, ``[::1]:port``, ``unix:path``); gives the port.

    ``config``: the configuration, to be served too. ``reflection``: tell foreign clients what there
    is. ``fresh``: whether ``flows`` knows enough to be asked; asked every ``fresh_every_s``
    seconds, and told to who asks for the server's health.

    On leaving the health is NOT_SERVING, watches end as UNAVAILABLE, no new call is accepted, and
    those that run have ``grace_s`` seconds to end. Raises :class:`ListenRefused` before anything is
    bound.
    """
    _check_listen(listen)
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),  # else two servers could share a port, and neither notice
            ("grpc.http2.min_ping_interval_without_data_ms", methods.PING_EVERY_MS - 1_000),
            ("grpc.max_receive_message_length", methods.MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", methods.MAX_ANSWER_BYTES),
        ],
        maximum_concurrent_rpcs=_MAX_CONCURRENT_CALLS,
    )
    watches = _Watches()
    services = {methods.SERVICE: _flow_handlers(flows, watches)}
    if config is not None:
        services[config_methods.SERVICE] = _config_handlers(config, watches)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(*service) for service in services.items()]
    )
    health = Health(fresh, services, every_s=fresh_every_s)
    health.add_to(server)
    if reflection:
        _add_reflection(server, services)
    try:
        port = server.add_insecure_port(listen)
    except RuntimeError as error:
        raise ListenRefused(listen, "is the port in use? choose another, or 0") from error
    async with health:
        await server.start()
        try:
            yield port
        finally:
            await health.stop()
            watches.stopping.set()
            await server.stop(grace_s)


def _add_reflection(server: grpc.aio.Server, services: Iterable[str]) -> None:
    names = (*services, HEALTH_SERVICE, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)


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


def _unary(method: Method[Any, Any], answer: _Answer) -> grpc.RpcMethodHandler[Any, Any]:
    """What gRPC calls for one answer: decode, call, encode, and turn every error into a status."""

    async def handle(request: Message, context: Context) -> Message:
        try:
            return await answer(request)
        except Exception as error:  # noqa: BLE001 - the boundary: all that is raised is told
            await _abort(context, method, error)

    return grpc.unary_unary_rpc_method_handler(handle, *_coders(method))


def _stream(method: Method[Any, Any], answers: _Answers) -> grpc.RpcMethodHandler[Any, Any]:
    """The same for an answer that comes in pieces."""

    async def handle(request: Message, context: Context) -> AsyncIterator[Message]:
        try:
            async with _closing(answers(request)) as pieces:
                async for piece in pieces:
                    yield piece
        except Exception as error:  # noqa: BLE001 - the boundary: all that is raised is told
            await _abort(context, method, error)

    return grpc.unary_stream_rpc_method_handler(handle, *_coders(method))


def _coders(method: Method[Any, Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return method.request.FromString, method.response.SerializeToString


class _Watches:
    """The calls that watch. They end when somebody sets ``stopping``."""

    def __init__(self) -> None:
        self._running = 0
        self.stopping = asyncio.Event()

    def handler(
        self, method: Method[Any, Any], answers: _Answers
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """What gRPC calls for one."""

        async def handle(request: Message, context: Context) -> None:
            if self._running >= _MAX_WATCHES:
                said = f"{_MAX_WATCHES} watches run already"
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, said)
            self._running += 1
            try:
                await context.send_initial_metadata(((methods.WATCHING_KEY, "true"),))
                await until_one_ends(_send(answers(request), context), self._stopped())
            except Exception as error:  # noqa: BLE001 - the boundary: all that is raised is told
                await _abort(context, method, error)
            finally:
                self._running -= 1
            # Also where what is watched has ended: it is about to be closed.
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the server stops")

        return grpc.unary_stream_rpc_method_handler(handle, *_coders(method))

    async def _stopped(self) -> None:
        await self.stopping.wait()


async def _send(answers: AsyncIterator[Message], context: Context) -> None:
    async with _closing(answers) as messages:
        async for message in messages:
            await context.write(message)


@asynccontextmanager
async def _closing(items: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """As ``contextlib.aclosing``, where the iterator is one that can be closed."""
    try:
        yield items
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()


async def _abort(context: Context, method: Method[Any, Any], error: Exception) -> NoReturn:
    """End the call with the error. What is not of our tree is a defect: logged, and not told."""
    if not isinstance(error, FlowServiceError | KvError):
        _log.error(
            "a call failed by a defect",
            extra={"method": method.name, "error": type(error).__name__, "at": _places(error)},
        )
        await context.abort(grpc.StatusCode.INTERNAL, "a defect of the service: see its log")
    code, status = status_to(error, limit_bytes=_details_limit(context))
    _log.info(
        "a call was refused",
        extra={"method": method.name, "code": code.name, "error": type(error).__name__},
    )
    trailer = ((DETAILS_KEY, status.SerializeToString()),)
    await context.abort(code, status.message, trailing_metadata=trailer)


def _places(error: BaseException) -> list[str]:
    """Where it went through, the innermost last; not what it says, which may hold a value."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]


def _details_limit(context: Context) -> int:
    """How many bytes of details the caller takes: see ``DETAILS_LIMIT_KEY``."""
    for key, value in context.invocation_metadata() or ():
        if key == methods.DETAILS_LIMIT_KEY and str(value).isdecimal():
            return min(int(value), _DETAILS_MOST_BYTES)
    return _DETAILS_BYTES


# -- what each method does -----------------------------------------------------------------------


def _config_handlers(config: Configuration, watches: _Watches) -> _Handlers:
    """The config service: see :mod:`flowsvc.config_server`."""
    watch = config_methods.WATCH_CONFIG
    handlers = {watch.name: watches.handler(watch, partial(config_server.watch, config))}
    for method in config_methods.METHODS:
        if call := config_server.CALLS.get(method):
            handlers[method.name] = _unary(method, partial(call, config))
        elif method is not watch:
            handlers[method.name] = _stream(method, partial(config_server.list_, config, method))
    return handlers


def _flow_handlers(flows: Flows, watches: _Watches) -> _Handlers:
    """The flow service."""
    watch = methods.WATCH_FLOWS
    return {
        watch.name: watches.handler(watch, partial(_watch, flows)),
        **{m.name: _unary(m, partial(_call, flows, m)) for m in _CALLS},
        **{m.name: _stream(m, partial(_list, flows, m)) for m in _LISTS},
    }


async def _call(flows: Flows, method: Method[Any, Any], request: Any) -> Message:
    call, to = _CALLS[method]
    return to(await call(flows, request))


async def _list(
    flows: Flows, method: Method[Any, Any], request: Any
) -> AsyncGenerator[Message, None]:
    call, to = _LISTS[method]
    for piece in pieces_of([to(item) for item in await call(flows, request)]):
        yield method.response(**{method.items: piece})


async def _watch(flows: Flows, _request: pb.WatchFlowsRequest) -> AsyncGenerator[Message, None]:
    async with _closing(flows.watch_flows()) as statuses:
        async for status in statuses:
            yield convert.answer_to(status)


_Call = Callable[[Flows, Any], Awaitable[Any]]
_Convert = Callable[[Any], Message]


def _change(method: methods.ChangeMethod) -> tuple[_Call, _Convert]:
    return (
        lambda flows, request: flows.change(convert.change_from(method, request)),
        convert.answer_to,
    )


def _definition(kind: DefinitionKind, message: type[Message]) -> tuple[_Call, _Convert]:
    return (
        lambda flows, request: flows.get_definition(kind, request.name),
        partial(convert.definition_to, message=message),
    )


def _definitions(kind: DefinitionKind, message: type[Message]) -> tuple[_Call, _Convert]:
    return (
        lambda flows, _: flows.list_definitions(kind),
        partial(convert.definition_to, message=message),
    )


async def _history(flows: Flows, request: pb.GetHistoryRequest) -> list[HistoryEntry]:
    return await flows.history(convert.history_kind_from(request.kind), request.name)


async def _prune(flows: Flows, request: pb.PruneHistoryRequest) -> Pruned:
    return await flows.prune_history(
        convert.history_kind_from(request.kind),
        older_than_s=convert.older_than_from(request.older_than_s),
        name=request.name,
        dry_run=request.dry_run,
    )


_CALLS: dict[Method[Any, Any], tuple[_Call, _Convert]] = {
    **{method: _change(method) for method in methods.CHANGES},
    methods.RESTART_FLOW: (
        lambda flows, request: flows.restart_flow(convert.restart_from(request)),
        convert.answer_to,
    ),
    methods.PREVIEW: (
        lambda flows, request: flows.preview(convert.preview_from(request)),
        convert.answer_to,
    ),
    methods.GET_FLOW: (lambda flows, request: flows.get_flow(request.flow), convert.flow_to),
    methods.GET_BLUEPRINT: _definition("flow-blueprint", pb.Blueprint),
    methods.GET_PARAMETER_TYPE: _definition("parameter-type", pb.ParameterType),
    methods.PRUNE_HISTORY: (_prune, convert.answer_to),
    methods.GET_FLOW_STATUS: (
        lambda flows, request: flows.get_status(request.flow),
        convert.answer_to,
    ),
    methods.GET_PROCESSOR: (
        lambda flows, request: flows.get_processor(request.processor),
        convert.answer_to,
    ),
}

_LISTS: dict[Method[Any, Any], tuple[_Call, _Convert]] = {
    methods.LIST_FLOWS: (lambda flows, _: flows.list_flows(), convert.flow_to),
    methods.LIST_BLUEPRINTS: _definitions("flow-blueprint", pb.Blueprint),
    methods.LIST_PARAMETER_TYPES: _definitions("parameter-type", pb.ParameterType),
    methods.GET_HISTORY: (_history, convert.answer_to),
    methods.LIST_FLOW_STATUSES: (lambda flows, _: flows.list_statuses(), convert.answer_to),
    methods.LIST_PROCESSORS: (lambda flows, _: flows.list_processors(), convert.answer_to),
}
