"""The gRPC server: messages in, :class:`flowsvc.model.Flows` called, messages out. No decisions.

Beside the flow service it offers the configuration, where it is given one, ``grpc.health.v1``, and
reflection where that is asked for. Any number of servers may work on one etcd: none holds anything
that another one needs, so each of them can be killed at any moment.

What is logged never holds a value, neither of a request nor of an answer: names of methods, codes,
classes of errors, and for a defect the lines of code that it went through.

Without TLS the server binds loopback addresses and Unix sockets only, so those who can reach it are
those who have an account on the machine. With it a :class:`flowsvc.access.guard.Guard` says who may
call. Health, and reflection where it is on, are told to everybody who can connect.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import traceback
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
)
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

import grpc
from google.protobuf.message import Message

# Without types.
from grpc_reflection.v1alpha import reflection  # type: ignore[import-untyped]

from flowsvc import config_server
from flowsvc.access.guard import Guard, Visit
from flowsvc.api import config_methods, convert, methods
from flowsvc.api.errors import DETAILS_KEY, status_to
from flowsvc.api.health import HEALTH_SERVICE, Health
from flowsvc.api.methods import Method
from flowsvc.api.pieces import pieces_of
from flowsvc.api.tls import ServerTls
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
_MAX_STREAMS = 600  # of one connection; more wait. Room for all watches, and not for all calls
_CONNECTION_GRACE_S = 60.0  # for calls on a connection that is too old; a restart takes 40 s

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
    tls: ServerTls | None = None,
    guard: Guard | None = None,
    grace_s: float = 5.0,
    reader_s: float = 30.0,
    reflection: bool = False,
    fresh: Callable[[], bool] = lambda: True,
    fresh_every_s: float = 0.5,
) -> AsyncIterator[int]:
    """Serve ``flows`` on ``listen`` (``host:port``, ``[::1]:port``, ``unix:path``); gives the port.

    ``config``: the configuration, to be served too. ``guard``: who may call; without one, whoever
    shows a certificate of ``tls``, or comes from this machine. ``reader_s``: for how long who reads
    a list or a watch may take nothing before it is cut. ``reflection``: tell foreign clients what
    there is. ``fresh``: whether ``flows`` knows enough to be asked; asked every ``fresh_every_s``
    seconds, and told to who asks for the server's health.

    On leaving the health is NOT_SERVING, watches end as UNAVAILABLE, no new call is accepted, and
    those that run have ``grace_s`` seconds to end. Raises :class:`ListenRefused` before anything is
    bound.
    """
    guard = guard or Guard()
    _check_listen(listen, tls, guard)
    server = grpc.aio.server(options=_options(tls), maximum_concurrent_rpcs=_MAX_CONCURRENT_CALLS)
    calls = _Calls(guard, reader_s)
    services = {methods.SERVICE: _flow_handlers(flows, calls)}
    if config is not None:
        services[config_methods.SERVICE] = _config_handlers(config, calls)
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(*service) for service in services.items()]
    )
    health = Health(fresh, services, every_s=fresh_every_s)
    health.add_to(server)
    if reflection:
        _add_reflection(server, services)
    try:
        if tls is None:
            port = server.add_insecure_port(listen)
        else:
            port = server.add_secure_port(listen, tls.credentials())
    except RuntimeError as error:
        raise ListenRefused(listen, "is the port in use? choose another, or 0") from error
    async with health:
        await server.start()
        try:
            yield port
        finally:
            await health.stop()
            calls.stopping.set()
            await server.stop(grace_s)


def _options(tls: ServerTls | None) -> list[tuple[str, int]]:
    options = [
        ("grpc.so_reuseport", 0),  # else two servers could share a port, and neither notice
        ("grpc.http2.min_ping_interval_without_data_ms", methods.PING_EVERY_MS - 1_000),
        ("grpc.max_receive_message_length", methods.MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", methods.MAX_ANSWER_BYTES),
        ("grpc.max_concurrent_streams", _MAX_STREAMS),
        # Metadata has gRPC's own limit: 8 KiB, where 16 are refused always.
    ]
    if tls is not None:  # certificates are looked at when a connection begins
        options += [
            ("grpc.max_connection_age_ms", round(tls.connection_s * 1000)),
            ("grpc.max_connection_age_grace_ms", round(_CONNECTION_GRACE_S * 1000)),
        ]
    return options


def _add_reflection(server: grpc.aio.Server, services: Iterable[str]) -> None:
    names = (*services, HEALTH_SERVICE, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)


def _check_listen(listen: str, tls: ServerTls | None, guard: Guard) -> None:
    if tls is not None and tls.client_ca is None and not guard.takes_tokens:
        raise ListenRefused(listen, "with TLS, clients show a certificate or send a token")
    if tls is None and guard.takes_tokens:
        raise ListenRefused(listen, "tokens are sent over TLS only")
    if listen.startswith("unix:"):
        return
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ListenRefused(listen, "give host:port with a port of 0 to 65535")
    try:
        loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if tls is None and not loopback:
        raise ListenRefused(
            listen, "without TLS only loopback addresses are served (127.0.0.1, [::1], localhost)"
        )


# -- one call ------------------------------------------------------------------------------------


class _Calls:
    """What gRPC calls: decode, look who it is, call, encode, turn every error into a status.

    Watches end when somebody sets ``stopping``.
    """

    def __init__(self, guard: Guard, reader_s: float) -> None:
        self._guard, self._reader_s = guard, reader_s
        self._watches = 0
        self.stopping = asyncio.Event()

    def unary(self, method: Method[Any, Any], answer: _Answer) -> grpc.RpcMethodHandler[Any, Any]:
        """For one answer."""

        async def handle(request: Message, context: Context) -> Message:
            try:
                with self._guard.visit(method, request, context) as visit:
                    return visit.shown(await answer(request))
            except Exception as error:  # noqa: BLE001 - the boundary: all that is raised is told
                await _abort(context, method, error)

        return grpc.unary_unary_rpc_method_handler(handle, *_coders(method))

    def stream(
        self, method: Method[Any, Any], answers: _Answers
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """For one that comes in pieces."""

        async def handle(request: Message, context: Context) -> None:
            try:
                with self._guard.visit(method, request, context) as visit:
                    async with _closing(answers(request)) as pieces:
                        async for piece in pieces:
                            await self._write(context, visit.shown(piece))
            except Exception as error:  # noqa: BLE001 - the boundary: all that is raised is told
                await _abort(context, method, error)

        return grpc.unary_stream_rpc_method_handler(handle, *_coders(method))

    def watch(self, method: Method[Any, Any], answers: _Answers) -> grpc.RpcMethodHandler[Any, Any]:
        """For one that has no end."""

        async def handle(request: Message, context: Context) -> None:
            try:
                with self._guard.visit(method, request, context) as visit, self._counted():
                    await context.send_initial_metadata(((methods.WATCHING_KEY, "true"),))
                    visit.began()
                    await until_one_ends(
                        self._send(answers(request), visit, context),
                        visit.until_refused(),
                        self._stopped(),
                    )
                    # Also where what is watched has ended: it is about to be closed.
                    raise Cut(grpc.StatusCode.UNAVAILABLE, "the server stops")
            except Exception as error:  # noqa: BLE001 - the boundary: all that is raised is told
                await _abort(context, method, error)

        return grpc.unary_stream_rpc_method_handler(handle, *_coders(method))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """One of the watches that there is room for."""
        if self._watches >= _MAX_WATCHES:
            said = f"{_MAX_WATCHES} watches run already"
            raise Cut(grpc.StatusCode.RESOURCE_EXHAUSTED, said)
        self._watches += 1
        try:
            yield
        finally:
            self._watches -= 1

    async def _stopped(self) -> None:
        await self.stopping.wait()

    async def _send(self, answers: AsyncIterator[Message], visit: Visit, context: Context) -> None:
        async with _closing(answers) as messages:
            async for message in messages:
                if visit.shows(message):
                    await self._write(context, message)

    async def _write(self, context: Context, message: Message) -> None:
        """Hand it to a reader that takes it, in time: what it does not take is held in memory."""
        try:
            async with asyncio.timeout(self._reader_s):
                await context.write(message)
        except TimeoutError:
            said = f"the reader has taken nothing for {self._reader_s:g} s"
            raise Cut(grpc.StatusCode.RESOURCE_EXHAUSTED, said) from None


class Cut(Exception):
    """The end of a stream that is nobody's error."""

    def __init__(self, code: grpc.StatusCode, said: str) -> None:
        self.code, self.said = code, said
        super().__init__(said)


def _coders(method: Method[Any, Any]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return method.request.FromString, method.response.SerializeToString


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
    if isinstance(error, Cut):
        await context.abort(error.code, error.said)
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


def _config_handlers(config: Configuration, calls: _Calls) -> _Handlers:
    """The config service: see :mod:`flowsvc.config_server`."""
    watch = config_methods.WATCH_CONFIG
    handlers = {watch.name: calls.watch(watch, partial(config_server.watch, config))}
    for method in config_methods.METHODS:
        if call := config_server.CALLS.get(method):
            handlers[method.name] = calls.unary(method, partial(call, config))
        elif method is not watch:
            handlers[method.name] = calls.stream(
                method, partial(config_server.list_, config, method)
            )
    return handlers


def _flow_handlers(flows: Flows, calls: _Calls) -> _Handlers:
    """The flow service."""
    watch = methods.WATCH_FLOWS
    return {
        watch.name: calls.watch(watch, partial(_watch, flows)),
        **{m.name: calls.unary(m, partial(_call, flows, m)) for m in _CALLS},
        **{m.name: calls.stream(m, partial(_list, flows, m)) for m in _LISTS},
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
