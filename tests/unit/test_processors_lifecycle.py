"""One running variant: entered and left in one task, with its own tasks inside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import MappingProxyType

import pytest

from kvconfig.model import Revision
from processors import StartTimeout, StopTimeout, Tasks, Variant
from processors.lifecycle import Open, RunningVariant

VARIANT = Variant(
    processor="p",
    name="f",
    topics=MappingProxyType({}),
    parameters=MappingProxyType({}),
    mod_revision=Revision(1),
)


class Boom(Exception):
    """A failure."""


def running(open_: Open) -> tuple[RunningVariant, asyncio.Event]:
    """A variant, and an event that is set when it has changed by itself."""
    changed = asyncio.Event()
    return RunningVariant(VARIANT, open_, changed.set), changed


async def forever(on_end: Callable[[], None] = lambda: None) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(0)
        on_end()


def never_entered(left: list[str]) -> Open:
    """Waits for ever; notes that it was left."""

    @asynccontextmanager
    async def open_(_: Variant, tasks: Tasks) -> AsyncIterator[None]:
        try:
            await asyncio.Event().wait()
            yield
        finally:
            left.append("cleaned up")

    return open_


async def fail() -> None:
    raise Boom


async def test_tasks_end_before_the_context_is_left() -> None:
    """What they use is there until they have ended; then none can be started any more."""
    order: list[str] = []

    @asynccontextmanager
    async def open_(_: Variant, tasks: Tasks) -> AsyncIterator[None]:
        tasks.spawn(forever(lambda: order.append("task")))
        yield
        order.append("context")
        with pytest.raises(RuntimeError, match="p/f is stopping"):
            tasks.spawn(forever())

    variant, _ = running(open_)
    variant.start()
    await variant.started(5)
    assert variant.entered
    await variant.stop(5)
    assert order == ["task", "context"]
    assert variant.ended
    assert variant.error is None
    assert not variant.crashed


async def test_a_crash_is_raised_inside_the_context() -> None:
    """The processor sees why its variant ends, and the owner too."""
    seen: list[BaseException] = []
    gate = asyncio.Event()

    async def later() -> None:
        await gate.wait()
        raise Boom

    @asynccontextmanager
    async def open_(_: Variant, tasks: Tasks) -> AsyncIterator[None]:
        tasks.spawn(later())
        try:
            yield
        except Boom as error:
            seen.append(error)

    variant, changed = running(open_)
    variant.start()
    await variant.started(5)
    gate.set()
    await changed.wait()
    assert variant.crashed
    await variant.stop(5)
    assert [variant.error] == seen


async def test_a_task_that_returns_is_no_crash() -> None:
    """Work that comes to its end leaves the variant running."""

    @asynccontextmanager
    async def open_(_: Variant, tasks: Tasks) -> AsyncIterator[None]:
        await tasks.spawn(asyncio.sleep(0))
        yield

    variant, changed = running(open_)
    variant.start()
    await variant.started(5)
    assert not variant.ended
    assert not changed.is_set()
    await variant.stop(5)


async def test_a_crash_breaks_off_the_start() -> None:
    """Entering may wait for a task; when that fails, so does entering, with the same error."""

    @asynccontextmanager
    async def open_(_: Variant, tasks: Tasks) -> AsyncIterator[None]:
        tasks.spawn(fail())
        await asyncio.Event().wait()
        yield

    variant, _ = running(open_)
    variant.start()
    with pytest.raises(Boom):
        await variant.started(5)
    assert variant.ended


async def test_what_cannot_be_entered_is_said() -> None:
    """Whatever goes wrong before the yield is the error of the start."""

    @asynccontextmanager
    async def without_yield(_: Variant, tasks: Tasks) -> AsyncIterator[None]:
        tasks.spawn(forever())
        if not len(tasks):
            yield

    variant, _ = running(without_yield)
    variant.start()
    with pytest.raises(RuntimeError, match="didn't yield"):
        await variant.started(5)
    variant, _ = running(lambda _v, _t: None)  # type: ignore[arg-type, return-value]
    variant.start()
    with pytest.raises(TypeError):
        await variant.started(5)
    assert variant.ended


async def test_what_ignores_being_cancelled_has_not_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stubborn task keeps its variant from having ended, however it is asked."""
    monkeypatch.setattr("processors.lifecycle.GRACE_S", 0.01)
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    @asynccontextmanager
    async def open_(_: Variant, tasks: Tasks) -> AsyncIterator[None]:
        tasks.spawn(stubborn())
        await asyncio.sleep(0)
        yield

    variant, changed = running(open_)
    variant.start()
    await variant.started(5)
    with pytest.raises(StopTimeout):
        await variant.stop(0.01)
    assert not variant.ended
    changed.clear()
    release.set()
    await changed.wait()
    assert variant.ended


