"""Whether a process is live and ready: what says so, and how it is asked over HTTP."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import cast

import pytest

from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.model import KeyValue, Revision
from processors import FlowProcessor, Instance, Spec, Tasks, Variant, running
from processors.health import Heartbeat, unready
from processors.monitor import Monitor, monitored
from tests.robustness.waiting import eventually
from tests.scraping import Reply, get, samples
from tests.unit.support_instances import Clock, idle, synced
from tests.unit.support_processors import Desk, Probe

TEXT = "text/plain; charset=utf-8"


async def ask(monitor: Monitor, path: str, *, method: str = "GET") -> Reply:
    return await asyncio.to_thread(get, monitor.url + path, method=method)


def connected(monitor: Monitor, said: str) -> socket.socket:
    """A client that has said this, and no more."""
    host, port = monitor.url.removeprefix("http://").split(":")
    client = socket.create_connection((host, int(port)))
    client.sendall(said.encode())
    return client


async def test_the_heartbeat_stops_with_the_loop() -> None:
    """Its age is that of the last turn, and grows while there is none."""
    clock = Clock()
    async with Heartbeat(every_s=0.001, clock=clock) as heartbeat:
        clock.now += 12
        assert heartbeat.age_s == 12
        await eventually(lambda: heartbeat.age_s == 0)


async def test_an_instance_is_ready_when_it_is_synced_and_its_watch_is_fresh() -> None:
    """Whatever is missing is said, a line for each that misses something."""
    clock = Clock()
    old, new = idle("old", clock=clock), idle("new", clock=clock)
    assert unready([]) == []
    assert unready([old, new]) == [
        "old: not synced: etcd has not answered yet",
        "new: not synced: etcd has not answered yet",
    ]
    async with synced(old):
        clock.now += 20
        assert unready([old]) == []
        assert unready([old, new]) == ["new: not synced: etcd has not answered yet"]
        async with synced(new):
            clock.now += 10
            assert unready([old, new]) == ["old: watch silent for 30 s"]
            assert unready([old, new], fresh_s=30.1) == []
            assert len(unready([old, new], fresh_s=10)) == 2


async def test_what_an_earlier_life_knew_is_not_ready() -> None:
    """It runs, but nobody can tell how things stand now."""
    instance = idle("p")
    one = Revision(1)
    kv = KeyValue(b"/active-flow/p/f", b"{}", create_revision=one, mod_revision=one, version=1)
    assert instance.informer.recall([kv])
    assert unready([instance]) == [
        "p: stale: etcd has not answered yet, what an earlier life knew is used"
    ]
    async with synced(instance):
        assert unready([instance]) == []


class Reads(FlowProcessor):
    """Reads some configuration."""

    id = "reads"
    spec = Spec(config={"prompt": dict[str, str], "tool": object})

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        yield


async def test_configuration_counts_too() -> None:
    """A process is not ready while a type that a processor reads is not."""
    store = MemoryStore()
    processors = [Reads(), Probe()]
    async with running(store, processors, keyspace=Keyspace(), instance="i1") as instances:
        await eventually(lambda: not unready(instances, fresh_s=60))
        named = [line.partition(":")[0] for line in unready(instances, fresh_s=0)]
        assert named == ["reads", "probe", "configuration prompt", "configuration tool"]


async def test_ready_from_the_start_of_its_instances_to_their_end() -> None:
    """Before and after, the process is live and not ready; metrics are there all the time."""
    probe = Probe()
    store = MemoryStore()
    async with monitored(0) as monitor:
        assert (await ask(monitor, "/readyz"))[:2] == (503, "starting\n")
        assert (await ask(monitor, "/livez"))[:2] == (200, "ok\n")
        async with running(store, [probe], instance="i1") as instances:
            with monitor.observe(instances):
                await instances[0].settled(await Desk(store, Keyspace()).put("a"))
                assert (await ask(monitor, "/readyz"))[:2] == (200, "ok\n")
                page = samples((await ask(monitor, "/metrics")).text)
                assert page["kvconfig_processor_starts_total{processor=probe}"] == 1
            assert (await ask(monitor, "/readyz"))[:2] == (503, "draining\n")
        page = samples((await ask(monitor, "/metrics")).text)
        assert page["kvconfig_processor_stops_total{processor=probe}"] == 1
        assert (await ask(monitor, "/livez"))[:2] == (200, "ok\n")


async def test_requests_are_answered_as_http_has_it() -> None:
    """HEAD is GET without a body, a query changes nothing, and what is not there is named."""
    async with monitored(0) as monitor:
        for path in ("/livez", "/readyz", "/metrics"):
            reply, head = await ask(monitor, path), await ask(monitor, path, method="HEAD")
            assert head.status == reply.status
            for name in ("Content-Type", "Content-Length"):
                assert head.headers[name] == reply.headers[name]
            assert reply.headers["Content-Length"] == str(len(reply.text))
            assert reply.headers["Content-Type"].startswith("text/plain; ")
        with connected(monitor, "HEAD /livez HTTP/1.0\r\n\r\n") as client:
            raw = await asyncio.to_thread(client.makefile("rb").read)
        assert raw.endswith(b"\r\n\r\n"), "there is no body"
        assert (await ask(monitor, "/livez?verbose"))[:2] == (200, "ok\n")
        for path in ("/", "/live", "/livez/"):
            assert (await ask(monitor, path))[:2] == (
                404,
                "here are /livez, /metrics and /readyz\n",
            )
        assert (await ask(monitor, "/livez", method="POST")).status == 501


async def test_a_scraper_gets_the_format_that_it_wants() -> None:
    """OpenMetrics for those who ask for it."""
    async with monitored(0) as monitor:
        wanted = {"Accept": "application/openmetrics-text; version=1.0.0"}
        reply = await asyncio.to_thread(get, f"{monitor.url}/metrics", **wanted)
        assert reply.headers["Content-Type"].startswith("application/openmetrics-text; ")
        assert reply.text.endswith("# EOF\n")


class Blocking(FlowProcessor):
    """Blocks the event loop as soon as it runs a variant, until it is released."""

    id = "blocking"

    def __init__(self) -> None:
        self.blocked, self.released = threading.Event(), threading.Event()

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        self.blocked.set()
        while not self.released.is_set():
            time.sleep(0.01)  # noqa: ASYNC251 - just this is what a variant must not do
        yield


async def test_a_loop_that_hangs_is_neither_live_nor_ready(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A variant that blocks the loop shows in all that is asked, and is forgiven when it ends."""
    store, processor = MemoryStore(), Blocking()

    def until(url: str, status: int) -> Reply:
        deadline = time.monotonic() + 20
        while (reply := get(url)).status != status:
            assert time.monotonic() < deadline, f"{url} stays at {reply}"
        return reply

    def look(url: str) -> list[Reply]:
        """From outside, as whoever probes it does."""
        try:
            assert processor.blocked.wait(20)
            return [until(f"{url}{path}", 503) for path in ("/livez", "/readyz", "/metrics")]
        finally:
            processor.released.set()

    async with AsyncExitStack() as stack:
        monitor = await stack.enter_async_context(
            monitored(0, beat_s=0.05, alive_s=1.0, answer_s=0.2)
        )
        instances = await stack.enter_async_context(running(store, [processor], instance="i1"))
        stack.enter_context(monitor.observe(instances))
        for path in ("/livez", "/readyz"):
            await asyncio.to_thread(until, monitor.url + path, 200)
        looking = asyncio.create_task(asyncio.to_thread(look, monitor.url))
        await Desk(store, Keyspace(), "blocking").put("a")
        live, ready, metrics = await looking
        assert live.text.startswith("event loop: has not turned for ")
        assert ready.text == metrics.text == "event loop: no answer within 0.2 s\n"
        for path in ("/livez", "/readyz", "/metrics"):
            await asyncio.to_thread(until, monitor.url + path, 200)
    loop_errors = [record for record in caplog.records if record.name == "asyncio"]
    assert loop_errors == [], "questions that nobody waits for any more are dropped"


