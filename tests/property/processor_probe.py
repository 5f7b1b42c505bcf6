"""A processor that does all that one can do wrong, and keeps book of what its host does with it.

What it does stands in the value that it is given. What its host does wrong goes into ``breaches``:
an assertion inside a variant would count as that variant's own failure.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from random import Random
from typing import Literal, NamedTuple

from kvconfig.codec import encode
from kvconfig.model import Revision
from kvconfig.records import VariantRecord
from processors import FlowProcessor, InvalidVariant, Parameter, Permanent, Spec, Tasks, Variant

__all__ = ["FAILS", "RUNS", "UPDATES", "Entry", "Probe", "Run", "Value"]

RUNS = ("ok", "slow", "flaky", "crash", "late", "sore", "stubborn")
"""Modes that run in the end: at once, after a while, at the second attempt, when it has stopped
crashing; and those that are hard to stop: it takes long, raises, or waits until the probe lets go.
"""

FAILS: Mapping[str, str] = {
    "fail": "Boom: cannot start",
    "permanent": "never",
    "early": "Boom: early",
    "hang": "did not start within",
    "deaf": "did not start within",
    "refused": "$.parameters.mode: refused",
}
"""Modes that never run, and what is to be reported of each. ``early``: a task fails while the
variant is being entered. ``deaf``: cancelled, it goes on, and is entered after all, too late."""

UPDATES = ("no", "yes", "error", "hang", "deaf")
"""How a running variant takes a value in place."""


class Boom(Exception):
    """What a probe fails with."""


class Value(NamedTuple):
    """What a variant is to do; two that are equal are one to the processor, however spelt."""

    mode: str = "ok"
    update: str = "no"
    n: int = 0
    topic: str = "t0"

    @classmethod
    def drawn(cls, rng: Random) -> Value:
        """Few enough that equal ones come often; half of them do no harm."""
        modes = (*RUNS, *FAILS)
        (mode,) = rng.choices(modes, [len(modes) if mode == "ok" else 1 for mode in modes])
        update = rng.choice(["no", "yes", *UPDATES])
        return cls(mode, update, rng.randint(0, 1), rng.choice(["t0", "t1"]))

    def changed(self, rng: Random) -> Value:
        """The same in all but one respect."""
        field = rng.choice(self._fields)
        return self._replace(**{field: getattr(Value.drawn(rng), field)})

    @classmethod
    def of(cls, variant: Variant) -> Value:
        """What a processor was given."""
        mode, update = variant.parameter("mode", str), variant.parameter("update", str)
        return cls(mode, update, variant.parameter("n", int), variant.topics["input"])

    def spelt(self, rng: Random) -> bytes:
        """One of the ways to write it."""
        given = {"mode": self.mode, "update": self.update, "n": f"{self.n:0{rng.randint(1, 2)}}"}
        defaults = {"mode": "ok", "update": "no", "n": "0"}
        left_out = {k for k, v in defaults.items() if given[k] == v and rng.random() < 0.5}
        parameters = {k: v for k, v in given.items() if k not in left_out}
        if rng.random() < 0.5:
            return encode(VariantRecord(topics={"input": self.topic}, parameters=parameters))
        return json.dumps({"parameters": parameters, "topics": {"input": self.topic}}).encode()


class Run:
    """One variant from the first line of ``variant()`` to its last."""

    def __init__(self, variant: Variant) -> None:
        self.name = variant.name
        self.value = Value.of(variant)
        self.phase: Literal["entering", "entered", "leaving"] = "entering"
        self.entered = False
        self.crashed = False
        self.updating = False
        self.working = False
        self.trip: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def trip_up(self, reason: str) -> None:
        """Its task fails."""
        self.crashed = True
        self.trip.set_exception(Boom(reason))
        self.trip.exception()  # the task may be cancelled before it gets there


class Entry(NamedTuple):
    """A run got a value, as it began or in place.

    ``heard`` is how many changes of the variant its host had heard of. ``sure``: the host knows.
    """

    run: Run
    value: Value
    mod_revision: Revision
    heard: int
    sure: bool


class Probe(FlowProcessor):
    """See the module. ``heard`` counts the changes of a variant that its host has heard of."""

    id = "probe"
    spec = Spec(
        topics=("input",),
        parameters={
            "mode": Parameter(str, default="ok", choices=(*RUNS, *FAILS)),
            "update": Parameter(str, default="no", choices=UPDATES),
            "n": Parameter(int, default=0, minimum=0),
        },
        config={"prompt": object},
    )
    concurrency = 3
    patience_s = 0.3
    start_timeout_s = 2.0
    stop_timeout_s = 1.0

    def __init__(self, rng: Random, heard: Callable[[str], int]) -> None:
        self.breaches: list[str] = []
        self.live: dict[str, Run] = {}
        self.entries: list[Entry] = []
        self.good: dict[str, set[Value]] = {}
        """The last good value of each variant; several where it cannot be told which."""
        self.touched: Counter[str] = Counter()
        """How often each variant was entered, updated or left."""
        self.updates: Counter[str] = Counter()
        self.healed = False
        """Set: nothing crashes any more."""
        self._rng = rng
        self._heard = heard
        self._tried: set[tuple[str, Value]] = set()
        self._let_go = asyncio.Event()
        self._lets_go = False

    # -- what a test does -----------------------------------------------------------------------

    def crash(self) -> bool:
        """Have one of the running variants fail; whether there was one."""
        able = [run for run in self.live.values() if run.working and not run.trip.done()]
        if able:
            self._rng.choice(able).trip_up("tripped")
        return bool(able)

    def let_go(self, *, for_good: bool = False) -> None:
        """What refuses to stop stops now; ``for_good``: and nothing refuses any more."""
        self._lets_go = self._lets_go or for_good
        self._let_go.set()
        self._let_go = asyncio.Event()

    # -- what a host asks for -------------------------------------------------------------------

    def check(self, variant: Variant) -> None:
        """See :class:`FlowProcessor`."""
        if Value.of(variant).mode == "refused":
            raise InvalidVariant("$.parameters.mode", "refused")

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[Run]:
        """See :class:`FlowProcessor`."""
        run = Run(variant)
        self._note(run, variant)
        if variant.processor != self.id:
            self.breaches.append(f"{run.name}: a variant of {variant.processor}")
        if run.name in self.live:
            self.breaches.append(f"{run.name} runs twice at once")
        self.live[run.name] = run
        try:
            await self._begin(run, tasks)
            run.phase, run.entered = "entered", True
            if run.value.mode != "deaf":
                self.good[run.name] = {run.value}
            yield run
            if run.value.mode == "sore":
                raise Boom("sore")
        finally:
            if run.working and run.entered:
                self.breaches.append(f"{run.name} is left before its task has ended")
            run.phase = "leaving"
            try:
                await self._end(run)
            finally:
                self.touched[run.name] += 1
                if self.live.get(run.name) is run:
                    del self.live[run.name]

    async def update(self, old: Variant, new: Variant, running: Run) -> bool:
        """See :class:`FlowProcessor`."""
        value = Value.of(new)
        self.updates[value.update] += 1
        with self._updating(Value.of(old), value, running):
            if value.update == "error":
                raise Boom("cannot be updated")
            if value.update == "hang":
                await asyncio.Event().wait()
            if value.update == "deaf":
                await _deafly(asyncio.Event(), self.start_timeout_s + self._rng.uniform(0.1, 6.0))
            await self._dawdle()
            if value.update == "no" or value.mode not in RUNS:
                return False
            sure = value.update != "deaf" and not running.crashed
            running.value = value
            self.good[running.name] = {value} | (set() if sure else self.good[running.name])
            self._note(running, new, sure=sure)
            return True

    # -- inside ---------------------------------------------------------------------------------

    def _note(self, run: Run, variant: Variant, *, sure: bool = True) -> None:
        self.touched[run.name] += 1
        heard = self._heard(run.name)
        self.entries.append(Entry(run, Value.of(variant), variant.mod_revision, heard, sure))

    @contextmanager
    def _updating(self, old: Value, new: Value, run: Run) -> Iterator[None]:
        """What must hold for an update to be right."""
        if self.live.get(run.name) is not run or run.phase != "entered":
            self.breaches.append(f"{run.name} is updated and does not run")
        if old != run.value:
            self.breaches.append(f"{run.name} is updated from {old}, which it is not at")
        if new == run.value:
            self.breaches.append(f"{run.name} is updated to what it is")
        if run.updating:
            self.breaches.append(f"{run.name} is updated twice at once")
        run.updating = True
        try:
            yield
        finally:
            run.updating = False

    async def _begin(self, run: Run, tasks: Tasks) -> None:
        await self._dawdle()
        mode, first = run.value.mode, (run.name, run.value) not in self._tried
        self._tried.add((run.name, run.value))
        if mode == "fail" or (mode == "flaky" and first):
            raise Boom("cannot start")
        if mode == "permanent":
            raise Permanent("never")
        if mode == "early":
            run.trip_up("early")
        tasks.spawn(self._work(run))
        if mode in ("hang", "early"):
            await asyncio.Event().wait()
        if mode == "deaf":
            await _deafly(asyncio.Event(), self.start_timeout_s + self._rng.uniform(0.1, 8.0))
        if mode == "slow":
            await asyncio.sleep(self._rng.uniform(0.1, 0.8) * self.start_timeout_s)

    async def _work(self, run: Run) -> None:
        run.working = True
        try:
            if run.value.mode == "crash":
                await asyncio.wait([run.trip], timeout=self._rng.uniform(0.0, 5.0))
                if not (self.healed or run.trip.done()):
                    run.trip_up("crashed")
            await run.trip
        finally:
            run.working = False

    async def _end(self, run: Run) -> None:
        await self._dawdle()
        if run.value.mode == "late":
            await asyncio.sleep(self._rng.uniform(0.1, 0.8) * self.stop_timeout_s)
        if run.value.mode == "stubborn" and not self._lets_go:
            await _deafly(self._let_go)

    async def _dawdle(self) -> None:
        """Give way to others, or not."""
        for _ in range(self._rng.choice([0, 1, 3])):
            await asyncio.sleep(0)


async def _deafly(event: asyncio.Event, most_s: float | None = None) -> None:
    """Wait for ``event``, cancelled or not, and no longer than ``most_s``."""
    time = asyncio.get_running_loop().time
    end_s = None if most_s is None else time() + most_s
    while not event.is_set() and (end_s is None or time() < end_s):
        with suppress(asyncio.CancelledError, TimeoutError):
            async with asyncio.timeout_at(end_s):
                await event.wait()
