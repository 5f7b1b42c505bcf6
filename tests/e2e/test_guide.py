"""The guide for authors of processors: a reader who follows it sees what it says."""

from __future__ import annotations

import re
import shutil

import pytest

from processors import FlowProcessor
from tests.conftest import REPOSITORY
from tests.e2e.conftest import Follow

GUIDE = REPOSITORY / "docs" / "writing-a-processor.md"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl, which the guide uses")
def test_the_guide_is_true(follow: Follow) -> None:
    """Each of its blocks, in order: files are written, commands run, outputs are as shown."""
    follow(GUIDE, 9100, processors={"redactor": ["secret"], "archive": [], "asker": []})


def test_the_table_of_limits_is_true() -> None:
    """It has every number that a class of processors may set, with its default."""
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", GUIDE.read_text("utf-8"), re.MULTILINE)
    numbers = {
        name: value for name, value in vars(FlowProcessor).items() if isinstance(value, int | float)
    }
    assert {name: float(value) for name, value in rows} == numbers
