"""What really happened, and when: states over time, on the monotonic clock. Pure."""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from itertools import pairwise


class Timeline:
    """The states of one thing: each holds from its moment on, ``ended`` before the first."""

    def __init__(self) -> None:
        self.changes: list[tuple[float, str]] = []

    def add(self, at_s: float, state: str) -> None:
        """In the order of time."""
        assert not self.changes or at_s >= self.changes[-1][0], "time went back"
        self.changes.append((at_s, state))

    def last(self, states: Container[str], upto_s: float) -> float:
        """The last moment, up to that one, in which its state was one of these; ``-inf``: never.

        With ``upto_s`` now: since that moment it has been in others.
        """
        until_s = upto_s
        for at_s, state in reversed(self.changes):
            if at_s > upto_s:
                continue
            if state in states:
                return until_s
            until_s = at_s
        return until_s if "ended" in states else -math.inf

    def spans(self, state: str, upto_s: float) -> list[tuple[float, float]]:
        """From when to when it was in ``state``, up to that moment."""
        return [
            (at_s, min(end_s, upto_s))
            for (at_s, then), (end_s, _) in pairwise([*self.changes, (math.inf, "")])
            if then == state
        ]


def longest_gap(spans: Iterable[tuple[float, float]], start_s: float, end_s: float) -> float:
    """The longest time, within these bounds, that no span covers."""
    longest_s, covered_s = 0.0, start_s
    for from_s, to_s in sorted(spans):
        longest_s = max(longest_s, min(from_s, end_s) - covered_s)
        covered_s = max(covered_s, to_s)
    return max(longest_s, end_s - covered_s)
