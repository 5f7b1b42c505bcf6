"""Who has the machine: all tests together, or one alone.

The processes that share a run have no memory in common, but the folders of this project; so they
take turns by locks on two of them, which end with whoever holds them. What is measured or counted
while others work would be theirs too: such a test is marked ``alone``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Turns"]


class Turns:
    """One for each process. Two that were made for the same folder take turns."""

    def __init__(self, folder: Path) -> None:
        # Whoever waits at the door lets nobody pass, so one that wants to be alone gets its turn.
        self._door = os.open(folder, os.O_RDONLY)
        self._room = os.open(folder / "data", os.O_RDONLY)

    @contextmanager
    def take(self, *, alone: bool) -> Iterator[None]:
        """Wait until nobody is alone; with ``alone``, until nobody else is there at all."""
        fcntl.flock(self._door, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        finally:
            fcntl.flock(self._door, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)

    def close(self) -> None:
        """Leave."""
        os.close(self._room)
        os.close(self._door)
