"""``processors run`` as a process, on a real etcd: its group file, metrics, health and log."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from flowsvc.cli.children import child
from kvconfig.devserver import DevServer, EtcdBinary
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from kvconfig.txn import Put, Txn
from processors import running
from processors.monitor import monitored
from tests.integration.talking_processor import Talking
from tests.robustness.waiting import eventually
from tests.scraping import Reply, get, samples
from tests.unit.support_processors import Desk

TALKING = "tests.integration.talking_processor:Talking"
PREFIX = "kvconfig_processor_"


async def ask(url: str, path: str) -> Reply:
    return await asyncio.to_thread(get, url + path)


async def test_the_process_as_an_operator_sees_it(
    etcd_endpoint: str, root: str, tmp_path: Path
) -> None:
    """A group and an argument in one process: what was done is in its metrics, and in its log."""
    group = tmp_path / "group.toml"
    group.write_text(
        f'[[processor]]\nclass = "{TALKING}"\nid = "other"\narguments = {{said = "servus"}}'
    )
    where = ("--endpoints", etcd_endpoint, "--root", root, "--instance", "i1")
    options = ("--group", str(group), "--metrics-port", "0", "--log-format", "json")
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(connect([etcd_endpoint]))
        process = await stack.enter_async_context(AsyncExitStack())
        host = await process.enter_async_context(
            child("processors", "processors", "run", TALKING, *where, *options)
        )
        line = await host.line(event="running")
        assert line["processors"] == ["talking", "other"]
        url = str(line["metrics"]).removesuffix("/metrics")

        async def page() -> dict[str, float]:
            return samples((await ask(url, "/metrics")).text, PREFIX)

        async def variants(processor: str, **expected: int) -> bool:
            found = await page()
            return all(
                found[f"variants{{processor={processor},state={state}}}"] == count
                for state, count in expected.items()
            )

        async def ready() -> bool:
            return (await ask(url, "/readyz"))[:2] == (200, "ok\n")

        await eventually(ready)
        space = Keyspace(root)
        desk = Desk(store, space, "talking")
        await store.commit(Txn(then=(Put(space.item("prompt", "broken"), b"{"),)))
        for name in ("a", "b", "c"):
            await desk.put(name)
        await eventually(lambda: variants("talking", running=3, pending=0, failed=0))
        await desk.put("failing", fail="true")
        await desk.put("wrong", fail="perhaps")
        changed = await desk.put("a", n=1)
        last = await desk.delete("b")
        await eventually(lambda: variants("talking", running=2, pending=0, failed=2))
        other = await Desk(store, space, "other").put("a")
        await eventually(lambda: variants("other", running=1, pending=0, failed=0))

        found = await page()
        counters = {
            name.removesuffix("_total{processor=talking}"): value
            for name, value in found.items()
            if name.endswith("_total{processor=talking}") and value
        }
        assert counters.pop("failures") >= 1, "it is tried again and again"
        assert counters == {
            "starts": 4,
            "restarts": 1,
            "stops": 2,
            "watches": 1,
            "lists": 1,
            "batches": 7,
            "events": 7,
        }
        assert found["observed_revision{processor=talking}"] >= last
        assert found["observed_revision{processor=other}"] >= other
        assert found["config_errors{type=prompt}"] == 1
        assert found["config_age_seconds{type=prompt}"] < 30
        assert (await ask(url, "/livez"))[:2] == (200, "ok\n")

        for event in ("in the variant", "in a task"):
            told = {"event": event, "logger": "tests.integration.talking_processor"}
            about_a = {"processor": "talking", "variant": "a", "revision": changed}
            await host.line(**told, **about_a, said="hello")
            about_a = {"processor": "other", "variant": "a", "revision": other}
            await host.line(**told, **about_a, said="servus")
        async with asyncio.timeout(10):
            await process.aclose()
    assert host.exit_code == 0


async def test_ready_while_etcd_gives_signs_of_life(etcd_binary: EtcdBinary) -> None:
    """Without etcd the process is live and not ready; all its caches are named, and recover."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(DevServer(etcd_binary))
        monitor = await stack.enter_async_context(monitored(0, fresh_s=3.0))
        store = await stack.enter_async_context(
            connect([server.endpoint], timeout_s=1.0, silence_s=1.5)
        )
        instances = await stack.enter_async_context(
            running(store, [Talking()], keyspace=Keyspace("@ready"), instance="i1", ttl_s=2)
        )
        stack.enter_context(monitor.observe(instances))

        async def ready(status: int, *lines: str) -> bool:
            reply = await ask(monitor.url, "/readyz")
            assert (await ask(monitor.url, "/livez")).status == 200
            return reply.status == status and all(line in reply.text for line in lines)

        await eventually(lambda: ready(200, "ok"))
        await server.stop()
        silent = ("talking: watch silent for ", "configuration prompt: watch silent for ")
        await eventually(lambda: ready(503, *silent))
        await server.start()
        await eventually(lambda: ready(200, "ok"), within_s=60)