async def test_a_start_that_hangs_is_cut_off() -> None:
    """It is cancelled at its deadline, and cleans up."""
    left: list[str] = []
    variant, _ = running(never_entered(left))
    variant.start()
    with pytest.raises(StartTimeout):
        await variant.started(0.01)
    assert variant.ended
    assert left == ["cleaned up"]


@pytest.mark.parametrize("turns", [0, 1])
async def test_a_stop_breaks_off_what_is_being_entered(turns: int) -> None:
    """It does not wait for a start that may never come to its end."""
    left: list[str] = []
    variant, _ = running(never_entered(left))
    variant.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    await variant.stop(3600)
    assert variant.ended
    assert not variant.entered
    assert left == ["cleaned up"] * turns


async def test_a_task_that_drains_comes_to_its_end() -> None:
    """It hears that it shall, finishes what it has begun, and only then the context is left."""
    order: list[str] = []
    started = asyncio.Event()

    async def work(tasks: Tasks) -> None:
        started.set()
        await tasks.stopping.wait()
        await asyncio.sleep(0)
        order.append("finished")

    @asynccontextmanager
    async def open_(_: Variant, tasks: Tasks) -> AsyncIterator[None]:
        tasks.spawn(work(tasks), drain=True)
        tasks.spawn(forever(lambda: order.append("cancelled")))
        await started.wait()
        yield
        order.append("left")

    variant = RunningVariant(VARIANT, open_, lambda: None, drain_timeout_s=5)
    variant.start()
    await variant.started(5)
    await variant.stop(5)
    assert order in (["cancelled", "finished", "left"], ["finished", "cancelled", "left"])
    assert variant.error is None


async def test_draining_has_a_deadline(caplog: pytest.LogCaptureFixture) -> None:
    """Then it is cancelled like all others, said, and the context is left in good order."""
    order: list[str] = []

    @asynccontextmanager
    async def open_(_: Variant, tasks: Tasks) -> AsyncIterator[None]:
        tasks.spawn(forever(lambda: order.append("cancelled")), name="endless", drain=True)
        yield
        await asyncio.sleep(0)
        order.append("left")

    variant = RunningVariant(VARIANT, open_, lambda: None, drain_timeout_s=0.01)
    variant.start()
    await variant.started(5)
    await asyncio.sleep(0)
    await variant.stop(5)
    assert order == ["cancelled", "left"]
    [said] = [r for r in caplog.records if r.getMessage() == "task did not drain"]
    assert vars(said)["variant_task"] == "endless"


async def test_a_task_that_fails_while_it_drains_is_no_crash() -> None:
    """The variant was to end anyway: logged, and no failure of what comes next."""

    async def work(tasks: Tasks) -> None:
        await tasks.stopping.wait()
        raise Boom

    @asynccontextmanager
    async def open_(_: Variant, tasks: Tasks) -> AsyncIterator[None]:
        tasks.spawn(work(tasks), drain=True)
        yield

    variant = RunningVariant(VARIANT, open_, lambda: None, drain_timeout_s=5)
    variant.start()
    await variant.started(5)
    await variant.stop(5)
    assert variant.ended
    assert variant.error is None


async def test_a_pause_ends_when_the_variant_is_to_stop() -> None:
    """A loop that works now and then needs no more than that to end in good order."""
    turns: list[bool] = []
    turned = asyncio.Event()

    async def work(tasks: Tasks) -> None:
        turns.append(await tasks.pause(0.001))
        turned.set()
        turns.append(await tasks.pause(3600))

    @asynccontextmanager
    async def open_(_: Variant, tasks: Tasks) -> AsyncIterator[None]:
        tasks.spawn(work(tasks), drain=True)
        yield

    variant = RunningVariant(VARIANT, open_, lambda: None, drain_timeout_s=5)
    variant.start()
    await variant.started(5)
    await turned.wait()
    await variant.stop(5)
    assert turns == [True, False]
