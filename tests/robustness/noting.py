"""A processor that writes down what it does: ``processors run tests.robustness.noting:Noting``."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from processors import FlowProcessor, Parameter, Spec, Tasks, Variant

FOLDER = "NOTES_FOLDER"
SLOW_S = 1.0
MODES = ("ok", "slow", "fail")


class Noting(FlowProcessor):
    """Appends to ``$NOTES_FOLDER/<process id>``: since when a variant is ``running``, ``failed``
    or ``ended``, on the monotonic clock of the machine. What is written stays when it is killed.

    ``mode`` in a variant's parameters: ``ok``; ``slow``, it takes ``SLOW_S`` to start; or ``fail``.
    """

    id = "noting"
    spec = Spec(topics=("input",), parameters={"mode": Parameter(str, choices=MODES)})

    def __init__(self) -> None:
        path = Path(os.environ[FOLDER]) / str(os.getpid())
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        mode = variant.parameter("mode", str)
        if mode == "fail":
            self._note("failed", variant)
            raise RuntimeError("told to fail")
        await asyncio.sleep(SLOW_S if mode == "slow" else 0)
        self._note("running", variant)
        try:
            yield
        finally:
            self._note("ended", variant)

    def _note(self, state: str, variant: Variant) -> None:
        os.write(self._file, f"{time.monotonic()!r} {state} {variant.name}\n".encode())
