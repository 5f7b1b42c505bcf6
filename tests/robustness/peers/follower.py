"""One client at work in its own process, and all that its user knows."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.robustness.peers.clients.job import Job
from tests.robustness.peers.columns import REPOSITORY, Column

__all__ = ["Follower", "started"]

LINE_BYTES = 2**20
END_S = 5.0


class Follower:
    """What has been said so far; see ``clients.job`` for the words."""

    def __init__(self, column: Column, process: Process) -> None:
        self.column = column
        self.items: dict[str, str] = {}
        self.errors: list[tuple[float, str]] = []
        self.call = ""
        self.watching = self.ready = False
        self.answer: bool | None = None
        self._process = process

    @property
    def name(self) -> str:
        return self.column.name

    @property
    def settled(self) -> bool:
        """Whether it watches, or was told that it does not."""
        return self.watching or bool(self.errors)

    def go(self) -> None:
        """What a job of ``create`` is waiting for."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")

    def dismiss(self) -> None:
        """Tell the process to end; nothing is awaited."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def listen(self) -> None:
        """Until the process ends."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            for word, value in json.loads(line).items():
                self._hear(word, value)
        if not self.errors:
            self._hear("error", "its process has ended")

    def _hear(self, word: str, value: object) -> None:
        match word, value:
            case "state", dict():
                self.items = value
            case "change", [str(key), None]:
                self.items.pop(key, None)
            case "change", [str(key), str(text)]:
                self.items[key] = text
            case "error", str(text):
                self.watching = False
                self.errors.append((time.monotonic(), text))
            case "call", str(text):
                self.call = text
            case "watching", True:
                self.watching = True
            case "ready", True:
                self.ready = True
            case "answer", bool(done):
                self.answer = done
            case _:
                raise AssertionError(f"{self.name} says {word}: {value}")


@asynccontextmanager
async def started(column: Column, job: Job, stderr: Path) -> AsyncIterator[Follower]:
    """A process that does the job, ended on leaving."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ETCDCTL_")}
    path = [str(folder) for folder in (column.folder, REPOSITORY) if folder]
    with stderr.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.robustness.peers.clients.run"),
            *(column.module, job.encode()),
            cwd=REPOSITORY,
            env={**environ, "PYTHONPATH": os.pathsep.join(path), **column.environ},
            stdin=PIPE,
            stdout=PIPE,
            stderr=log,
            limit=LINE_BYTES,
        )
    follower = Follower(column, process)
    listening = asyncio.create_task(follower.listen(), name=f"listener to {column.name}")
    try:
        yield follower
    finally:
        follower.dismiss()
        try:
            async with asyncio.timeout(END_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        await listening
