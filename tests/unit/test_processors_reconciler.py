"""The reconciler's promises, on a store in memory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random

import pytest

from kvconfig.codec import encode
from kvconfig.errors import StoreError, Unavailable
from kvconfig.memory import MemoryStore
from kvconfig.records import VariantRecord
from processors import Instance
from processors.slot import Attempts
from tests.unit.support_processors import Boom, Desk, Hasty, Probe, Quick, probing


def ns(probe: Probe) -> dict[str, int]:
    """What runs: the parameter ``n`` by name."""
    return {name: variant.parameter("n", int) for name, variant in probe.live.items()}


def messages(caplog: pytest.LogCaptureFixture, message: str) -> list[dict[str, object]]:
    return [vars(record) for record in caplog.records if record.getMessage() == message]


async def test_starts_updates_and_stops() -> None:
    """Weakness 14: what is put runs, what is changed runs anew, what is deleted does not run."""
    probe = Probe()
    async with probing(probe) as (desk, instance):
        await desk.put("a", n=1)
        await instance.settled(await desk.put("b", n=1))
        assert ns(probe) == {"a": 1, "b": 1}
        await instance.settled(await desk.put("a", n=2))
        assert ns(probe) == {"a": 2, "b": 1}
        assert (probe.starts["a"], probe.starts["b"]) == (2, 1)
        await instance.settled(await desk.delete("a"))
        assert ns(probe) == {"b": 1}
        assert instance.reconciler.rows() == []
    assert ns(probe) == {}, "leaving stops all"
    assert probe.starts == probe.stops


async def test_equal_values_restart_nothing() -> None:
    """Put again with the same value, however it is written: nothing happens."""
    probe = Probe()
    async with probing(probe) as (desk, instance):
        await desk.put("a", n=1)
        await desk.put("a", n="01")
        spaced = b'{"parameters": {"n": "1"},  "topics": {"input": "in"}}'
        await instance.settled(await desk.put_raw(desk.key("a"), spaced))
        assert probe.starts["a"] == 1
        assert instance.reconciler.rows() == []


async def test_start_failure_is_no_zombie() -> None:
    """Weakness 15: reported, retried (here: by its next put), and gone once it is deleted."""
    probe = Probe()
    async with probing(probe) as (desk, instance):
        await instance.settled(await desk.put("a", mode="fail"))
        assert ns(probe) == {}
        failure = instance.reconciler.failures["a"]
        assert (failure.error, failure.attempts) == ("Boom: cannot start", 1)
        await instance.settled(await desk.put("a", mode="fail", n=1))
        assert probe.starts["a"] == 2
        await instance.settled(await desk.delete("a"))
        assert not instance.reconciler.failures
        assert instance.reconciler.rows() == []


async def test_failures_are_retried_with_backoff() -> None:
    """A passing failure heals by itself, and is then reported no more."""
    probe = Probe()
    async with probing(probe, backoff=Quick) as (desk, instance):
        await desk.put("a", mode="fail")
        await instance.reconciler.until(
            lambda r: "a" in r.failures and r.failures["a"].attempts >= 3
        )
        probe.healed.add("a")
        await instance.reconciler.until(lambda r: not r.rows())
        assert ns(probe) == {"a": 0}
        assert not instance.reconciler.failures


async def test_putting_the_same_again_is_a_new_chance() -> None:
    """Equal values restart nothing that runs; what failed is tried at once."""
    probe = Probe()
    async with probing(probe) as (desk, instance):
        await instance.settled(await desk.put("a", mode="permanent"))
        probe.healed.add("a")
        await instance.settled(await desk.put("a", mode="permanent"))
        assert ns(probe) == {"a": 0}


async def test_permanent_failures_are_not_retried(caplog: pytest.LogCaptureFixture) -> None:
    """``Permanent`` waits for the next put; the log says that there is no retry."""
    probe = Probe()
    caplog.set_level(logging.INFO)
    async with probing(probe, backoff=Quick) as (desk, instance):
        await desk.put("b", mode="fail")
        await instance.settled(await desk.put("a", mode="permanent"))
        await instance.reconciler.until(lambda r: r.failures["b"].attempts >= 4)
        assert probe.starts["a"] == 1
        assert instance.reconciler.failures["a"].error == "never"
    found = [m for m in messages(caplog, "variant failed") if m["variant"] == "a"]
    assert [m["retry_s"] for m in found] == [None]


async def test_a_crash_is_noticed_and_retried() -> None:
    """A task that fails ends its variant: stopped, reported, started again; others go on."""
    probe = Probe()
    async with probing(probe, backoff=Quick) as (desk, instance):
        await desk.put("b")
        await instance.settled(await desk.put("a", n=1))
        probe.crash("a")
        await instance.reconciler.until(lambda _: probe.starts["a"] == 2 and "a" in probe.live)
        await instance.reconciler.until(lambda r: not r.rows())
        assert ns(probe) == {"a": 1, "b": 0}
        assert (probe.starts["b"], probe.stops["a"]) == (1, 1)


async def test_a_crash_is_reported_until_the_retry() -> None:
    """While it waits for its retry, a crashed variant is failed, and does not run."""
    probe = Probe()
    async with probing(probe) as (desk, instance):
        revision = await desk.put("a", n=1)
        await instance.settled(revision)
        probe.crash("a")
        await instance.reconciler.until(lambda r: "a" in r.failures)
        assert instance.reconciler.failures["a"].error == "Boom: crashed"
        assert [(row.variant, row.since) for row in instance.reconciler.rows()] == [("a", revision)]
        assert ns(probe) == {}
        assert probe.stops["a"] == 1


async def test_a_new_value_is_pending_and_not_failed_for_what_the_old_one_did() -> None:
    """Else who waits for an update that cures a failure would be told of the old one."""
    probe = Probe()
    async with probing(probe) as (desk, instance):
        await desk.put("a", mode="fail")
        await instance.reconciler.until(lambda r: "a" in r.failures)
        await desk.put("a", mode="permanent")
        async with asyncio.timeout(5):
            await instance.reconciler.until(lambda r: [row.failure for row in r.rows()] == [None])
        await instance.reconciler.until(lambda r: "a" in r.failures)
        assert instance.reconciler.failures["a"].error == "never"


async def test_a_variant_that_crashes_at_once_does_not_spin() -> None:
    """Having been entered is no success that resets the delays."""
    probe = Probe()
    async with probing(probe, backoff=Quick) as (desk, instance):
        await desk.put("a", mode="crash")
        await instance.reconciler.until(
            lambda r: "a" in r.failures and r.failures["a"].attempts >= 4
        )
        assert probe.starts["a"] >= 4


def test_delays_are_short_again_after_running_for_a_while() -> None:
    """Attempts count on over short runs; a reset begins anew."""

    class Counting(Quick):
        pass

    tried = Attempts(variant=None)  # type: ignore[arg-type]
    for count in (1, 2, 3):
        tried.failed(Boom(), 0.0, Counting)
        assert (tried.count, round(tried.retry_at, 3)) == (count, 0.002 * count)
        tried.succeeded(1.0)
    tried.reset()
    tried.failed(Boom(), 0.0, Counting)
    assert (tried.count, tried.retry_at) == (1, 0.002)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b"not json", "not JSON"),
        (b'{"parameters":{"n":1}}', "$.parameters.n"),
        (encode(VariantRecord(topics={"input": "i"}, parameters={"n": "x"})), "$.parameters.n"),
        (encode(VariantRecord()), "$.topics.input"),
        (b'{"topics":{},"extra":1}', "extra"),
    ],
)
async def test_a_bad_value_hurts_only_itself(
    value: bytes, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Weakness 16: reported with the place; the last good one runs on, and the others."""
    probe = Probe()
    caplog.set_level(logging.INFO)
    async with probing(probe) as (desk, instance):
        await desk.put("a", n=1)
        await instance.settled(await desk.put_raw(desk.key("bad"), value))
        revision = await desk.put_raw(desk.key("a"), value)
        await desk.put("b", n=2)
        await instance.settled(await desk.put("c", n=3))
        assert ns(probe) == {"a": 1, "b": 2, "c": 3}
        assert probe.starts["a"] == 1
        assert set(instance.reconciler.failures) == {"bad", "a"}
        assert error in instance.reconciler.failures["a"].error
        found = {m["variant"]: m for m in messages(caplog, "variant failed")}
        assert (found["a"]["last_good_runs"], found["bad"]["last_good_runs"]) == (True, False)
        assert found["a"]["revision"] == revision
        await instance.settled(await desk.put("a", n=1))
        assert probe.starts["a"] == 1, "back to what runs anyway"
        assert set(instance.reconciler.failures) == {"bad"}


