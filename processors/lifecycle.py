"""One running variant: a task that enters the processor's context manager, waits, and leaves it.

Entering and leaving happen in the same task, so a processor may use task groups and timeouts
inside. Whatever goes wrong stays in that task and is told to its owner.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

from processors.errors import StartTimeout, StopTimeout
from processors.variant import Variant

__all__ = ["Open", "RunningVariant", "Tasks"]

GRACE_S = 5.0
"""How long a cancelled start or stop may take to come to its end before it is reported."""

logger = logging.getLogger(__name__)


class Tasks:
    """The background tasks of one variant: cancelled when it stops, before its context is left.

    A task that raises ends the variant: it counts as failed, is stopped, and retried with backoff.
    A task that returns is simply done.
    """

    def __init__(self, label: str, on_crash: Callable[[], None]) -> None:
        self._label = label
        self._on_crash = on_crash
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        self.error: BaseException | None = None
        """What the first task to fail raised."""

    def __len__(self) -> int:
        """How many are still running."""
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str = "") -> asyncio.Task[Any]:
        """Run ``work`` in the background for as long as the variant runs."""
        if self._closed:
            work.close()
            raise RuntimeError(f"{self._label} is stopping: no task can be started any more")
        task = asyncio.create_task(
            work, name=name or f"{self._label} {getattr(work, '__qualname__', '')}"
        )
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def close(self) -> None:
        """Cancel all, and return when all have ended: never before, even when cancelled itself."""
        self._closed = True
        cancelled: asyncio.CancelledError | None = None
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            try:
                await asyncio.wait(self._tasks)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if self.error is None and not self._closed:
            self.error = error
            self._on_crash()
        else:
            logger.warning(
                "task failed while its variant was stopping",
                extra={"variant_task": task.get_name(), "error": repr(error)},
            )


Open: TypeAlias = Callable[[Variant, Tasks], AbstractAsyncContextManager[object]]


class RunningVariant:
    """From start to end of one variant; used once.

    ``on_change`` is called when one of its tasks crashed, and when nothing of it is left.
    """

    def __init__(self, variant: Variant, open_: Open, on_change: Callable[[], None]) -> None:
        self.variant = variant
        self.entered = False
        self.stopping = False
        self._open = open_
        self._on_change = on_change
        self._tasks = Tasks(f"{variant.processor}/{variant.name}", self._crashed)
        self._entering = asyncio.Event()
        self._leave = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing of it is left."""
        return self._task is None or self._task.done()

    @property
    def crashed(self) -> bool:
        """Whether it failed after having started: it is to be stopped, and its error told."""
        return self.entered and not self.stopping and (self.error is not None or self.ended)

    @property
    def error(self) -> Exception | None:
        """What one of its tasks, or it, failed with; ``None`` where all is well so far."""
        error = self._tasks.error
        if error is None and self._task is not None and self._task.done():
            error = None if self._task.cancelled() else self._task.exception()
        if error is None or isinstance(error, Exception):
            return error
        return RuntimeError(f"ended by {error!r}")

    async def start(self, timeout_s: float) -> None:
        """Return when it is entered; raise what entering raised, or :class:`StartTimeout`.

        After ``StartTimeout`` look at ``ended``: code that ignores being cancelled may go on.
        """
        label = f"{self.variant.processor}/{self.variant.name}"
        self._task = asyncio.create_task(self._main(), name=f"variant {label}")
        self._task.add_done_callback(self._finished)
        try:
            async with asyncio.timeout(timeout_s):
                await self._entering.wait()
        except TimeoutError:
            self.stopping = True
            await self._cancel()
            raise StartTimeout(timeout_s) from self.error
        except asyncio.CancelledError:
            self.stopping = True
            await self._cancel()
            raise
        if not self.entered:
            raise self.error or RuntimeError("cancelled while it was being entered")

    async def stop(self, timeout_s: float) -> None:
        """Return when it has ended. :class:`StopTimeout` where it does not, even cancelled."""
        self.stopping = True
        self._leave.set()
        if self._task is None:
            return
        await asyncio.wait([self._task], timeout=timeout_s)
        await self._cancel()
        if not self._task.done():
            raise StopTimeout(timeout_s)

    def kill(self) -> None:
        """Cancel, without waiting."""
        self.stopping = True
        if self._task is not None:
            self._task.cancel()

    async def _main(self) -> None:
        try:
            async with self._open(self.variant, self._tasks):
                self.entered = True
                self._entering.set()
                await self._leave.wait()
                await self._tasks.close()
                if self._tasks.error is not None:
                    raise self._tasks.error
        finally:
            await self._tasks.close()  # those of a context that could not be entered

    def _crashed(self) -> None:
        """A task failed: leave the context; while it is still being entered, break that off."""
        self._leave.set()
        if not self.entered and self._task is not None:
            self._task.cancel()
        self._on_change()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._entering.set()
        if not task.cancelled():
            task.exception()  # looked at by the owner, through `error`
        self._on_change()

    async def _cancel(self) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=GRACE_S)
