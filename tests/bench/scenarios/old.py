"""What is measured. Each scenario prints one JSON object of figures; units stand in their names."""

from __future__ import annotations

import asyncio
import json
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from flowsvc.bootstrap import Policy, Report, bootstrap
from flowsvc.model import StartFlow, StopFlow
from flowsvc.seed.export import export
from flowsvc.seed.reading import read_seed, sources
from flowsvc.seed.writing import writer
from flowsvc.service import FlowService
from kvconfig.config.bulk import Bulk
from kvconfig.etcd import EtcdStore, connect
from kvconfig.informer import Informer
from kvconfig.keys import Range, prefix
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue
from kvconfig.records import decode_variant
from kvconfig.txn import Delete, Put, Read, ReadResult, Txn
from processors import FlowProcessor, Tasks, Variant, running
from tests.bench.bare import PUTS, VALUE, bare_list, rss_mb

Figures = dict[str, float]


@dataclass(frozen=True)
class Scenario:
    """``run`` gets the endpoint and a range of its own."""

    about: str
    run: Callable[[EtcdStore, str, Range], Awaitable[Figures]]


async def _fill(store: EtcdStore, range_: Range, keys: int, value: bytes) -> None:
    """Put many keys, a transaction at a time."""
    names = [range_.start + b"%07d" % number for number in range(keys)]
    per_txn = max(1, min(PUTS, 1_000_000 // len(value)))
    for first in range(0, keys, per_txn):
        puts = tuple(Put(name, value) for name in names[first : first + per_txn])
        await store.commit(Txn(then=puts))


def _variant(kv: KeyValue) -> object:
    return decode_variant(kv.value, key=kv.key)


async def _cold_start(store: EtcdStore, endpoint: str, range_: Range, **fill: object) -> Figures:
    clock = time.perf_counter
    begun = clock()
    size = await bare_list(endpoint, range_)
    bare_s = clock() - begun
    bare_mb = rss_mb()
    begun = clock()
    decode = _variant if fill["typed"] else (lambda kv: kv.value)
    async with Informer(store, range_, decode) as informer:
        await informer.synced()
        synced_s = clock() - begun
        return {
            "keys": len(informer.items),
            "listed_mb": size / 2**20,
            "bare_list_s": bare_s,
            "informer_synced_s": synced_s,
            "ratio": synced_s / bare_s,
            "peak_rss_after_bare_list_mb": bare_mb,
            "peak_rss_mb": rss_mb(),
        }


async def ten_thousand_keys(store: EtcdStore, endpoint: str, range_: Range) -> Figures:
    """Typed variants, then an update of each in transactions of 10."""
    await _fill(store, range_, 10_000, VALUE)
    figures = await _cold_start(store, endpoint, range_, typed=True)
    async with Informer(store, range_, _variant) as informer:
        await informer.synced()
        begun, cpu = time.perf_counter(), time.process_time()
        names = list(informer.items)
        last = names[-1], informer.revision
        for first in range(0, len(names), 10):
            puts = tuple(Put(name, VALUE) for name in names[first : first + 10])
            await store.commit(Txn(then=puts))
        await informer.until(lambda items: items[last[0]].mod_revision > last[1])
        figures["update_all_s"] = time.perf_counter() - begun
        figures["update_cpu_us_per_event_with_its_put"] = (
            (time.process_time() - cpu) / len(names) * 1e6
        )
    return figures


async def hundred_megabytes(store: EtcdStore, endpoint: str, range_: Range) -> Figures:
    """200 values of 512 KiB: a page is far over gRPC's default limit, and over ours."""
    await _fill(store, range_, 200, b"x" * 2**19)
    clock = time.perf_counter
    begun = clock()
    async with Informer(store, range_, lambda kv: kv.value) as informer:
        await informer.synced()
        return {
            "keys": len(informer.items),
            "informer_synced_s": clock() - begun,
            "peak_rss_mb": rss_mb(),
        }


async def thousand_informers(store: EtcdStore, endpoint: str, range_: Range) -> Figures:
    """1,000 informers on one client; then one transaction of 20 keys, which 20 of them hear."""
    clock = time.perf_counter
    ranges = [prefix(range_.start + b"%04d/" % number) for number in range(1_000)]
    informers: list[Informer[bytes]] = [
        Informer(store, each, lambda kv: kv.value) for each in ranges
    ]
    before_mb = rss_mb()
    begun = clock()
    for informer in informers:
        await informer.__aenter__()
    try:
        for informer in informers:
            await informer.synced()
        synced_s = clock() - begun
        begun = clock()
        await store.commit(Txn(then=tuple(Put(each.start + b"x", b"1") for each in ranges[:20])))
        for informer in informers[:20]:
            await informer.until(lambda items: len(items) == 1)
        return {
            "synced_s": synced_s,
            "20_of_them_hear_a_transaction_ms": (clock() - begun) * 1e3,
            "informers_that_heard_something": sum(i.stats.events > 0 for i in informers),
            "watch_streams": store.calls["Watch/Watch"],
            "more_rss_mb": rss_mb() - before_mb,
        }
    finally:
        for informer in informers:
            await informer.__aexit__(None, None, None)


FLOWS = (10, 1_000, 10_000)
MEASURED = 200


async def ten_thousand_flows(store: EtcdStore, endpoint: str, range_: Range) -> Figures:
    """A start and a stop among ever more flows of 20 variants, and two more that all share."""
    keyspace = Keyspace("@" + range_.start.strip(b"/").decode())
    entries = {f"p{n}:{{id}}": {"topics": {"input": "in-{id}"}} for n in range(20)}
    shared = {f"s{n}:common": {"topics": {"input": "in"}} for n in range(2)}
    blueprint = json.dumps({"blueprint": shared, "flow": entries}).encode()
    figures: Figures = {}
    try:
        async with FlowService(store, keyspace) as service:
            await service.put_blueprint("b", blueprint)
            running = 0
            for flows in FLOWS:
                await _start_flows(service, range(running, flows))
                running = flows
                start_ms, stop_ms = await _start_and_stop(service)
                figures[f"start_ms_among_{flows}"] = start_ms
                figures[f"stop_ms_among_{flows}"] = stop_ms
            variants = keyspace.type_range("active-flow")
            found = await store.commit(
                Txn(then=(Read(variants.start, variants.end, limit=1, keys_only=True),))
            )
            (answer,) = found.results
            assert isinstance(answer, ReadResult)
            figures["variant_keys"] = answer.count
            begun = time.perf_counter()
            statuses = await service.list_statuses()
            figures["all_statuses_s"] = time.perf_counter() - begun
            assert len(statuses) == running
        figures["rss_mb"] = rss_mb()
        figures["start_ratio"] = figures["start_ms_among_10000"] / figures["start_ms_among_10"]
        figures["stop_ratio"] = figures["stop_ms_among_10000"] / figures["stop_ms_among_10"]
        return figures
    finally:
        everything = keyspace.everything()
        await store.commit(Txn(then=(Delete(everything.start, everything.end),)))


async def _start_flows(service: FlowService, numbers: Iterable[int]) -> None:
    """At most 32 at once."""
    ahead = iter(numbers)

    async def work() -> None:
        for number in ahead:
            await service.start_flow(StartFlow(flow=f"f{number}", blueprint_name="b"))

    await asyncio.gather(*(work() for _ in range(32)))


async def _start_and_stop(service: FlowService) -> tuple[float, float]:
    """One after the other, with nothing else going on: the medians, in milliseconds."""
    started, stopped = [], []
    for number in range(MEASURED):
        begun = time.perf_counter()
        done = await service.start_flow(StartFlow(flow=f"x{number}", blueprint_name="b"))
        started.append(time.perf_counter() - begun)
        await service.flows.until(
            lambda _, revision=done.revision: service.flows.revision >= revision  # type: ignore[misc]
        )
        begun = time.perf_counter()
        await service.stop_flow(StopFlow(flow=f"x{number}"))
        stopped.append(time.perf_counter() - begun)
    return statistics.median(started) * 1e3, statistics.median(stopped) * 1e3


class _Noted(FlowProcessor):
    """Notes when a variant was entered last, and does nothing."""

    id = "noted"

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.entered_at = 0.0

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        self.entered_at = time.perf_counter()
        self.entered.set()
        yield


async def ten_thousand_variants(store: EtcdStore, endpoint: str, range_: Range) -> Figures:
    """One processor: until all run, until a change of one runs, and until all have stopped."""
    keyspace = Keyspace("@" + range_.start.strip(b"/").decode())
    variants = keyspace.active_flow_range(_Noted.id)
    clock, processor = time.perf_counter, _Noted()
    try:
        await _fill(store, variants, 10_000, VALUE)
        begun = clock()
        await bare_list(endpoint, variants)
        bare_s, bare_mb = clock() - begun, rss_mb()
        begun, cpu = clock(), time.process_time()
        async with running(store, [processor], keyspace=keyspace, instance="i") as [instance]:
            await instance.settled()
            assert len(instance.reconciler.running) == 10_000
            started_s, cpu_s = clock() - begun, time.process_time() - cpu
            updated = [await _update_one(store, processor, variants, n) for n in range(100)]
            figures = {
                "bare_list_s": bare_s,
                "all_run_s": started_s,
                "all_run_cpu_us_per_variant": cpu_s / 10_000 * 1e6,
                "update_ms_from_commit_to_entered": statistics.median(updated) * 1e3,
                "peak_rss_after_bare_list_mb": bare_mb,
                "peak_rss_mb": rss_mb(),
            }
            begun = clock()
        return {**figures, "all_stopped_s": clock() - begun}
    finally:
        await store.commit(Txn(then=(Delete(variants.start, variants.end),)))


async def _update_one(store: EtcdStore, noted: _Noted, range_: Range, number: int) -> float:
    """From the answer to the put until the variant is entered with it."""
    noted.entered.clear()
    put = Put(range_.start + b"%07d" % number, VALUE.replace(b"2000", b"2001"))
    await store.commit(Txn(then=(put,)))
    committed = time.perf_counter()
    await noted.entered.wait()
    return noted.entered_at - committed


ITEMS = 100_000


async def hundred_thousand_items(store: EtcdStore, endpoint: str, range_: Range) -> Figures:
    """Export, import into an empty store, and the same import again, which has nothing to write.

    The bare puts and the bare list are done by another process, whose memory is told as well.
    """
    keyspace = Keyspace("@" + range_.start.strip(b"/").decode())
    items = keyspace.type_range("prompt")
    bulk, clock = Bulk(store, keyspace), time.perf_counter
    figures = await _bare_figures(endpoint, items)
    try:
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            path = Path(file.name)
            begun = clock()
            exported = await export(bulk, writer("json", file))
            file.flush()
            export_s = clock() - begun
            await store.commit(Txn(then=(Delete(items.start, items.end),)))
            import_s, first = await _import(store, keyspace, path)
            again_s, second = await _import(store, keyspace, path)
            size = file.tell()
        assert exported.counts == {"prompt": ITEMS}
        assert (first.total("created"), second.total("equal")) == (ITEMS, ITEMS)
        return {
            "document_mb": size / 2**20,
            "bare_puts_s": figures["puts_s"],
            "import_s": import_s,
            "import_ratio": import_s / figures["puts_s"],
            "import_again_s": again_s,
            "bare_list_s": figures["list_s"],
            "export_s": export_s,
            "export_ratio": export_s / figures["list_s"],
            "peak_rss_of_the_bare_process_mb": figures["peak_rss_mb"],
            "peak_rss_mb": rss_mb(),
        }
    finally:
        everything = keyspace.everything()
        await store.commit(Txn(then=(Delete(everything.start, everything.end),)))


async def _bare_figures(endpoint: str, items: Range) -> Figures:
    """The same items, put and listed by a process that does nothing else."""
    args = ("-m", "tests.bench.bare", endpoint, items.start.decode(), str(ITEMS))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *args, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    figures: Figures = json.loads(out)
    return figures


async def _import(store: EtcdStore, keyspace: Keyspace, path: Path) -> tuple[float, Report]:
    """As `flowctl import` does it: from the file to the last answer."""
    begun = time.perf_counter()
    with read_seed(list(sources(path)), path.name) as seed:
        async with FlowService(store, keyspace) as service:
            policy = Policy(when_different="replace", prune=True)
            report = await bootstrap(seed, service, Bulk(store, keyspace), policy=policy)
    return time.perf_counter() - begun, report


SCENARIOS = {
    "10,000-keys": Scenario("typed, cold start and an update of each", ten_thousand_keys),
    "100-MB": Scenario("200 values of 512 KiB", hundred_megabytes),
    "1,000-informers": Scenario("on one client, one stream", thousand_informers),
    "10,000-flows": Scenario("200,000 variant keys, a start and a stop", ten_thousand_flows),
    "10,000-variants": Scenario("one processor: all start, one changes", ten_thousand_variants),
    "100,000-items": Scenario("exported, and imported as one document", hundred_thousand_items),
}


@asynccontextmanager
async def _own_range(store: EtcdStore) -> AsyncIterator[Range]:
    """A range of this run's own, empty again afterwards."""
    range_ = prefix(f"/bench-{secrets.token_hex(6)}/".encode())
    try:
        yield range_
    finally:
        await store.commit(Txn(then=(Delete(range_.start, range_.end),)))


async def _main(name: str, endpoint: str) -> None:
    async with connect([endpoint], timeout_s=30) as store, _own_range(store) as range_:
        json.dump(await SCENARIOS[name].run(store, endpoint, range_), sys.stdout)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
