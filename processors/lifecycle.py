"""One running variant: a task that enters the processor's context manager, waits, and leaves it.

Entering, updating and leaving happen in the same task, so a processor may use task groups and
timeouts inside. Whatever goes wrong stays in that task and is told to its owner. What is logged in
it, and in the tasks it spawns, says which variant it is about (:mod:`kvconfig.jsonlog`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, TypeAlias

from kvconfig import jsonlog
from processors.errors import StartTimeout, StopTimeout, UpdateTimeout
from processors.resolving import resolved
from processors.secret import hide
from processors.variant import Variant

__all__ = ["Open", "RunningVariant", "Tasks"]

GRACE_S = 5.0
"""How long a cancelled start or stop may take to come to its end before it is reported."""

logger = logging.getLogger(__name__)


class Tasks:
    """The background tasks of one variant: ended when it stops, before its context is left.

    A task that raises ends the variant: it counts as failed, is stopped, and retried with backoff.
    A task that returns is simply done.
    """

    def __init__(self, label: str, on_crash: Callable[[], None]) -> None:
        self.stopping = asyncio.Event()
        """Set when the variant is to stop: tasks that drain finish what they have begun."""
        self._label = label
        self._on_crash = on_crash
        self._tasks: set[asyncio.Task[Any]] = set()
        self._draining: set[asyncio.Task[Any]] = set()
        self.error: BaseException | None = None
        """What the first task to fail raised."""

    def __len__(self) -> int:
        """How many are still running."""
        return len(self._tasks)

    def spawn(
        self, work: Coroutine[Any, Any, Any], *, name: str = "", drain: bool = False
    ) -> asyncio.Task[Any]:
        """Run ``work`` in the background for as long as the variant runs; then it is cancelled.

        One that is to ``drain`` may first come to its end by itself, within the processor's
        ``drain_timeout_s``; it learns from ``stopping`` that it shall.
        """
        if self.stopping.is_set():
            work.close()
            raise RuntimeError(f"{self._label} is stopping: no task can be started any more")
        task = asyncio.create_task(
            work, name=name or f"{self._label} {getattr(work, '__qualname__', '')}"
        )
        self._tasks.add(task)
        if drain:
            self._draining.add(task)
        task.add_done_callback(self._done)
        return task

    async def pause(self, seconds: float) -> bool:
        """Sleep; ``False`` as soon as the variant is to stop: ``while await tasks.pause(1.0):``"""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        return not self.stopping.is_set()

    async def close(self, drain_s: float = 0.0) -> None:
        """End all, and return when all have ended: never before, even when cancelled itself."""
        self.stopping.set()
        cancelled: asyncio.CancelledError | None = None
        if self._draining and drain_s:
            for task in self._tasks - self._draining:
                task.cancel()
            try:
                await asyncio.wait(self._draining, timeout=drain_s)
            except asyncio.CancelledError as error:
                cancelled = error
            for task in self._draining:
                logger.warning("task did not drain", extra={"variant_task": task.get_name()})
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
        self._draining.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if self.error is None and not self.stopping.is_set():
            self.error = error
            self._on_crash()
        else:
            logger.warning(
                "task failed while its variant was stopping",
                extra={"variant_task": task.get_name(), "error": hide(repr(error))},
            )


Open: TypeAlias = Callable[[Variant, Tasks], AbstractAsyncContextManager[object]]
Resolve: TypeAlias = Callable[[Variant], Awaitable[Variant]]
"""Gives a variant the values of its secrets, as they are now."""

Take: TypeAlias = Callable[[Variant, Variant, Any], Awaitable[bool]]


class RunningVariant:
    """From start to end of one variant; used once.

    ``on_change`` is called when one of its tasks crashed, and when nothing of it is left.
    """

    def __init__(
        self,
        variant: Variant,
        open_: Open,
        on_change: Callable[[], None],
        *,
        resolve: Resolve = resolved,
        drain_timeout_s: float = 0.0,
    ) -> None:
        self.variant = variant
        self.entered = False
        self.stopping = False
        self._open = open_
        self._on_change = on_change
        self._resolve = resolve
        self._drain_timeout_s = drain_timeout_s
        self._label = f"{variant.processor}/{variant.name}"
        self._tasks = Tasks(self._label, self._crashed)
        self._entering = asyncio.Event()
        self._leaving = False
        self._change: _Change | None = None
        self._wake = asyncio.Event()
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

    def start(self) -> None:
        """Begin: the loop enters it in its next turn. Then wait until it has ``started``."""
        self._task = asyncio.create_task(self._main(), name=f"variant {self._label}")
        self._task.add_done_callback(self._finished)

    async def started(self, timeout_s: float) -> None:
        """Return when it is entered; raise what entering raised, or :class:`StartTimeout`.

        After ``StartTimeout`` look at ``ended``: code that ignores being cancelled may go on.
        """
        if not self._entering.is_set():
            try:
                async with asyncio.timeout(timeout_s):
                    await self._entering.wait()
            except TimeoutError:
                self._end()  # what swallows being cancelled, and is entered after all, is left
                await self._cancel()
                raise StartTimeout(timeout_s) from self.error
        if not self.entered:
            raise self.error or RuntimeError("cancelled while it was being entered")

    async def update(self, variant: Variant, take: Take, timeout_s: float) -> bool:
        """Whether it took ``variant`` in place of its value. Raises what ``take`` raised.

        Unless it was taken, what runs now is uncertain, and is best stopped. Raises
        :class:`UpdateTimeout` where that takes too long.
        """
        assert self._task is not None
        change = self._change = _Change(variant, take, timeout_s)
        self._wake.set()
        ways: list[asyncio.Future[Any]] = [change.taken, self._task]
        await asyncio.wait(ways, timeout=timeout_s + GRACE_S, return_when=asyncio.FIRST_COMPLETED)
        if change.taken.done():
            return change.taken.result()
        change.taken.cancel()  # an answer that comes later counts for nothing
        if self.ended:
            return False
        raise UpdateTimeout(timeout_s)

    async def stop(self, timeout_s: float) -> None:
        """Return when it has ended. :class:`StopTimeout` where it does not, even cancelled.

        What has not been entered yet is broken off.
        """
        self._end()
        if self._task is None:
            return
        if not self.entered:
            self._task.cancel()
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
        self._sign()
        try:
            self.variant = await self._resolve(self.variant)
            async with self._open(self.variant, self._tasks) as running:
                self.entered = True
                self._entering.set()
                try:
                    while not self._leaving:
                        await self._wake.wait()
                        self._wake.clear()
                        await self._take_change(running)
                finally:
                    await self._tasks.close(self._drain_timeout_s)
                if self._tasks.error is not None:
                    raise self._tasks.error
        finally:
            await self._tasks.close()  # those of a context that could not be entered

    async def _take_change(self, running: object) -> None:
        change, self._change = self._change, None
        if change is None or self._leaving:
            return
        limit = asyncio.timeout(change.timeout_s)
        try:
            async with limit:
                variant = await self._resolve(change.variant)
                taken = await change.take(self.variant, variant, running)
        except Exception as error:  # noqa: BLE001 - told to the owner, who replaces it then
            change.fail(UpdateTimeout(change.timeout_s) if limit.expired() else error)
        else:
            if taken and not change.taken.done():
                self.variant = variant
                self._sign()
            change.answer(taken)

    def _sign(self) -> None:
        """What this task logs from now on is about its variant, as it stands."""
        about = self.variant
        jsonlog.about(processor=about.processor, variant=about.name, revision=about.mod_revision)

    def _end(self) -> None:
        self.stopping = True
        self._ask_to_leave()

    def _ask_to_leave(self) -> None:
        self._leaving = True
        self._wake.set()

    def _crashed(self) -> None:
        """A task failed: leave the context; while it is still being entered, break that off."""
        self._ask_to_leave()
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


class _Change:
    """A value that a running variant may take in place, and whether it did."""

    def __init__(self, variant: Variant, take: Take, timeout_s: float) -> None:
        self.variant = variant
        self.take = take
        self.timeout_s = timeout_s
        self.taken: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def answer(self, taken: bool) -> None:
        """Say so, unless nobody waits any more."""
        if not self.taken.done():
            self.taken.set_result(taken)

    def fail(self, error: Exception) -> None:
        """Say why not, unless nobody waits any more."""
        if not self.taken.done():
            self.taken.set_exception(error)
            self.taken.exception()  # looked at, also where nobody waits any more
