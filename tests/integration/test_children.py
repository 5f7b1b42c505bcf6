"""Programs that we start: their lines are read, their failures told, their end seen to."""

from __future__ import annotations

import asyncio
import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest

import flowsvc.cli.children
from flowsvc.cli.children import Child, ChildFailed, child

PROGRAM = "tests.child_program"


def is_there(made: Child) -> bool:
    try:
        os.kill(made.pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_lines_are_read_as_they_come(monkeypatch):
    """JSON objects are lines, other output is passed over; our own settings stay with us."""
    monkeypatch.setenv("FLOWCTL_SERVER", "127.0.0.1:1")
    async with child("it", PROGRAM, "waits") as made:
        assert await made.line(event="hello") == {"event": "hello", "settings": []}
        assert made.lines == [{"event": "hello", "settings": []}]
        assert is_there(made)
    assert made.exit_code == -signal.SIGTERM
    assert not is_there(made)


async def test_a_child_that_ends_too_early_is_told_with_its_last_words():
    """Whoever waits for a line that cannot come any more hears why."""
    async with child("it", PROGRAM, "ends") as made:
        with pytest.raises(ChildFailed) as raised:
            await made.line(event="never")
    assert made.exit_code == 3
    assert raised.value.said == (
        "no JSON: a warning, say",
        '{"event": "hello", "settings": []}',
        "[1, 2]",
        '{"event": "bad news"}',
    )


class FullDisk:
    """A log that nothing can be written to."""

    def write(self, _: bytes) -> None:
        raise OSError(28, "No space left on device")


async def test_nothing_that_a_child_says_ends_the_reading():
    """A line beyond all bounds is passed over, a log that is full too; its end is noticed."""
    stream = asyncio.StreamReader(limit=64)
    process: Any = SimpleNamespace(pid=0, kill=lambda: None)
    log: Any = FullDisk()
    made = Child("it", process, stream, log)
    reading = asyncio.create_task(made.read())
    stream.feed_data(b"x" * 1000 + b'\n{"event": "after"}\n')
    assert await made.line(event="after") == {"event": "after"}
    stream.feed_eof()
    async with asyncio.timeout(5):
        await made.ended()
        await reading


async def test_waiting_has_an_end():
    """A line that does not come is an error after a while."""
    async with child("it", PROGRAM, "waits") as made:
        await made.line(event="hello")
        with pytest.raises(ChildFailed, match="did not say within"):
            await made.wait_until(lambda _: False, "anything", timeout_s=0.05)


async def test_a_child_that_does_not_want_to_end_is_killed(monkeypatch):
    """SIGTERM first; SIGKILL when that does not help."""
    monkeypatch.setattr(flowsvc.cli.children, "_KILL_AFTER_S", 0.2)
    async with child("it", PROGRAM, "stubborn") as made:
        await made.line(event="ignoring")
    assert made.exit_code == -signal.SIGKILL
    assert not is_there(made)


async def test_a_cancelled_block_ends_its_child():
    """Whatever ends the block ends the child."""
    started = asyncio.Event()
    made: list[Child] = []

    async def block() -> None:
        async with child("it", PROGRAM, "waits") as running:
            made.append(running)
            await running.line(event="hello")
            started.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not is_there(made[0])
