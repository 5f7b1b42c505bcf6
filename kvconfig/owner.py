"""Every task has an owner: the thing that has one of its own for as long as it is used."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

__all__ = ["Owner", "until_one_ends"]


async def until_one_ends(*works: Coroutine[Any, Any, None]) -> None:
    """Do all side by side until one returns or raises, which is raised here; cancel the others."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in done:
        task.result()


class Owner:
    """Entering starts the task, leaving ends it; what it raised comes out on leaving.

    An owner that must know earlier waits for :meth:`failed`.
    """

    name: str = ""
    _task: asyncio.Task[None] | None = None

    async def _run(self) -> None:
        raise NotImplementedError

    async def failed(self) -> None:
        """Raise what the task raised, when it does. Never returns."""
        assert self._task is not None
        await asyncio.wait([self._task])
        self._task.result()
        raise AssertionError(f"{self._task.get_name()} ended by itself")

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=f"{type(self).__name__} {self.name}")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()
