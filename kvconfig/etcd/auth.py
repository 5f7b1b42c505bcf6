"""User and password → a token, renewed when etcd no longer knows it.

The token goes as metadata with every call and every watch stream (grpcio refuses call credentials
without TLS). It is renewed once for all calls that were refused together.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

__all__ = ["Metadata", "Tokens"]

Metadata = tuple[tuple[str, str], ...]


SUSPECT_EVERY_S = 60.0
"""How often "permission denied" is taken for a token that has expired (etcd 3.5.1 says so on
watches). Each time costs etcd a bcrypt, so not at every try of somebody who really lacks rights."""


class Tokens:
    """The token of one user; ``authenticate`` asks etcd for a new one."""

    def __init__(
        self,
        user: str,
        authenticate: Callable[[], Awaitable[str]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._user = user
        self._authenticate = authenticate
        self._clock = clock
        self._token = ""
        self._suspected_at = -SUSPECT_EVERY_S
        self._lock = asyncio.Lock()

    async def metadata(self) -> Metadata:
        """What goes with a call; empty where there is no user."""
        if not self._user:
            return ()
        if not self._token:
            async with self._lock:
                if not self._token:
                    self._token = await self._authenticate()
        return (("token", self._token),)

    def refused(self, metadata: Metadata) -> bool:
        """A call with this metadata was refused; whether it is worth trying with a new token."""
        if not metadata:
            return False
        if metadata == (("token", self._token),):
            self._token = ""
        return True

    def denied(self, metadata: Metadata) -> bool:
        """A watch was denied for want of rights: the same, but rarely."""
        if self._clock() - self._suspected_at < SUSPECT_EVERY_S:
            return False
        self._suspected_at = self._clock()
        return self.refused(metadata)
