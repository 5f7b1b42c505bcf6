from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Faults are what these tests are about: what is logged of them tells nothing, and costs."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
