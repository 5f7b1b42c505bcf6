"""What a process rests on: a defect in any of it ends the process, and is said."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kvconfig.memory import MemoryStore
from processors.runner import run
from processors.sessions import Sessions
from processors.statefile import StateFile
from tests.unit.support_processors import Probe


class Defect(Exception):
    """Nobody thought of it."""


@pytest.mark.parametrize("owner", [Sessions, StateFile])
async def test_a_defect_ends_the_process(
    owner: type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It does not run on without a lease, or without saving what it knows."""

    async def broken(_: object) -> None:
        await asyncio.sleep(0.01)
        raise Defect

    monkeypatch.setattr(owner, "_run", broken)
    with pytest.raises(Defect):
        async with asyncio.timeout(5) as limit:
            await run(MemoryStore(), [Probe()], asyncio.Event(), state_file=tmp_path / "state")
    assert not limit.expired(), "it was only said when it ended for another reason"
