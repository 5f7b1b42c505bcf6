"""A user of some client: lists, watches from there on, and is told what the client tells him.

He believes what he is told and does no more than that: no timeouts of his own, no second look.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

from tests.robustness.peers.clients.job import Job, calling, say, say_error

__all__ = ["AGAIN_S", "Client", "Event", "create", "follow"]

AGAIN_S = 1.0
"""Between the end of a watch and the next one, where the user watches again."""


class Event(NamedTuple):
    """A key's new value, or ``None`` where it was deleted."""

    revision: int
    key: str
    value: str | None


class Client(Protocol):
    """What the module of each client makes of its library."""

    async def list(self, prefix: str) -> tuple[dict[str, str], int]:
        """What stands there, and the revision of that."""
        ...

    async def watch(self, prefix: str, start: int | None) -> AsyncIterator[Event]:
        """Events from the revision ``start`` on, or from now on."""
        ...

    async def create(self, key: str) -> bool:
        """One transaction: put the key if it does not exist; whether that was done."""
        ...


async def follow(client: Client, job: Job) -> None:
    """Until the watch has ended, or for ever."""
    start: int | None = None
    if job.lists:
        with calling("list"):
            items, revision = await client.list(job.prefix)
        say("state", items)
        start = revision + 1
    while True:
        try:
            with calling("watch"):
                events = await client.watch(job.prefix, start)
            say("watching", True)
            async for event in events:
                start = event.revision + 1
                say("change", (event.key, event.value))
            say("error", "no more events")
        except Exception as error:  # noqa: BLE001 - whatever it is, the user has been told
            say_error(error)
        if not job.again:
            return
        await asyncio.sleep(AGAIN_S)


async def create(client: Client, job: Job) -> None:
    """Connect, wait to be told, and then do it once."""
    await client.list(job.prefix)
    say("ready", True)
    await asyncio.to_thread(sys.stdin.readline)
    say("answer", await client.create(job.key))
