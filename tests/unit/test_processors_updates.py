"""A change of a running variant, taken in place or not; and what takes long, or for ever."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from processors import Spec, Tasks, UpdateTimeout, Variant, lifecycle
from tests.unit.support_processors import Boom, Probe, probing

Answer = bool | Exception | str


class Updating(Probe):
    """Takes changes as its script says: an answer, an error, or ``"hang"``, ``"stubborn"``."""

    spec = Spec(topics=("input",), parameters=Probe.spec.parameters)

    def __init__(self, *script: Answer) -> None:
        super().__init__()
        self.script = list(script)
        self.asked: list[tuple[int, int, object]] = []

    @asynccontextmanager
    async def variant(  # type: ignore[override] # it yields something, which any processor may
        self, variant: Variant, tasks: Tasks
    ) -> AsyncIterator[str]:
        async with super().variant(variant, tasks):
            yield f"yielded for {variant.parameter('n', int)}"

    async def update(self, old: Variant, new: Variant, running: Any) -> bool:
        self.asked.append((old.parameter("n", int), new.parameter("n", int), running))
        answer = self.script.pop(0)
        if answer == "hang":
            await asyncio.Event().wait()
        while answer == "stubborn" and not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                continue
        if isinstance(answer, Exception):
            raise answer
        return answer is True


async def test_a_change_taken_in_place_stops_nothing() -> None:
    """Several in a row: each is told what runs now, and what was yielded when it was entered."""
    probe = Updating(True, True)
    async with probing(probe) as (desk, instance):
        await instance.settled(await desk.put("a", n=1))
        await instance.settled(await desk.put("a", n=2))
        await instance.settled(await desk.put("a", n=3))
        assert probe.asked == [(1, 2, "yielded for 1"), (2, 3, "yielded for 1")]
        assert (probe.starts["a"], probe.stops["a"]) == (1, 0)
        running = instance.reconciler.running["a"]
        assert running.parameter("n", int) == 3
        assert instance.reconciler.rows() == []
        assert instance.reconciler.stats.updates == 2
        await instance.settled(await desk.put("a", n=3))
        assert len(probe.asked) == 2, "an equal value is no change"


@pytest.mark.parametrize("answer", [False, Boom("cannot"), "hang"])
async def test_a_change_not_taken_replaces_the_variant(answer: Answer) -> None:
    """Refused, failed or too slow: the old one is stopped, the new one started."""
    probe = Updating(answer)
    async with probing(probe) as (desk, instance):
        await instance.settled(await desk.put("a", n=1))
        await instance.settled(await desk.put("a", n=2))
        assert (probe.starts["a"], probe.stops["a"]) == (2, 1)
        assert probe.live["a"].parameter("n", int) == 2
        assert instance.reconciler.rows() == []
        stats = instance.reconciler.stats
        assert (stats.starts, stats.restarts, stats.updates, stats.failures) == (2, 1, 0, 0)


async def test_an_update_that_ignores_being_cancelled_hurts_only_its_variant(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is started beside it; once it has ended, the new value runs."""
    monkeypatch.setattr(lifecycle, "GRACE_S", 0.02)
    probe = Updating("stubborn")
    async with probing(probe) as (desk, instance):
        await instance.settled(await desk.put("a", n=1))
        await desk.put("a", n=2)
        await instance.settled(await desk.put("b", n=1))
        assert "does not stop" in instance.reconciler.failures["a"].error
        assert (probe.starts["a"], probe.starts["b"]) == (1, 1)
        probe.release.set()
        await instance.reconciler.until(lambda found: not found.rows())
        assert probe.live["a"].parameter("n", int) == 2


async def test_a_crash_after_an_update_is_the_new_values_failure() -> None:
    """It is reported for the revision of the change, and waits for the next attempt."""
    probe = Updating(True)
    async with probing(probe) as (desk, instance):
        await instance.settled(await desk.put("a", n=1))
        revision = await desk.put("a", n=2)
        await instance.settled(revision)
        probe.crash("a")
        await instance.reconciler.until(lambda found: "a" in found.failures)
        await instance.reconciler.quiet()
        [row] = instance.reconciler.rows()
        assert row.since == revision
        assert (probe.starts["a"], probe.stops["a"]) == (1, 1)


async def test_hanging_starts_let_others_past(caplog: pytest.LogCaptureFixture) -> None:
    """More of them than may start at once: the next variant starts all the same, and soon."""
    caplog.set_level(logging.WARNING)

    class Slow(Probe):
        concurrency = 2
        patience_s = 0.01
        start_timeout_s = 3600.0

    probe = Slow()
    async with probing(probe) as (desk, instance):
        for number in range(5):
            await desk.put(f"hangs{number}", mode="hang")
        await desk.put("a", n=1)
        await instance.reconciler.until(lambda found: "a" in found.running)
        assert {row.variant for row in instance.reconciler.rows()} == {
            f"hangs{number}" for number in range(5)
        }
        assert instance.reconciler.failures == {}, "they may still come"
        await instance.reconciler.until(lambda found: found.stats.set_aside == 5)
        said = [vars(r)["variant"] for r in caplog.records if r.msg == "variant takes long"]
        assert sorted(said) == [f"hangs{number}" for number in range(5)]
    assert probe.live == {}, "leaving ends those too"


async def test_what_was_set_aside_takes_the_value_that_came_meanwhile() -> None:
    """Its own steps end with what is stored then; and never two at once."""
    entered = Counter[str]()
    gate = asyncio.Event()

    class Gated(Probe):
        patience_s = 0.001
        start_timeout_s = 3600.0

        @asynccontextmanager
        async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
            entered[variant.name] += 1
            async with super().variant(variant, tasks):
                await gate.wait()
                yield

    probe = Gated()
    async with probing(probe) as (desk, instance):
        await desk.put("a", n=1)
        await instance.reconciler.until(lambda found: found.stats.set_aside == 1)
        revision = await desk.put("a", n=2)
        await instance.informer.until(lambda _: instance.informer.revision >= revision)
        assert entered["a"] == 1
        gate.set()
        await instance.settled(revision)
        assert probe.live["a"].parameter("n", int) == 2
        assert entered["a"] == 2
        assert instance.reconciler.rows() == []


async def test_latency_counts_each_change_once() -> None:
    """From hearing of it until it is as desired; what fails has not arrived yet."""
    probe = Probe()
    async with probing(probe) as (desk, instance):
        await desk.put("a", n=1)
        await desk.put("bad", mode="permanent")
        await instance.settled(await desk.put("b", n=1))
        await instance.settled(await desk.delete("b"))
        latency = instance.reconciler.stats.latency
        assert sum(latency.counts) == 3
        assert 0 < latency.sum_s < 3


async def test_a_timeout_of_the_authors_own_is_told_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What it waited for did not come: that is no deadline of ours, and its traceback helps."""
    probe = Updating(TimeoutError("the broker did not answer"), "hang")
    async with probing(probe) as (desk, instance):
        await instance.settled(await desk.put("a", n=1))
        await instance.settled(await desk.put("a", n=2))
        await instance.settled(await desk.put("a", n=3))
    said = [record.exc_info for record in caplog.records if record.msg == "variant not updated"]
    kinds = [(found[0], str(found[1])) for found in said if found]
    assert kinds == [
        (TimeoutError, "the broker did not answer"),
        (UpdateTimeout, "did not take the change within 0.4 s"),
    ]
