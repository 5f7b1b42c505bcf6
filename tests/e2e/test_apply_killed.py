"""kill -9 while an apply writes: applied again, it ends as if nothing had happened."""

from __future__ import annotations

import asyncio
import json
from random import Random

import pytest

from flowsvc.apply import AppliedMeanwhile
from kvconfig.etcd import connect
from tests.applying import applier_on
from tests.e2e.test_import_killed import BEFORE, WANTED, Run, State, Work
from tests.privileges import ROOT, Place
from tests.seeds import likeness

MOMENTS = 4
WORK = Work(args=["apply", "--yes", "--prune", "-o", "name", "-f"], before=BEFORE)
NAMES = sorted(f"{type_}/{key}" for type_, section in WANTED.items() for key in section)


@pytest.mark.slow
async def test_killed_and_applied_again_it_ends_the_same(etcd: Place, root, tmp_path):
    """All keys but ids and times, the record of what was made too; what was made is known."""
    file = tmp_path / "files.json"
    file.write_text(json.dumps(WANTED))
    delays = Random("apply")

    async def run(number: int, limit_s: float | None) -> tuple[float, State, State]:
        """How long it wrote; what stood when it ended, and after another apply."""
        place = await etcd.below(f"{root}-{number}")
        ks = place.keyspace
        async with (
            connect(place.access(ROOT)) as all_seeing,
            connect(place.access("deployer"), timeout_s=30) as store,
            applier_on(store, place.root) as applier,
        ):
            await applier.apply(WORK.before)
            took_s = await Run(WORK, file, all_seeing, place).for_as_long(limit_s)
            when_killed = await likeness(all_seeing, ks)
            assert {name for name, _ in when_killed} & set(NAMES) <= set(await applier.owned())
            try:
                again = await applier.apply(WANTED, prune=True)
            except AppliedMeanwhile:  # the last request of the dead was committed after it
                again = await applier.apply(WANTED, prune=True)
            assert limit_s is not None or again.steps == []
            assert await applier.owned() == NAMES
            return took_s, when_killed, await likeness(all_seeing, ks)

    took_s, _, wanted = await run(0, None)
    moments = [delays.uniform(0, took_s) for _ in range(MOMENTS)]
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(run(*each)) for each in enumerate(moments, 1)]
    assert [task.result()[2] == wanted for task in runs] == [True] * MOMENTS
    assert any(task.result()[1] != wanted for task in runs), "it was never killed before its end"
