"""Who has the machine, of those that share a run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from tests.turns import Turns

SOON_S = 0.1
"""Who may enter does so at once; this long we watch that somebody does not."""
LIMIT_S = 10


class Worker:
    """One of those processes: a thread, for a lock is its opener's."""

    def __init__(self, folder: Path) -> None:
        self._turns, self._pool = Turns(folder), ThreadPoolExecutor(max_workers=1)

    def enter(self, *, alone: bool) -> Future[None]:
        """Done once it is in."""
        self._turn = self._turns.take(alone=alone)
        return self._pool.submit(self._turn.__enter__)

    def leave(self) -> None:
        self._pool.submit(self._turn.__exit__, None, None, None).result(LIMIT_S)

    def close(self) -> None:
        self._turns.close()

    def end(self) -> None:
        self._pool.shutdown()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Worker]]:
    """Three of them."""
    (tmp_path / "data").mkdir()
    workers = [Worker(tmp_path) for _ in range(3)]
    yield workers
    for worker in workers:
        worker.close()  # what a test that failed still holds, others wait for
    for worker in workers:
        worker.end()


def waits(entering: Future[None]) -> bool:
    return not wait([entering], SOON_S).done


def test_tests_run_together(workers: list[Worker]) -> None:
    """Whoever does not ask to be alone waits for nobody who does not."""
    for worker in workers:
        worker.enter(alone=False).result(LIMIT_S)
    for worker in workers:
        worker.leave()


def test_one_is_alone(workers: list[Worker]) -> None:
    """It waits until the others are done, and they wait for it: also one that comes meanwhile."""
    first, alone, later = workers
    first.enter(alone=False).result(LIMIT_S)
    asked = alone.enter(alone=True)
    assert waits(asked)
    came = later.enter(alone=False)
    assert waits(came), "or one that wants to be alone might never be"
    first.leave()
    asked.result(LIMIT_S)
    assert waits(came)
    alone.leave()
    came.result(LIMIT_S)
    later.leave()
