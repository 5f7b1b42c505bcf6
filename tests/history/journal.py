"""What a real etcd says that happened, read apart from the code that is judged.

A channel and a watch of its own, straight to the server; only the messages are shared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import groupby
from types import TracebackType
from typing import Any, Self

import grpc.aio
from google.protobuf.message import Message

from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.keys import Range
from kvconfig.model import Event, KeyValue, LeaseId, Revision, WatchBatch

__all__ = ["EtcdJournal"]

PATIENCE_S = 20.0


class EtcdJournal:
    """Every revision of a range from now on, read as it happens. Enter it to start it."""

    def __init__(self, endpoint: str, range_: Range) -> None:
        self.first = Revision(0)
        """etcd's revision at the start."""
        self.entries: list[WatchBatch] = []
        self._range = range_
        self._channel = grpc.aio.insecure_channel(endpoint)
        self._moved = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        now = await self._call("KV/Range", pb.RangeRequest(key=b"\0"), pb.RangeResponse)
        self.first = Revision(now.header.revision)
        self._reading = asyncio.create_task(self._read(), name="journal")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._reading is not None
        self._reading.cancel()
        await asyncio.wait([self._reading])
        await self._channel.close()

    async def upto(self, revision: Revision) -> list[WatchBatch]:
        """The entries, those of ``revision`` included."""
        async with asyncio.timeout(PATIENCE_S):
            while self._last < revision:
                assert self._reading is not None
                assert not self._reading.done(), self._reading
                self._moved.clear()
                await self._moved.wait()
        return self.entries

    async def compact(self) -> None:
        """Let etcd forget what is written down here already."""
        if self.entries:
            request = pb.CompactionRequest(revision=self._last)
            try:
                await self._call("KV/Compact", request, pb.CompactionResponse)
            except grpc.aio.AioRpcError as error:
                if "compacted" not in (error.details() or ""):  # it was before: nothing new since
                    raise

    @property
    def _last(self) -> Revision:
        return self.entries[-1].revision if self.entries else self.first

    async def _read(self) -> None:
        stream = self._channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=pb.WatchRequest.SerializeToString,
            response_deserializer=pb.WatchResponse.FromString,
        )()
        create = pb.WatchCreateRequest(
            key=self._range.start, range_end=self._range.end, start_revision=self.first + 1
        )
        await stream.write(pb.WatchRequest(create_request=create))
        async for response in stream:
            assert not response.canceled, "the journal has a gap"
            self.entries += _batches(response.events)
            self._moved.set()

    async def _call(self, method: str, request: Message, answer: type[Message]) -> Any:
        call = self._channel.unary_unary(
            f"/etcdserverpb.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return await call(request, timeout=PATIENCE_S)


def _batches(events: Iterable[pb.Event]) -> list[WatchBatch]:
    by_revision = groupby(events, key=lambda event: event.kv.mod_revision)
    return [WatchBatch(Revision(at), tuple(map(_event, group))) for at, group in by_revision]


def _event(event: pb.Event) -> Event:
    kv = event.kv
    if event.type == pb.Event.DELETE:
        return Event(kv.key, None)
    created, changed = Revision(kv.create_revision), Revision(kv.mod_revision)
    return Event(
        kv.key, KeyValue(kv.key, kv.value, created, changed, kv.version, LeaseId(kv.lease))
    )
