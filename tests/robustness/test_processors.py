"""Fifty processors, two hundred flows, four operators, and an etcd that is killed under them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

import msgspec
import pytest

from flowsvc.ids import new_op
from flowsvc.model import StartFlow, StopFlow
from flowsvc.service import FlowService
from kvconfig.devserver import DevServer, EtcdBinary
from kvconfig.errors import StoreError
from kvconfig.etcd import connect
from kvconfig.informer import Batch
from kvconfig.keyspace import Keyspace
from kvconfig.records import VariantRecord, decode_status, decode_variant
from kvconfig.store import Store, list_all
from processors import Instance, running
from tests.flows import as_json
from tests.robustness.history import History
from tests.robustness.report import Row, report
from tests.robustness.wrongs import none_left
from tests.unit.support_processors import Probe

SPACE = Keyspace("@fifty")
IDS = tuple(f"p{number:02}" for number in range(50))
BUSY, IDLE = IDS[:-3], IDS[-3:]
"""No blueprint touches the idle ones."""
BLUEPRINTS, FLOWS, OPERATORS = 25, 200, 4
STOPS = 0.3
"""How often a flow is stopped rather than started: so nearly all of them live nearly always."""
PAUSE_S = 0.01
TTL_S = 2
OUTAGES_S = (0.5, TTL_S + 1.0)
"""How long etcd is away: sessions outlive the first time, and not the second."""
FULL, FULL_S = 0.9 * FLOWS, 60.0
"""So many flows live before etcd is killed for the first time, however slow the machine is."""
CONVERGED_S = 30.0

Running = dict[str, tuple[Mapping[str, str], str]]
"""Variants, with their topics and their number."""
Told = tuple[int, bytes, bytes | None]
"""A revision, a key that it changed, and the new value."""


class Light(Probe):
    """One of many in a busy process: in no hurry."""

    start_timeout_s = stop_timeout_s = 60.0

    def __init__(self, id_: str) -> None:
        super().__init__()
        self.id = id_

    def runs(self) -> Running:
        """What really runs."""
        return {
            name: (dict(variant.topics), str(variant.parameter("n", int)))
            for name, variant in self.live.items()
        }


class Heard:
    """What one processor heard from its watch; what a list brought is no event."""

    def __init__(self, instance: Instance) -> None:
        self.stats = instance.informer.stats
        self.events: Counter[tuple[int, bytes]] = Counter()
        instance.informer.subscribe(self._note)

    def _note(self, batch: Batch[VariantRecord]) -> None:
        if not batch.resync:
            self.events.update((batch.revision, change.key) for change in batch.changes)


class Office:
    """Operators, each with flows of its own."""

    def __init__(self, service: FlowService, seed: int) -> None:
        self.service = service
        self.rng = Random(seed)
        self.full, self.calm = asyncio.Event(), asyncio.Event()
        self.live: set[str] = set()
        self.most = 0
        self.counts: Counter[str] = Counter()

    async def prepare(self) -> None:
        """Blueprints that touch a few processors each."""
        await self.service.put_parameter_type("n", as_json({"type": "integer", "default": 0}))
        for number in range(BLUEPRINTS):
            await self.service.put_blueprint(f"b{number}", as_json(self.blueprint()))

    def blueprint(self) -> dict[str, Any]:
        """Two variants of one processor and one of two others for each flow, and two shared ones:
        with all flows of the blueprint, and with those of others."""
        own = {"topics": {"input": "in:{id}"}, "parameters": {"n": "{n}"}}
        shared = {"topics": {"input": "for-many"}, "parameters": {"n": "1"}}
        twice, second, third, with_flows, with_all = self.rng.sample(BUSY, 5)
        names = (f"{twice}:{{id}}", f"{twice}:{{id}}.2", f"{second}:{{id}}", f"{third}:{{id}}")
        return {
            "flow": dict.fromkeys(names, own),
            "blueprint": {f"{with_flows}:{{blueprint}}": shared, f"{with_all}:all": shared},
            "parameters": {"n": {"type": "n"}},
        }

    async def operator(self, number: int) -> None:
        """Starts and stops, one after the other, until all is calm."""
        mine = {f"f{number}-{index}" for index in range(FLOWS // OPERATORS)}
        while not self.calm.is_set():
            live = self.live & mine
            if live == mine or (live and self.rng.random() < STOPS):
                flow = self.rng.choice(sorted(live))
                await self.ask(StopFlow(flow=flow, op=new_op()))
                self.live.remove(flow)
            else:
                flow = self.rng.choice(sorted(mine - live))
                await self.ask(self.start(flow))
                self.live.add(flow)
            self.most = max(self.most, len(self.live))
            if self.most > FULL:
                self.full.set()
            await asyncio.sleep(self.rng.uniform(0, 2 * PAUSE_S))

    def start(self, flow: str) -> StartFlow:
        """From any of the blueprints, with any number."""
        blueprint, n = f"b{self.rng.randrange(BLUEPRINTS)}", self.rng.randrange(10)
        return StartFlow(flow=flow, blueprint_name=blueprint, parameters={"n": n}, op=new_op())

    async def ask(self, request: StartFlow | StopFlow) -> None:
        """Until there is an answer: the request's id makes it safe to ask again."""
        while True:
            try:
                await self.service.change(request)
            except StoreError as error:
                self.counts[type(error).__name__] += 1
                request = msgspec.structs.replace(request, resent=True)
                await asyncio.sleep(PAUSE_S)
            else:
                self.counts["done"] += 1
                return


