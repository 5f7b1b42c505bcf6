"""One whole run of an instance under operators and faults, all of it from one seed."""

from __future__ import annotations

import asyncio
import random
import traceback
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Any, cast

import msgspec
import pytest

from kvconfig.errors import Compacted, StoreError, Unavailable, show_key
from kvconfig.informer import Informer
from kvconfig.memory import MemoryStore
from kvconfig.memory.faults import FaultyStore, Rates
from kvconfig.session import Session
from kvconfig.store import Store
from kvconfig.txn import Delete, Put, Txn
from processors import running
from processors.reconciler import Reconciler
from processors.sessions import Sessions
from processors.status import Publisher, fold
from tests.history import virtual_time
from tests.property.processor_judge import (
    INSTANCE,
    MOST,
    NAMES,
    Facts,
    Life,
    for_nothing,
    lies,
    runnable,
    unfounded,
    went_back,
    wrong,
)
from tests.property.processor_probe import Probe, Value

__all__ = ["Story", "live", "on_loop_time", "time_s"]

BAD_NAMES = (b"a/b", b"\xff\n", b"sp ace", b"")
BAD_VALUES = (
    b"",
    b"{",
    b"\xff",
    b'{"topics":1}',
    b'{"topics":{"input":"t0"},"extra":1}',
    b'{"topics":{"input":"t0"},"parameters":{"n":1}}',
    b'{"topics":{"input":"t0"},"parameters":{"n":"x"}}',
    b'{"topics":{"input":"t0"},"parameters":{"n":"-1"}}',
    b'{"topics":{},"parameters":{}}',
)
STEPS = 40
"""Of all operators together."""
LIE_S = 1.0
"""How long what an instance says of itself may be behind what is so."""
SETTLE_S = 15.0
"""What is on its way arrives in that time, what was cut comes back, and leases that nobody keeps
alive end."""
PATIENCE_S = 400.0
"""Of virtual time: for what is certain to come. Attempts are up to 60 s apart."""
IDLE_S = 60.0


class Story(msgspec.Struct):
    """What came of a run: what was wrong, how often each thing struck, what each variant got."""

    findings: list[str]
    struck: Counter[str]
    told: list[tuple[str, Value, int]]


def live(seed: int) -> Story:
    """The run of this seed, the same each time."""
    state = random.getstate()
    random.seed(seed)  # delays throw dice of their own: jitter
    try:
        with pytest.MonkeyPatch.context() as patch:
            on_loop_time(patch)
            return virtual_time.run(World(seed, patch).live())
    finally:
        random.setstate(state)


def on_loop_time(patch: pytest.MonkeyPatch) -> None:
    """Whatever takes a clock, and is given none, takes that of the loop that runs.

    It moves on when it is read, as every clock does: else what comes due half a nanosecond early,
    and looks again, would look for ever, and time would stand still.
    """
    reads = count()

    def clock() -> float:
        return time_s() + next(reads) * 1e-9

    for owner in (Informer, Session, Sessions, Publisher, Reconciler):
        patch.setitem(_defaults(owner.__init__), "clock", clock)
    patch.setitem(_defaults(Reconciler.__init__), "now", _now)


def _defaults(function: object) -> dict[str, Any]:
    return cast(Any, function).__kwdefaults__  # type: ignore[no-any-return]


def time_s() -> float:
    """Seconds since that loop was made."""
    return asyncio.get_running_loop().time()


def _now() -> datetime:
    return datetime.fromtimestamp(time_s(), UTC)


class _AnyOrder(deque[asyncio.Handle]):
    """What is ready to run, in an order of the seed's and not of asyncio's.

    Nothing here is to count on the other.
    """

    def __init__(self, rng: Random, ready: deque[asyncio.Handle]) -> None:
        super().__init__(ready)
        self._rng = rng

    def popleft(self) -> asyncio.Handle:
        self.rotate(self._rng.randrange(len(self)))
        return super().popleft()


class Line:
    """A store as one instance reaches it. Once it is cut, the instance is as good as killed."""

    def __init__(self, store: Store) -> None:
        self.cut = False
        self._store = store

    def __getattr__(self, name: str) -> Any:
        if self.cut:
            raise Unavailable("the line is cut")
        return getattr(self._store, name)


