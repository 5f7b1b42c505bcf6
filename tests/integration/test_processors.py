"""Processors on a real etcd, hosted in this process and in ones of their own."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kvconfig import keys
from kvconfig.codec import encode
from kvconfig.etcd import connect
from kvconfig.informer import Informer
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.model import KeyValue, Revision
from kvconfig.records import InstanceStatus, VariantRecord, decode_status
from kvconfig.store import Store
from kvconfig.txn import Delete, Put, Txn
from processors import running
from tests.unit.support_processors import Desk, Probe

Etcdctl = Callable[..., Awaitable[str]]
GENERIC = "processors.samples.generic:Generic"
EVENT_FIELDS = ("processor", "variant", "change", "revision", "resync")


@pytest.fixture
async def store(etcd_endpoint: str) -> AsyncIterator[Store]:
    async with connect([etcd_endpoint]) as opened:
        yield opened


@pytest.fixture
def space(root: str) -> Keyspace:
    return Keyspace(root)


@asynccontextmanager
async def status_of(
    store: Store, space: Keyspace, processor: str, instance: str
) -> AsyncIterator[Callable[[Callable[[InstanceStatus | None], object]], Awaitable[None]]]:
    """Wait for what an instance says of itself."""
    key = space.processor(processor, instance)

    def decode(kv: KeyValue) -> InstanceStatus:
        return decode_status(kv.value, key=kv.key)

    async with Informer(store, keys.one(key), decode) as informer:

        async def until(predicate: Callable[[InstanceStatus | None], object]) -> None:
            async with asyncio.timeout(20):
                await informer.until(
                    lambda items: bool(predicate(items[key].value if key in items else None))
                )

        yield until


class Host:
    """``processors run`` in a process of its own, and the lines that it prints."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []

    async def until(self, event: str, **fields: object) -> dict[str, Any]:
        """Read on until such a line comes."""
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            while True:
                text = await self.process.stdout.readline()
                assert text, f"ended before {event} {fields}: {self.lines}"
                line: dict[str, Any] = json.loads(text)
                self.lines.append(line)
                if line["event"] == event and fields.items() <= line.items():
                    return line

    async def rest(self) -> int:
        """Read to the end; the exit code."""
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            while text := await self.process.stdout.readline():
                self.lines.append(json.loads(text))
            return await self.process.wait()

    def heard(self) -> list[dict[str, Any]]:
        """The changes that its processors heard of."""
        return [line for line in self.lines if line["event"] == "variant changed"]


