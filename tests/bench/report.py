"""From what all rounds measured to a table: what was reached, how it spread, and the verdicts."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.bench.goals import NOISE, Figures, Goal, Row, Scenario

__all__ = ["Line", "Results", "lines_of", "markdown", "noise_of", "text"]

Results: TypeAlias = Mapping[str, Any]
"""What a run of the bench leaves as JSON: ``machine`` (what it ran on), and ``scenarios``, by name
``rounds`` (a list of figures) or ``skipped`` (the reason)."""

MET, NEARLY, MISSED = "met", "within the noise", "missed"


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row with what was reached: the median of all rounds, the least and the most."""

    row: Row
    median: float
    least: float
    most: float
    rounds: int
    verdict: str

    @property
    def reached(self) -> str:
        """In words, with the unit."""
        return f"{self._number(self.median)}{_unit(self.row.unit)}"

    @property
    def spread(self) -> str:
        """The least and the most."""
        return f"{self._number(self.least)} to {self._number(self.most)}"

    @property
    def goal(self) -> str:
        """In words; empty where there is none."""
        goal = self.row.goal
        if goal is None:
            return ""
        return f"{'≥' if goal.least else '≤'} {goal.limit:,g}{_unit(self.row.unit)}"

    def _number(self, value: float) -> str:
        return f"{value:,.{self.row.digits}f}"


def lines_of(scenario: Scenario, rounds: Sequence[Figures]) -> list[Line]:
    """The rows of a scenario that something was measured for."""
    noise = noise_of(rounds)
    found = []
    for row in scenario.rows:
        values = [figures[row.measure] for figures in rounds if row.measure in figures]
        if values:
            median = statistics.median(values)
            found.append(
                Line(
                    row=row,
                    median=median,
                    least=min(values),
                    most=max(values),
                    rounds=len(values),
                    verdict=_verdict(row.goal, median, noise),
                )
            )
    return found


def noise_of(rounds: Sequence[Figures]) -> tuple[float, float] | None:
    """How far the raw ceiling was from itself, in one and the same round: the least, the most."""
    values = [figures[NOISE] for figures in rounds if NOISE in figures]
    return (min(values), max(values)) if values else None


def _verdict(goal: Goal | None, median: float, noise: tuple[float, float] | None) -> str:
    """A goal is missed within the noise where the ceiling itself misses it by as much."""
    if goal is None:
        return ""
    margin = goal.margin(median)
    if margin >= 1:
        return MET
    least, most = noise or (1.0, 1.0)
    return NEARLY if margin >= min(least, 1 / most) else MISSED


def text(scenario: Scenario, lines: Iterable[Line], noise: tuple[float, float] | None) -> str:
    """For a terminal."""
    shown = [f"\n{scenario.name}: {scenario.about}"]
    for line in lines:
        reached = f"{line.reached:>16}  {'(' + line.spread + ')':<24}"
        shown.append(f"  {line.row.what:<68}{reached}{line.goal:>17}  {line.verdict}".rstrip())
    if noise:
        shown.append(f"  noise: {_noise(noise)}")
    return "\n".join(shown)


def markdown(scenarios: Iterable[Scenario], results: Results) -> str:
    """For a document: a table for each scenario."""
    shown = [f"Measured on {results['machine']}."]
    for scenario in scenarios:
        found = results["scenarios"][scenario.name]
        shown += ["", f"**{scenario.name}**: {scenario.about}.", ""]
        if "skipped" in found:
            shown.append(f"Not measured: {found['skipped']}.")
            continue
        shown += ["| what | reached | least to most | goal | |", "|---|--:|--:|--:|---|"]
        shown += [
            f"| {line.row.what} | {line.reached} | {line.spread} | {line.goal} | {line.verdict} |"
            for line in lines_of(scenario, found["rounds"])
        ]
        if noise := noise_of(found["rounds"]):
            shown += ["", f"Noise: {_noise(noise)}."]
    return "\n".join(shown) + "\n"


def _noise(noise: tuple[float, float]) -> str:
    least, most = noise
    return f"the raw ceiling, measured again, was {least:.2f} to {most:.2f} of itself"


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""
