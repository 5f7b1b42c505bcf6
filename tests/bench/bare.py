"""The same work on bare stubs of grpc.aio: nothing between gRPC and the figures.

    python -m tests.bench.bare ENDPOINT PREFIX COUNT

puts COUNT items below PREFIX and lists them, and prints what that takes in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio

from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.etcd.endpoints import MAX_RESPONSE_BYTES
from kvconfig.keys import Range, prefix

__all__ = [
    "PAGE_SIZE",
    "PUTS",
    "VALUE",
    "Transact",
    "bare_channel",
    "bare_list",
    "bare_puts",
    "bare_transact",
    "bare_watch",
    "puts",
    "rss_mb",
]

VALUE = b'{"parameters":{"chunk-size":"2000"},"topics":{"input":"flow:a","output":"flow:b"}}'
PUTS = 120
"""In one transaction."""

PAGE_SIZE = 10_000
"""Keys a page, as the store takes them."""

_OPTIONS = [("grpc.max_receive_message_length", MAX_RESPONSE_BYTES)]

Transact = grpc.aio.UnaryUnaryMultiCallable[bytes, pb.TxnResponse]


def rss_mb() -> float:
    """The most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@asynccontextmanager
async def bare_channel(endpoint: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel of grpc.aio with nothing on it."""
    async with grpc.aio.insecure_channel(endpoint, options=_OPTIONS) as channel:
        yield channel


def bare_transact(channel: grpc.aio.Channel) -> Transact:
    """Sends transactions that are bytes already."""
    return channel.unary_unary(
        "/etcdserverpb.KV/Txn",
        request_serializer=None,
        response_deserializer=pb.TxnResponse.FromString,
    )


async def bare_watch(
    channel: grpc.aio.Channel, range_: Range, *, start: int = 0
) -> AsyncGenerator[pb.WatchResponse, None]:
    """The answers of one watch, the first of which confirms it."""
    create = pb.WatchCreateRequest(key=range_.start, range_end=range_.end, start_revision=start)
    call = channel.stream_stream(
        "/etcdserverpb.Watch/Watch",
        request_serializer=pb.WatchRequest.SerializeToString,
        response_deserializer=pb.WatchResponse.FromString,
    )()
    await call.write(pb.WatchRequest(create_request=create))
    try:
        while True:
            answer = await call.read()
            assert isinstance(answer, pb.WatchResponse), "the server has closed the stream"
            yield answer
    finally:
        call.cancel()


async def bare_list(
    channel: grpc.aio.Channel, range_: Range, *, limit: int = 0
) -> list[pb.KeyValue]:
    """A list, in pages of ``limit`` keys or (0) in one call."""
    listed: list[pb.KeyValue] = []
    start = range_.start
    stub = channel.unary_unary(
        "/etcdserverpb.KV/Range",
        request_serializer=pb.RangeRequest.SerializeToString,
        response_deserializer=pb.RangeResponse.FromString,
    )
    while start:
        answer = await stub(pb.RangeRequest(key=start, range_end=range_.end, limit=limit))
        listed.extend(answer.kvs)
        start = answer.kvs[-1].key + b"\0" if answer.more else b""
    return listed


async def bare_puts(endpoint: str, range_: Range, count: int, *, each: int = PUTS) -> float:
    """Puts in transactions, one after the other; the seconds, less those of making the requests."""
    spent_s = 0.0
    async with bare_channel(endpoint) as channel:
        transact = bare_transact(channel)
        for first in range(0, count, each):
            data = puts(range_, range(first, min(first + each, count)))
            begun = time.perf_counter()
            await transact(data)
            spent_s += time.perf_counter() - begun
    return spent_s


def puts(range_: Range, numbers: range, value: bytes = VALUE) -> bytes:
    """A transaction that puts a key for each number."""
    request = pb.TxnRequest()
    for number in numbers:
        put = request.success.add().request_put
        put.key, put.value = range_.start + b"%07d" % number, value
    return request.SerializeToString()


async def _main(endpoint: str, start: str, count: str) -> None:
    range_ = prefix(start.encode())
    puts_s = await bare_puts(endpoint, range_, int(count))
    begun = time.perf_counter()
    async with bare_channel(endpoint) as channel:
        await bare_list(channel, range_, limit=PAGE_SIZE)
    list_s = time.perf_counter() - begun
    json.dump({"puts_s": puts_s, "list_s": list_s, "peak_rss_mb": rss_mb()}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
