"""The same on a real etcd.

In the normal run one seed, for some seconds. ``HISTORY_SEEDS=1,2,3 HISTORY_SECONDS=30`` makes it
a long one.
"""

from __future__ import annotations

import os
from collections import Counter

import pytest

from tests.history.checker import check
from tests.history.storm import storm

SECONDS = float(os.environ.get("HISTORY_SECONDS", "4"))
SEEDS = [int(seed) for seed in os.environ.get("HISTORY_SEEDS", "1").split(",")]

pytestmark = [pytest.mark.slow] if SECONDS > 10 else []


@pytest.mark.parametrize("seed", SEEDS)
async def test_a_real_etcd(etcd_endpoint: str, root: str, seed: int) -> None:
    """Behind proxies that break: nothing is lost, doubled, torn or out of order."""
    history = await storm(etcd_endpoint, root, seed=seed, seconds=SECONDS)
    outcomes = Counter(write.outcome for write in history.writes)
    told = sum(len(watcher.log) for watcher in history.watchers)
    print(f"\n{history.name}: {len(history.journal)} revisions, writes {dict(outcomes)},")
    print(f"{len(history.reads)} reads, {told} entries of informers, faults {history.faults}")
    assert check(history) == []
    assert outcomes["unknown"] > 0, "no reply was lost: nothing was tried"
