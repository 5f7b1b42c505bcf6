"""Bare stubs of grpc.aio: messages are parsed, and nothing is made of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc.aio

from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.keys import prefix as all_below
from tests.bench.bare import bare_channel, bare_list, bare_transact, bare_watch
from tests.bench.clients.job import Heard

__all__ = ["opened"]


class Client:
    def __init__(self, channel: grpc.aio.Channel, tasks: asyncio.TaskGroup) -> None:
        self._channel = channel
        self._tasks = tasks
        self._transact = bare_transact(channel)

    async def watch(self, prefix: str, heard: Heard) -> None:
        answers = bare_watch(self._channel, all_below(prefix.encode()))
        assert (await anext(answers)).created

        async def read() -> None:
            async for answer in answers:
                heard(len(answer.events))

        self._tasks.create_task(read())

    async def put(self, keys: Sequence[str], value: str) -> None:
        request = pb.TxnRequest()
        for key in keys:
            put = request.success.add().request_put
            put.key, put.value = key.encode(), value.encode()
        await self._transact(request.SerializeToString())

    async def list(self, prefix: str) -> int:
        return len(await bare_list(self._channel, all_below(prefix.encode())))


@asynccontextmanager
async def opened(endpoint: str) -> AsyncIterator[Client]:
    async with bare_channel(endpoint) as channel, asyncio.TaskGroup() as tasks:
        yield Client(channel, tasks)
