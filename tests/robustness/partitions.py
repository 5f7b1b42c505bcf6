"""Run as a program, in namespaces of its own: one partition. See test_partitions for the promises.

``python -m tests.robustness.partitions CASE``
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from kvconfig.devserver import LocalCluster, Member, find_etcd, find_etcdctl
from tests.robustness.scenario import Scenario, scenario
from tests.robustness.waiting import eventually
from tests.robustness.world import CLIENT, World

Case = Callable[[World, LocalCluster], Awaitable[None]]


def first(member: Member, cluster: LocalCluster) -> tuple[str, ...]:
    """The endpoints, that one first."""
    others = [other.endpoint for other in cluster.members if other is not member]
    return (member.endpoint, *others)


@contextmanager
def parted(world: World, *names: str) -> Iterator[None]:
    """For as long as the block lasts."""
    world.part(names)
    try:
        yield
    finally:
        world.heal()


async def with_the_majority(
    world: World, cluster: LocalCluster, cut_off: Member, name: str
) -> None:
    """The member that clients are connected to is alone on the other side."""
    async with scenario(name, first(cut_off, cluster)) as run:
        await run.warm_up()
        with parted(world, cut_off.name):
            run.began()
            await run.recovered(within_s=18)
            await run.more_writes(30)
        await cluster.wait_ready()
        await run.more_writes(20)
        await run.verdict()


async def with_the_minority(world: World, cluster: LocalCluster, mine: Member, name: str) -> None:
    """Clients and one member on one side; on the other the majority, where writes go on."""
    there = next(member for member in cluster.members if member is not mine)
    async with scenario(name, first(mine, cluster)) as run:
        await run.warm_up()
        with parted(world, mine.name, CLIENT):
            # The link to our member is well: only etcd's own word ends the watch.
            ends = [informer.stats.watch_ends for informer in run.informers]
            await eventually(
                lambda: all(
                    informer.stats.watch_ends > before
                    for informer, before in zip(run.informers, ends, strict=True)
                ),
                within_s=10,
            )
            cached = [dict(informer.items) for informer in run.informers]
            write_there(world, there, run)
            await eventually(
                lambda: all(informer.last_progress_age_s > 12 for informer in run.informers),
                within_s=30,
            )
            assert [dict(informer.items) for informer in run.informers] == cached
        run.began("healed")
        await run.recovered(within_s=20)
        await run.more_writes(20)
        await run.verdict()


def write_there(world: World, member: Member, run: Scenario) -> None:
    """A new key in each prefix, and all old ones gone, by etcdctl from the other side."""
    # Its side may have to elect a leader first.
    ctl = (*world.within(member.name), str(find_etcdctl(beside=find_etcd())))
    to = (f"--endpoints={member.endpoint}", "--command-timeout=15s")
    for informer in run.informers:
        base = informer.range.start.decode()
        for args in (("del", "--prefix", f"{base}k"), ("put", f"{base}there", "1")):
            subprocess.run([*ctl, *to, *args], check=True, stdout=subprocess.DEVNULL)


async def majority(world: World, cluster: LocalCluster) -> None:
    """A follower is cut off."""
    cut_off, _ = await cluster.followers()
    await with_the_majority(world, cluster, cut_off, "partition, client with the majority")


async def majority_without_leader(world: World, cluster: LocalCluster) -> None:
    """The leader is cut off."""
    leader = await cluster.leader()
    await with_the_majority(world, cluster, leader, "partition, leader cut off")


async def minority(world: World, cluster: LocalCluster) -> None:
    """With a follower."""
    mine, _ = await cluster.followers()
    await with_the_minority(world, cluster, mine, "partition, client with the minority")


async def minority_with_leader(world: World, cluster: LocalCluster) -> None:
    """With the leader, who has to notice that he is none any more."""
    leader = await cluster.leader()
    await with_the_minority(world, cluster, leader, "partition, client with the old leader")


async def alone(world: World, cluster: LocalCluster) -> None:
    """No member can be reached for 20 s."""
    async with scenario("partition, client alone, 20 s", cluster.endpoints) as run:
        await run.warm_up()
        with parted(world, CLIENT):
            await eventually(
                lambda: all(informer.last_progress_age_s > 20 for informer in run.informers),
                within_s=30,
            )
        run.began("healed")
        await run.recovered(within_s=25)
        await run.verdict()


CASES: dict[str, Case] = {
    case.__name__: case
    for case in (majority, majority_without_leader, minority, minority_with_leader, alone)
}


async def main(case: str) -> None:
    """Build the world, and a cluster in it."""
    world = World(3)
    cluster = LocalCluster(hosts=world.hosts, within=[world.within(name) for name in world.names])
    async with cluster:
        await CASES[case](world, cluster)


if __name__ == "__main__":
    print(f"{sys.argv[1]}: pid {os.getpid()}")
    asyncio.run(main(sys.argv[1]))
