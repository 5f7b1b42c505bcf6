"""A queue of keys, for work that is done from state and not from events.

Promises: a key that is waiting is in the queue once, however often it was added; a key is handled
by one worker at a time; a key added while it is handled is handled once more after that; keys are
handled in the order in which they were added; at most ``concurrency`` at once.

Not promised: one call for each ``add``, or that a delayed key is not handled earlier (an ``add`` in
between does that). A handler looks at the state as it stands and does what is needed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

__all__ = ["CallLater", "WorkQueue"]

K = TypeVar("K")


class Timer(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Do not call."""
        ...

    def when(self) -> float:
        """When it is due, on the clock of whoever made it."""
        ...


class CallLater(Protocol):
    """Calls ``callback`` in ``delay`` seconds, as ``loop.call_later`` does."""

    def __call__(self, delay: float, callback: Callable[[], object], /) -> Timer:
        """Make such a call."""
        ...


class WorkQueue(Generic[K]):
    """See the module's promises. ``run`` does the work; its owner cancels it."""

    def __init__(self, *, concurrency: int = 16, call_later: CallLater | None = None) -> None:
        self.concurrency = concurrency
        self._call_later = call_later
        self._order: deque[K] = deque()
        self._waiting: set[K] = set()  # the keys in it
        self._handled: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, Timer] = {}
        self._takers: deque[asyncio.Future[None]] = deque()
        self._quiet = asyncio.Event()
        self._quiet.set()

    def __len__(self) -> int:
        """How many keys wait, delayed ones and those being handled not counted."""
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Have ``key`` handled as soon as there is a worker for it."""
        if key in self._handled:
            self._again.add(key)
            return
        if key not in self._waiting:
            self._waiting.add(key)
            self._order.append(key)
            self._quiet.clear()
            self._wake()

    def add_after(self, key: K, delay_s: float) -> None:
        """Have ``key`` handled in ``delay_s`` seconds; of several delays the earliest counts."""
        call_later = self._call_later or asyncio.get_running_loop().call_later
        timer = call_later(delay_s, lambda: self._due(key))
        earlier = self._timers.get(key)
        if earlier is not None and earlier.when() <= timer.when():
            timer.cancel()
            return
        if earlier is not None:
            earlier.cancel()
        self._timers[key] = timer

    async def quiet(self) -> None:
        """Return when no key waits or is handled; delayed ones may be there."""
        await self._quiet.wait()

    async def run(self, handle: Callable[[K], Awaitable[None]]) -> None:
        """Handle keys until cancelled; delayed ones are forgotten then.

        ``handle`` must not raise: what it raises ends the queue, and comes out here.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self.concurrency):
                    group.create_task(self._work(handle), name=f"worker {number}")
        finally:
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()

    async def _work(self, handle: Callable[[K], Awaitable[None]]) -> None:
        while True:
            key = await self._take()
            try:
                await handle(key)
            finally:
                self._done(key)

    async def _take(self) -> K:
        while not self._waiting:
            taker = asyncio.get_running_loop().create_future()
            self._takers.append(taker)
            try:
                await taker
            except asyncio.CancelledError:
                if taker.done() and not taker.cancelled():
                    self._wake()  # the call was for this worker: hand it on
                raise
        key = self._order.popleft()
        self._waiting.discard(key)
        self._handled.add(key)
        return key

    def _done(self, key: K) -> None:
        self._handled.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        if not self._waiting and not self._handled:
            self._quiet.set()

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _wake(self) -> None:
        while self._takers:
            taker = self._takers.popleft()
            if not taker.done():
                taker.set_result(None)
                return
