"""What each client is asked to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

__all__ = ["Client", "Heard"]

Heard: TypeAlias = Callable[[int], None]
"""Called with how many events came, in the event loop or in a thread."""


class Client(Protocol):
    """A client that is connected."""

    async def watch(self, prefix: str, heard: Heard) -> None:
        """Watch all keys that begin with ``prefix`` until the process ends."""
        ...

    async def put(self, keys: Sequence[str], value: str) -> None:
        """Put all keys in one transaction."""
        ...

    async def list(self, prefix: str) -> int:
        """Read all keys that begin with ``prefix``, with their values; how many."""
        ...