@asynccontextmanager
async def hosting(endpoint: str, root: str, *processors: str) -> AsyncIterator[Host]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "processors", "run", *processors),
        *("--endpoints", endpoint, "--root", root, "--instance", "i1", "--log-format", "json"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Host(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        transport: Any = process._transport  # type: ignore[attr-defined]
        transport.close()


async def start(store: Store, space: Keyspace, *names: str) -> Revision:
    """One transaction of puts, as a start is."""
    value = encode(VariantRecord(topics={"input": "in"}))
    puts = tuple(Put(space.active_flow(VariantName.parse(name)), value) for name in names)
    return (await store.commit(Txn(then=puts))).revision


async def test_each_hears_its_own_keys_once(
    etcd_endpoint: str, root: str, store: Store, space: Keyspace
) -> None:
    """One event for each changed key to the processor concerned, none to any other.

    Two flows start in one transaction each and one stops; ``chunk`` hears nothing of ``chunker``.
    """
    ids = ("chunk", "chunker", "chunker-2", "idle")
    async with hosting(etcd_endpoint, root, *(f"{GENERIC}={id_}" for id_ in ids)) as host:
        for id_ in ids:
            async with status_of(store, space, id_, "i1") as until:
                await until(lambda status: status)
        committed = time.time()
        first = await start(store, space, "chunker/f1", "chunker-2/f1")
        second = await start(store, space, "chunker/f2", "chunk/f2")
        third = (
            await store.commit(Txn(then=(Delete(space.active_flow(VariantName("chunker", "f1"))),)))
        ).revision
        for id_, revision in (("chunk", second), ("chunker", third), ("chunker-2", first)):
            async with status_of(store, space, id_, "i1") as until:
                await until(lambda s, r=revision: s and s.observed_revision >= r and not s.pending)  # type: ignore[misc]
        host.process.send_signal(signal.SIGTERM)
        assert await host.rest() == 0
        heard = {tuple(line[field] for field in EVENT_FIELDS) for line in host.heard()}
        assert len(host.heard()) == 5
        assert heard == {
            ("chunker", "f1", "put", first, False),
            ("chunker-2", "f1", "put", first, False),
            ("chunker", "f2", "put", second, False),
            ("chunk", "f2", "put", second, False),
            ("chunker", "f1", "delete", third, False),
        }
        assert all(committed <= line["time"] <= committed + 20 for line in host.heard())
        for line in host.lines:
            assert {"time", "level", "event", "logger"} <= line.keys()
        ends = [
            (line["event"], line["variant"], line.get("reason"))
            for line in host.lines
            if line["event"].startswith("variant st") and line["processor"] == "chunker"
        ]
        assert ends == [
            ("variant started", "f1", None),
            ("variant started", "f2", None),
            ("variant stopped", "f1", "deleted"),
            ("variant stopped", "f2", "draining"),
        ]
    for id_ in ids:
        assert await store.read(space.processor(id_, "i1")) is None, "the key goes at a clean end"


async def test_what_is_put_by_hand_hurts_only_itself(
    etcd_endpoint: str, root: str, store: Store, space: Keyspace, etcdctl: Etcdctl
) -> None:
    """Bad names and bad JSON from etcdctl: in the log and in the instance's key; others run.

    The last good version of a variant keeps running (weakness 16).
    """
    base = f"/{root}/active-flow/p"

    async def put(name: str, value: str) -> None:
        await etcdctl(etcd_endpoint, "put", "--", f"{base}/{name}", value)

    async with (
        hosting(etcd_endpoint, root, f"{GENERIC}=p") as host,
        status_of(store, space, "p", "i1") as until,
    ):
        await put("good", '{"topics": {}, "parameters": {"a": "1"}}')
        await host.until("variant started", variant="good")
        await put("good", "{oops")
        await put("worse", '{"topics": {"a": 1}}')
        await put("bad name", "{}")
        await put("a/b", "{}")
        await put("also-good", "{}")
        await host.until("variant started", variant="also-good")
        bad = {"good", "worse", "bad name", "a/b"}
        await until(lambda s: s and set(s.failed) == bad and not s.pending)
        await put("good", '{"topics": {}, "parameters": {"a": "1"}}')
        await until(lambda s: s and set(s.failed) == bad - {"good"})
        await put("good", '{"topics": {}, "parameters": {"a": "2"}}')
        await host.until("variant started", variant="good")
        host.process.send_signal(signal.SIGINT)
        assert await host.rest() == 0
    failed = {
        line["variant"]: (line["error"], line["last_good_runs"])
        for line in host.lines
        if line["event"] == "variant failed"
    }
    assert failed.keys() == bad
    assert failed["good"][1]
    assert "$.topics.a" in failed["worse"][0]
    assert "oops" not in json.dumps(host.lines), "values are not logged"
    started = [line["variant"] for line in host.lines if line["event"] == "variant started"]
    assert started == ["good", "also-good", "good"]


async def test_update_failure_and_crash(store: Store, space: Keyspace) -> None:
    """Weaknesses 14 and 15 on etcd: an updated variant restarts; one that fails is no zombie."""
    probe = Probe()
    async with (
        running(store, [probe], keyspace=space, instance="i1") as (instance,),
        status_of(store, space, "probe", "i1") as until,
    ):
        desk = Desk(store, space)
        await instance.settled(await desk.put("a", n=1))
        await instance.settled(await desk.put("a", n=2))
        await instance.settled(await desk.put("a", n="002"))
        assert probe.live["a"].parameter("n", int) == 2
        assert probe.starts["a"] == 2, "restarted once, for the one change of its value"
        await desk.put("b", mode="fail")
        await until(lambda s: s and "b" in s.failed and s.failed["b"].attempts >= 2)
        probe.healed.add("b")
        await until(lambda s: s and not s.failed and not s.pending)
        probe.healed.discard("b")
        probe.crash("b")
        # Status is coalesced: of the crash and the failed starts after it, only the last shows.
        await until(lambda s: s and "b" in s.failed)
        revision = await desk.delete("b")
        await until(lambda s: s and not s.failed and s.observed_revision >= revision)
        assert set(probe.live) == {"a"}


async def test_a_lost_lease_is_replaced(store: Store, space: Keyspace) -> None:
    """The variants run on; the state comes back whole under a new lease."""
    probe = Probe()
    key = space.processor("probe", "i1")
    async with (
        running(store, [probe], keyspace=space, instance="i1", ttl_s=2),
        status_of(store, space, "probe", "i1") as until,
    ):
        revision = await Desk(store, space).put("a")
        await until(lambda s: s and s.observed_revision >= revision and not s.pending)
        kv = await store.read(key)
        assert kv is not None
        await store.revoke(kv.lease)
        await until(lambda s: s is None)
        await until(lambda s: s and s.observed_revision >= revision)
        assert (probe.starts["a"], probe.stops["a"]) == (1, 0)
    assert await store.read(key) is None
    assert probe.stops["a"] == 1


async def test_a_killed_instance_is_gone_with_its_lease(
    etcd_endpoint: str, root: str, store: Store, space: Keyspace
) -> None:
    """A second process of the same name notices, waits, and takes over when the key has gone."""
    async with (
        hosting(etcd_endpoint, root, f"{GENERIC}=p") as host,
        status_of(store, space, "p", "i1") as until,
    ):
        await until(lambda s: s)
        host.process.kill()
        async with hosting(etcd_endpoint, root, f"{GENERIC}=p") as second:
            line = await second.until("another instance holds this key")
            assert line["holder"]
            kv = await store.read(space.processor("p", "i1"))
            assert kv is not None
            await store.revoke(kv.lease)  # as its end would, later
            await until(lambda s: s is None)
            await until(lambda s: s)


async def test_draining_and_the_second_signal(
    etcd_endpoint: str, root: str, store: Store, space: Keyspace
) -> None:
    """The first signal stops in good order; a second one ends the process at once."""
    slow = "tests.integration.slow_processor:Slow"
    async with hosting(etcd_endpoint, root, slow) as host:
        await start(store, space, "slow/f")
        await host.until("variant started", variant="f")
        host.process.send_signal(signal.SIGTERM)
        await host.until("draining")
        host.process.send_signal(signal.SIGTERM)
        assert await host.rest() == 128 + signal.SIGTERM