class World:
    """A store full of faults, two operators, and one instance after another of the same name."""

    def __init__(self, seed: int, patch: pytest.MonkeyPatch) -> None:
        self.rng = rng = Random(f"{seed}")
        self.findings: list[str] = []
        self.struck: Counter[str] = Counter()
        self.lives: list[Life] = []
        self.memory = MemoryStore(
            clock=time_s, page_size=rng.choice([2, 5_000]), max_backlog=rng.choice([5, 10_000])
        )
        rates = msgspec.structs.replace(Rates.drawn(rng), outage_s=rng.choice([1.0, 10.0]))
        self.store = FaultyStore(self.memory, rng, rates)
        self.facts = Facts(self.memory, self.store, most_listed=rng.choice([1, 2, MOST]))
        patch.setitem(_defaults(fold), "most", self.facts.most_listed)
        self.ttl_s = rng.choice([1, 3, 10])
        self.pause_s = rng.choice([0.02, 0.5, 2.0])
        self.steps_left = STEPS

    # -- the story ------------------------------------------------------------------------------

    async def live(self) -> Story:
        """All of it. What ends the machinery itself is a finding too."""
        if self.rng.random() < 0.5:
            loop: Any = asyncio.get_running_loop()
            loop._ready = _AnyOrder(self.rng, loop._ready)  # where every loop of asyncio has it
            self.struck["any order"] += 1
        try:
            await self._storm_and_calm()
        except Exception:  # noqa: BLE001 - whatever it is, it is what this run has found
            self.findings.append(traceback.format_exc())
        self.findings += went_back(self.facts)
        for life in self.lives:
            self.findings += life.probe.breaches
            self.findings += unfounded(self.facts, life)
            self.findings += for_nothing(life)
            self.struck.update({f"update {how}": n for how, n in life.probe.updates.items()})
        entries = [entry for life in self.lives for entry in life.probe.entries]
        told = [(entry.run.name, entry.value, int(entry.mod_revision)) for entry in entries]
        return Story(self.findings, self.struck + self.store.struck, told)

    async def _storm_and_calm(self) -> None:
        async with asyncio.TaskGroup() as group:
            operators = [group.create_task(self._operate(), name=f"operator {n}") for n in range(2)]
            for _ in range(self.rng.choice([0, 0, 1, 2])):
                async with self._life() as (_, line):
                    await asyncio.wait(operators, timeout=self.rng.uniform(0.0, 15.0))
                    line.cut = self.rng.random() < 0.5
                    self.struck["killed" if line.cut else "stopped"] += 1
            async with self._life() as (life, _):
                await asyncio.wait(operators)
                self.store.heal()
                if self.rng.random() < 0.3:
                    await self._tidy()
                life.probe.healed = True
                await asyncio.sleep(SETTLE_S)
                await self._comes_to_rest(life)
                await self._stays_at_rest(life)
                life.probe.let_go(for_good=True)
                await self._comes_to_rest(life)
        left = [show_key(kv.key) for kv in self.facts.items(self.facts.statuses)]
        if left or self.facts.leases():
            self.findings.append(f"left behind: {left}, leases {self.facts.leases()}")

    @asynccontextmanager
    async def _life(self) -> AsyncIterator[tuple[Life, Line]]:
        life = Life(
            Probe(self.rng, lambda name: len(life.heard.get(name, ()))),
            began=len(self.store.journal()),
        )
        line = Line(self.store)
        try:
            async with self._hosting(life, line):
                yield life, line
            for run in life.probe.live.values():
                if run.value.mode not in ("stubborn", "deaf") and not run.updating:
                    self.findings.append(f"{run.name} runs after its instance has ended")
        finally:
            life.probe.let_go(for_good=True)
            await self._until(lambda: [f"{name} never ends" for name in life.probe.live])

    @asynccontextmanager
    async def _hosting(self, life: Life, line: Line) -> AsyncIterator[None]:
        store = cast(Store, line)
        async with running(store, [life.probe], instance=INSTANCE, ttl_s=self.ttl_s) as (instance,):
            life.instance = instance
            self.lives.append(life)
            instance.informer.subscribe(lambda batch: self.facts.note(batch, life.heard))
            looking = asyncio.create_task(self._look(life), name="look")
            try:
                yield
            finally:
                looking.cancel()
                await asyncio.wait([looking])

    async def _look(self, life: Life) -> None:
        """All the time: what the instance says of itself is so, or was a moment ago."""
        since_s: dict[str, float] = {}
        while True:
            await asyncio.sleep(LIE_S / 4)
            found = lies(self.facts, life)
            since_s = {lie: since_s.get(lie, time_s()) for lie in found}
            old = [lie for lie, begun_s in since_s.items() if time_s() - begun_s > LIE_S]
            self.findings += [lie for lie in old if lie not in self.findings]

    async def _comes_to_rest(self, life: Life) -> None:
        if not self.findings:
            await self._until(lambda: wrong(self.facts, life, self.struck))

    async def _until(self, complaints: Callable[[], list[str]]) -> None:
        """Wait until there are none; those that stay are findings."""
        end_s = time_s() + PATIENCE_S
        while found := complaints():
            if time_s() > end_s:
                self.findings += found
                return
            await asyncio.sleep(0.5)

    async def _stays_at_rest(self, life: Life) -> None:
        """Equal values and lost watches touch nothing that runs as desired, nor does time alone.

        And where nothing fails, nothing is written either.
        """
        if self.findings:
            return
        stored = {self.facts.label(kv.key): kv for kv in self.facts.items(self.facts.variants)}
        runs = {name: run.value for name, run in life.probe.live.items() if run.phase == "entered"}
        well = [name for name, kv in stored.items() if self.facts.wish(kv) == runs.get(name)]
        before = {name: life.probe.touched[name] for name in well}
        for kv in stored.values():
            await self.store.commit(Txn(then=(self._equal(kv.key, kv.value),)))
        with suppress(Compacted):
            self.store.compact(self.memory.revision)
        self.memory.cut_watches("cut")
        await asyncio.sleep(SETTLE_S)
        await self._comes_to_rest(life)
        revision = self.memory.revision
        await asyncio.sleep(IDLE_S)
        self.struck["stayed at rest"] += len(well)
        self.findings += [
            f"{name} was touched at rest"
            for name in well
            if life.probe.touched[name] > before[name]
        ]
        if len(well) == len(stored) == len(life.probe.live):
            self.struck["idle"] += 1
            if self.memory.revision > revision:
                self.findings.append(f"written while idle: {revision + 1} and on")

    # -- operators ------------------------------------------------------------------------------

    async def _operate(self) -> None:
        rng = self.rng
        actions: Mapping[Callable[[], Awaitable[object]], int] = {
            self._write: 8,
            self._put_equal: 3,
            self._flip: 2,
            self._elsewhere: 1,
            self._crash: 2,
            self._let_go: 1,
            self._evict: 1,
        }
        while self.steps_left > 0:
            self.steps_left -= 1
            await asyncio.sleep(rng.uniform(0, 10.0 if rng.random() < 0.05 else self.pause_s))
            (action,) = rng.choices([*actions], [*actions.values()])
            with suppress(StoreError):
                await action()

    async def _write(self) -> None:
        """Some variants in one transaction: new ones, changed ones, bad ones, and deletes."""
        suffixes = self.rng.sample(NAMES * 3 + BAD_NAMES, self.rng.randint(1, 3))
        keys = [self.facts.variants.start + suffix for suffix in dict.fromkeys(suffixes)]
        await self.store.commit(Txn(then=tuple(map(self._any, keys))))

    async def _tidy(self) -> None:
        """What cannot run is deleted."""
        for kv in self.facts.items(self.facts.variants):
            if not runnable(self.facts.wish(kv)):
                await self.store.commit(Txn(then=(Delete(kv.key),)))

    async def _put_equal(self) -> None:
        """What is stored, perhaps in another spelling."""
        if stored := self.facts.items(self.facts.variants):
            kv = self.rng.choice(stored)
            self.struck["put equal"] += 1
            await self.store.commit(Txn(then=(self._equal(kv.key, kv.value),)))

    async def _flip(self) -> None:
        """Something else for a moment, then what was there before."""
        if stored := self.facts.items(self.facts.variants):
            kv = self.rng.choice(stored)
            self.struck["flipped"] += 1
            await self.store.commit(Txn(then=(self._any(kv.key),)))
            await asyncio.sleep(self.rng.choice([0.0, 0.01, 0.5]))
            await self.store.commit(Txn(then=(Put(kv.key, kv.value),)))

    async def _elsewhere(self) -> None:
        """Variants of others, and configuration that nobody asked for."""
        key = self.rng.choice([b"/active-flow/prob/a", b"/active-flow/probes/a", b"/prompt/a"])
        await self.store.commit(Txn(then=(self._put(key, Value.drawn(self.rng)),)))

    async def _crash(self) -> None:
        if self.lives and self.lives[-1].probe.crash():
            self.struck["tripped"] += 1

    async def _let_go(self) -> None:
        if self.lives:
            self.lives[-1].probe.let_go()

    async def _evict(self) -> None:
        """The lease of the instance ends, whatever it does to keep it."""
        for kv in self.facts.items(self.facts.statuses):
            self.struck["evicted"] += 1
            await self.store.revoke(kv.lease)

    def _any(self, key: bytes) -> Put | Delete:
        (kind,) = self.rng.choices(["good", "gone", "bad"], [7, 3, 1])
        if kind == "gone":
            return Delete(key)
        if kind == "bad":
            return Put(key, self.rng.choice(BAD_VALUES))
        wishes = {kv.key: self.facts.wish(kv) for kv in self.facts.items(self.facts.variants)}
        wish = wishes.get(key)
        if isinstance(wish, Value) and self.rng.random() < 0.5:
            return self._put(key, wish.changed(self.rng))
        return self._put(key, Value.drawn(self.rng))

    def _equal(self, key: bytes, raw: bytes) -> Put:
        value = self.facts.meaning.get(raw)
        return Put(key, raw) if value is None else self._put(key, value)

    def _put(self, key: bytes, value: Value) -> Put:
        raw = value.spelt(self.rng)
        self.facts.meaning[raw] = value
        return Put(key, raw)
