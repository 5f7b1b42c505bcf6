"""Clients and informers on the store in memory, under random faults: hundreds of runs a test.

``HISTORY_RUNS=10000`` makes it that many. A run that fails is repeated by its seed alone.
"""

from __future__ import annotations

import time
from collections import Counter

from tests.history.checker import check
from tests.history.simulation import SEEDS, simulate


def test_no_fault_breaks_a_promise() -> None:
    """Weakness 17: exactly once, all or nothing, in real-time order; caches are what is stored."""
    seen: Counter[str] = Counter()
    started = time.monotonic()
    for seed in SEEDS:
        history = simulate(seed)
        assert check(history) == [], f"seed {seed}"
        seen.update(history.faults)
        seen.update(f"writes {write.outcome}" for write in history.writes)
        seen["revisions"] += len(history.journal)
        seen["reads"] += len(history.reads)
        seen["told"] += sum(len(watcher.log) for watcher in history.watchers)
    took_s = time.monotonic() - started
    print(f"\n{len(SEEDS)} runs in {took_s:.1f} s, {60 * len(SEEDS) / took_s:.0f} a minute")
    print(dict(sorted(seen.items())))
    for outcome in ("acked", "refused", "unknown"):
        assert seen[f"writes {outcome}"] > len(SEEDS)


def test_the_same_seed_is_the_same_run() -> None:
    """Every request, every answer, all that happened and all that was told of it."""
    for seed in SEEDS[:20]:
        assert simulate(seed) == simulate(seed)
    assert simulate(1).journal != simulate(2).journal
