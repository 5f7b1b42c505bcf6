"""Several flow services, many operators, and somebody who kills whatever runs."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import Random

import msgspec
import pytest

from flowsvc.cli.children import ChildFailed, child
from flowsvc.client import Client
from flowsvc.errors import FlowServiceError
from flowsvc.fsck import check
from flowsvc.model import StopFlow
from flowsvc.service import FlowService
from kvconfig.devserver import LocalCluster
from kvconfig.errors import KvError, OutcomeUnknown
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from kvconfig.store import list_all
from tests.property.flow_world import (
    BLUEPRINTS,
    NAMES,
    TYPES,
    Asked,
    as_json,
    check_invariants,
    drawn,
)

ROOT = "@storm"
REPLICAS, CLIENTS = 3, 8
KILL_EVERY_S = 3.0
NO_ANSWER = ("is not available", "may or may not have been committed")
"""Why a service may give up when it starts: etcd has had no leader for longer than it waits."""


class Storm:
    """Replicas that come back whenever they are killed, and clients that ask whichever is there."""

    def __init__(self, cluster: LocalCluster, seed: int) -> None:
        self.cluster = cluster
        self.rng = Random(seed)
        self.pids: dict[int, int] = {}
        self.clients: dict[int, Client] = {}
        self.asked: list[Asked] = []
        self.counts: Counter[str] = Counter()
        self.calm, self.there = asyncio.Event(), asyncio.Event()
        self.stack = AsyncExitStack()

    async def replica(self, number: int) -> None:
        """``flowctl serve``, again and again, as a supervisor does it."""
        while not self.calm.is_set():
            try:
                await self.serve(number)
            except ChildFailed as error:
                if not any(reason in str(error) for reason in NO_ANSWER):
                    raise
                self.counts["did not start: no answer from etcd"] += 1

    async def serve(self, number: int) -> None:
        """Until it is killed."""
        args = ["--listen", "127.0.0.1:0", "--root", ROOT]
        for endpoint in self.cluster.endpoints:
            args += ["--endpoints", endpoint]
        async with child(f"replica {number}", "flowsvc.cli", "serve", *args) as process:
            address = str((await process.line(event="listening"))["address"])
            # Calls may still wait for an answer when the replica is gone: all close at the end.
            client = await self.stack.enter_async_context(Client(address, timeout_s=8.0))
            self.pids[number], self.clients[number] = process.pid, client
            self.there.set()
            await process.ended()
            del self.pids[number], self.clients[number]
            if not self.clients:
                self.there.clear()

    async def killer(self) -> None:
        """SIGKILL of a replica every few seconds."""
        while not self.calm.is_set():
            await asyncio.sleep(KILL_EVERY_S)
            if self.pids:
                self.counts["killed"] += 1
                os.kill(self.pids[self.rng.choice(sorted(self.pids))], signal.SIGKILL)

    async def client(self, number: int) -> None:
        """One change after the other; what got no answer is asked again, of anybody."""
        asked_by_me = 0
        while not self.calm.is_set():
            asked = Asked(request=drawn(self.rng, f"c{number}-{asked_by_me}", self.asked))
            asked_by_me += 1
            self.asked.append(asked)
            for attempt in range(3):
                await self.ask(asked, resent=attempt > 0)
                if asked.outcome != "unknown":
                    break

    async def ask(self, asked: Asked, *, resent: bool) -> None:
        await self.there.wait()
        client = self.clients[self.rng.choice(sorted(self.clients))]
        try:
            done = await client.change(msgspec.structs.replace(asked.request, resent=resent))
        except OutcomeUnknown:
            self.counts["unknown"] += 1
        except (FlowServiceError, KvError) as error:
            if resent and not isinstance(error, FlowServiceError):
                return
            asked.outcome = "refused"
            self.counts[f"refused: {type(error).__name__}"] += 1
        else:
            asked.outcome, asked.revision = "done", done.revision
            self.counts["done"] += 1


@pytest.mark.timeout(180)
@pytest.mark.alone  # so many are to be done, and killed, in so many seconds
@pytest.mark.parametrize(
    "seconds", [pytest.param(12, marks=pytest.mark.robustness_ci), 60], ids=["12s", "60s"]
)
async def test_replicas_are_killed_under_many_operators(
    cluster: LocalCluster, seconds: int, tell: Callable[[str], None]
) -> None:
    """No invariant breaks; what is acknowledged is there, what is refused is not, and what is
    unknown can be found out. One etcd member is killed too, and comes back."""
    seed = secrets.randbits(32)
    storm, space = Storm(cluster, seed), Keyspace(ROOT)
    print(f"seed {seed}")
    async with (
        connect(cluster.endpoints) as store,
        FlowService(store, space) as service,
        storm.stack,
    ):
        for name, (first, *_) in TYPES.items():
            await service.put_parameter_type(name, as_json(first))
        for name, definition in zip(NAMES, BLUEPRINTS, strict=False):
            await service.put_blueprint(name, as_json(definition))
        async with asyncio.TaskGroup() as group:
            replicas = [group.create_task(storm.replica(n)) for n in range(REPLICAS)]
            clients = [group.create_task(storm.client(n)) for n in range(CLIENTS)]
            killer = group.create_task(storm.killer())
            await asyncio.sleep(seconds / 2)
            victim = await cluster.leader()
            victim.kill()
            await asyncio.sleep(seconds / 4)
            await cluster.restart(victim)
            await asyncio.sleep(seconds / 4)
            killer.cancel()
            storm.calm.set()
            await asyncio.wait(clients)
            for asked in storm.asked:
                if asked.outcome == "unknown":
                    await resolve(storm, asked)
            for replica in replicas:
                replica.cancel()
        items = (await list_all(store, space.everything())).items
        check_invariants(space, items, storm.asked)
        assert not [asked for asked in storm.asked if asked.outcome == "unknown"]
        for flow in await service.list_flows():
            await service.stop_flow(StopFlow(flow=flow.id))
        _, anomalies = await check(store, space)
        assert not [one for one in anomalies if one.severity == "error"]
        for type_ in ("active-flow", "flow-ref", "blueprint-use", "flow"):
            assert not (await list_all(store, space.type_range(type_))).items
    tell(f"{seconds} s, {REPLICAS} replicas, {CLIENTS} clients: {dict(storm.counts)}")
    assert storm.counts["done"] > 5 * seconds
    assert storm.counts["killed"] >= seconds // KILL_EVERY_S - 1


async def resolve(storm: Storm, asked: Asked) -> None:
    """Ask again until somebody knows: the storm is over, so that takes a moment only."""
    async with asyncio.timeout(30):
        while asked.outcome == "unknown":
            await storm.ask(asked, resent=True)