async def test_a_bad_name_hurts_only_itself() -> None:
    """A key that no builder makes is reported under what stands after the prefix."""
    probe = Probe()
    async with probing(probe) as (desk, instance):
        base = desk.key("x")[:-1]
        for name in (b"a/b", b"\xff\n", b"sp ace", b""):
            await desk.put_raw(base + name, b"{}")
        await instance.settled(await desk.put("ok"))
        assert ns(probe) == {"ok": 0}
        assert set(instance.reconciler.failures) == {"a/b", "\\xff\\n", "sp ace", ""}


async def test_the_last_good_one_comes_back_when_the_new_one_cannot_start() -> None:
    """A new value that fails to start ends with the last good one running, and is reported."""
    probe = Probe()
    async with probing(probe) as (desk, instance):
        await desk.put("a", n=1)
        await instance.settled(await desk.put("a", n=2, mode="fail"))
        assert ns(probe) == {"a": 1}
        assert instance.reconciler.failures["a"].error == "Boom: cannot start"
        probe.healed.add("a")
        await instance.settled(await desk.put("a", n=3, mode="fail"))
        assert ns(probe) == {"a": 3}
        assert not instance.reconciler.failures


async def test_the_last_good_one_is_restarted_behind_a_bad_value() -> None:
    """It crashes while what is stored is bad: it is started again, the bad value stays reported."""
    probe = Probe()
    async with probing(probe, backoff=Quick) as (desk, instance):
        await desk.put("a", n=1)
        await instance.settled(await desk.put_raw(desk.key("a"), b"bad"))
        probe.crash("a")
        await instance.reconciler.until(lambda _: probe.starts["a"] == 2 and "a" in probe.live)
        await instance.settled()
        assert ns(probe) == {"a": 1}
        assert "not JSON" in instance.reconciler.failures["a"].error