def test_a_loop_that_has_ended_is_told_from_one_that_hangs() -> None:
    """Who asks late learns that there is nobody."""

    async def made() -> Monitor:
        async with monitored(0) as monitor:
            return monitor

    monitor = asyncio.run(made())
    for path in ("/readyz", "/metrics"):
        status, _, body = monitor.get(path)
        assert (status, body) == (503, b"event loop: has ended\n")


async def test_the_port_is_free_again_afterwards() -> None:
    """What was served is gone with its block; a port that is taken is an OSError."""
    async with monitored(0) as monitor:
        port = int(monitor.url.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"):
            async with monitored(port):
                pass
        assert (await ask(monitor, "/livez")).status == 200
    with pytest.raises(ConnectionRefusedError):
        await ask(monitor, "/livez")
    async with monitored(port) as again:
        assert (await ask(again, "/livez")).status == 200


async def test_clients_that_hang_disturb_nobody() -> None:
    """Others are served meanwhile, and the end does not wait for them."""
    async with asyncio.timeout(5), AsyncExitStack() as stack:
        monitor = await stack.enter_async_context(monitored(0))
        with connected(monitor, "GET /livez"):
            assert (await ask(monitor, "/livez")).status == 200
            await stack.aclose()


async def test_clients_that_leave_are_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """It is noted for those who look for it, and others are served."""
    caplog.set_level(logging.DEBUG, "processors.monitor")
    async with monitored(0) as monitor:
        with connected(monitor, "GET /livez") as client:
            at_once = struct.pack("ii", 1, 0)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        await eventually(lambda: "request broken off" in caplog.messages)
        assert (await ask(monitor, "/livez")).status == 200
    assert [record.levelname for record in caplog.records] == ["DEBUG"]


async def test_a_defect_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong in an answer is in the log, and costs no other answer."""
    async with monitored(0) as monitor:
        with monitor.observe([cast("Instance", "no instance")]):
            reply = await ask(monitor, "/readyz")
            assert reply[:2] == (500, "a defect: the log has more\n")
            assert (await ask(monitor, "/livez")).status == 200
    (record,) = caplog.records
    assert (record.message, record.levelname) == ("request failed", "ERROR")
    assert record.exc_info is not None
    assert record.exc_info[0] is AttributeError


async def test_ipv6() -> None:
    """Its addresses are in brackets in a URL."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    async with monitored(0, "::1") as monitor:
        assert monitor.url.startswith("http://[::1]:")
        assert (await ask(monitor, "/livez")).status == 200
