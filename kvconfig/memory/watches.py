"""One watch of the memory store: a bounded queue, and the error that ended it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from kvconfig.errors import StoreError, WatchEnded
from kvconfig.keys import Range
from kvconfig.memory.mvcc import matching
from kvconfig.model import Revision, WatchBatch
from kvconfig.store import Watch

__all__ = ["Subscription"]


class Subscription(Watch):
    """What ``MemoryStore.watch`` gives out.

    What arrived before the end is still given, then the error, again and again. A call that is
    cancelled while it waits loses nothing.
    """

    def __init__(self, range_: Range, start: Revision, *, max_backlog: int) -> None:
        self.range = range_
        self.start = start
        self._waiting: deque[WatchBatch] = deque()
        self._limit = max_backlog
        self._wake = asyncio.Event()
        self._end: StoreError | None = None

    @property
    def ended(self) -> StoreError | None:
        """See :class:`kvconfig.store.Watch`."""
        return self._end

    def catch_up(self, missed: Sequence[WatchBatch]) -> None:
        """What happened from its start to now; no part of the backlog that is bounded."""
        self._waiting.extend(missed)
        self._limit += len(missed)

    def see(self, batch: WatchBatch) -> None:
        """Something changed somewhere in the store."""
        mine = matching(batch, self.range)
        if mine.events and mine.revision >= self.start:
            self._push(mine)

    def progress(self, revision: Revision) -> None:
        """A sign of life; several that nobody has read yet are one."""
        if self._waiting and not self._waiting[-1].events:
            self._waiting.pop()
        self._push(WatchBatch(revision))

    def end(self, error: StoreError) -> None:
        """The first reason counts."""
        self._end = self._end or error
        self._wake.set()

    def _push(self, batch: WatchBatch) -> None:
        if self._end is not None:
            return
        if len(self._waiting) >= self._limit:
            self.end(WatchEnded(f"the consumer of {self.range} is too slow"))
            return
        self._waiting.append(batch)
        self._wake.set()

    async def __anext__(self) -> WatchBatch:
        await asyncio.sleep(0)  # a consumer that is behind must not hold up everybody else
        while not self._waiting:
            if self._end is not None:
                raise self._end.with_traceback(None)
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()
