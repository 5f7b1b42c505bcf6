"""What has no goal and is good to know: large values, many informers, variants and items.

Measured only where they are named: together they take minutes.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from flowsvc.bootstrap import Policy, Report, bootstrap
from flowsvc.seed.export import export
from flowsvc.seed.reading import read_seed, sources
from flowsvc.seed.writing import writer
from flowsvc.service import FlowService
from kvconfig.config.bulk import Bulk
from kvconfig.etcd import EtcdStore, connect
from kvconfig.informer import Informer
from kvconfig.keys import Range, prefix
from kvconfig.keyspace import Keyspace
from kvconfig.txn import Delete, Put, Txn
from processors import FlowProcessor, Tasks, Variant, running
from tests.bench.bare import PAGE_SIZE, PUTS, VALUE, bare_channel, bare_list, rss_mb
from tests.bench.goals import Figures, Row, Scenario
from tests.bench.places import etcd

__all__ = ["LARGE"]


_Run = Callable[[EtcdStore, str], Awaitable[Figures]]


def _rounds(run: _Run) -> Callable[[int], AsyncGenerator[Figures, None]]:
    """Each round on an etcd of its own."""

    async def rounds(count: int) -> AsyncGenerator[Figures, None]:
        for _ in range(count):
            async with etcd() as server, connect([server.endpoint], timeout_s=30) as store:
                yield await run(store, server.endpoint)

    return rounds


async def _fill(store: EtcdStore, range_: Range, keys: int, value: bytes) -> None:
    """Put many keys, a transaction at a time."""
    names = [range_.start + b"%07d" % number for number in range(keys)]
    per_txn = max(1, min(PUTS, 1_000_000 // len(value)))
    for first in range(0, keys, per_txn):
        puts = tuple(Put(name, value) for name in names[first : first + per_txn])
        await store.commit(Txn(then=puts))


async def _hundred_megabytes(store: EtcdStore, endpoint: str) -> Figures:
    """200 values of 512 KiB: a page is far over gRPC's default limit, and over ours."""
    range_ = prefix(b"/large/")
    await _fill(store, range_, 200, b"x" * 2**19)
    clock = time.perf_counter
    begun = clock()
    async with Informer(store, range_, lambda kv: kv.value) as informer:
        await informer.synced()
        return {
            "informer_synced_s": clock() - begun,
            "peak_rss_mb": rss_mb(),
        }


async def _thousand_informers(store: EtcdStore, endpoint: str) -> Figures:
    """1,000 informers on one client; then one transaction of 20 keys, which 20 of them hear."""
    clock = time.perf_counter
    ranges = [prefix(b"/many/%04d/" % number) for number in range(1_000)]
    informers = [Informer(store, each, lambda kv: kv.value) for each in ranges]
    before_mb, begun = rss_mb(), clock()
    async with AsyncExitStack() as stack:
        for informer in informers:
            await stack.enter_async_context(informer)
        for informer in informers:
            await informer.synced()
        synced_s, begun = clock() - begun, clock()
        await store.commit(Txn(then=tuple(Put(each.start + b"x", b"1") for each in ranges[:20])))
        for informer in informers[:20]:
            await informer.until(lambda items: len(items) == 1)
        return {
            "synced_s": synced_s,
            "heard_ms": (clock() - begun) * 1e3,
            "heard_by": sum(informer.stats.events > 0 for informer in informers),
            "streams": store.calls["Watch/Watch"],
            "more_mb": rss_mb() - before_mb,
        }


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


async def _ten_thousand_variants(store: EtcdStore, endpoint: str) -> Figures:
    """One processor: until all run, until a change of one runs, and until all have stopped."""
    variants = Keyspace().active_flow_range(_Noted.id)
    clock, processor = time.perf_counter, _Noted()
    await _fill(store, variants, 10_000, VALUE)
    begun = clock()
    async with bare_channel(endpoint) as channel:
        await bare_list(channel, variants, limit=PAGE_SIZE)
    bare_s = clock() - begun
    begun, cpu = clock(), time.process_time()
    async with running(store, [processor], instance="i") as [instance]:
        await instance.settled()
        assert len(instance.reconciler.running) == 10_000
        started_s, cpu_s = clock() - begun, time.process_time() - cpu
        updated = [await _update_one(store, processor, variants, n) for n in range(100)]
        begun = clock()
    return {
        "bare_list_s": bare_s,
        "all_run_s": started_s,
        "cpu_us": cpu_s / 10_000 * 1e6,
        "update_ms": statistics.median(updated) * 1e3,
        "all_stopped_s": clock() - begun,
        "peak_rss_mb": rss_mb(),
    }


