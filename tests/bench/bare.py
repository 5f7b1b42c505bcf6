"""The same work on bare stubs: nothing between gRPC and the figures.

    python -m tests.bench.bare ENDPOINT PREFIX COUNT

puts COUNT items below PREFIX and lists them, and prints what that takes in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time

import grpc.aio

from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.etcd.endpoints import MAX_RESPONSE_BYTES
from kvconfig.keys import Range, prefix

__all__ = ["PUTS", "VALUE", "bare_list", "bare_puts", "rss_mb"]

VALUE = b'{"parameters":{"chunk-size":"2000"},"topics":{"input":"flow:a","output":"flow:b"}}'
PUTS = 120
"""In one transaction."""

_OPTIONS = [("grpc.max_receive_message_length", MAX_RESPONSE_BYTES)]


def rss_mb() -> float:
    """The most memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def bare_list(endpoint: str, range_: Range) -> int:
    """A list in the pages that the store takes; its bytes."""
    total, start = 0, range_.start
    async with grpc.aio.insecure_channel(endpoint, options=_OPTIONS) as channel:
        stub = channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=pb.RangeRequest.SerializeToString,
            response_deserializer=pb.RangeResponse.FromString,
        )
        while start:
            request = pb.RangeRequest(key=start, range_end=range_.end, limit=5_000)
            answer = await stub(request)
            total += answer.ByteSize()
            start = answer.kvs[-1].key + b"\0" if answer.more else b""
    return total


async def bare_puts(endpoint: str, range_: Range, count: int) -> float:
    """Puts in transactions, one after the other; the seconds, less those of making the requests."""
    spent_s = 0.0
    async with grpc.aio.insecure_channel(endpoint, options=_OPTIONS) as channel:
        stub: grpc.aio.UnaryUnaryMultiCallable[bytes, pb.TxnResponse] = channel.unary_unary(
            "/etcdserverpb.KV/Txn",
            request_serializer=None,  # they are bytes already
            response_deserializer=pb.TxnResponse.FromString,
        )
        for first in range(0, count, PUTS):
            request = pb.TxnRequest()
            for number in range(first, min(first + PUTS, count)):
                put = request.success.add().request_put
                put.key, put.value = range_.start + b"%07d" % number, VALUE
            data = request.SerializeToString()
            begun = time.perf_counter()
            await stub(data)
            spent_s += time.perf_counter() - begun
    return spent_s


async def _main(endpoint: str, start: str, count: str) -> None:
    range_ = prefix(start.encode())
    puts_s = await bare_puts(endpoint, range_, int(count))
    begun = time.perf_counter()
    await bare_list(endpoint, range_)
    list_s = time.perf_counter() - begun
    json.dump({"puts_s": puts_s, "list_s": list_s, "peak_rss_mb": rss_mb()}, sys.stdout)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
