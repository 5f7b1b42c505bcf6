"""The tour and README's first five minutes: a newcomer who follows them sees what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.documents import Command, Step
from tests.e2e.conftest import Follow

PROCESSORS: dict[str, tuple[str, ...]] = {"greet": (), "scribe": ()}


@pytest.mark.slow
def test_the_tour_is_true(follow: Follow) -> None:
    """Each command does what it says; and there are thirty of them, without the shell's own."""
    steps = follow(REPOSITORY / "docs" / "tour.md", processors=PROCESSORS)
    typed = [step.text for step in steps if _types(step)]
    assert len(set(typed)) >= 30


@pytest.mark.slow
def test_the_first_five_minutes_are_true(follow: Follow, tmp_path: Path) -> None:
    """README's section, typed as it stands."""
    text = (REPOSITORY / "README.md").read_text("utf-8")
    section = text.partition("\n## Five minutes\n")[2].partition("\n## ")[0]
    document = tmp_path / "README.md"
    document.write_text(section, "utf-8")
    assert sum(map(_types, follow(document, processors=PROCESSORS))) >= 12


def _types(step: Step) -> bool:
    return isinstance(step, Command) and step.text.startswith(("flowctl", "etcdctl", "processors"))
