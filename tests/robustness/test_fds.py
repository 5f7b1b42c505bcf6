"""A process that has no file descriptor left."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from kvconfig.devserver import EtcdBinary, LocalCluster
from tests.robustness.fd_child import CLIENTS, TIMEOUT_S
from tests.robustness.report import Row, report

REPOSITORY = Path(__file__).resolve().parents[2]
BOUND_S = 6 * TIMEOUT_S + 5
"""Six tries, and the waits between them."""


@pytest.mark.timeout(120)
async def test_no_file_descriptor_is_left(
    robust_binary: EtcdBinary, etcdctl: Callable[..., Awaitable[str]]
) -> None:
    """Calls that need a connection end with an error, in time; who has one goes on; and when there
    are descriptors again everybody does."""
    async with LocalCluster(1, binary=robust_binary) as cluster:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.robustness.fd_child",
            cluster.endpoints[0],
            cwd=REPOSITORY,
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 100)
        assert process.returncode == 0
        said = json.loads(out)
        print(said)
        crowd = Counter(outcome for outcome, _ in said["crowd"])
        assert set(crowd) <= {"ok", "Unavailable"}, crowd
        assert crowd["Unavailable"] > 0, "all of them found a descriptor: the test tests nothing"
        assert crowd.total() == CLIENTS
        slowest = max(took_s for _, took_s in (*said["crowd"], said["starved"], said["write"]))
        assert slowest < BOUND_S
        assert said["starved"][0] == "Unavailable"
        assert said["write"][0] == "Unavailable"
        assert said["old"][0] == "ok"
        assert said["again"][0] == "ok"
        assert said["keys"] == ["/r/after", "/r/during"]
        row = Row(scenario="no file descriptor left", since="-", slowest_read_s=slowest)
        report(row)
