"""What is measured, as values: a scenario, the rows of the table that it fills, and their goals."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "NOISE",
    "TIMES",
    "Figures",
    "Goal",
    "Row",
    "Scenario",
    "Skipped",
    "at_least",
    "at_most",
]

Figures: TypeAlias = Mapping[str, float]
"""What one round measured, by name. Units stand last in a name; without one it is a ratio."""

TIMES = "\N{MULTIPLICATION SIGN}"
"""The unit of a ratio."""

NOISE = "noise"
"""The figure, in every scenario with a raw ceiling, of that ceiling measured twice in one round:
the second by the first. It would always be 1 on a machine that does nothing else."""


class Skipped(Exception):
    """Something is not there that the scenario needs; the reason."""


@dataclass(frozen=True)
class Goal:
    """A limit that a figure must keep to."""

    limit: float
    least: bool = False

    def margin(self, value: float) -> float:
        """How many times better than the limit; below 1 it is missed."""
        better, worse = (value, self.limit) if self.least else (self.limit, value)
        return better / worse if worse else float("inf")


def at_least(limit: float) -> Goal:
    """No less than that."""
    return Goal(limit, least=True)


def at_most(limit: float) -> Goal:
    """No more than that."""
    return Goal(limit)


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table: ``measure`` is the name of the figure, ``what`` it is in words.

    Without a goal it is told to be seen beside others.
    """

    what: str
    measure: str
    goal: Goal | None = None
    unit: str = TIMES
    digits: int = 2


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """``rounds(n)`` measures ``n`` times; it runs in a process that does nothing else.

    Raises :class:`Skipped` where that is impossible.
    """

    name: str
    about: str
    rounds: Callable[[int], AsyncGenerator[Figures, None]]
    rows: tuple[Row, ...]

    @property
    def has_goals(self) -> bool:
        """Whether something is asked of it. Others are measured only where they are named."""
        return any(row.goal is not None for row in self.rows)
