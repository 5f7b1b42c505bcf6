"""Waiting for an end of all that is wrong, and saying what still is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.robustness.waiting import eventually


async def none_left(wrong: Callable[[], Awaitable[list[str]]], *, within_s: float) -> None:
    """Until nothing is wrong any more; fails with what still is when that takes too long."""
    found: list[str] = []

    async def none() -> bool:
        found[:] = await wrong()
        return not found

    try:
        await eventually(none, within_s=within_s)
    except TimeoutError:
        pytest.fail(f"after {within_s:g} s there still were: {', '.join(found[:20])}")