async def _update_one(store: EtcdStore, noted: _Noted, range_: Range, number: int) -> float:
    """From the answer to the put until the variant is entered with it."""
    noted.entered.clear()
    put = Put(range_.start + b"%07d" % number, VALUE.replace(b"2000", b"2001"))
    await store.commit(Txn(then=(put,)))
    committed = time.perf_counter()
    await noted.entered.wait()
    return noted.entered_at - committed


ITEMS = 100_000


async def _hundred_thousand_items(store: EtcdStore, endpoint: str) -> Figures:
    """Export, import into an empty store, and the same import again, which has nothing to write.

    The bare puts and the bare list are done by another process.
    """
    keyspace = Keyspace()
    items = keyspace.type_range("prompt")
    bulk, clock = Bulk(store, keyspace), time.perf_counter
    bare = await _bare_figures(endpoint, items)
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        begun = clock()
        exported = await export(bulk, writer("json", file))
        file.flush()
        export_s = clock() - begun
        await store.commit(Txn(then=(Delete(items.start, items.end),)))
        import_s, first = await _import(store, keyspace, Path(file.name))
        again_s, second = await _import(store, keyspace, Path(file.name))
    assert exported.counts == {"prompt": ITEMS}
    assert (first.total("created"), second.total("equal")) == (ITEMS, ITEMS)
    return {
        "export": export_s / bare["list_s"],
        "import": import_s / bare["puts_s"],
        "import_s": import_s,
        "import_again_s": again_s,
        "peak_rss_mb": rss_mb(),
        "bare_rss_mb": bare["peak_rss_mb"],
    }


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


_PEAK = Row(what="peak of memory", measure="peak_rss_mb", unit="MB", digits=0)

LARGE = (
    Scenario(
        name="100-MB",
        about="an informer of 200 values of 512 KiB",
        rounds=_rounds(_hundred_megabytes),
        rows=(Row(what="until synced", measure="informer_synced_s", unit="s"), _PEAK),
    ),
    Scenario(
        name="1,000-informers",
        about="on one client, and a transaction that 20 of them hear",
        rounds=_rounds(_thousand_informers),
        rows=(
            Row(what="until all are synced", measure="synced_s", unit="s"),
            Row(what="commit until the 20 have it", measure="heard_ms", unit="ms"),
            Row(what="informers that heard something", measure="heard_by", digits=0),
            Row(what="watch streams", measure="streams", digits=0),
            Row(what="more memory", measure="more_mb", unit="MB", digits=0),
        ),
    ),
    Scenario(
        name="10,000-variants",
        about="one processor: all start, one changes, all stop",
        rounds=_rounds(_ten_thousand_variants),
        rows=(
            Row(what="a bare list of them", measure="bare_list_s", unit="s"),
            Row(what="until all run", measure="all_run_s", unit="s"),
            Row(what="CPU to start one", measure="cpu_us", unit="µs", digits=0),
            Row(what="commit to entered, of a change", measure="update_ms", unit="ms"),
            Row(what="until all have stopped", measure="all_stopped_s", unit="s"),
            _PEAK,
        ),
    ),
    Scenario(
        name="100,000-items",
        about="exported, and imported as one document",
        rounds=_rounds(_hundred_thousand_items),
        rows=(
            Row(what="export, by a bare list", measure="export"),
            Row(what="import, by bare puts", measure="import"),
            Row(what="import", measure="import_s", unit="s"),
            Row(what="the same import again: nothing to write", measure="import_again_s", unit="s"),
            _PEAK,
            Row(what="… of bare puts and a list", measure="bare_rss_mb", unit="MB", digits=0),
        ),
    ),
)
