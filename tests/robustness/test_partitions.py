"""The network falls apart, in namespaces of Linux. What happens there is in ``partitions``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kvconfig.devserver import EtcdBinary
from tests.robustness import world
from tests.robustness.report import ROWS_FILE, take_over
from tests.robustness.required import absent

REPOSITORY = Path(__file__).resolve().parents[2]
BOUND_S = 120
Apart = Callable[[str], None]

pytestmark = pytest.mark.timeout(BOUND_S + 30)


@pytest.fixture
def apart(robust_binary: EtcdBinary, tmp_path: Path) -> Apart:
    """Runs a case in a process with namespaces of its own; fails with what it said."""
    if reason := world.missing():
        absent(reason)

    def run(case: str) -> None:
        rows = tmp_path / "rows"
        rows.touch()
        inside = [sys.executable, "-m", "tests.robustness.partitions", case]
        done = subprocess.run(
            world.command(inside),
            cwd=REPOSITORY,
            env={**os.environ, "ETCD_BIN": str(robust_binary.path), ROWS_FILE: str(rows)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BOUND_S,
            check=False,
        )
        print(done.stdout)
        take_over(rows)
        assert done.returncode == 0, done.stdout[-4_000:]

    return run


@pytest.mark.robustness_ci
def test_client_with_the_majority(apart: Apart) -> None:
    """A member that is cut off is left for one of the majority, although no connection breaks."""
    apart("majority")


def test_client_with_the_majority_and_the_leader_cut_off(apart: Apart) -> None:
    """The same through an election."""
    apart("majority_without_leader")


def test_client_with_the_minority(apart: Apart) -> None:
    """A member without a leader is not trusted: the watch ends, the cache stays, no write is said
    to be done; healed, all that the majority did is handed out."""
    apart("minority")


def test_client_with_the_old_leader(apart: Apart) -> None:
    """The same beside a leader that leads nobody: what he took is not said to be written."""
    apart("minority_with_leader")


def test_client_alone(apart: Apart) -> None:
    """Cut off from all, calls end in time and caches stay; healed, they catch up."""
    apart("alone")
