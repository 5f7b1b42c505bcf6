"""What ``make bench`` makes of what it measured: verdicts, tables, a picture."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tests.bench.goals import TIMES, Figures, Goal, Row, Scenario, at_least, at_most
from tests.bench.plot import plot
from tests.bench.report import Line, lines_of, markdown
from tests.bench.scenarios import SCENARIOS

ROWS = (
    Row(what="a start", measure="start", goal=at_least(0.9)),
    Row(what="a <plan>", measure="plan_us", goal=at_most(400), unit="µs", digits=0),
    Row(what="a peer that is not there", measure="peer"),
)


def measured(*rounds: Figures) -> list[Line]:
    return lines_of(scenario(), rounds)


def scenario() -> Scenario:
    return Scenario(name="s", about="something", rounds=SCENARIOS["plan"].rounds, rows=ROWS)


def test_the_median_is_judged_and_the_spread_is_told() -> None:
    """One bad round does not miss a goal; a row without a figure is left out."""
    start, plan = measured(
        {"start": 0.5, "plan_us": 1000.0},
        {"start": 0.95, "plan_us": 500.0},
        {"start": 0.92, "plan_us": 399.0},
    )
    assert (start.reached, start.spread, start.verdict) == (f"0.92 {TIMES}", "0.50 to 0.95", "met")
    assert (plan.reached, plan.goal, plan.verdict) == ("500 µs", "≤ 400 µs", "missed")


@pytest.mark.parametrize(
    ("noise", "verdict"),
    [(1.0, "missed"), (0.95, "missed"), (0.8, "within the noise"), (1.3, "within the noise")],
)
def test_a_goal_is_missed_within_the_noise(noise: float, verdict: str) -> None:
    """Where the raw ceiling differs from itself by as much, in either direction."""
    start, *_ = measured({"start": 0.75, "plan_us": 1.0, "noise": noise})
    assert start.verdict == verdict


@pytest.mark.parametrize(("goal", "value", "margin"), [(at_least(2), 1, 0.5), (at_most(2), 1, 2)])
def test_a_margin_is_how_many_times_better(goal: Goal, value: float, margin: float) -> None:
    """Below one where the goal is missed, whichever way it goes."""
    assert goal.margin(value) == margin


def test_nothing_measured_is_perfect() -> None:
    """A goal of nothing is met by nothing, and by nothing else."""
    assert [at_most(0).margin(value) >= 1 for value in (0, 1)] == [True, False]


def test_the_picture_is_an_svg_with_a_dot_for_each_goal() -> None:
    """Whatever the words hold."""
    lines = measured({"start": 0.5, "plan_us": 100.0, "peer": 1.0})
    picture = ET.fromstring(plot(lines, "goals & more"))
    assert len(picture.findall("{*}circle")) == 2


def test_a_document_shows_what_was_measured_and_what_was_not() -> None:
    """A row for each figure, and the reason where there is none."""
    results = {
        "machine": "a machine",
        "scenarios": {
            "s": {"rounds": [{"start": 1.0, "noise": 1.02}]},
            "plan": {"skipped": "no data"},
        },
    }
    text = markdown([scenario(), SCENARIOS["plan"]], results)
    assert f"| a start | 1.00 {TIMES} | 1.00 to 1.00 | ≥ 0.9 {TIMES} | met |" in text
    assert "Not measured: no data." in text


def test_every_scenario_is_named_after_itself_and_asks_for_each_figure_once() -> None:
    """Names are what one types, so there is no space in them."""
    for name, each in SCENARIOS.items():
        assert " " not in name
        measures = [row.measure for row in each.rows if row.goal is not None]
        assert len(measures) == len(set(measures)), name
