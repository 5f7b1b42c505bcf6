"""Members that die, stop and come back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kvconfig.devserver import LocalCluster, Member
from kvconfig.errors import OutcomeUnknown, Unavailable
from kvconfig.etcd import connect
from kvconfig.model import LeaseId
from kvconfig.txn import Put, Txn
from tests.robustness.scenario import scenario

pytestmark = pytest.mark.timeout(180)


def first(member: Member, cluster: LocalCluster) -> tuple[str, ...]:
    """The endpoints, that one first: the informers' client is then connected to it."""
    others = [other.endpoint for other in cluster.members if other is not member]
    return (member.endpoint, *others)


@pytest.mark.robustness_ci
async def test_a_follower_is_killed(cluster: LocalCluster) -> None:
    """Clients of a member that dies go on with another; nothing is lost, told twice or torn."""
    victim, survivor = await cluster.followers()
    async with scenario("kill -9 of a follower", first(victim, cluster)) as run:
        run.history.endpoint = survivor.endpoint
        await run.warm_up()
        run.began()
        victim.kill()
        await run.recovered(within_s=10)
        await run.more_writes(20)
        await cluster.restart(victim)
        await run.more_writes(20)
        await run.verdict()


@pytest.mark.robustness_ci
async def test_the_leader_is_killed(cluster: LocalCluster) -> None:
    """The same through an election."""
    victim = await cluster.leader()
    async with scenario("kill -9 of the leader", first(victim, cluster)) as run:
        await run.warm_up()
        run.began()
        victim.kill()
        await run.recovered(within_s=15)
        await run.more_writes(20)
        await cluster.restart(victim)
        await run.more_writes(20)
        await run.verdict()


async def test_leaders_are_killed_one_after_the_other(cluster: LocalCluster) -> None:
    """Five leaders in a row, each back before the next is killed."""
    async with scenario("kill -9 of five leaders", cluster.endpoints) as run:
        await run.warm_up()
        for _ in range(5):
            victim = await cluster.leader()
            run.began()
            victim.kill()
            await run.recovered(within_s=15)
            await cluster.restart(victim)
            await run.more_writes(10)
        await run.verdict()


async def test_the_leader_is_stopped(cluster: LocalCluster) -> None:
    """A leader that stands still for 15 s is left for another member long before it goes on."""
    victim = await cluster.leader()
    async with scenario("SIGSTOP of the leader, 15 s", first(victim, cluster)) as run:
        await run.warm_up()
        run.began()
        victim.pause()
        await asyncio.sleep(15 - await run.recovered(within_s=12))
        victim.resume()
        await cluster.wait_ready()
        await run.more_writes(20)
        await run.verdict()


async def test_a_member_of_a_quiet_client_is_stopped(cluster: LocalCluster) -> None:
    """Where nothing is read and nothing changes, pings find the member that stands still."""
    victim, _ = await cluster.followers()
    quiet = scenario("SIGSTOP of a quiet member", first(victim, cluster), writers=0, reads=False)
    async with quiet as run:
        await run.warm_up()
        await asyncio.sleep(2)  # pings that go with traffic are over
        run.began()
        victim.pause()
        await run.recovered(within_s=12.5)  # the watchdog would take longer
        victim.resume()
        await run.verdict()


@pytest.mark.robustness_ci
async def test_calls_end_in_time_without_a_quorum(cluster: LocalCluster) -> None:
    """A member that answers pings, and nothing else, holds nobody up: every call has a deadline,
    and a write that was taken and not answered has an unknown outcome."""
    survivor, _ = await cluster.followers()
    others = [member for member in cluster.members if member is not survivor]
    for member in others:
        member.pause()
    timeout_s = 1.0
    async with connect([survivor.endpoint], timeout_s=timeout_s) as store:
        write = store.commit(Txn(then=(Put(b"/r/k", b"1"),)))
        with pytest.raises(OutcomeUnknown):
            await asyncio.wait_for(write, timeout_s + 0.5)
        calls = (store.read(b"/r/k"), store.grant(5), store.keep_alive(LeaseId(1)))
        async with asyncio.timeout(6 * timeout_s + 5):
            ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends] == [Unavailable] * len(calls)
        for member in others:
            member.resume()
        async with asyncio.timeout(20):
            await store.read(b"/r/k")


async def test_the_whole_cluster_is_restarted(cluster: LocalCluster) -> None:
    """All members are down at once: caches grow old but stay full, and then catch up."""
    async with scenario("restart of all members", cluster.endpoints) as run:
        await run.warm_up()
        await stop(cluster.members)
        before = [dict(informer.items) for informer in run.informers]
        await asyncio.sleep(3)  # a down-time in which every client tries, and backs off
        assert [dict(informer.items) for informer in run.informers] == before
        assert all(informer.last_progress_age_s > 2.5 for informer in run.informers)
        for member in cluster.members:
            cluster.spawn(member)
        await cluster.wait_ready()
        run.began("all ready")
        await run.recovered(within_s=15)
        await run.more_writes(20)
        await run.verdict()


async def stop(members: Sequence[Member]) -> None:
    await asyncio.gather(*(asyncio.to_thread(member.stop) for member in members))
