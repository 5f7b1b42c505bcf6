"""What a reconciler counts: plain numbers, for metrics and for tests that count."""

from __future__ import annotations

from bisect import bisect_left

import msgspec

__all__ = ["BOUNDS_S", "Latency", "Stats"]

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Latency(msgspec.Struct):
    """How long something took, in classes: ``counts[i]`` of at most ``BOUNDS_S[i]`` seconds.

    The last class holds what took longer. No class contains another.
    """

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BOUNDS_S) + 1))
    sum_s: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BOUNDS_S, seconds)] += 1
        self.sum_s += seconds


class Stats(msgspec.Struct):
    """Counters since the start of one reconciler."""

    starts: int = 0
    """Variants that were entered."""
    restarts: int = 0
    """Of these: again, after a change, a crash or a failure."""
    updates: int = 0
    """Changes that a running variant took in place."""
    stops: int = 0
    """Variants that were left, for whatever reason."""
    crashes: int = 0
    """Variants that failed after having started."""
    failures: int = 0
    """Attempts that failed, crashes included."""
    set_aside: int = 0
    """Starts and stops that took so long that others were let past."""
    latency: Latency = msgspec.field(default_factory=Latency)
    """From hearing of a change until the variant is as desired."""
