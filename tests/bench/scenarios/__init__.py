"""The scenarios, by subject."""

from __future__ import annotations

from tests.bench.scenarios import starts

__all__ = ["SCENARIOS"]

SCENARIOS = {
    scenario.name: scenario
    for scenario in (starts.PLAN, starts.START, starts.FLAT)
}
