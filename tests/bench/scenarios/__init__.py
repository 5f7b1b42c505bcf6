"""The scenarios, by subject."""

from __future__ import annotations

from tests.bench.scenarios import peers, starts, watches

__all__ = ["SCENARIOS"]

SCENARIOS = {
    scenario.name: scenario
    for scenario in (starts.PLAN, starts.START, starts.FLAT, peers.PEERS, watches.LATENCY, watches.CATCH_UP)
}
