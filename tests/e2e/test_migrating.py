"""``docs/migrating.md``: whoever follows it sees what it says."""

from __future__ import annotations

import pytest

from flowsvc.migrate import SHAPES
from tests.conftest import REPOSITORY
from tests.e2e.conftest import Follow

DOCUMENT = REPOSITORY / "docs" / "migrating.md"


@pytest.mark.slow
def test_the_document_is_true(follow: Follow) -> None:
    """Each of its blocks, in order: files are written, commands run, outputs are as shown."""
    follow(DOCUMENT, roots=("", "@live"))


def test_its_table_has_every_shape() -> None:
    """A new one is written down."""
    rows = [
        line.split("|")[1].strip()
        for line in DOCUMENT.read_text("utf-8").splitlines()
        if "|" in line
    ]
    assert {f"`{shape}`" for shape in SHAPES} <= set(rows)
