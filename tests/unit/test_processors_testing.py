"""The harness that authors of processors test with: each of its promises, on a probe."""

from __future__ import annotations

import asyncio

import pytest

from kvconfig.errors import StoreError
from processors import Spec
from processors.testing import Harness
from tests.unit.support_processors import Probe

IN = {"input": "in"}


class Configured(Probe):
    """A probe that reads a type of configuration."""

    spec = Spec(topics=("input",), parameters=Probe.spec.parameters, config={"prompt": str})


async def test_put_and_delete() -> None:
    """Values become strings, as the flow service makes them, and arrive typed."""
    async with Harness(Probe()) as harness:
        await harness.put("a", topics=IN, parameters={"n": 7, "flag": True})
        variant = await harness.running("a")
        assert variant.parameters == {"mode": "ok", "n": 7, "flag": "true"}
        await harness.put("a", topics=IN, parameters={"n": 8})
        assert (await harness.running("a")).parameter("n", int) == 8
        assert (await harness.status()).failed == {}
        await harness.delete("a")
        await harness.stopped("a")
        assert harness.processor.live == {}
        assert (harness.stats.starts, harness.stats.restarts, harness.stats.stops) == (2, 1, 2)


async def test_the_last_good_value_is_seen() -> None:
    """While a newer one is bad it runs on, and the failure says why."""
    async with Harness(Probe()) as harness:
        await harness.put("a", topics=IN, parameters={"n": 1})
        good = await harness.running("a")
        await harness.put("a", topics={})
        await harness.failed("a")
        assert harness.live("a") == good
        assert harness.live("b") is None


async def test_failures() -> None:
    """What is wrong is told; other variants are not concerned; it is retried soon."""
    async with Harness(Probe()) as harness:
        await harness.put("bad", topics={})
        await harness.put_raw("worse", b"nope")
        await harness.put("a", topics=IN)
        assert "$.topics.input" in (await harness.failed("bad")).error
        assert "not JSON" in (await harness.failed("worse")).error
        await harness.running("a")
        assert set((await harness.status()).failed) == {"bad", "worse"}
        await harness.put("later", topics=IN, parameters={"mode": "fail"})
        await harness.failed("later")
        harness.processor.healed.add("later")
        await harness.running("later")


async def test_deadlines_say_what_there_was_instead() -> None:
    """An author sees why, without a debugger."""
    async with Harness(Probe(), timeout_s=0.05) as harness:
        await harness.put("bad", topics={})
        await harness.put("a", topics=IN)
        await harness.running("a")
        with pytest.raises(AssertionError, match=r"bad runs; running: \['a'\].*bad failed: \$"):
            await harness.running("bad")
        with pytest.raises(AssertionError, match="a is stopped"):
            await harness.stopped("a")


async def test_an_outage_is_the_processors_only() -> None:
    """What runs goes on; what is put meanwhile is heard afterwards."""
    async with Harness(Probe()) as harness:
        await harness.put("a", topics=IN)
        await harness.running("a")
        async with harness.outage():
            with pytest.raises(StoreError):
                await harness.store.read(b"/x")
            await harness.put("b", topics=IN)
            await harness.delete("a")
            assert set(harness.processor.live) == {"a"}
        await harness.running("b")
        await harness.stopped("a")


async def test_a_processor_that_starts_in_an_outage_waits() -> None:
    """Leaving in the middle of it works too."""
    harness = Harness(Probe())
    async with harness.outage(), harness:
        await harness.put("a", topics=IN)
        assert harness.processor.live == {}


async def test_cut_watches_and_a_lost_lease() -> None:
    """Nothing is lost, nothing started again; the status comes back under a new lease."""
    async with Harness(Probe()) as harness:
        await harness.put("a", topics=IN)
        await harness.running("a")
        await harness.status()
        harness.cut_watches()
        await harness.lose_lease()
        await harness.put("b", topics=IN)
        await harness.running("b")
        assert (await harness.status()).pending == ()
        assert harness.processor.starts["a"] == 1


async def test_configuration() -> None:
    """Its view has what was put, once all is settled."""
    async with Harness(Configured()) as harness:
        await harness.put_config("prompt", "greeting", "hello")
        await harness.settled()
        prompts = harness.processor.config("prompt", str)
        assert dict(prompts) == {"greeting": "hello"}
        await harness.delete_config("prompt", "greeting")
        await harness.put("a", topics=IN)
        await harness.settled()
        assert dict(prompts) == {}
        assert set(harness.processor.live) == {"a"}


async def test_leaving_drains_and_leaves_no_task() -> None:
    """Also when the test fails in the middle."""
    probe = Probe()

    async def test() -> None:
        async with Harness(probe) as harness:
            await harness.put("a", topics=IN)
            await harness.running("a")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await test()
    assert probe.starts == probe.stops
    assert len(asyncio.all_tasks()) == 1
