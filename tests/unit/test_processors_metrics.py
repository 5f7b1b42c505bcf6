"""What processors show to Prometheus, without a server before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest
from prometheus_client import Metric, generate_latest
from prometheus_client.registry import Collector

from kvconfig.informer import Stats as InformerStats
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.txn import Put, Txn
from processors import FlowProcessor, Instance, Spec, Tasks, Variant, running
from processors.metrics import families
from processors.stats import BOUNDS_S, Stats
from tests.scraping import samples
from tests.unit.support_instances import Clock, idle, synced
from tests.unit.support_processors import Probe, probing

PREFIX = "kvconfig_processor_"


class Fixed(Collector):
    """Gives what it was given."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self.found = found

    def collect(self) -> Iterable[Metric]:
        return self.found


def page(instances: Sequence[Instance]) -> str:
    return generate_latest(Fixed(families(instances))).decode()


def shown(*instances: Instance) -> dict[str, float]:
    return samples(page(instances), PREFIX)


def states(instance: Instance) -> tuple[float, float, float]:
    """Running, pending, failed."""
    found, id_ = shown(instance), instance.processor.id
    running, pending, failed = (
        found[f"variants{{processor={id_},state={state}}}"]
        for state in ("running", "pending", "failed")
    )
    return running, pending, failed


class Patient(Probe):
    """Waits for what hangs, and lets others past."""

    start_timeout_s = 60.0
    patience_s = 0.05


async def test_each_variant_is_in_one_state() -> None:
    """As desired, on its way, or failed: also where the last good value runs on."""
    async with probing(Patient()) as (desk, instance):
        assert states(instance) == (0, 0, 0)
        for name in ("a", "b", "c"):
            await desk.put(name)
        await desk.put("d", mode="fail")
        await instance.settled(await desk.put_raw(desk.key("e"), b"{"))
        assert states(instance) == (3, 0, 2)
        await instance.settled(await desk.put_raw(desk.key("a"), b"{"))
        assert "a" in instance.reconciler.running
        assert states(instance) == (2, 0, 3)
        await desk.put("slow", mode="hang")
        await instance.reconciler.until(lambda r: r.stats.set_aside > 0)
        assert states(instance) == (2, 1, 3)
        await desk.delete("b")
        await desk.delete("d")
        await desk.put("a")
        await instance.reconciler.until(lambda r: len(r.rows()) == 2)
        assert states(instance) == (2, 1, 1)
        set_aside = shown(instance)["set_aside_total{processor=probe}"]
        assert set_aside == instance.reconciler.stats.set_aside


async def test_what_was_done_is_counted() -> None:
    """Starts, those again, stops, failures and crashes; and what the watch told."""
    probe = Probe()
    async with probing(probe) as (desk, instance):
        await desk.put("a")
        await instance.settled(await desk.put("b"))
        await instance.settled(await desk.put("a", n=1))
        await instance.settled(await desk.put("c", mode="fail"))
        await instance.settled(await desk.delete("b"))
        probe.crash("a")
        await instance.reconciler.until(lambda r: "a" in r.failures)
        last = await desk.put("d", mode="permanent")
        await instance.settled(last)
        found = shown(instance)
        counted = {
            name.partition("_total")[0]: value
            for name, value in found.items()
            if name.endswith("_total{processor=probe}") and value
        }
        assert counted == {
            "starts": 3,
            "restarts": 1,
            "stops": 3,
            "crashes": 1,
            "failures": 3,
            "watches": 1,
            "lists": 1,
            "batches": 6,
            "events": 6,
        }
        assert found["observed_revision{processor=probe}"] == last


def test_all_that_is_counted_is_shown() -> None:
    """A counter that is added to either kind of statistics is not forgotten here."""
    plain = {
        field.name
        for kind in (Stats, InformerStats)
        for field in msgspec.structs.fields(kind)
        if field.type is int
    }
    counters = {family.name for family in families([]) if family.type == "counter"}
    assert counters == {f"{PREFIX}{name}" for name in plain}


async def test_how_long_changes_took() -> None:
    """A histogram as Prometheus has them: each class contains the one below."""
    instance = idle()
    for seconds in (0.0005, 0.001, 0.003, 7.0, 99.0):
        instance.reconciler.stats.latency.observe(seconds)
    found = shown(instance)

    def below(bound: str) -> float:
        return found[f"reconcile_seconds_bucket{{le={bound},processor=p}}"]

    assert [below(str(bound)) for bound in BOUNDS_S] == [2, 2, *[3] * 10, 4, 4]
    assert below("+Inf") == found["reconcile_seconds_count{processor=p}"] == 5
    assert found["reconcile_seconds_sum{processor=p}"] == pytest.approx(106.0045)


async def test_the_latency_is_that_of_the_changes() -> None:
    """One change that was carried out is one in the count; a failure is none."""
    async with probing(Probe()) as (desk, instance):
        await instance.settled(await desk.put("a"))
        await instance.settled(await desk.put("b", mode="fail"))
        assert shown(instance)["reconcile_seconds_count{processor=probe}"] == 1


async def test_how_old_is_what_is_known() -> None:
    """The age is that of the moment of asking, for each processor by itself."""
    store, clock = MemoryStore(), Clock()
    old, new = idle("old", store=store, clock=clock), idle("new", store=store, clock=clock)
    async with synced(old):
        clock.now += 7
        async with synced(new):
            clock.now += 2
            found = shown(old, new)
    assert found["watch_age_seconds{processor=old}"] == 9
    assert found["watch_age_seconds{processor=new}"] == 2
    assert found["observed_revision{processor=old}"] == store.revision
    assert shown(idle())["observed_revision{processor=p}"] == 0


class Reads(FlowProcessor):
    """Reads prompts as it is told."""

    def __init__(self, id_: str, shape: object) -> None:
        self.id = id_
        self.spec = Spec(config={"prompt": shape})

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        yield


async def test_configuration_is_shown_by_its_type() -> None:
    """Once for each type, in however many shapes it is read; an item counts once as an error."""
    store, space = MemoryStore(), Keyspace()
    for key, value in (("good", b'{"a": 1}'), ("text", b'{"a": "x"}'), ("none", b"{")):
        await store.commit(Txn(then=(Put(space.item("prompt", key), value),)))
    processors = [Reads("p", dict[str, int]), Reads("q", dict[str, str]), Reads("r", object)]
    async with running(store, processors, keyspace=space, instance="i1") as instances:
        for instance in instances:
            await instance.processor.config("prompt").informer.synced()
        found = shown(*instances)
    assert found["config_errors{type=prompt}"] == 3
    assert 0 <= found["config_age_seconds{type=prompt}"] < 60


async def test_variants_and_values_are_not_in_it() -> None:
    """Labels are few: as many series for ten thousand variants as for one."""
    async with probing(Probe()) as (desk, instance):
        await instance.settled(await desk.put("some-variant", mode="some-value"))
        before = shown(instance)
        await instance.settled(await desk.put("another-variant", mode="fail"))
        assert shown(instance).keys() == before.keys()
        assert "-va" not in page([instance])
