"""What one watch has seen, whichever client it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TypeAlias

__all__ = ["Log", "Seen"]

Seen: TypeAlias = tuple[int, str, str | None]
"""The revision of an event, its key, and the value it was given: ``None`` where it was deleted."""


class Log:
    """Events in the order in which they came. It belongs to the loop that it was made in."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: list[Seen] = []
        self._failure: Exception | None = None
        self._moved = asyncio.Event()

    def add(self, events: Iterable[Seen]) -> None:
        self._events.extend(events)
        self._moved.set()

    def fail(self, error: Exception) -> None:
        """The watch has ended, which none of ours should."""
        self._failure = error
        self._moved.set()

    def add_from_thread(self, events: Iterable[Seen]) -> None:
        self._loop.call_soon_threadsafe(self.add, events)

    def fail_from_thread(self, error: Exception) -> None:
        self._loop.call_soon_threadsafe(self.fail, error)

    async def take(self, until: str) -> list[Seen]:
        """Wait for an event of the key ``until``; what came before it, since the last take."""
        while True:
            for place, (_, key, _) in enumerate(self._events):
                if key == until:
                    taken = self._events[:place]
                    del self._events[: place + 1]
                    return taken
            if self._failure is not None:
                raise self._failure
            self._moved.clear()
            await self._moved.wait()
