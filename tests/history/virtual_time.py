"""An event loop whose time is virtual: where others would wait, it moves its clock on.

What runs on it and takes chance from a seed runs the same each time, and hours of it pass in
moments. There is no input or output on it, and no other thread.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

__all__ = ["Stuck", "VirtualTimeLoop", "run"]

T = TypeVar("T")


class Stuck(RuntimeError):
    """Everything waits, and for nothing that could still happen."""


class _Sleepless(selectors.SelectSelector):
    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck("every task waits, and no timer is set")
        self.now_s += max(0.0, timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._sleepless = _Sleepless()
        super().__init__(self._sleepless)

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._sleepless.now_s


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to its end on a loop of its own. Raises :class:`Stuck`; a task left over is an error."""

    async def alone() -> T:
        result = await coroutine
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks without an owner: {left}"
        return result

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(alone())
