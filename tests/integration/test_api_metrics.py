"""Metrics: what the service did, counted before whatever does it, and scraped over HTTP."""

from __future__ import annotations

import asyncio
import itertools
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from flowsvc.errors import NotFound
from flowsvc.metrics import Measured, Metrics, exposed
from flowsvc.model import PauseFlow, RollOut, StartFlow, StopFlow
from kvconfig.errors import OutcomeUnknown
from tests.fake_flows import HISTORY, PREVIEW, STATUS, FakeFlows, connected

PREFIX = "kvconfig_flow_"


async def scrape(port: int) -> dict[str, float]:
    """Each sample by its name and labels, without our prefix."""

    def get() -> str:
        opener = build_opener(ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    samples = {}
    for family in text_string_to_metric_families(await asyncio.to_thread(get)):
        for sample in family.samples:
            assert sample.name.startswith(PREFIX)
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            name = sample.name.removeprefix(PREFIX)
            samples[f"{name}{{{labels}}}" if labels else name] = sample.value
    return samples


async def test_what_is_done_is_counted():
    """Operations by their outcome, conflicts, what was sent again, how long."""
    flows, metrics = FakeFlows(), Metrics()
    ticks = itertools.count()
    measured = Measured(flows, metrics, clock=lambda: next(ticks) * 0.02)
    start = StartFlow(flow="f", blueprint_name="b")
    flows.done = msgspec.structs.replace(flows.done, conflicts=0)
    await measured.change(start)
    flows.done = msgspec.structs.replace(flows.done, conflicts=3)
    await measured.change(msgspec.structs.replace(start, resent=True))
    await measured.change(RollOut(blueprint_name="b"))
    await measured.restart_flow(PauseFlow(flow="f", resent=True))
    for error in (NotFound("flow", "f"), OutcomeUnknown("?"), ZeroDivisionError()):
        flows.error = error
        with pytest.raises(type(error)):
            await measured.change(StopFlow(flow="f"))
    with exposed(metrics, 0) as port:
        found = await scrape(port)
    counted = {name: value for name, value in found.items() if name.startswith("operations_total")}
    assert counted == {
        "operations_total{operation=start,outcome=done}": 2,
        "operations_total{operation=roll-out,outcome=done}": 1,
        "operations_total{operation=restart,outcome=done}": 1,
        "operations_total{operation=stop,outcome=NotFound}": 1,
        "operations_total{operation=stop,outcome=OutcomeUnknown}": 1,
        "operations_total{operation=stop,outcome=ZeroDivisionError}": 1,
    }
    assert found["conflicts_total"] == 9
    assert found["retries_total"] == 2
    assert found["commit_seconds_count"] == 4
    assert found["commit_seconds_sum"] == pytest.approx(0.08)
    assert found["commit_seconds_bucket{le=0.01}"] == 0
    assert found["commit_seconds_bucket{le=0.025}"] == 4


async def test_a_call_that_nobody_waits_for_is_counted():
    """A deadline that has passed is an outcome too."""
    flows, metrics = FakeFlows(), Metrics()
    running, for_ever = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        running.set()
        await for_ever.wait()

    flows.wait = wait
    call = asyncio.ensure_future(Measured(flows, metrics).change(StopFlow(flow="f")))
    await running.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    with exposed(metrics, 0) as port:
        found = await scrape(port)
    assert found["operations_total{operation=stop,outcome=cancelled}"] == 1


async def test_the_age_of_caches_is_shown_as_it_is_now():
    """A gauge asks when it is asked."""
    metrics, age_s = Metrics(), 1.5
    metrics.cache("flow", lambda: age_s)
    metrics.cache("flow-blueprint", lambda: 0.0)
    with exposed(metrics, 0) as port:
        assert (await scrape(port))["cache_age_seconds{cache=flow}"] == 1.5
        age_s = 2.5
        found = await scrape(port)
    assert found["cache_age_seconds{cache=flow}"] == 2.5
    assert found["cache_age_seconds{cache=flow-blueprint}"] == 0


async def test_two_services_share_no_metrics():
    """There is nothing global, and a registry that nobody touched shows no operation."""
    one, other = Metrics(), Metrics()
    await Measured(FakeFlows(), one).change(StopFlow(flow="f"))
    with exposed(other, 0) as port:
        found = await scrape(port)
    assert not any(name.startswith("operations_total") for name in found)


async def test_the_port_is_free_again_afterwards(unused_tcp_port):
    """What was exposed is gone with its block; a port that is taken is an OSError."""
    taken = exposed(Metrics(), unused_tcp_port)
    with exposed(Metrics(), unused_tcp_port), pytest.raises(OSError, match="in use"), taken:
        pass
    with pytest.raises((HTTPError, URLError)):
        await scrape(unused_tcp_port)
    with exposed(Metrics(), unused_tcp_port) as port:
        await scrape(port)


async def test_the_rest_goes_through_unchanged():
    """A measured service answers as the service does; over gRPC, all methods."""
    flows = FakeFlows()
    async with connected(Measured(flows, Metrics())) as client:
        assert await client.change(StopFlow(flow="f")) == flows.done
        assert await client.restart_flow(PauseFlow(flow="f")) == flows.done
        assert await client.preview(StopFlow(flow="f")) == PREVIEW
        assert await client.get_flow("f1") == flows.flows[0]
        assert await client.list_flows() == flows.flows
        assert await client.get_definition("parameter-type", "b") == flows.definition
        assert await client.list_definitions("flow-blueprint") == [flows.definition]
        assert await client.history("flow", "f") == HISTORY
        pruned = await client.prune_history("flow", older_than_s=3, name="f", dry_run=True)
        assert pruned == flows.pruned
        assert flows.asked[-1] == ("prune_history", "flow", 3, "f", True)
        assert await client.get_status("f1") == STATUS
        assert await client.list_statuses() == [STATUS]
        watch = client.watch_flows()
        assert await anext(watch) == STATUS
        await watch.aclose()
