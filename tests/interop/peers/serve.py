"""A process for clients of etcd that shall not be in the one of the tests.

``python -m tests.interop.peers.serve``: a JSON object on each line of the standard input names a
command (``do``) and its arguments; one on the standard output answers: ``{"answer": …}`` or
``{"error": …}``. It ends with its input. Every wait is bounded, so no process outlives its test.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Protocol

from google.protobuf import descriptor_pool

from tests.interop.peers.log import Log, Seen

WAIT_S = 20
"""For each command; less than the tests wait for its answer."""


class Client(Protocol):
    """What each module ``<name>_client`` makes of its library."""

    async def watch(self, prefix: str, log: Log) -> None:
        """Watch from now on. Returns when the server has confirmed it."""
        ...

    async def create(self, values: Mapping[str, str]) -> bool:
        """One transaction: if none of the keys exists, put all; whether it was done."""
        ...


class Commands:
    """One method for each command; clients and watches live until the stack is closed."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._clients: dict[str, Client] = {}
        self._logs: dict[tuple[str, str], Log] = {}

    async def open(self, client: str, endpoint: str) -> None:
        """Import the library of that name, and connect."""
        module = importlib.import_module(f"tests.interop.peers.{client}_client")
        opened = module.open_client(endpoint)
        self._clients[client] = await self._stack.enter_async_context(opened)

    async def watch(self, client: str, prefix: str) -> None:
        log = self._logs[client, prefix] = Log()
        await self._clients[client].watch(prefix, log)

    async def seen(self, client: str, prefix: str, until: str) -> list[Seen]:
        """What that watch saw before the key ``until`` was put."""
        return await self._logs[client, prefix].take(until)

    async def create(self, client: str, values: dict[str, str]) -> bool:
        return await self._clients[client].create(values)

    async def create_at_once(self, work: dict[str, list[dict[str, str]]]) -> dict[str, list[bool]]:
        """Transactions of several clients at the same time; those of one client in their order."""

        async def each(client: Client, all_values: list[dict[str, str]]) -> list[bool]:
            return [await client.create(values) for values in all_values]

        tasks = [each(self._clients[name], all_values) for name, all_values in work.items()]
        return dict(zip(work, await asyncio.gather(*tasks), strict=True))

    async def defined_in(self, message: str) -> str:
        """The .proto file that a message came from, of all that share this process."""
        pool = descriptor_pool.Default()
        return str(pool.FindMessageTypeByName(message).file.name)


async def answer(commands: Commands, line: str) -> dict[str, Any]:
    request = json.loads(line)
    try:
        async with asyncio.timeout(WAIT_S):
            return {"answer": await getattr(commands, request.pop("do"))(**request)}
    except Exception as error:  # noqa: BLE001  # whatever it is, the test wants to hear of it
        return {"error": f"{type(error).__name__}: {error}"}


async def main() -> None:
    async with AsyncExitStack() as stack:
        commands = Commands(stack)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await answer(commands, line)), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
    # At once: Python would first let go of gRPC under the feet of etcd3's watch threads.
    os._exit(0)
