"""The queue of keys: once each, one worker each, in order, again when asked to while handled."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from processors.workqueue import Handle, WorkQueue


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
async def running(queue: WorkQueue[str], handle: Handle[str]) -> AsyncIterator[None]:
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


async def test_where_there_is_room_it_has_begun_when_add_returns() -> None:
    """What a handler does at once is done by then; the others wait for their turn."""
    queue: WorkQueue[str] = WorkQueue(concurrency=2)
    begun: list[str] = []

    def handle(key: str) -> Coroutine[Any, Any, None]:
        begun.append(key)
        return asyncio.sleep(0)

    async with running(queue, handle):
        await asyncio.sleep(0)
        for key in "abc":
            queue.add(key)
        assert begun == ["a", "b"]
        await queue.quiet()
        assert begun == ["a", "b", "c"]


async def test_keys_with_nothing_to_wait_for_hold_up_nobody() -> None:
    """However many they are: in one turn of the loop it is ``concurrency`` of them."""
    queue: WorkQueue[int] = WorkQueue(concurrency=3)
    begun: list[int] = []
    task = asyncio.create_task(queue.run(begun.append))
    await asyncio.sleep(0)
    for key in range(9):
        queue.add(key)
    counts = [len(begun)]
    while len(begun) < 9:
        await asyncio.sleep(0)
        counts.append(len(begun))
    assert counts == [3, 6, 9]
    await queue.quiet()
    task.cancel()
    await asyncio.wait([task])


async def test_what_takes_long_lets_others_past() -> None:
    """It goes on, and no longer counts; added again, it is still in one hand at a time."""
    timers, gate, past = FakeTimers(), asyncio.Event(), asyncio.Event()
    slow: list[str] = []
    queue: WorkQueue[str] = WorkQueue(
        concurrency=1, patience_s=5, on_slow=slow.append, call_later=timers
    )
    ended = Counter[str]()

    async def handle(key: str) -> None:
        await (gate.wait() if key == "hangs" else asyncio.sleep(0))
        past.set()
        ended[key] += 1

    async with running(queue, handle):
        queue.add("hangs")
        queue.add("b")
        quiet = asyncio.create_task(queue.quiet())
        for _ in range(5):
            await asyncio.sleep(0)
        assert (slow, ended) == ([], {})
        timers.move(5)
        queue.add("hangs")
        await past.wait()
        assert (slow, ended) == (["hangs"], {"b": 1})
        assert not quiet.done()
        gate.set()
        await quiet
        assert ended == {"b": 1, "hangs": 2}
        timers.move(5)
        assert slow == ["hangs"], "what has ended in time is not slow"


async def test_nothing_is_handled_in_the_context_of_who_adds_it() -> None:
    """One variant's crash may bring on another's start, which is to know nothing of it."""
    queue: WorkQueue[str] = WorkQueue()
    about: ContextVar[str] = ContextVar("about", default="nothing")
    seen: list[str] = []

    async def rest() -> None:
        seen.append(about.get())

    def handle(_: str) -> Coroutine[Any, Any, None]:
        seen.append(about.get())
        about.set("a key")
        return rest()

    async with running(queue, handle):
        await asyncio.sleep(0)
        about.set("another")
        queue.add("a")
        queue.add("b")
        await queue.quiet()
        assert about.get() == "another"
    assert seen == ["nothing", "nothing", "a key", "a key"]


@pytest.mark.parametrize("turns", range(-1, 4))
async def test_what_has_begun_ends_with_the_queue(turns: int) -> None:
    """At whatever moment: before there is a task for it, and after. Nothing begins any more."""
    queue: WorkQueue[str] = WorkQueue()
    begun: list[str] = []
    entered, left = Counter[str](), Counter[str]()

    async def rest(key: str) -> None:
        entered[key] += 1
        try:
            await asyncio.Event().wait()
        finally:
            left[key] += 1

    def handle(key: str) -> Coroutine[Any, Any, None]:
        begun.append(key)
        return rest(key)

    task = asyncio.create_task(queue.run(handle))
    await asyncio.sleep(0)
    if turns < 0:
        task.cancel()
    queue.add("a")
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    queue.add("b")
    await asyncio.sleep(0)
    assert begun == ["a"]
    assert left == entered
    assert entered["a"] == (turns > 0)


def _raise(key: str) -> None:
    raise ValueError(key)


async def _raise_later(key: str) -> None:
    raise ValueError(key)


@pytest.mark.parametrize("handle", [_raise, _raise_later])
async def test_what_a_handler_raises_comes_out(handle: Handle[str]) -> None:
    """A handler must not raise; one that does is a defect that is not hidden from the owner."""
    queue: WorkQueue[str] = WorkQueue()
    task = asyncio.create_task(queue.run(handle))
    await asyncio.sleep(0)
    queue.add("a")
    with pytest.raises(ValueError, match="a"):
        await task


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
