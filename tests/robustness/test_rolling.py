"""Three instances of a processor are restarted in turn, while flows start and stop."""

from __future__ import annotations

import asyncio
import math
import secrets
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from random import Random

import pytest

from flowsvc.model import StartFlow, StopFlow
from flowsvc.service import FlowService
from flowsvc.status import FlowStatus, VariantStatus
from kvconfig.devserver import DevServer, EtcdBinary
from kvconfig.etcd import connect
from kvconfig.informer import Informer
from kvconfig.keyspace import Keyspace, VariantName
from tests.flows import as_json
from tests.robustness.fleet import Fleet, Life, Pasts, decode
from tests.robustness.noting import FOLDER, MODES, SLOW_S, Noting
from tests.robustness.timeline import Timeline, longest_gap
from tests.robustness.wrongs import none_left

SPACE = Keyspace("@rolling")
BLUEPRINT = {
    "flow": {
        "noting:{id}": {"topics": {"input": "in:{id}"}, "parameters": {"mode": "{mode}"}},
    },
    "blueprint": {
        "noting:shared": {"topics": {"input": "for-all"}, "parameters": {"mode": "ok"}},
    },
    "parameters": {"mode": {"type": "mode"}},
}
FLOWS, PACE_S = 60, 0.1
"""How many flows live at once, and how often one comes and goes."""
WEIGHTS = (8, 1, 1)
"""How many of them start at once, how many are slow, and how many fail."""

APPEARS_S = SLOW_S + 3.0
"""A variant that has stood for longer runs somewhere, whatever happens."""
TRUE_S = 5.0
"""What a living instance says of itself was true no longer ago: it writes a few times a second."""
GONE_S = 10.0 + 3.0
"""What a killed one has said goes with its lease (``processors run`` takes the default), for which
etcd looks twice a second; a successor of the same name tries every 2 s whether the key is free."""

STARTS_S = GONE_S + 20.0

MEANT = {
    "running": {"running"},
    "failed": {"failed"},
    "starting": {"ended"},
    "": {"ended", "failed"},
}
"""What is true of a variant when it is said to be in a state; or nothing, by an instance that is
not there."""

TERM, KILL = signal.SIGTERM, signal.SIGKILL
Round = tuple[signal.Signals, bool]
"""How each instance is ended, one after the other, and whether it comes back under its name."""
SHORT: tuple[Round, ...] = ((KILL, False), (TERM, True))
LONG: tuple[Round, ...] = (*SHORT, (TERM, False), (KILL, True), (KILL, False))


class Operator:
    """Starts and stops flows, and remembers from when to when their variants had to run."""

    def __init__(self, service: FlowService, seed: int) -> None:
        self.service = service
        self.rng = Random(seed)
        self.calm = False
        self.live: list[str] = []
        self.since_s: dict[str, float] = {}
        self.until_s: dict[str, float] = {}
        self.failing: set[str] = set()

    async def prepare(self) -> None:
        """A blueprint, and a first flow, which is never stopped."""
        mode = {"type": "string", "enum": MODES, "default": "ok"}
        await self.service.put_parameter_type("mode", as_json(mode))
        await self.service.put_blueprint("noting", as_json(BLUEPRINT))
        await self.service.start_flow(StartFlow(flow="first", blueprint_name="noting"))
        self.since_s["first"] = self.since_s["shared"] = time.monotonic()

    async def run(self) -> None:
        """One after the other, all under names of their own, until all is to be calm."""
        numbers = count()
        while not self.calm:
            await self.start(f"f{next(numbers)}")
            if len(self.live) > FLOWS:
                await self.stop(self.live.pop(self.rng.randrange(FLOWS)))
            await asyncio.sleep(PACE_S)

    async def start(self, flow: str) -> None:
        """Most start at once."""
        (mode,) = self.rng.choices(MODES, WEIGHTS)
        await self.service.start_flow(
            StartFlow(flow=flow, blueprint_name="noting", parameters={"mode": mode})
        )
        self.since_s[flow] = time.monotonic()
        self.live.append(flow)
        if mode == "fail":
            self.failing.add(flow)

    async def stop(self, flow: str) -> None:
        """Its variant has to run until then."""
        self.until_s[flow] = time.monotonic()
        await self.service.stop_flow(StopFlow(flow=flow))


@dataclass(frozen=True)
class Claim:
    """What was said, at some time between two moments, of one variant: its state by instance."""

    asked_s: float
    answered_s: float
    variant: str
    states: Mapping[str, str]


class Listener:
    """Asks for statuses every second."""

    def __init__(self, service: FlowService, operator: Operator) -> None:
        self.service, self.operator = service, operator
        self.claims: list[Claim] = []

    async def run(self) -> None:
        """All of them at once, and one by itself."""
        while True:
            asked_s = time.monotonic()
            self.note(asked_s, await self.service.list_statuses())
            asked_s = time.monotonic()
            flow = self.operator.rng.choice(["first", *self.operator.live])
            self.note(asked_s, [await self.service.get_status(flow)])
            await asyncio.sleep(1.0)

    def note(self, asked_s: float, statuses: Iterable[FlowStatus]) -> None:
        """As of now."""
        now_s = time.monotonic()
        for variant in chain.from_iterable(status.variants for status in statuses):
            states = {report.instance: report.state for report in variant.instances}
            self.claims.append(Claim(asked_s, now_s, short(variant), states))


def short(variant: VariantStatus) -> str:
    """Its name within the processor."""
    return VariantName.parse(variant.name).variant


def behind(claim: Claim, name: str, past: Timeline) -> float:
    """For how long what is said of one instance had not been true; 0 where it was."""
    return claim.asked_s - past.last(MEANT[claim.states.get(name, "")], claim.answered_s)


