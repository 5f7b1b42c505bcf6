"""A migration that is killed at any moment, and run again."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from flowsvc.migrate import migrate
from flowsvc.model import Actor
from kvconfig.errors import Conflict
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from kvconfig.store import Store
from tests.migrating import everything, put_document, settled, with_flows

KILLS = 20
FLOWS = [f"f{number}" for number in range(8)]


class System:
    """An old system below a root of its own, and ``flowctl migrate`` in a process."""

    def __init__(self, store: Store, root: str, endpoint: str) -> None:
        self.store, self.ks = store, Keyspace(root)
        self._environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("FLOWCTL_", "ETCDCTL_"))},
            "ETCDCTL_ENDPOINTS": endpoint,
            "FLOWCTL_ROOT": root,
            "FLOWCTL_BY": "me",
        }

    def flowctl_migrate(self, what: str) -> subprocess.Popen[str]:
        """It tells of each thing on stderr."""
        return subprocess.Popen(
            [sys.executable, "-m", "flowsvc.cli", "migrate", what],
            env=self._environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def run_again(self, what: str, document: dict[str, Any] | None) -> None:
        """To its end. What the killed one had sent may still come, and be in the way once."""
        actor = Actor(by="me", why=f"migrate {what}")
        for _ in range(3):
            with suppress(Conflict):
                report = await migrate(self.store, self.ks, document=document, actor=actor)
                if report.is_whole:
                    return
        raise AssertionError("it does not end")

    async def stands(self) -> dict[str, Any]:
        """The whole key space, but for ids of operations and times."""
        keys = await everything(self.store, self.ks)
        found = settled({key: kv.value for key, kv in keys.items()})
        return {key.removeprefix(f"/{self.ks.root}"): value for key, value in found.items()}


def kill_after(process: subprocess.Popen[str], lines: int, delay_s: float) -> None:
    """Once it has told of so many things, and a moment later."""
    assert process.stderr is not None
    for _ in range(lines):
        process.stderr.readline()
    time.sleep(delay_s)
    process.kill()
    process.communicate(timeout=30)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("in_place", [False, True], ids=["document", "in place"])
async def test_killed_at_any_moment_and_run_again_it_ends_the_same(
    etcd_endpoint: str, root: str, shared_data: Path, tmp_path: Path, in_place: bool
) -> None:
    """kill -9 of the real process at 20 random moments; the whole key space is compared."""
    real = json.loads((shared_data / "configs/tgconfig-2.2-full.json").read_text())
    document = with_flows(real, FLOWS)
    (tmp_path / "config.json").write_text(json.dumps(document))
    what = "--from-etcd" if in_place else str(tmp_path / "config.json")
    rng = random.Random(7)
    async with connect([etcd_endpoint]) as store:

        async def begun(number: int) -> tuple[System, subprocess.Popen[str]]:
            system = System(store, f"{root}-{number}", etcd_endpoint)
            if in_place:
                await put_document(store, system.ks, document)
            return system, system.flowctl_migrate(what)

        system, process = await begun(0)
        _, told = process.communicate(timeout=60)
        assert process.returncode == 0, told
        wanted, lines, midway = await system.stands(), len(told.splitlines()), 0
        for number in range(1, KILLS + 1):
            system, process = await begun(number)
            kill_after(process, rng.randrange(lines), rng.uniform(0, 0.02))
            midway += await system.stands() != wanted
            await system.run_again(what, None if in_place else document)
            assert await system.stands() == wanted, number
    print(f"killed {KILLS} times, {midway} of them midway; {len(wanted)} keys equal each time")
    assert midway > KILLS // 2