async def test_deleted_means_forgotten() -> None:
    """After a delete there is no last good value to go back to."""
    probe = Probe()
    async with probing(probe) as (desk, instance):
        await instance.settled(await desk.put("a", n=1))
        await instance.settled(await desk.delete("a"))
        await instance.settled(await desk.put_raw(desk.key("a"), b"bad"))
        assert ns(probe) == {}


async def test_deleted_while_something_else_comes_is_forgotten_too() -> None:
    """A delete that was acted upon is not undone by a bad value that comes meanwhile."""

    class Patient(Probe):
        stop_timeout_s = 5.0

    probe = Patient()
    async with probing(probe) as (desk, instance):
        await instance.settled(await desk.put("a", mode="stubborn"))
        await desk.delete("a")
        await instance.reconciler.until(lambda r: not r.running)
        revision = await desk.put_raw(desk.key("a"), b"bad")
        await instance.informer.until(lambda _: instance.informer.revision >= revision)
        probe.release.set()
        await instance.settled(revision)
        assert ns(probe) == {}
        assert probe.starts["a"] == 1


async def test_a_hanging_start_hurts_only_itself() -> None:
    """It is cut off at its deadline and counts as failed; the others have started meanwhile."""
    probe = Probe()
    async with probing(probe) as (desk, instance):
        await desk.put("a", mode="hang")
        await desk.put("b")
        await instance.reconciler.until(lambda _: "b" in probe.live)
        await instance.reconciler.until(lambda r: "a" in r.failures)
        assert "did not start within 0.4 s" in instance.reconciler.failures["a"].error
        assert ns(probe) == {"b": 0}