def check_claims(
    claims: Iterable[Claim], lives: Iterable[Life], pasts: Pasts
) -> tuple[float, float]:
    """None is older than it may be; how far behind those on living and on killed ones were."""
    kills = [(life.name, life.ended_s) for life in lives if life.killed and life.ended_s]
    living_s = killed_s = 0.0
    for claim in claims:
        for name, past in pasts.items():
            late_s = behind(claim, name, past[claim.variant])
            if any(who == name and 0 <= claim.answered_s - at < GONE_S for who, at in kills):
                killed_s = max(killed_s, late_s)
                assert late_s <= GONE_S, f"{name}, which was killed, {late_s:.1f} s ago: {claim}"
            else:
                living_s = max(living_s, late_s)
                assert late_s <= TRUE_S, f"{name}, {late_s:.1f} s ago: {claim}"
    return living_s, killed_s


def check_running(operator: Operator, pasts: Pasts, now_s: float) -> int:
    """Each variant ran somewhere all the time it had to; how many had to."""
    checked = 0
    for variant, stood_s in operator.since_s.items():
        since_s, until_s = stood_s + APPEARS_S, operator.until_s.get(variant, now_s)
        if variant not in operator.failing and since_s < until_s:
            runs = [
                span for past in pasts.values() for span in past[variant].spans("running", now_s)
            ]
            gap_s = longest_gap(runs, since_s, until_s)
            assert gap_s == 0, f"{variant} ran nowhere for {gap_s:.2f} s: {runs}"
            checked += 1
    return checked


async def not_everywhere(service: FlowService, names: set[str], failing: set[str]) -> list[str]:
    """Variants that are not said to run, or to fail, on just these instances."""
    wrong = []
    for variant in chain.from_iterable(status.variants for status in await service.list_statuses()):
        state = "failed" if short(variant) in failing else "running"
        said = {(report.instance, report.state) for report in variant.instances}
        if said != {(name, state) for name in names}:
            wrong.append(variant.name)
    return wrong


@asynccontextmanager
async def fleet_on(server: DevServer, folder: Path) -> AsyncIterator[Fleet]:
    """Nobody yet."""
    async with connect([server.endpoint]) as store:
        range_ = SPACE.processor_range(Noting.id)
        async with Informer(store, range_, decode, name="statuses") as statuses:
            fleet = Fleet(store, statuses, SPACE, server.endpoint, folder)
            try:
                yield fleet
            finally:
                await fleet.close()


@pytest.mark.timeout(240)
@pytest.mark.alone  # how far behind a status may be is a time
@pytest.mark.parametrize(
    "rounds", [pytest.param(SHORT, marks=pytest.mark.robustness_ci), LONG], ids=["short", "long"]
)
async def test_rolling_restart(
    robust_binary: EtcdBinary,
    rounds: tuple[Round, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tell: Callable[[str], None],
) -> None:
    """No variant is ever left without an instance; no status stays wrong for longer than a lease
    lasts, and of an instance that lives for longer than it takes to write one."""
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    monkeypatch.setenv(FOLDER, str(tmp_path))
    async with (
        DevServer(robust_binary) as server,
        connect([server.endpoint]) as ours,
        FlowService(ours, SPACE) as service,
        fleet_on(server, tmp_path) as fleet,
    ):
        operator = Operator(service, seed)
        listener = Listener(service, operator)
        up = [await fleet.start(f"i{number}", within_s=STARTS_S) for number in range(3)]
        await operator.prepare()
        names = (f"i{number}" for number in count(3))
        async with asyncio.TaskGroup() as group:
            operating = group.create_task(operator.run())
            listening = group.create_task(listener.run())
            for how, same_name in rounds:
                for index, life in enumerate(up):
                    await fleet.end(life, how)
                    name = life.name if same_name else next(names)
                    up[index] = await fleet.start(name, within_s=STARTS_S)
            operator.calm = True
            await operating
            now_up = {life.name for life in up}
            await none_left(
                lambda: not_everywhere(service, now_up, operator.failing), within_s=GONE_S + TRUE_S
            )
            listening.cancel()
        now_s = time.monotonic()
        pasts = fleet.pasts()
    living_s, killed_s = check_claims(listener.claims, fleet.lives, pasts)
    checked = check_running(operator, pasts, now_s)
    assert checked > FLOWS / 2
    assert operator.failing
    tell(
        f"{len(fleet.lives)} processes, {checked} variants that ran all the time; of "
        f"{len(listener.claims)} statuses those of living ones were {living_s:.2f} s behind at "
        f"most, of killed ones {killed_s:.2f} s"
    )


@pytest.mark.robustness_ci
def test_the_judge_sees_gaps_and_late_claims() -> None:
    """What a timeline says of a variant that ran twice, with a break."""
    past = Timeline()
    for at_s, state in ((10.0, "running"), (20.0, "ended"), (22.0, "running"), (30.0, "failed")):
        past.add(at_s, state)
    assert past.spans("running", 25.0) == [(10.0, 20.0), (22.0, 25.0)]
    assert longest_gap(past.spans("running", 31.0), 12.0, 31.0) == 2.0
    assert longest_gap([(0.0, 15.0), (14.0, 21.0)], 5.0, 21.0) == 0.0
    last = [past.last({"running"}, at_s) for at_s in (9.0, 12.0, 21.0, 33.0)]
    assert last == [-math.inf, 12.0, 20.0, 30.0]
    assert past.last({"ended"}, 9.0) == 9.0
    assert past.last({"ended", "failed"}, 29.0) == 22.0
