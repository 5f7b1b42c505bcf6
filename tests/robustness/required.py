"""What a scenario needs and a machine may lack."""

from __future__ import annotations

import os

import pytest


def absent(reason: str) -> None:
    """Skip, or with ``REQUIRE_ROBUSTNESS=1``, where everything has to run, fail."""
    if os.environ.get("REQUIRE_ROBUSTNESS") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
