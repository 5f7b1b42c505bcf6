"""kill -9 while a seed is carried out: run again, it ends as if nothing had happened."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from flowsvc.bootstrap import KEEP, Policy
from kvconfig.etcd import EtcdStore, connect
from kvconfig.model import Revision
from kvconfig.store import Watch
from tests.privileges import ROOT, Place
from tests.seeds import SEED, likeness, system_on

MOMENTS = 20
AT_ONCE = 3
"""So many children side by side: most of their time is that of starting Python."""
PATIENCE_S = 60
ENVIRON = {k: v for k, v in os.environ.items() if not k.startswith(("FLOWCTL_", "ETCDCTL_"))}

State = list[tuple[str, bytes]]


def flow(**fields: Any) -> dict[str, Any]:
    return {"blueprint-name": "index", **fields}


BEFORE: dict[str, Any] = {
    **SEED,
    "flow": {"f1": flow(), "f2": flow(parameters={"size": 7}), "gone": flow()},
    "parameter-type": {**SEED["parameter-type"], "unused": {"type": "string"}},
    "prompt": {f"k{n:03}": n for n in range(0, 600, 2)},
    "token-cost": {"old": {"input": 0}},
}
"""What stands before an import."""

WANTED: dict[str, Any] = {
    **SEED,
    "schema": {"token-cost": {"type": "object"}, "prompt": {"type": "integer"}},
    "flow": {
        "f1": flow(description="changed", paused=True),
        "f2": flow(),
        **{f"new{n}": flow(parameters={"size": n}, paused=n % 2 == 0) for n in range(8)},
    },
    "prompt": {f"k{n:03}": n if n % 4 else -n for n in range(600)},
    "token-cost": {f"c{n}": {"input": n} for n in range(300)},
}


@dataclass(frozen=True, kw_only=True)
class Work:
    """A command, what it does with what is there, and what is."""

    args: Sequence[str]
    policy: Policy = KEEP
    before: dict[str, Any]


WORKS = {
    "bootstrap": Work(args=["bootstrap"], before={}),
    "import": Work(
        args=["import", "--mode", "replace", "--change-flows"],
        policy=Policy(when_different="replace", prune=True, change_flows=True),
        before=BEFORE,
    ),
}


class Run:
    """The command in a process of its own, on one root, and when it wrote."""

    def __init__(self, work: Work, file: Path, store: EtcdStore, place: Place) -> None:
        self._command = [sys.executable, "-m", "flowsvc.cli", *work.args, str(file)]
        self._environ = {**ENVIRON, **place.environ("deployer")}
        self._store, self._ks = store, place.keyspace
        self._wrote_at: list[float] = []
        self._has_begun = asyncio.Event()

    async def for_as_long(self, limit_s: float | None) -> float:
        """Kill it so long after its first write, or let it end; how long it has been writing."""
        async with self._store.watch(self._ks.everything(), start=Revision(0)) as watch:
            noting = asyncio.create_task(self._note(watch))
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._child(limit_s)
            finally:
                noting.cancel()
                await asyncio.wait([noting])
        return self._wrote_at[-1] - self._wrote_at[0]

    async def _child(self, limit_s: float | None) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._command, env=self._environ, stderr=asyncio.subprocess.PIPE
        )
        try:
            if limit_s is None:
                _, err = await process.communicate()
                assert process.returncode == 0, err.decode()
            else:
                await self._has_begun.wait()
                await asyncio.sleep(limit_s)  # the moment itself
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def _note(self, watch: Watch) -> None:
        async for batch in watch:
            if batch.events:
                self._wrote_at.append(time.monotonic())
                self._has_begun.set()


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKS)
async def test_killed_at_any_moment_and_run_again_it_ends_the_same(
    name, etcd: Place, root, tmp_path
):
    """All keys but ids and times are those of a run that nobody disturbed, at each moment."""
    work, file = WORKS[name], tmp_path / "seed.json"
    file.write_text(json.dumps(WANTED))
    delays, places = Random(name), asyncio.Semaphore(AT_ONCE)

    async def run(number: int, limit_s: float | None) -> tuple[float, list[State]]:
        """How long it wrote; what stood before, when it ended, and after running it again."""
        place = await etcd.below(f"{root}-{number}")
        async with (
            connect(place.access("deployer"), timeout_s=30) as store,
            connect(place.access(ROOT)) as all_seeing,
        ):
            async with system_on(store, place.root) as system:
                await system.seed(work.before)
            states = [await likeness(all_seeing, place.keyspace)]
            took_s = await Run(work, file, all_seeing, place).for_as_long(limit_s)
            states.append(await likeness(all_seeing, place.keyspace))
            async with system_on(store, place.root) as system:
                await system.seed(WANTED, policy=work.policy)
            states.append(await likeness(all_seeing, place.keyspace))
        return took_s, states

    async def is_torn(number: int, limit_s: float) -> bool:
        async with places:
            _, (before, when_killed, after) = await run(number, limit_s)
        assert after == wanted, f"killed {limit_s:.3f} s after its first write"
        return when_killed not in (before, wanted)

    took_s, (_, wanted, again) = await run(0, None)
    assert again == wanted
    moments = [delays.uniform(0, took_s) for _ in range(MOMENTS)]
    async with asyncio.TaskGroup() as group:
        torn = [group.create_task(is_torn(*each)) for each in enumerate(moments, 1)]
    assert sum(task.result() for task in torn) >= MOMENTS // 2, (
        "it was killed before or after its work, not in the middle"
    )
