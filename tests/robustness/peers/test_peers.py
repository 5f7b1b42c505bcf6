"""The faults that break other clients: what becomes of them, and of ours, in one and the same.

Only our column is held to anything. The others are measured and printed, for whoever has to choose.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kvconfig.devserver import EtcdBinary, LocalCluster, Member
from kvconfig.etcd import Access
from kvconfig.model import Revision
from tests.robustness.admin import APP, ROOT, enable_auth, restore
from tests.robustness.peers.clients.job import Job
from tests.robustness.peers.contest import Contest, contest
from tests.robustness.peers.lost_reply import lose_replies
from tests.robustness.peers.tls import tls_front
from tests.robustness.proxy import Proxy, proxies

pytestmark = pytest.mark.timeout(120)

Etcdctl = Callable[..., Awaitable[str]]
BASE = "/r-peers/"
STOPPED_S = 15.0
HALF_OPEN_S = 20.0
TTL_S = 3


class Scene:
    """What every test of this file starts from."""

    def __init__(self, binary: EtcdBinary, etcdctl: Etcdctl, path: Path, folder: Path) -> None:
        self.binary, self.etcdctl, self.path, self.folder = binary, etcdctl, path, folder

    def job(self, *endpoints: str) -> Job:
        """Follow what is below ``BASE``."""
        return Job(endpoints=endpoints, prefix=BASE, etcdctl=str(self.path))

    @asynccontextmanager
    async def single(self, *args: str) -> AsyncIterator[tuple[LocalCluster, Member]]:
        """A cluster of one, so that those who know one endpoint only are not worse off."""
        async with LocalCluster(1, binary=self.binary, extra_args=args) as cluster:
            yield cluster, cluster.members[0]

    def contest(
        self, name: str, job: Job, *direct: str, root: Access | None = None
    ) -> AbstractAsyncContextManager[Contest]:
        """Among all clients; ``direct`` (or ``root``) is not hurt by the fault."""
        access = root or Access(endpoints=direct)
        return contest(name, job, direct=access, etcdctl=self.etcdctl, folder=self.folder)


@pytest.fixture
def scene(robust_binary: EtcdBinary, etcdctl: Etcdctl, etcdctl_path: Path, tmp_path: Path) -> Scene:
    return Scene(robust_binary, etcdctl, etcdctl_path, tmp_path)


# -- members -----------------------------------------------------------------------------------


async def test_kill_9_and_restart(scene: Scene) -> None:
    """The only member is killed and started again; then there are changes."""
    async with scene.single() as (cluster, member):
        job = scene.job(member.endpoint)
        async with scene.contest("kill -9 + restart", job, member.endpoint) as run:
            await run.ready()
            run.begins()
            member.kill()
            await cluster.restart(member)
            await run.change()
            await run.change()
            assert (await run.judge()).startswith("recovers")


async def test_leader_stopped(scene: Scene) -> None:
    """The leader, to which all are connected, stands still for 15 s while there are changes."""
    async with LocalCluster(binary=scene.binary) as cluster:
        leader = await cluster.leader()
        others = [member.endpoint for member in await cluster.followers()]
        async with proxies((leader.endpoint, *others)) as links:
            for link in links[1:]:
                await link.refuse()  # whoever chooses at random chooses the leader
            job = scene.job(*(link.endpoint for link in links))
            async with scene.contest("leader stopped 15 s", job, *others) as run:
                await run.ready()
                for link in links[1:]:
                    await link.heal()
                run.begins()
                leader.pause()
                stopped = asyncio.create_task(asyncio.sleep(STOPPED_S), name="leader stopped")
                await run.change()
                await stopped
                stalled = await run.behind()
                leader.resume()
                await cluster.wait_ready()
                await run.change()
                assert (await run.judge(stalled=stalled)).startswith("recovers")


# -- links -------------------------------------------------------------------------------------


async def test_compaction_while_cut_off(scene: Scene) -> None:
    """What has changed while nothing got through is compacted away before anything does."""
    async with scene.single() as (_, member), Proxy(member.endpoint) as link:
        job = scene.job(link.endpoint)
        async with scene.contest("compaction while cut off", job, member.endpoint) as run:
            await run.ready()
            run.begins()
            await link.refuse()
            last = await run.change()
            await scene.etcdctl(member.endpoint, "compact", str(last))
            await link.heal()
            await run.change()
            assert (await run.judge()).startswith("recovers")


async def test_half_open_link(scene: Scene) -> None:
    """The connections there are take everything and carry nothing; new ones would work."""
    async with scene.single() as (_, member), Proxy(member.endpoint) as link:
        job = scene.job(link.endpoint)
        async with scene.contest("half-open link 25 s", job, member.endpoint) as run:
            await run.ready()
            run.begins()
            link.half_open()
            await run.change()
            await asyncio.sleep(HALF_OPEN_S)
            await run.change()
            assert (await run.judge(within_s=5)).startswith("recovers")


# -- rights ------------------------------------------------------------------------------------


@asynccontextmanager
async def guarded(scene: Scene) -> AsyncIterator[tuple[Proxy, Job, Access]]:
    """One member that asks who comes, behind a proxy; a job for ``APP``; and how root comes."""
    async with (
        scene.single(f"--auth-token-ttl={TTL_S}") as (_, member),
        Proxy(member.endpoint) as link,
        tls_front(link.endpoint, scene.folder) as front,
    ):
        await enable_auth(scene.etcdctl, member.endpoint)
        job = replace(
            scene.job(link.endpoint),
            user=APP[0],
            password=APP[1],
            token_ttl_s=TTL_S,
            tls_endpoint=front.endpoint,
            cacert=str(front.cacert),
        )
        yield link, job, Access(endpoints=(member.endpoint,), user=ROOT[0], password=ROOT[1])


async def test_token_expired_reconnect(scene: Scene) -> None:
    """Tokens end unused, then connections do; users watch again with the client they have."""
    async with guarded(scene) as (link, job, root):
        job = replace(job, again=True)
        async with scene.contest("token expired, reconnect", job, root=root) as run:
            await run.ready()
            run.begins()
            await asyncio.sleep(TTL_S + 2)  # etcd looks for old ones every second
            await run.change()
            await run.all_right()
            link.reset()
            await run.change()
            assert (await run.judge(again=True)).startswith("recovers")


@pytest.mark.robustness_ci
async def test_forbidden_prefix(scene: Scene) -> None:
    """A watch of what one may not read. (Without a list first: every client is refused that.)"""
    async with guarded(scene) as (_, job, root):
        job = replace(job, prefix="/secret/", lists=False)
        async with scene.contest("forbidden prefix", job, root=root) as run:
            await run.all_settled()
            run.begins()
            for turn in range(3):
                await run.write(f"{job.prefix}new{turn}", "1")
            assert await run.judge(within_s=5) == "ends, says so"


# -- data --------------------------------------------------------------------------------------


async def test_restore_from_snapshot(scene: Scene, tmp_path: Path) -> None:
    """etcd goes back to a snapshot, and on from there past its old revision; users watch again."""
    async with scene.single() as (cluster, member), Proxy(member.endpoint) as link:
        job = replace(scene.job(link.endpoint), again=True)
        async with scene.contest("restore from snapshot", job, member.endpoint) as run:
            await run.ready()
            run.begins()
            snapshot = tmp_path / "snapshot.db"
            await scene.etcdctl(member.endpoint, "snapshot", "save", str(snapshot))
            last = await run.change()
            await run.all_right()
            await link.refuse()
            await asyncio.to_thread(member.stop)
            await restore(cluster, member, snapshot, scene.path)
            cluster.spawn(member)
            await cluster.wait_ready()
            now = Revision(0)
            while now <= last:
                now = await run.change()
            await link.heal()
            await run.change()
            assert (await run.judge(again=True)).startswith("recovers")


@pytest.mark.robustness_ci
async def test_reply_to_a_txn_lost(scene: Scene) -> None:
    """A key is put, and the answer does not come: its writer is told that he cannot know."""
    async with scene.single() as (_, member):
        cell = await lose_replies(
            "reply to a txn lost", member.endpoint, BASE, etcdctl=scene.path, folder=scene.folder
        )
        assert cell == "OutcomeUnknown; written"
