"""Links that break, go silent, are slow or lose what passes, one member's or all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest

from kvconfig.devserver import LocalCluster
from kvconfig.errors import Compacted, OutcomeUnknown
from kvconfig.etcd import EtcdStore, connect
from kvconfig.informer import Informer
from kvconfig.keys import prefix
from kvconfig.model import Page, Revision
from kvconfig.txn import Put, Txn, absent
from tests.robustness.history import History
from tests.robustness.proxy import Proxy, proxies
from tests.robustness.recorder import Recorder, raw
from tests.robustness.scenario import scenario
from tests.robustness.waiting import eventually

pytestmark = pytest.mark.timeout(180)

Proxies = tuple[Proxy, ...]
Etcdctl = Callable[..., Awaitable[str]]


@pytest.fixture
async def links(cluster: LocalCluster) -> AsyncIterator[Proxies]:
    """A proxy in front of each member."""
    async with proxies(cluster.endpoints) as started:
        yield started


def through(links: Proxies) -> tuple[str, ...]:
    return tuple(link.endpoint for link in links)


@pytest.mark.robustness_ci
async def test_links_are_reset_over_and_over(cluster: LocalCluster, links: Proxies) -> None:
    """Twenty resets or more under load: each stream begins with a list; nothing is lost."""
    direct = cluster.endpoints
    async with scenario("reset of all links, over and over", through(links), direct=direct) as run:
        await run.warm_up()
        resets = 0
        # Resets come faster than informers try again, so their number says nothing of the lists'.
        while resets < 20 or any(informer.stats.lists <= 5 for informer in run.informers):
            run.began("last reset")
            for link in links:
                link.reset()
            await run.more_writes(3)
            resets += 1
        await run.recovered(within_s=10)
        await run.verdict()


async def test_no_member_listens_for_a_while(cluster: LocalCluster, links: Proxies) -> None:
    """Nothing can be reached for 5 s: caches stay, and then what was missed comes as one resync."""
    async with scenario("refused for 5 s", through(links), direct=cluster.endpoints) as run:
        await run.warm_up()
        for link in links:
            await link.refuse()
        await eventually(lambda: all(i.last_progress_age_s > 1 for i in run.informers))
        cached = [dict(informer.items) for informer in run.informers]
        await eventually(lambda: all(i.last_progress_age_s > 5 for i in run.informers))
        assert [dict(informer.items) for informer in run.informers] == cached
        for link in links:
            await link.heal()
        run.began("healed")
        await run.recovered(within_s=10)
        await run.verdict()


@pytest.mark.parametrize("reads", [True, False], ids=["busy", "quiet"])
async def test_a_link_is_half_open(cluster: LocalCluster, links: Proxies, reads: bool) -> None:
    """A connection that takes everything and carries nothing is found dead; the next one works."""
    name = f"half-open link, {'with' if reads else 'without'} reads"
    direct = cluster.endpoints
    writers = 3 if reads else 0
    half_open = scenario(name, through(links), direct=direct, reads=reads, writers=writers)
    async with half_open as run:
        await run.warm_up()
        await asyncio.sleep(0 if reads else 2)  # pings that go with traffic are over
        run.began()
        links[0].half_open()
        await run.recovered(within_s=12.5)  # the watchdog would take longer
        await run.verdict()


async def test_a_member_is_behind_a_black_hole(cluster: LocalCluster, links: Proxies) -> None:
    """New connections to it fare no better: another member is found, and not left again."""
    direct = cluster.endpoints
    async with scenario("one member in a black hole", through(links), direct=direct) as run:
        await run.warm_up()
        run.began()
        links[0].black_hole()
        await run.recovered(within_s=18)
        lists = [informer.stats.lists for informer in run.informers]
        await run.more_writes(100)
        assert [informer.stats.lists for informer in run.informers] == lists
        await run.verdict()


async def test_all_members_are_behind_a_black_hole(cluster: LocalCluster, links: Proxies) -> None:
    """Silence from everywhere for 25 s: calls end in time, caches age, and then all is mended."""
    direct = cluster.endpoints
    async with scenario("all members in a black hole, 25 s", through(links), direct=direct) as run:
        await run.warm_up()
        for link in links:
            link.black_hole()
        await asyncio.sleep(25)
        assert all(informer.last_progress_age_s > 24 for informer in run.informers)
        for link in links:
            await link.heal()
        run.began("healed")
        await run.recovered(within_s=20)
        await run.verdict()


async def test_links_are_slow(cluster: LocalCluster, links: Proxies) -> None:
    """A delay of 300 ms each way makes things late, and nothing else."""
    direct = cluster.endpoints
    async with scenario("a delay of 300 ms", through(links), direct=direct) as run:
        await run.warm_up()
        for link in links:
            link.delay_s = 0.3
        await run.more_writes(50)
        run.began("probe")
        await run.recovered(within_s=20)
        assert all(informer.stats.lists == 1 for informer in run.informers)
        await run.verdict()


# -- compaction ------------------------------------------------------------------------------------


@pytest.mark.robustness_ci
async def test_compaction_while_cut_off(
    cluster: LocalCluster, links: Proxies, etcdctl: Etcdctl
) -> None:
    """What happened meanwhile is gone from etcd's history; the difference is handed out all the
    same, deletes included."""
    direct = cluster.endpoints
    async with scenario("compaction while cut off", through(links), direct=direct) as run:
        await run.warm_up()
        for link in links:
            await link.refuse()
        await run.more_writes(100)
        await run.history.collect()
        await etcdctl(direct[0], "compact", str(run.history.upto))
        for link in links:
            await link.heal()
        run.began("healed")
        await run.recovered(within_s=10)
        await run.verdict()


@pytest.mark.robustness_ci
async def test_compaction_in_the_middle_of_a_list(cluster: LocalCluster, etcdctl: Etcdctl) -> None:
    """A list whose revision goes away raises Compacted; it is never a mixture of two states."""
    (endpoint, *_) = cluster.endpoints
    async with connect(cluster.endpoints, page_size=10) as store:
        for n in range(30):
            await store.commit(Txn(then=(Put(b"/r/k%02d" % n, b"1"),)))
        pages = store.list(prefix(b"/r/"))
        first = await anext(pages)
        last = await store.commit(Txn(then=(Put(b"/r/k29", b"2"),)))
        await etcdctl(endpoint, "compact", str(last.revision))
        with pytest.raises(Compacted):
            await rest_of(pages, first.revision)


async def rest_of(pages: AsyncIterator[Page], revision: Revision) -> None:
    async for page in pages:
        assert page.revision == revision


@pytest.mark.robustness_ci
async def test_an_informer_lists_through_compactions(
    cluster: LocalCluster, links: Proxies, etcdctl: Etcdctl
) -> None:
    """Its list is broken off by compactions, again and again; when they end it is complete."""
    direct = cluster.endpoints
    async with (
        connect(direct) as store,
        connect(through(links), page_size=10) as slow,
    ):
        for n in range(200):
            await store.commit(Txn(then=(Put(b"/r/k%03d" % n, b"1"),)))
        for link in links:
            link.delay_s = 0.02
        informer = Informer(slow, prefix(b"/r/"), raw)
        recorder = Recorder(informer)
        async with informer:
            for turn in range(3):
                await eventually(partial(calls_reach, slow, slow.calls["KV/Range"] + 3))
                txn = Txn(then=(Put(b"/r/k199", b"%d" % turn),))
                last = await store.commit(txn)
                await etcdctl(direct[0], "compact", str(last.revision))
                await eventually(partial(ends_reach, informer, turn + 1))
            assert not informer.stats.lists
            await asyncio.wait_for(informer.synced(), 20)
            assert len(informer.items) == 200
            assert informer.items[b"/r/k199"].value == b"2"
        recorder.check_end()


def calls_reach(store: EtcdStore, count: int) -> bool:
    return store.calls["KV/Range"] >= count


def ends_reach(informer: Informer[bytes], count: int) -> bool:
    return informer.stats.watch_ends >= count


async def is_there(store: EtcdStore, key: bytes) -> bool:
    return await store.read(key) is not None


# -- writes ----------------------------------------------------------------------------------------


@pytest.mark.robustness_ci
@pytest.mark.parametrize("then", ["reset", "silence"])
async def test_the_reply_to_a_write_is_lost(
    cluster: LocalCluster, links: Proxies, then: str
) -> None:
    """A transaction that was done and not answered: its outcome is unknown, and it is sent once."""
    async with connect(cluster.endpoints) as direct:
        for turn in range(3):
            key = b"/r/lost%d" % turn
            async with connect(through(links), timeout_s=2) as store:
                await store.read(key)
                for link in links:
                    link.lose_replies()
                txn = Txn((absent(key),), (Put(key, b"1"),))
                commit = asyncio.create_task(store.commit(txn))
                await eventually(partial(is_there, direct, key))
                if then == "reset":
                    for link in links:
                        link.reset()
                with pytest.raises(OutcomeUnknown):
                    await commit
                assert store.calls["KV/Txn"] == 1


@pytest.mark.robustness_ci
async def test_writers_are_cut_off_anywhere(cluster: LocalCluster, links: Proxies) -> None:
    """Links end after a random number of bytes: what a writer is told of its write is true."""
    rng = random.Random(3)
    history = History(cluster.endpoints[0])
    async with scenario(
        "writers cut off, 60 times", cluster.endpoints, direct=through(links), history=history
    ) as run:
        await run.warm_up()
        for _ in range(60):
            rng.choice(links).cut_after(rng.randrange(2_000))
            await run.more_writes(2)
        run.began("last cut")
        await run.recovered(within_s=10)
        await run.verdict()
        assert sum(writer.outcomes["unknown"] for writer in run.writers) > 0