async def storm(office: Office, server: DevServer, seconds: float) -> None:
    """For so long from when all is busy; etcd is killed and comes back after one and after two
    thirds of it."""
    async with asyncio.TaskGroup() as group:
        for number in range(OPERATORS):
            group.create_task(office.operator(number))
        async with asyncio.timeout(FULL_S):
            await office.full.wait()
        for away_s in OUTAGES_S:
            await asyncio.sleep((seconds - sum(OUTAGES_S)) / 3)
            await server.kill()
            await asyncio.sleep(away_s)
            await server.start()
        await asyncio.sleep((seconds - sum(OUTAGES_S)) / 3)
        office.calm.set()


async def wanted(store: Store) -> dict[str, Running]:
    """What stands in etcd, by processor."""
    found: dict[str, Running] = {id_: {} for id_ in IDS}
    for kv in (await list_all(store, SPACE.type_range("active-flow"))).items:
        name, record = SPACE.parse_active_flow(kv.key), decode_variant(kv.value, key=kv.key)
        found[name.processor][name.variant] = (record.topics, record.parameters["n"])
    return found


async def otherwise(probes: Sequence[Light], desired: Mapping[str, Running]) -> list[str]:
    """Processors that do not run just what they are to run."""
    return [probe.id for probe in probes if probe.runs() != desired[probe.id]]


async def untold(service: FlowService, flows: set[str]) -> list[str]:
    """Flows that are not said to run, each variant on the one instance that there is."""
    good = set()
    for status in await service.list_statuses():
        reports = [[(r.instance, r.state) for r in v.instances] for v in status.variants]
        if reports and all(one == [("one", "running")] for one in reports):
            good.add(status.flow)
    return sorted(good ^ flows)


async def unsaid(store: Store, own: Mapping[str, Sequence[Told]]) -> list[str]:
    """Processors whose own word, under the session of now, is not that all is well."""
    keys = (await list_all(store, SPACE.type_range("processor"))).items
    session = max(keys, key=lambda kv: kv.mod_revision).lease if keys else 0
    good = set()
    for kv in keys:
        processor, instance = SPACE.parse_processor(kv.key)
        assert instance == "one"
        status = decode_status(kv.value, key=kv.key)
        last = own[processor][-1][0] if own[processor] else 0
        all_well = status.observed_revision >= last and not (status.pending or status.failed)
        if all_well and kv.lease == session:
            good.add(processor)
    return sorted(good ^ set(IDS))


def told_by(history: History) -> dict[str, list[Told]]:
    """Each change of a variant's key, from etcd's own history, by processor."""
    found: dict[str, list[Told]] = {id_: [] for id_ in IDS}
    for revision, changes in history.within(SPACE.type_range("active-flow")):
        for key, value in changes.items():
            found[SPACE.parse_active_flow(key).processor].append((revision, key, value))
    return found


def check_told(probe: Light, heard: Heard, own: Sequence[Told]) -> None:
    """It was told of its own changes only, once, and started nothing that was not put."""
    assert heard.stats.events == heard.events.total()
    there = Counter((revision, key) for revision, key, _ in own)
    assert heard.events <= there, f"{probe.id} heard what was not its own, or twice"
    puts = Counter(SPACE.parse_active_flow(key).variant for _, key, value in own if value)
    assert probe.starts <= puts, f"{probe.id} started what it had no reason to"
    if probe.id in IDLE:
        assert (heard.stats.batches, len(there)) == (0, 0)


@pytest.mark.timeout(180)
@pytest.mark.alone  # 50 processors in one process, at a pace: they take what there is
@pytest.mark.parametrize(
    "seconds", [pytest.param(10, marks=pytest.mark.robustness_ci), 60], ids=["10s", "60s"]
)
async def test_many_processors_and_flows_while_etcd_is_killed_twice(
    robust_binary: EtcdBinary, seconds: int, tell: Callable[[str], None]
) -> None:
    """Each processor comes to run exactly what etcd has for it, and says so; none of them ever
    heard of anything but its own keys, and of each change of those at most once."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    probes = [Light(id_) for id_ in IDS]
    async with (
        DevServer(robust_binary, durable=True) as server,
        connect([server.endpoint], timeout_s=1.0) as store,
        connect([server.endpoint], timeout_s=1.0) as ours,
        FlowService(ours, SPACE) as service,
        running(store, probes, keyspace=SPACE, instance="one", ttl_s=TTL_S) as instances,
    ):
        for instance in instances:
            await instance.informer.synced()
        heard = {instance.processor.id: Heard(instance) for instance in instances}
        office = Office(service, seed)
        await office.prepare()
        await storm(office, server, seconds)

        calm_s = time.monotonic()
        desired = await wanted(ours)
        await none_left(lambda: otherwise(probes, desired), within_s=CONVERGED_S)
        await none_left(lambda: untold(service, office.live), within_s=CONVERGED_S)
        converged_s = time.monotonic() - calm_s
        history = History(server.endpoint)
        await history.collect()
        own = told_by(history)
        await none_left(lambda: unsaid(ours, own), within_s=CONVERGED_S)

    for probe in probes:
        check_told(probe, heard[probe.id], own[probe.id])
    events = sum(told.stats.events for told in heard.values())
    changes = sum(map(len, own.values()))
    assert events > changes / 2, "the others are what lists brought after the outages"
    lists = [told.stats.lists for told in heard.values()]
    assert min(lists) > len(OUTAGES_S)
    report(
        Row(
            scenario="50 processors, 200 flows, etcd killed twice",
            since="calm",
            cache_s=converged_s,
            done=office.counts["done"],
            refused=office.counts["Unavailable"],
            unknown=office.counts["OutcomeUnknown"],
            lists=max(lists),
        )
    )
    tell(
        f"{seconds} s, {len(IDS)} processors, {office.most} flows: {dict(office.counts)}; "
        f"{changes} changes, {events} heard; as desired after {converged_s:.2f} s"
    )
