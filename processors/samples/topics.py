"""Topics: a small port, and one implementation of it in memory.

A message is bytes, as on a real broker, and goes to one consumer. Whoever takes it has it until he
is done; if he fails or is stopped meanwhile, it goes back to where it was, for the next one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cache
from typing import Protocol

__all__ = ["MemoryTopics", "Topics", "shared_topics"]


class Topics(Protocol):
    """What the samples ask of a broker. At least once, in order for a single consumer."""

    async def publish(self, topic: str, message: bytes) -> None:
        """Give a message to a topic; waits while the topic is full."""
        ...

    def take(self, topic: str) -> AbstractAsyncContextManager[bytes]:
        """The next message; waits for one. Leaving with an error puts it back in front."""
        ...


class MemoryTopics:
    """:class:`Topics` in one process: bounded queues that keep messages until a consumer comes.

    A topic exists while it holds messages or somebody waits at it. Nothing survives the process.
    """

    def __init__(self, *, limit: int = 256) -> None:
        self._limit = limit
        self._queues: dict[str, _Queue] = {}

    def waiting(self, topic: str) -> int:
        """How many messages wait there."""
        queue = self._queues.get(topic)
        return len(queue.messages) if queue else 0

    async def publish(self, topic: str, message: bytes) -> None:
        """See :class:`Topics`."""
        async with self._using(topic) as queue:
            while len(queue.messages) >= self._limit:
                queue.has_room.clear()
                await queue.has_room.wait()
            queue.messages.append(message)
            queue.has_some.set()

    @asynccontextmanager
    async def take(self, topic: str) -> AsyncIterator[bytes]:
        """See :class:`Topics`."""
        async with self._using(topic) as queue:
            while not queue.messages:
                queue.has_some.clear()
                await queue.has_some.wait()
            message = queue.messages.popleft()
            try:
                yield message
            except BaseException:
                queue.messages.appendleft(message)
                queue.has_some.set()
                raise
            queue.has_room.set()

    @asynccontextmanager
    async def _using(self, topic: str) -> AsyncIterator[_Queue]:
        queue = self._queues.setdefault(topic, _Queue())
        queue.users += 1
        try:
            yield queue
        finally:
            queue.users -= 1
            if not queue.users and not queue.messages:
                del self._queues[topic]


class _Queue:
    __slots__ = ("has_room", "has_some", "messages", "users")

    def __init__(self) -> None:
        self.messages: deque[bytes] = deque()
        self.has_some = asyncio.Event()
        self.has_room = asyncio.Event()
        self.users = 0


@cache
def shared_topics() -> MemoryTopics:
    """The topics that all processors of this process share, unless they were given others."""
    return MemoryTopics()
