"""Other programs of ours, for the demo and for ``up``: their JSON lines read, their end seen to.

A child ends when this process ends, however that happens (:mod:`kvconfig.devserver.spawn`), and is
never looked for by its name: only by the process that was started here.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from flowsvc.errors import FlowServiceError
from kvconfig.devserver.spawn import spawn_tied

__all__ = ["Child", "ChildFailed", "Line", "child"]

Line = dict[str, Any]
"""One line of a child's log."""

_LAST_WORDS = 15
_LINES_KEPT = 10_000
_LINE_LIMIT = 1024 * 1024
_KILL_AFTER_S = 30.0
"""A host of processors gives each variant time to drain: 10 s, unless its class says otherwise."""


class ChildFailed(FlowServiceError):
    """A program that we started ended, or does not do its work; ``said`` is what it said of it."""

    def __init__(self, name: str, reason: str, said: Sequence[str]) -> None:
        self.name, self.reason, self.said = name, reason, tuple(said)
        lines = "".join(f"\n  {line}" for line in said)
        super().__init__(f"{name} {reason}{':' if lines else ''}{lines}")


class Child:
    """A running child. ``lines`` are the JSON lines that it has written, the latest 10,000 of them.

    ``exit_code`` is known once the block of :func:`child` was left; negative after a signal.
    """

    def __init__(
        self,
        name: str,
        process: subprocess.Popen[bytes],
        stream: asyncio.StreamReader,
        log: BinaryIO | None = None,
    ) -> None:
        self.name, self.pid = name, process.pid
        self.kill = process.kill
        self.exit_code: int | None = None
        self.lines: list[Line] = []
        self._said: deque[str] = deque(maxlen=_LAST_WORDS)
        self._stream, self._log = stream, log
        self._changed = asyncio.Condition()
        self._ended = False

    async def wait_until(
        self, condition: Callable[[list[Line]], bool], what: str, *, timeout_s: float = 30.0
    ) -> None:
        """Until its lines meet a condition. Raises :class:`ChildFailed` if they never will."""
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self._ended or condition(self.lines))
        except TimeoutError:
            raise self._failed(f"did not say within {timeout_s:g} s: {what}") from None
        if not condition(self.lines):
            raise self._failed(f"ended before it said: {what}")

    async def line(self, **fields: object) -> Line:
        """The first line that has these fields, once it is there."""

        def found(lines: list[Line]) -> list[Line]:
            return [line for line in lines if fields.items() <= line.items()]

        await self.wait_until(lambda lines: bool(found(lines)), str(fields))
        return found(self.lines)[0]

    async def ended(self) -> None:
        """Until it has closed its output: it ended, or is about to."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._ended)

    async def failed(self) -> NoReturn:
        """Raise :class:`ChildFailed` when it ends by itself, which it is not meant to."""
        await self.ended()
        raise self._failed("ended by itself")

    async def read(self) -> None:
        """Read until it closes its output, which it does when it ends."""
        try:
            while text := await self._next():
                if self._log is not None:
                    with suppress(OSError):  # no room: the child must not stand still for that
                        self._log.write(text)
                shown = text.decode("utf-8", "replace").rstrip()
                async with self._changed:
                    self._said.append(shown)
                    if (line := _parsed(shown)) is not None:
                        self.lines.append(line)
                        del self.lines[:-_LINES_KEPT]
                    self._changed.notify_all()
        finally:
            async with self._changed:
                self._ended = True
                self._changed.notify_all()

    async def _next(self) -> bytes:
        """The next line, or as much of it as there is room for."""
        try:
            return await self._stream.readline()
        except ValueError:
            return b"(a line too long to be read)\n"

    def _failed(self, reason: str) -> ChildFailed:
        return ChildFailed(self.name, reason, list(self._said))


def _parsed(text: str) -> Line | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


@asynccontextmanager
async def child(
    name: str, module: str, *args: str, log: Path | None = None
) -> AsyncIterator[Child]:
    """``python -m module args``, with this Python. On leaving it gets SIGTERM and is waited for.

    Its two outputs are one stream, of which ``log`` gets a copy. It knows nothing of our
    ``FLOWCTL_*`` and ``ETCDCTL_*``.
    """
    env = {k: v for k, v in os.environ.items() if not k.startswith(("FLOWCTL_", "ETCDCTL_"))}
    env["PYTHONUNBUFFERED"] = "1"
    command = [sys.executable, "-m", module, *args]
    with nullcontext() if log is None else log.open("wb", buffering=0) as copy:
        with tempfile.TemporaryDirectory(prefix="flowctl-") as folder:
            pipe = Path(folder) / "output"
            os.mkfifo(pipe)
            # Open for reading first: a writer would wait for one.
            source = os.fdopen(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0)
            process = spawn_tied(command, env=env, output=pipe, signal=signal.SIGTERM)
        stream = asyncio.StreamReader(limit=_LINE_LIMIT)
        made = Child(name, process, stream, copy)
        reading: asyncio.Task[None] | None = None
        transport: asyncio.BaseTransport | None = None
        try:
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(stream), source
            )
            reading = asyncio.create_task(made.read(), name=f"output of {name}")
            yield made
        finally:
            made.exit_code = await _end(process, reading)
            if transport is not None:
                transport.close()


async def _end(process: subprocess.Popen[bytes], reading: asyncio.Task[None] | None) -> int:
    """Ask it to end, wait, and end it if it does not. Its exit code."""
    process.terminate()
    try:
        await asyncio.to_thread(process.wait, _KILL_AFTER_S)
    except subprocess.TimeoutExpired:
        process.kill()
        await asyncio.to_thread(process.wait)
    if reading is not None:
        await reading
    return process.returncode
