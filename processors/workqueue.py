"""A queue of keys, for work that is done from state and not from events.

Promises: a key that is waiting is in the queue once, however often it was added; a key is in one
hand at a time; a key added while it is handled is handled once more after that; keys are handled in
the order in which they were added; at most ``concurrency`` at once, of those that take no longer
than ``patience_s``. Where there is room, handling has begun when ``add`` returns: nothing lies
between what happened and what is to be done about it.

Not promised: one call for each ``add``, or that a delayed key is not handled earlier (an ``add`` in
between does that). A handler looks at the state as it stands and does what is needed.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

__all__ = ["CallLater", "Handle", "WorkQueue"]

K = TypeVar("K")

Handle: TypeAlias = Callable[[K], Coroutine[Any, Any, None] | None]
"""Begins with a key at once, in whatever turn of the loop that is, and gives what it then has to
wait for, which becomes a task; ``None`` where that is nothing."""


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
    """See the module's promises. ``run`` does the work; its owner cancels it.

    ``on_slow`` is called with a key that has been handled for ``patience_s``: it goes on, and no
    longer counts for ``concurrency``.
    """

    def __init__(
        self,
        *,
        concurrency: int = 16,
        patience_s: float = math.inf,
        on_slow: Callable[[K], object] = lambda _: None,
        call_later: CallLater | None = None,
    ) -> None:
        self.concurrency = concurrency
        self._patience_s = patience_s
        self._on_slow = on_slow
        self._call_later = call_later
        self._order: deque[K] = deque()
        self._waiting: set[K] = set()  # the keys in it
        self._handled: set[K] = set()
        self._slow: set[K] = set()  # of these
        self._again: set[K] = set()  # of these, too
        self._timers: dict[K, Timer] = {}
        self._handle: Handle[K] | None = None
        self._context = copy_context()
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: asyncio.Future[None]
        self._quiet = asyncio.Event()
        self._quiet.set()

    def __len__(self) -> int:
        """How many keys wait, delayed ones and those being handled not counted."""
        return len(self._waiting)

    def add(self, key: K) -> None:
        """Have ``key`` handled: now, or as soon as there is room for it."""
        if key in self._handled:
            self._again.add(key)
            return
        if key not in self._waiting:
            self._waiting.add(key)
            self._order.append(key)
            self._quiet.clear()
            self._go_on()

    def add_after(self, key: K, delay_s: float) -> None:
        """Have ``key`` handled in ``delay_s`` seconds; of several delays the earliest counts."""
        timer = self._later(delay_s, lambda: self._due(key))
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

    async def run(self, handle: Handle[K]) -> None:
        """Handle keys until cancelled: what is handled is cancelled too, what is delayed forgotten.

        ``handle`` must not raise: what it raises ends the queue, and comes out here.
        """
        self._handle = handle
        self._context = copy_context()
        self._broken = asyncio.get_running_loop().create_future()
        try:
            self._go_on()
            await self._broken
        finally:
            self._handle = None
            for timer in self._timers.values():
                timer.cancel()
            self._timers.clear()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    def _go_on(self) -> None:
        """Begin with as many keys as may be handled at once."""
        while (
            self._handle is not None
            and self._order
            and len(self._handled) - len(self._slow) < self.concurrency
        ):
            key = self._order.popleft()
            self._waiting.discard(key)
            self._handled.add(key)
            # Not in the context of whoever adds it: that may be another variant's.
            self._context.copy().run(self._begin, key, self._handle)

    def _begin(self, key: K, handle: Handle[K]) -> None:
        try:
            work = handle(key)
        except Exception as error:  # noqa: BLE001 - it concerns the owner, and not who adds a key
            self._break(error)
        else:
            asyncio.get_running_loop().call_soon(self._go_on_with, key, work)

    def _go_on_with(self, key: K, work: Coroutine[Any, Any, None] | None) -> None:
        """One turn later: what was begun goes first.

        So a key with nothing to wait for takes up room until then, and a thousand of them do not
        hold up everybody else.
        """
        if work is None:
            self._done(key)
            return
        if self._handle is None:  # it has ended meanwhile
            work.close()
            return
        task = asyncio.create_task(work, name=f"handling {key!r}")
        self._tasks.add(task)
        timer = self._later(self._patience_s, lambda: self._set_aside(key, task))
        task.add_done_callback(lambda _: self._ended(key, task, timer))

    def _set_aside(self, key: K, task: asyncio.Task[None]) -> None:
        if not task.done():
            self._slow.add(key)
            self._on_slow(key)
            self._go_on()

    def _ended(self, key: K, task: asyncio.Task[None], timer: Timer) -> None:
        timer.cancel()
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._break(error)
        self._done(key)

    def _done(self, key: K) -> None:
        self._handled.discard(key)
        self._slow.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
        self._go_on()
        if not self._waiting and not self._handled:
            self._quiet.set()

    def _break(self, error: BaseException) -> None:
        self._handle = None
        if not self._broken.done():
            self._broken.set_exception(error)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self.add(key)

    def _later(self, delay_s: float, callback: Callable[[], object]) -> Timer:
        call_later = self._call_later or asyncio.get_running_loop().call_later
        return call_later(delay_s, callback)
