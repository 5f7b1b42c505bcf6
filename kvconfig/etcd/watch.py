"""All watches of a client on one stream.

One stream carries any number of watches cheaply (10,000 of them: 2.5 s and 39 MB, against one
stream each). A stream lives as long as anybody watches; when it ends, every watch on it ends, and
the next one opens another. Nothing is resumed here: whoever watches lists again.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import Any, NoReturn

import grpc.aio

from kvconfig.errors import (
    AuthenticationFailed,
    Compacted,
    PermissionDenied,
    StoreError,
    Unavailable,
    WatchEnded,
)
from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.etcd.auth import Metadata, Tokens
from kvconfig.etcd.calls import again
from kvconfig.etcd.messages import batches_of
from kvconfig.etcd.status import Call, RightsChanged, from_cancel_reason, from_status
from kvconfig.keys import Range
from kvconfig.model import Revision, WatchBatch
from kvconfig.store import Watch

__all__ = ["WatchHub"]

MAX_BACKLOG = 100_000
"""Batches that wait for a consumer before its watch is ended as too slow: some seconds of etcd at
its fastest, so that a long list can be read meanwhile."""

Requests = AsyncIterator[pb.WatchRequest]
Opener = Callable[[Requests], Any]


class _Watcher(Watch):
    """One watch: a bounded queue of batches, and the error that ended it.

    While somebody has each batch handed over, none has to queue.
    """

    def __init__(self, range_: Range) -> None:
        self.range = range_
        self.id: int | None = None
        self._created: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._batches: deque[WatchBatch] = deque()
        self._fragments: list[pb.Event] = []
        self._wake = asyncio.Event()
        self._end: Exception | None = None
        self._take: Callable[[WatchBatch], object] | None = None
        self._context = copy_context()

    @property
    def ended(self) -> Exception | None:
        """See :class:`kvconfig.store.Watch`."""
        return self._end

    async def created(self) -> None:
        await self._created

    def confirm(self, watch_id: int) -> None:
        self.id = watch_id
        if not self._created.done():
            self._created.set_result(None)

    def end(self, error: Exception) -> None:
        if self._end is None:
            self._end = error
        if not self._created.done():
            self._created.set_exception(self._end)
            self._created.exception()  # whoever waited may be gone
        self._wake.set()

    def take(self, response: pb.WatchResponse) -> None:
        """Events of whole revisions become batches; a fragment waits for the rest of it."""
        events = response.events
        if response.fragment or self._fragments:
            self._fragments.extend(events)
            if response.fragment:
                return
            events, self._fragments = self._fragments, []  # type: ignore[assignment]
        for batch in batches_of(events):
            self._push(batch)

    def alive(self, revision: Revision) -> None:
        """A sign of life, unless a batch waits that will be one anyway."""
        if not self._batches:
            self._push(WatchBatch(revision))

    def _push(self, batch: WatchBatch) -> None:
        if self._end is not None:
            return
        if self._take is not None:
            try:
                self._context.run(self._take, batch)
            except Exception as error:  # noqa: BLE001 - the consumer's, and not the stream's
                self.end(error)
            return
        if len(self._batches) >= MAX_BACKLOG:
            self.end(WatchEnded(f"the consumer of {self.range} is too slow"))
            return
        self._batches.append(batch)
        self._wake.set()

    async def __anext__(self) -> WatchBatch:
        while not self._batches:
            await self._woken()
        return self._batches.popleft()

    async def each(self, take: Callable[[WatchBatch], object]) -> NoReturn:
        """See :class:`kvconfig.store.Watch`: it is handed over in the turn in which it is read."""
        while True:
            while self._batches:
                take(self._batches.popleft())
            self._take, self._context = take, copy_context()
            try:
                await self._woken()
            finally:
                self._take = None

    async def _woken(self) -> None:
        if self._end is not None:
            raise self._end.with_traceback(None)  # shared by all watches of a stream
        self._wake.clear()
        await self._wake.wait()


class _Stream:
    """One bidirectional stream and the watches on it; owned by the hub."""

    def __init__(
        self, opener: Opener, endpoint: str, failed: Callable[[str], None], silence_s: float
    ) -> None:
        self.endpoint = endpoint
        self._failed = failed
        self.ended = False
        self._silence_s = silence_s
        self._outgoing: asyncio.Queue[pb.WatchRequest | None] = asyncio.Queue()
        self._creating: deque[_Watcher] = deque()
        self._watchers: dict[int, _Watcher] = {}
        self._heard = time.monotonic()
        self._call = opener(self._requests())
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._read(), name=f"watch stream {endpoint}"),
            loop.create_task(self._watchdog(), name=f"watchdog {endpoint}"),
        ]

    @property
    def idle(self) -> bool:
        return not (self._watchers or self._creating)

    def add(self, range_: Range, start: Revision) -> _Watcher:
        watcher = _Watcher(range_)
        create = pb.WatchCreateRequest(
            key=range_.start,
            range_end=range_.end,
            start_revision=start,
            progress_notify=True,
            fragment=True,
        )
        self._creating.append(watcher)
        self._outgoing.put_nowait(pb.WatchRequest(create_request=create))
        return watcher

    def remove(self, watcher: _Watcher) -> None:
        watcher.end(WatchEnded("left"))
        if watcher.id is not None and self._watchers.pop(watcher.id, None) is not None:
            self._cancel(watcher.id)

    async def close(self) -> None:
        self.end(WatchEnded("closed"))
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    def end(self, error: StoreError) -> None:
        """All watches of the stream end with ``error``."""
        self.ended = True
        for watcher in (*self._creating, *self._watchers.values()):
            watcher.end(error)
        self._creating.clear()
        self._watchers.clear()
        self._outgoing.put_nowait(None)  # a call that is over does not end its sender by itself
        self._call.cancel()

    def _break(self, error: StoreError) -> None:
        """The endpoint is to blame: the next stream goes to another."""
        self._failed(self.endpoint)
        self.end(error)

    async def _requests(self) -> AsyncGenerator[pb.WatchRequest, None]:
        while (request := await self._outgoing.get()) is not None:
            yield request

    async def _read(self) -> None:
        try:
            while (response := await self._call.read()) is not grpc.aio.EOF:
                self._heard = time.monotonic()
                self._dispatch(response)
                await asyncio.sleep(0)  # whom it concerns goes first; to ask for more takes time
            self._break(WatchEnded("the server closed the stream"))
        except grpc.aio.AioRpcError as error:
            problem = from_status(error, Call(), self.endpoint)
            if isinstance(problem, Unavailable):
                problem = WatchEnded(str(problem))
            problem.__cause__ = error
            self._break(problem)
        finally:
            if not self.ended:
                self.end(WatchEnded("the reader of the stream ended"))

    async def _watchdog(self) -> None:
        """Ask for a sign of life; end the stream when none comes.

        The revision in the answer is not used: before 3.5.8 and 3.4.25 it promises too much.
        """
        ask = pb.WatchRequest(progress_request=pb.WatchProgressRequest())
        while not self.ended:
            silent_s = time.monotonic() - self._heard
            if silent_s > self._silence_s:
                self._break(WatchEnded(f"{self.endpoint} was silent for {silent_s:.0f} s"))
                return
            if silent_s > self._silence_s / 3:
                self._outgoing.put_nowait(ask)
            await asyncio.sleep(self._silence_s / 3)

    def _dispatch(self, response: pb.WatchResponse) -> None:
        if response.created:
            self._confirm(response)
        elif response.canceled:
            watcher = self._watchers.pop(response.watch_id, None)
            if watcher is not None:
                watcher.end(_why_cancelled(response, watcher.range))
        elif response.events:
            watcher = self._watchers.get(response.watch_id)
            if watcher is not None:
                watcher.take(response)
        elif response.watch_id in self._watchers:  # the server's own progress notice: exact
            self._watchers[response.watch_id].alive(Revision(response.header.revision))
        else:
            for watcher in self._watchers.values():
                watcher.alive(Revision(0))

    def _confirm(self, response: pb.WatchResponse) -> None:
        """Creations are answered in the order of their requests; a refused one has the id -1."""
        watcher = self._creating.popleft()
        if response.canceled:
            watcher.end(_why_cancelled(response, watcher.range))
            return
        watcher.confirm(response.watch_id)
        if watcher.ended is not None:
            self._cancel(response.watch_id)
        else:
            self._watchers[response.watch_id] = watcher

    def _cancel(self, watch_id: int) -> None:
        cancel = pb.WatchCancelRequest(watch_id=watch_id)
        self._outgoing.put_nowait(pb.WatchRequest(cancel_request=cancel))


def _why_cancelled(response: pb.WatchResponse, range_: Range) -> StoreError:
    if response.compact_revision:
        return Compacted(compact_revision=response.compact_revision)
    reason = response.cancel_reason
    return from_cancel_reason(reason, range_.start) or WatchEnded(reason or "cancelled by etcd")


class WatchHub:
    """Opens the stream when somebody watches, shares it, closes it when nobody does."""

    def __init__(
        self,
        open_stream: Callable[[Metadata], tuple[Opener, str]],
        failed: Callable[[str], None],
        tokens: Tokens,
        *,
        silence_s: float,
    ) -> None:
        self._open_stream = open_stream
        self._failed = failed
        self._tokens = tokens
        self._silence_s = silence_s
        self._stream: _Stream | None = None
        self._streams: set[_Stream] = set()
        self._metadata: Metadata = ()
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def watch(self, range_: Range, start: Revision) -> AsyncIterator[_Watcher]:
        """See :meth:`kvconfig.store.Store.watch`."""
        stream, watcher = await self._create(range_, start)
        try:
            yield watcher
        finally:
            await self._leave(stream, watcher)

    async def close(self) -> None:
        """End all watches."""
        for stream in tuple(self._streams):
            await self._drop(stream)

    @again(RightsChanged).wraps
    async def _create(self, range_: Range, start: Revision) -> tuple[_Stream, _Watcher]:
        """A confirmed watch. A refusal may mean that the stream's token is old: then once more."""
        for last in (False, True):
            stream, metadata = await self._current()
            watcher = stream.add(range_, start)
            try:
                await watcher.created()
                return stream, watcher
            except (PermissionDenied, AuthenticationFailed, RightsChanged) as error:
                await self._leave(stream, watcher)
                denied = isinstance(error, PermissionDenied)
                renew = self._tokens.denied if denied else self._tokens.refused
                if last or not renew(metadata):
                    raise
            except BaseException:
                await self._leave(stream, watcher)
                raise
        raise AssertionError("unreachable: the last refusal raises")

    async def _current(self) -> tuple[_Stream, Metadata]:
        """The stream, with the token of now: one that was opened with an old one is left to end."""
        async with self._lock:
            metadata = await self._tokens.metadata()
            stream = self._stream
            if stream is None or stream.ended or metadata != self._metadata:
                opener, endpoint = self._open_stream(metadata)
                stream = _Stream(opener, endpoint, self._failed, self._silence_s)
                self._stream, self._metadata = stream, metadata
                self._streams.add(stream)
            return stream, metadata

    async def _leave(self, stream: _Stream, watcher: _Watcher) -> None:
        stream.remove(watcher)
        if stream.idle:
            await self._drop(stream)

    async def _drop(self, stream: _Stream) -> None:
        if self._stream is stream:
            self._stream = None
        self._streams.discard(stream)
        await stream.close()
