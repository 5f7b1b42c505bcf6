"""The client's side of the wire: the calls of one service, and what it means when one fails.

Every call ends within its deadline; a list has one for each of its pieces, a watch has none. A call
is sent again only where that is safe: after UNAVAILABLE, and one that may write only where it can
be done twice without harm.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import grpc
import tenacity

# Generated, with stubs but without py.typed.
from google.rpc import status_pb2  # type: ignore[import-untyped]

from flowsvc.api import methods
from flowsvc.api.errors import DETAILS_KEY, error_from
from flowsvc.api.methods import Method, Req, Resp
from flowsvc.api.tls import Credentials
from flowsvc.api.way import Way
from flowsvc.errors import FlowServiceError, Forbidden, Unauthenticated
from kvconfig.backoff import Backoff
from kvconfig.errors import InvalidValue, KvError, OutcomeUnknown, RequestTooLarge, Unavailable

__all__ = ["Caller", "ServerUnavailable", "Told", "message_of"]

_DETAILS_BYTES = 256 * 1024
_METADATA = ((methods.DETAILS_LIMIT_KEY, str(_DETAILS_BYTES)),)
_ATTEMPTS = 4
_NEW_TOKEN_S = 30.0  # how long a watch waits for a token in place of one that has expired
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

_log = logging.getLogger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Attempt(Protocol[T_co]):
    """One attempt at a call; ``lost``: the answer to an earlier one was."""

    async def __call__(self, timeout_s: float, *, lost: bool) -> T_co: ...


class Told(Protocol[T_co]):
    """What to make of a watch."""

    def take(self, message: Any) -> Iterable[T_co]:
        """What the next message tells."""
        ...

    async def again(self) -> Iterable[T_co]:
        """What is to be told first once the watch was cut and has begun again."""
        ...


class ServerUnavailable(Unavailable):
    """The flow service could not be reached, or gave no answer. Nothing was done."""

    def __init__(self, reason: str, *, endpoints: tuple[str, ...] = ()) -> None:
        super().__init__(reason, endpoints=endpoints)
        at = f" at {', '.join(endpoints)}" if endpoints else ""
        self.args = (f"the flow service{at} is not available: {reason}",)


class Caller:
    """A channel to ``target``, and the calls of a service's ``methods`` on it.

    Over TLS where ``credentials`` are given. Use it as an async context manager, in one event loop.
    Nothing connects before the first call.
    """

    def __init__(
        self,
        target: str,
        known: Iterable[Method[Any, Any]],
        *,
        timeout_s: float,
        credentials: Credentials | None = None,
    ) -> None:
        self._target, self._timeout_s, self._known = target, timeout_s, tuple(known)
        # A channel that others have come after may be used by calls that take as long as any may.
        longest_s = timeout_s + max((method.wait_s for method in self._known), default=0.0)
        self._way = Way(target, credentials, _OPTIONS, grace_s=longest_s)
        self._entered = False
        self._calls: dict[str, Callable[..., Any]] = {}

    async def __aenter__(self) -> Self:
        self._use(self._way.open())
        self._entered = True
        return self

    def _use(self, channel: grpc.aio.Channel) -> None:
        for method in self._known:
            make = channel.unary_stream if method.streams else channel.unary_unary
            self._calls[method.name] = make(
                method.path, method.request.SerializeToString, method.response.FromString
            )

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._calls.clear()
        await self._way.close()

    # -- one call --------------------------------------------------------------------------------

    async def _one(self, method: Method[Req, Resp], request: Req, *, again: bool = True) -> Resp:
        """The answer to a call. ``again``: it may be sent again though it may have been done."""

        async def call(timeout_s: float, *, lost: bool) -> Resp:
            if lost and "resent" in request.DESCRIPTOR.fields_by_name:
                setattr(request, "resent", True)  # noqa: B010 - of those messages that have it
            made = self._call(method)(request, timeout=timeout_s, metadata=self._metadata())
            answer: Resp = await made
            return answer

        return await self._attempts(method, call, again=again)

    async def _all(self, method: Method[Req, Resp], request: Req) -> list[Any]:
        """The items of all pieces."""

        async def call(timeout_s: float, *, lost: bool) -> list[Resp]:
            stream = self._call(method)(request, timeout=timeout_s, metadata=self._metadata())
            return [piece async for piece in stream]

        pieces = await self._attempts(method, call)
        return [item for piece in pieces for item in getattr(piece, method.items)]

    async def _pieces(self, method: Method[Req, Resp], request: Req) -> AsyncGenerator[Any, None]:
        """The pieces, all of one revision, as they come.

        Where it is cut it goes on: asked again at the same revision, it gives the same parts.
        """
        stream: Any = None
        had: Counter[str] = Counter()  # by field: how many parts came
        over: Counter[str] = Counter()  # and how many of these come again

        async def read(timeout_s: float, *, lost: bool) -> Any:
            nonlocal stream, over
            if stream is None:
                stream, over = self._call(method)(request, metadata=self._metadata()), had.copy()
            try:
                async with asyncio.timeout(timeout_s):
                    return await stream.read()
            except BaseException as error:
                stream.cancel()
                stream = None
                if isinstance(error, TimeoutError):
                    raise self._too_late(method) from None
                raise

        try:
            while (piece := await self._attempts(method, read)) is not grpc.aio.EOF:
                setattr(request, "revision", piece.revision)  # noqa: B010 - all such have it
                for field in method.parts:
                    parts = getattr(piece, field)
                    again = min(over[field], len(parts))
                    over[field] -= again
                    del parts[:again]
                    had[field] += len(parts)
                yield piece
        finally:
            if stream is not None:
                stream.cancel()

    async def _watch(
        self, method: Method[Req, Resp], request: Req, told: Told[T]
    ) -> AsyncGenerator[T, None]:
        """What ``told`` makes of a watch. It connects again, for ever, when it is cut.

        The first connection has the attempts that any call has. An error other than
        ``Unavailable`` is raised; that a token has expired, only once no other one has come for
        :data:`_NEW_TOKEN_S`.
        """
        backoff = Backoff(first_s=0.1)
        refused_at: float | None = None

        async def begin(timeout_s: float, *, lost: bool) -> Any:
            return await self._begin_watch(method, request, timeout_s)

        stream = await self._attempts(method, begin)
        while True:
            try:
                if stream is None:
                    stream = await self._attempts(method, begin)
                    refused_at = None
                    for news in await told.again():
                        yield news
                while True:
                    message = await self._next(method, stream)
                    backoff.reset()
                    for news in told.take(message):
                        yield news
            except (Unavailable, Unauthenticated, asyncio.CancelledError) as error:
                refused_at = self._cut(error, refused_at)
            finally:
                if stream is not None:
                    stream.cancel()
            stream = None
            about = {"method": method.name, "cuts": backoff.attempts + 1}
            _log.warning("watch cut", extra=about)
            await asyncio.sleep(backoff.next_s())

    def _cut(self, error: BaseException, refused_at: float | None) -> float | None:
        """What ended a watch, if that is to begin again; raises it where it is not.

        Gives since when, in the loop's time, the token is refused.
        """
        if isinstance(error, asyncio.CancelledError):
            if self._closed:  # which cancels the stream, and with it who waits for it
                raise self._is_closed() from None
            if _is_cancelled():  # else its channel is gone, which another one has replaced
                raise error
        elif self._closed:
            raise error
        elif isinstance(error, Unauthenticated):
            now = asyncio.get_running_loop().time()
            refused_at = refused_at or now
            if not self._way.metadata() or now - refused_at > _NEW_TOKEN_S:
                raise error
        return refused_at

    async def _begin_watch(self, method: Method[Req, Resp], request: Req, timeout_s: float) -> Any:
        """A watch that the server has begun to answer."""
        stream = self._call(method)(request, metadata=self._metadata())
        try:
            async with asyncio.timeout(timeout_s):
                metadata = await stream.initial_metadata()
                if methods.WATCHING_KEY not in (metadata or ()):
                    await stream.read()  # raises why
                    raise ServerUnavailable("no watch there", endpoints=(self._target,))
        except TimeoutError:
            stream.cancel()
            raise self._too_late(method) from None
        except BaseException:
            stream.cancel()
            raise
        return stream

    async def _next(self, method: Method[Any, Any], stream: Any) -> Any:
        """The next message of a watch. An end without an error is a cut too: a watch has none."""
        try:
            message = await stream.read()
        except grpc.aio.AioRpcError as error:
            raise self._error(method, error) from error
        if message is grpc.aio.EOF:
            raise ServerUnavailable("the watch ended", endpoints=(self._target,))
        return message

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return (*_METADATA, *self._way.metadata())

    def _call(self, method: Method[Any, Any]) -> Callable[..., Any]:
        if not self._entered:
            raise RuntimeError("the client is not open: use `async with`")
        try:
            return self._calls[method.name]
        except KeyError:
            raise self._is_closed() from None

    @property
    def _closed(self) -> bool:
        return not self._calls

    async def _attempts(
        self, method: Method[Any, Any], call: _Attempt[T], *, again: bool = True
    ) -> T:
        """Try, and again after UNAVAILABLE, within the one deadline.

        So it is where a token was refused, and another one stands in its file by now.

        After a lost answer, what a later attempt raises tells what became of the first one only
        where the service has settled it (see ``resent`` in ``flow.proto``). Where it must not be
        sent ``again``, it is not.
        """
        loop = asyncio.get_running_loop()
        limit_s = self._timeout_s + method.wait_s
        deadline = loop.time() + limit_s
        lost = ""  # why an attempt may have been carried out all the same
        settled = False
        shown = self._way.metadata()

        def worth_trying(error: BaseException) -> bool:
            if isinstance(error, Unauthenticated):
                return self._way.metadata() != shown
            return isinstance(error, Unavailable)

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(worth_trying),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=1.0),
            stop=tenacity.stop_after_attempt(_ATTEMPTS) | tenacity.stop_before_delay(limit_s),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    try:
                        shown = self._way.metadata()
                        left_s = max(deadline - loop.time(), 0.001)
                        return await call(left_s, lost=bool(lost))
                    except grpc.aio.AioRpcError as error:
                        raised = self._error(method, error)
                        away = isinstance(raised, Unavailable)
                        if away and (channel := self._way.renewed()):
                            self._use(channel)
                        if away and method.changes and not _surely_undone(error):
                            lost = lost or str(raised)
                            if not again:
                                raise OutcomeUnknown(lost) from error
                        settled = method.settles and _is_refusal(error, raised)
                        raise raised from error
        except (FlowServiceError, KvError) as error:
            if lost and not settled and not isinstance(error, OutcomeUnknown):
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
    older one beside the first, does not know the method; nor what is said at its door.
    """
    at_the_door = isinstance(raised, Unauthenticated | Forbidden)
    return _told(error) and isinstance(raised, FlowServiceError) and not at_the_door


def _surely_undone(error: grpc.aio.AioRpcError) -> bool:
    """Whether a call that failed so cannot have changed anything.

    The service itself said no; or it was never reached, which gRPC tells in words only: where the
    words are others, the answer is no.
    """
    said = error.details() or ""
    return _told(error) or "failed to connect" in said or "Concurrent RPC limit" in said


def _is_cancelled() -> bool:
    """Whether somebody has cancelled the task that runs."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def message_of(make: Callable[[], T]) -> T:
    """A request, or :class:`InvalidValue` for what no message can hold."""
    try:
        return make()
    except UnicodeEncodeError as error:
        raise InvalidValue(f"not UTF-8: {error.reason}") from error
    except ValueError as error:  # a number out of range
        raise InvalidValue(str(error)) from error
