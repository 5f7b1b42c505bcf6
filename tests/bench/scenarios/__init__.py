"""The scenarios, by subject."""

from __future__ import annotations

from tests.bench.scenarios import (
    before,
    caches,
    commands,
    fleet,
    large,
    peers,
    scale,
    starts,
    watches,
)

__all__ = ["SCENARIOS"]

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        starts.PLAN,
        starts.START,
        before.REPLACED,
        watches.LATENCY,
        peers.PEERS,
        watches.CATCH_UP,
        caches.COLD_START,
        starts.FLAT,
        fleet.WATCHING,
        fleet.IDLE,
        commands.COMMANDS,
        scale.SCALE,
        *large.LARGE,
    )
}
