"""An instance under whatever can happen to it: hundreds of runs, and mutants that must be found.

``PROCESSOR_RUNS=10000`` makes it that many. A run that fails is repeated by ``PROCESSOR_SEED``.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from kvconfig.memory.faults import Rates
from kvconfig.model import LeaseId
from kvconfig.txn import Txn
from processors.errors import ProcessorError
from processors.lifecycle import RunningVariant
from processors.reconciler import Reconciler
from processors.slot import Slot
from processors.status import Publisher
from processors.variant import Variant
from processors.workqueue import WorkQueue
from tests.property.processor_probe import FAILS, RUNS, UPDATES
from tests.property.processor_world import live

SEEDS = range(int(os.environ.get("PROCESSOR_RUNS", "150")))
if "PROCESSOR_SEED" in os.environ:
    SEEDS = range(int(os.environ["PROCESSOR_SEED"]), int(os.environ["PROCESSOR_SEED"]) + 1)

ENOUGH = 100
"""In so many runs each thing has struck, and each mutant is found."""

STRIKES = (
    *(field.name for field in msgspec.structs.fields(Rates) if not field.name.endswith("_s")),
    *("any order", "killed", "stopped", "evicted", "tripped", "put equal", "flipped"),
    *(f"{mode} runs" for mode in RUNS),
    *(f"{mode} fails" for mode in (*FAILS, "bad value", "bad name")),
    *(f"update {how}" for how in UPDATES),
    *("stuck", "last good runs", "capped", "stayed at rest", "idle"),
)
"""Faults, what people do, values, and states at rest."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_after_anything_what_runs_is_what_is_desired() -> None:
    """What runs is what is desired, less what is reported; never twice at once, nor for nothing."""
    struck: Counter[str] = Counter()
    started = time.monotonic()
    for seed in SEEDS:
        story = live(seed)
        assert story.findings == [], f"PROCESSOR_SEED={seed} repeats it"
        struck.update(story.struck)
    print(f"\n{len(SEEDS)} runs in {time.monotonic() - started:.1f} s")
    print(dict(sorted(struck.items())))
    if len(SEEDS) >= ENOUGH:
        assert [thing for thing in STRIKES if not struck[thing]] == [], "the dice must really fall"


def test_the_same_seed_is_the_same_run() -> None:
    """All that befell it, and all that each variant got."""
    for seed in SEEDS[:10]:
        assert live(seed) == live(seed)
    assert live(1).told != live(2).told


# -- mutants --------------------------------------------------------------------------------------

Patch = pytest.MonkeyPatch


def _same_value(rule: Callable[[Variant, Variant], bool]) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(Variant, "same_value", rule)


def _observed(**changes: Any) -> Callable[[Patch], None]:
    """What is there looks otherwise to whoever decides."""

    def mutate(patch: Patch) -> None:
        right = Slot.observed

        def observed(slot: Slot, now: float) -> Any:
            return msgspec.structs.replace(right(slot, now), **changes)

        patch.setattr(Slot, "observed", observed)

    return mutate


def _nothing_done(owner: type, method: str) -> Callable[[Patch], None]:
    return lambda patch: patch.setattr(owner, method, lambda *_args, **_kwargs: None)


def _resyncs_ignore_deletes(patch: Patch) -> None:
    right = Reconciler.heard

    def heard(reconciler: Reconciler, batch: Any) -> None:
        kept = tuple(c for c in batch.changes if c.new is not None or not batch.resync)
        right(reconciler, msgspec.structs.replace(batch, changes=kept))

    patch.setattr(Reconciler, "heard", heard)


def _updates_are_thought_taken(patch: Patch) -> None:
    right = RunningVariant.update

    async def update(runner: RunningVariant, variant: Variant, *args: Any) -> bool:
        await right(runner, variant, *args)
        runner.variant = variant
        return True

    patch.setattr(RunningVariant, "update", update)


def _the_first_lease_is_kept(patch: Patch) -> None:
    right = Publisher._publish

    async def publish(publisher: Publisher, value: bytes, lease: LeaseId) -> None:
        await right(publisher, value, min(publisher._leases, default=lease))

    patch.setattr(Publisher, "_publish", publish)


def _nothing_is_permanent(patch: Patch) -> None:
    class Unheard(ProcessorError):
        pass

    patch.setattr("processors.slot.Permanent", Unheard)


def _writes_compare_nothing(patch: Patch) -> None:
    patch.setattr("processors.status.Txn", lambda _compares, *branches: Txn((), *branches))


MUTANTS: dict[str, Callable[[Patch], None]] = {
    "names are compared": _same_value(lambda one, other: one.name == other.name),
    "topics are not compared": _same_value(lambda one, other: one.parameters == other.parameters),
    "revisions are compared": _same_value(lambda a, b: a.mod_revision == b.mod_revision),
    "a resync ignores deletes": _resyncs_ignore_deletes,
    "the old one need not have ended": _observed(ending=False),
    "no value was good": _observed(good=None),
    "failures are not reported": _nothing_done(Reconciler, "_report"),
    "nothing is ever behind": _nothing_done(Slot, "behind"),
    "crashes go unnoticed": _nothing_done(RunningVariant, "_crashed"),
    "nothing is retried": _nothing_done(WorkQueue, "add_after"),
    "nothing is permanent": _nothing_is_permanent,
    "every update is thought taken": _updates_are_thought_taken,
    "the first lease is kept": _the_first_lease_is_kept,
    "the status is written whatever stands there": _writes_compare_nothing,
}
"""Each a mistake that one could make."""


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutant_is_found(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one of the runs that the code as it is passes."""
    MUTANTS[mutant](monkeypatch)
    for seed in range(ENOUGH):
        if findings := live(seed).findings:
            print(f"\nseed {seed}: {findings[0]}")
            return
    pytest.fail("not found")
