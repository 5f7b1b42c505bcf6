"""The goals in one picture, an SVG: how many times better, or worse, than asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.sax.saxutils import escape

from tests.bench.goals import TIMES, Goal
from tests.bench.report import Line

__all__ = ["plot"]

LEFT, WIDTH, LINE, TOP = 500, 460, 22, 50
FURTHEST = 8.0
"""Times better or worse than the goal: what lies beyond is drawn at the edge."""

COLOURS = {"met": "#2e7d32", "within the noise": "#b26a00", "missed": "#c62828"}


def plot(lines: Sequence[Line], title: str) -> str:
    """A dot for the median of each, a bar from the least to the most; goals lie in the middle."""
    shown = [line for line in lines if line.row.goal is not None]
    bottom = TOP + LINE * len(shown)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="12"',
        f' width="{LEFT + WIDTH + 40}" height="{bottom + 30}">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="10" y="20" font-size="14">{escape(title)}</text>',
    ]
    for times in (1 / 4, 1 / 2, 1, 2, 4):
        x = _x(times)
        label = "goal" if times == 1 else f"{times:g}{TIMES}" if times > 1 else f"1/{1 / times:g}"
        parts.append(
            f'<line x1="{x:.0f}" y1="{TOP - 8}" x2="{x:.0f}" y2="{bottom}" '
            f'stroke="{"#555555" if times == 1 else "#dddddd"}"/>'
            f'<text x="{x:.0f}" y="{TOP - 12}" text-anchor="middle" fill="#555555">{label}</text>'
        )
    for index, line in enumerate(shown):
        parts.append(_drawn(line, TOP + LINE * index + LINE / 2))
    parts.append(
        f'<text x="{LEFT}" y="{bottom + 20}" fill="#555555">worse ← times as good as asked for'
        " → better</text></svg>\n"
    )
    return "\n".join(parts)


def _drawn(line: Line, y: float) -> str:
    goal, colour = line.row.goal, COLOURS[line.verdict]
    assert isinstance(goal, Goal)
    ends = sorted(_x(goal.margin(value)) for value in (line.least, line.most))
    label = f"{line.row.what}: {line.reached}"
    return (
        f'<text x="{LEFT - 10}" y="{y + 4:.0f}" text-anchor="end">{escape(label)}</text>'
        f'<line x1="{ends[0]:.0f}" y1="{y:.0f}" x2="{ends[1]:.0f}" y2="{y:.0f}" '
        f'stroke="{colour}" stroke-width="3" stroke-opacity="0.35"/>'
        f'<circle cx="{_x(goal.margin(line.median)):.0f}" cy="{y:.0f}" r="4" fill="{colour}"/>'
    )


def _x(times: float) -> float:
    """Where so many times better than the goal lies: the scale is logarithmic."""
    reach = math.log(min(max(times, 1 / FURTHEST), FURTHEST)) / math.log(FURTHEST)
    return LEFT + WIDTH * (1 + reach) / 2
