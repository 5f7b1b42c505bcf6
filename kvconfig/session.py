"""A lease kept alive; its loss is reported, and after it nothing is written in its name.

The deadline is counted on a monotonic clock from when the last answered keep-alive was *sent*: by
then the server cannot have counted more. (A server may keep a lease longer, over a change of
leader; never rely on that.)
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from kvconfig.errors import LeaseNotFound, StoreError
from kvconfig.model import LeaseId
from kvconfig.owner import Owner
from kvconfig.store import Store

__all__ = ["Session", "SessionLost"]

logger = logging.getLogger(__name__)


class SessionLost(StoreError):
    """The lease has ended, or may have: what was written under it is gone. Open a new session."""

    def __init__(self, lease: LeaseId) -> None:
        self.lease_id = lease
        super().__init__(f"lease {lease:x} was lost: open a new session")


class Session(Owner):
    """One lease. Entering grants it, leaving revokes it (best effort: it ends by itself too).

    ``ttl_s`` is how long keys written under it outlive their writer. Keep-alives are sent every
    third of it. A session that is lost stays lost; its owner opens another.
    """

    def __init__(
        self,
        store: Store,
        *,
        ttl_s: int = 10,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._clock = clock
        self._lease = LeaseId(0)
        self._deadline = 0.0
        self._lost = asyncio.Event()

    @property
    def lease(self) -> LeaseId:
        """The lease to write under. Raises :class:`SessionLost` once it may have ended."""
        if self._lost.is_set() or self._clock() >= self._deadline:
            raise SessionLost(self._lease)
        return self._lease

    async def lost(self) -> None:
        """Return when the lease has ended, or may have."""
        await self._lost.wait()

    async def __aenter__(self) -> Self:
        sent = self._clock()
        self._lease = await self._store.grant(self._ttl_s)
        self._deadline = sent + self._ttl_s
        return await super().__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        held = not self._lost.is_set()
        await super().__aexit__(kind, error, traceback)
        if held:
            try:
                await self._store.revoke(self._lease)
            except StoreError as problem:
                logger.info("lease left to expire", extra={"reason": str(problem)})

    async def _run(self) -> None:
        """Renew until the deadline passes without an answer, or the server knows no such lease."""
        try:
            while (left_s := self._deadline - self._clock()) > 0:
                await asyncio.sleep(min(left_s, self._ttl_s / 3))
                await self._renew()
        except LeaseNotFound:
            logger.warning("lease lost", extra={"lease": f"{self._lease:x}"})
        finally:
            self._lost.set()

    async def _renew(self) -> None:
        sent = self._clock()
        try:
            async with asyncio.timeout(max(0.0, self._deadline - sent)):
                ttl_s = await self._store.keep_alive(self._lease)
        except LeaseNotFound:
            raise
        except (StoreError, TimeoutError) as problem:
            logger.warning("lease not renewed", extra={"reason": str(problem)})
            return
        self._deadline = max(self._deadline, sent + ttl_s)
