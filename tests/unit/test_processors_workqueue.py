"""The queue of keys: once each, one worker each, in order, again when asked to while handled."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from processors.workqueue import WorkQueue


class FakeTimer:
    def __init__(self, when: float, callback: Callable[[], object]) -> None:
        self._when, self.callback, self.live = when, callback, True

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self.live = False


class FakeTimers:
    """``call_later`` on a clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, FakeTimer]] = []

    def __call__(self, delay: float, callback: Callable[[], object], /) -> FakeTimer:
        timer = FakeTimer(self.now + delay, callback)
        heapq.heappush(self._due, (timer.when(), len(self._due), timer))
        return timer

    @property
    def live(self) -> int:
        return sum(timer.live for _, _, timer in self._due)

    def move(self, seconds: float) -> None:
        self.now += seconds
        while self._due and self._due[0][0] <= self.now:
            timer = heapq.heappop(self._due)[2]
            if timer.live:
                timer.callback()


@asynccontextmanager
async def running(
    queue: WorkQueue[str], handle: Callable[[str], Awaitable[None]]
) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run(handle))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_added_often_handled_once_in_order() -> None:
    """Keys that wait are in the queue once, and come out in the order they were added."""
    queue: WorkQueue[str] = WorkQueue(concurrency=1)
    seen: list[str] = []

    async def handle(key: str) -> None:
        seen.append(key)

    for key in "abcabcba":
        queue.add(key)
    assert len(queue) == 3
    async with running(queue, handle):
        await queue.quiet()
    assert seen == ["a", "b", "c"]


async def test_added_while_handled_comes_once_more() -> None:
    """What happened while a key was handled is not lost, and not handled at the same time."""
    queue: WorkQueue[str] = WorkQueue(concurrency=4)
    gate, entered = asyncio.Event(), asyncio.Event()
    active = count = 0

    async def handle(_: str) -> None:
        nonlocal active, count
        active += 1
        count += 1
        assert active == 1
        entered.set()
        await gate.wait()
        active -= 1

    async with running(queue, handle):
        queue.add("a")
        await entered.wait()
        for _ in range(5):
            queue.add("a")
        assert len(queue) == 0
        gate.set()
        await queue.quiet()
    assert count == 2


async def test_concurrency_is_bounded_and_used() -> None:
    """As many keys at once as allowed: no more, and no fewer."""
    queue: WorkQueue[str] = WorkQueue(concurrency=3)
    barrier = asyncio.Barrier(3)
    active, most = 0, 0

    async def handle(_: str) -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await barrier.wait()
        active -= 1

    for key in "abcdef":
        queue.add(key)
    async with running(queue, handle):
        await queue.quiet()
    assert most == 3


async def test_delays_the_earliest_counts() -> None:
    """A delayed key comes when it is due; a later delay of the same key changes nothing."""
    timers = FakeTimers()
    queue: WorkQueue[str] = WorkQueue(call_later=timers)
    seen: list[str] = []

    async def handle(key: str) -> None:
        seen.append(key)

    async with running(queue, handle):
        queue.add_after("a", 5)
        queue.add_after("a", 9)
        queue.add_after("b", 9)
        queue.add_after("b", 5)
        assert timers.live == 2
        await queue.quiet()
        assert seen == []
        timers.move(4.9)
        await queue.quiet()
        assert seen == []
        timers.move(0.2)
        await queue.quiet()
        assert sorted(seen) == ["a", "b"]
        queue.add_after("c", 1)
    assert timers.live == 0, "delays end with the queue"
    assert sorted(seen) == ["a", "b"]


async def test_what_a_handler_raises_comes_out() -> None:
    """A handler must not raise; one that does is a defect that is not hidden."""
    queue: WorkQueue[str] = WorkQueue()

    async def handle(key: str) -> None:
        raise ValueError(key)

    queue.add("a")
    with pytest.raises(ExceptionGroup) as caught:
        await queue.run(handle)
    assert caught.group_contains(ValueError, match="a")


@pytest.mark.parametrize("seed", range(20))
async def test_random_work_loses_nothing(seed: int) -> None:
    """After any sequence of adds, each key was handled after its last add, never by two."""
    chance = random.Random(seed)
    queue: WorkQueue[int] = WorkQueue(concurrency=chance.randint(1, 5))
    state: Counter[int] = Counter()
    done: Counter[int] = Counter()
    busy: set[int] = set()

    async def handle(key: int) -> None:
        assert key not in busy
        busy.add(key)
        seen = state[key]
        for _ in range(chance.randint(0, 3)):
            await asyncio.sleep(0)
        done[key] = seen
        busy.discard(key)

    task = asyncio.create_task(queue.run(handle))
    for _ in range(300):
        key = chance.randint(0, 9)
        state[key] += 1
        queue.add(key)
        if chance.random() < 0.5:
            await asyncio.sleep(0)
    await queue.quiet()
    assert done == state
    task.cancel()
    await asyncio.wait([task])