async def test_what_does_not_stop_is_never_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is reported, and its next value starts when it has really ended."""
    monkeypatch.setattr("processors.lifecycle.GRACE_S", 0.02)
    probe = Probe()
    async with probing(probe) as (desk, instance):
        await desk.put("b")
        await instance.settled(await desk.put("a", mode="stubborn", n=1))
        await desk.put("b", n=2)
        await instance.settled(await desk.put("a", n=2))
        assert ns(probe) == {"a": 1, "b": 2}
        assert probe.starts["a"] == 1
        assert "does not stop" in instance.reconciler.failures["a"].error
        probe.release.set()
        await instance.reconciler.until(lambda r: not r.rows())
        assert ns(probe) == {"a": 2, "b": 2}


async def test_variants_start_in_parallel() -> None:
    """Serial per variant, parallel across variants: one does not wait for another."""

    class Meeting(Probe):
        start_timeout_s = 5.0

        def __init__(self) -> None:
            super().__init__()
            self.barrier = asyncio.Barrier(3)

        def check(self, variant) -> None:
            pass

    probe = Meeting()
    entered = probe.barrier

    async def meet() -> None:
        await entered.wait()

    async with probing(probe) as (desk, instance):
        original = probe._task

        async def task(crash: asyncio.Future[None], mode: str) -> None:
            await meet()
            await original(crash, mode)

        probe._task = task  # type: ignore[method-assign]
        for name in "abc":
            await desk.put(name)
        await instance.settled()
        await instance.reconciler.until(lambda r: len(r.running) == 3)


async def test_each_event_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """One line for each change heard, with revision and kind; none for other processors."""
    caplog.set_level(logging.INFO)
    async with probing(Probe()) as (desk, instance):
        put = await desk.put("a", n=41)
        await Desk(desk.store, desk.keyspace, "prob").put("a")
        await Desk(desk.store, desk.keyspace, "probes").put("a")
        deleted = await desk.delete("a")
        await instance.settled(deleted)
    found = messages(caplog, "variant changed")
    assert [
        (m["processor"], m["variant"], m["change"], m["revision"], m["resync"]) for m in found
    ] == [("probe", "a", "put", put, False), ("probe", "a", "delete", deleted, False)]
    for record in caplog.records:
        assert "41" not in str({k: v for k, v in vars(record).items() if k in ("msg", "error")})


async def test_a_lost_watch_loses_nothing() -> None:
    """What changed while the watch was away is found by the list, deletes included."""
    probe = Probe()
    store = MemoryStore()
    async with probing(probe, store=store) as (desk, instance):
        await desk.put("a", n=1)
        await instance.settled(await desk.put("b", n=1))
        store.cut_watches("test")
        await desk.delete("a")
        await desk.put("b", n=1)
        await desk.put("c", n=1)
        await instance.reconciler.until(lambda _: ns(probe) == {"b": 1, "c": 1})
        assert probe.starts["b"] == 1


async def _random_fault(chance: random.Random, desk: Desk, store: MemoryStore) -> None:
    """What happens to a store, and to those who use it."""
    kind = chance.choice(["cut", "compact", "outage", "lease"])
    if kind == "compact":
        with contextlib.suppress(StoreError):  # it was compacted there already
            store.compact(store.revision)
    elif kind == "lease":
        kv = await store.read(desk.keyspace.processor("probe", "i1"))
        if kv is not None:
            await store.revoke(kv.lease)
    else:
        store.cut_watches("test")
        if kind == "outage":
            store.fail_next(Unavailable("test"), "list")


async def _random_operation(chance: random.Random, desk: Desk, probe: Probe) -> None:
    """What an operator does, and what becomes of a variant."""
    name = chance.choice("abcdef")
    kind = chance.choice(["put", "put", "put", "delete", "bad", "crash", "heal", "wait"])
    if kind == "put":
        mode = chance.choice(["ok", "ok", "ok", "fail", "permanent", "crash", "hang"])
        await desk.put(name, n=chance.randint(0, 2), mode=mode)
    elif kind == "delete":
        await desk.delete(name)
    elif kind == "bad":
        await desk.put_raw(desk.key(name), chance.choice([b"", b"{", b'{"topics":1}']))
    elif kind == "crash":
        probe.crash(name)
    elif kind == "heal":
        (probe.healed.discard if chance.random() < 0.3 else probe.healed.add)(name)
    else:
        for _ in range(chance.randint(1, 8)):
            await asyncio.sleep(0)


def _as_desired(probe: Probe, instance: Instance) -> bool:
    """Running set == desired set minus reported failures, and each at its desired value."""
    wanted = {key.rpartition(b"/")[2].decode() for key in instance.informer.items}
    failed = set(instance.reconciler.failures)
    live = set(probe.live)
    values = {
        key.rpartition(b"/")[2].decode(): item.value
        for key, item in instance.informer.items.items()
    }
    for name in live - failed:
        value = values.get(name)
        assert value is not None
        if value.parameters != {k: str(v) for k, v in probe.live[name].parameters.items()}:
            return False
    return wanted - failed == live - failed and live <= wanted


@pytest.mark.parametrize("seed", range(40))
async def test_after_anything_what_runs_is_what_is_desired(seed: int) -> None:
    """Random puts, updates, deletes, bad values, crashes, cut streams, outages and lost leases.

    Afterwards the running set is the desired set minus what is reported; that no variant runs
    twice at once the probe itself asserts, and equal values are compared by value.
    """
    chance = random.Random(seed)
    probe, store = Hasty(), MemoryStore()
    async with probing(probe, backoff=Quick, store=store) as (desk, instance):
        for _ in range(60):
            if chance.random() < 0.07:
                await _random_fault(chance, desk, store)
            await _random_operation(chance, desk, probe)
        await instance.settled(await desk.put("last", mode="ok", n=0))
        await instance.reconciler.until(lambda _: _as_desired(probe, instance))
    assert not probe.live
    assert probe.starts == probe.stops
