"""One session after another: when a lease is lost, a new one is opened."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from kvconfig.backoff import Backoff
from kvconfig.errors import StoreError
from kvconfig.owner import Owner
from kvconfig.session import Session
from kvconfig.store import Store

__all__ = ["Sessions"]

logger = logging.getLogger(__name__)


class Sessions(Owner):
    """Keeps a session open for as long as it is entered; leaving revokes the lease.

    Several publishers share one. Without etcd there is none, and ``current`` waits.
    """

    def __init__(
        self,
        store: Store,
        *,
        ttl_s: int = 10,
        clock: Callable[[], float] = time.monotonic,
        backoff: Backoff | None = None,
    ) -> None:
        self._store = store
        self._ttl_s = ttl_s
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._session: Session | None = None
        self._said: type[StoreError] | None = None
        self._there = asyncio.Event()
        self._listeners: list[Callable[[], None]] = []

    def on_new(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` whenever another session was opened: keys are to be written anew."""
        self._listeners.append(listener)

    async def current(self) -> Session:
        """The session that is open; waits for one."""
        while self._session is None:
            await self._there.wait()
        return self._session

    async def _run(self) -> None:
        while True:
            try:
                await self._one()
                logger.warning("session lost")
            except StoreError as error:
                said = self._said is type(error)
                self._said = type(error)
                logger.log(
                    logging.DEBUG if said else logging.WARNING,  # once for each kind and outage
                    "session not opened",
                    extra={"reason": str(error)},
                )
            await asyncio.sleep(self._backoff.next_s())

    async def _one(self) -> None:
        """From opening a session to its loss."""
        async with Session(self._store, ttl_s=self._ttl_s, clock=self._clock) as session:
            self._session = session
            self._there.set()
            try:
                self._backoff.reset()
                self._said = None
                logger.info("session opened", extra={"lease": f"{session.lease:x}"})
                for listener in tuple(self._listeners):
                    listener()
                await session.lost()
            finally:
                self._session = None
                self._there.clear()
