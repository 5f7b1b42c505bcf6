"""The observed state of an instance: folded from its table, written under its session's lease.

``/processor/<processor>/<instance>`` is presence and status in one. Promises: it is true for the
revision it names, whatever was merged on the way; it is written at most a few times a second, and
not at all while nothing changes; two instances with one id, and a delayed write under an old lease,
lose the compare and do no harm; it goes when the instance ends, with its lease at the latest.

Not promised: that each state in between is seen.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType

import msgspec

from kvconfig.backoff import Backoff
from kvconfig.codec import encode
from kvconfig.errors import Conflict, KvError, LeaseNotFound, StoreError, show_key
from kvconfig.model import KeyValue, LeaseId, Revision
from kvconfig.owner import Owner
from kvconfig.records import InstanceStatus, VariantFailure, decode_status
from kvconfig.session import SessionLost
from kvconfig.store import Store
from kvconfig.txn import Delete, Put, Read, ReadResult, Txn, at_revision
from processors.sessions import Sessions

__all__ = ["About", "Publisher", "Row", "fold"]

MOST_LISTED = 100
"""How many variants each list of a status names at the most."""

logger = logging.getLogger(__name__)


class Row(msgspec.Struct, frozen=True):
    """A variant that is not as desired from revision ``since`` on: failed, or still on its way."""

    variant: str
    since: Revision
    failure: VariantFailure | None = None


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What of a status stays the same; ``started`` is RFC 3339 in UTC."""

    host: str
    started: str
    version: str


def fold(
    rows: Iterable[Row], revision: Revision, about: About, *, most: int = MOST_LISTED
) -> InstanceStatus:
    """The status at ``revision``, of which ``rows`` are all the exceptions.

    The lists are capped, the oldest first. While one is incomplete, ``observed_revision`` stays
    below the first variant that is not listed, so what is said stays true.
    """
    ordered = sorted(rows, key=lambda row: (row.since, row.variant))
    failed = [row for row in ordered if row.failure is not None]
    pending = [row for row in ordered if row.failure is None]
    unlisted = failed[most:] + pending[most:]
    return InstanceStatus(
        observed_revision=min([revision, *(row.since - 1 for row in unlisted)]),
        pending=tuple(row.variant for row in pending[:most]),
        failed={row.variant: row.failure for row in failed[:most] if row.failure is not None},
        host=about.host,
        started=about.started,
        version=about.version,
    )


class Publisher(Owner):
    """Writes the status of one instance whenever :meth:`notify` was called and it is another.

    ``status`` gives what to write, or ``None`` as long as there is nothing to say. ``settle_s`` is
    how long a change waits for others; ``most_per_s`` writes are done within any second.
    """

    def __init__(
        self,
        store: Store,
        sessions: Sessions,
        key: bytes,
        status: Callable[[], InstanceStatus | None],
        *,
        settle_s: float = 0.02,
        most_per_s: int = 4,
        clock: Callable[[], float] = time.monotonic,
        backoff: Backoff | None = None,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._key = key
        self._status = status
        self._settle_s = settle_s
        self._recent: deque[float] = deque(maxlen=most_per_s)  # when the last writes were done
        self._clock = clock
        self._backoff = backoff or Backoff(first_s=0.1, most_s=2.0)
        self._dirty = asyncio.Event()
        self._revision = Revision(0)  # our key's mod_revision, as far as we know
        self._written: tuple[bytes, LeaseId, int] | None = None  # and with which doubts
        self._doubts = 0
        self._leases: set[LeaseId] = set()
        self._said = ""
        sessions.on_new(self.notify)

    def notify(self) -> None:
        """The status may have changed."""
        self._dirty.set()

    def doubt(self) -> None:
        """What was written may be undone: the store may have been restored. Write it again."""
        self._doubts += 1
        self._dirty.set()

    async def _run(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(self._settle_s)
            await self._turn()
            session = await self._sessions.current()
            self._dirty.clear()
            status = self._status()
            if status is None:
                continue
            try:
                await self._publish(encode(status), session.lease)
            except StoreError as error:
                self._say(error)
                self._dirty.set()
                await asyncio.sleep(self._backoff.next_s())

    async def _turn(self) -> None:
        """Wait until another write may be done."""
        if len(self._recent) == self._recent.maxlen:
            await asyncio.sleep(max(0.0, self._recent[0] + 1.0 - self._clock()))

    async def _publish(self, value: bytes, lease: LeaseId) -> None:
        """Write, unless that is what stands there. Raises ``StoreError`` where it did not work."""
        doubts = self._doubts  # an answer that comes after another doubt does not dispel it
        if (value, lease, doubts) == self._written:
            return
        self._leases.add(lease)
        self._written = None  # until it is known what stands there
        while True:
            found = await self._write(value, lease)
            if found is None:
                break
            if found.lease not in self._leases:
                raise _Taken(found, expected=self._revision)
            self._revision = found.mod_revision  # ours: a write whose answer was lost
        self._written = (value, lease, doubts)
        self._backoff.reset()
        self._said = ""
        self._recent.append(self._clock())

    async def _write(self, value: bytes, lease: LeaseId) -> KeyValue | None:
        """Put our key if it is as we left it; otherwise what stands there."""
        ours = at_revision(self._key, self._revision)
        txn = Txn((ours,), (Put(self._key, value, lease),), (Read(self._key),))
        commit = await self._store.commit(txn)
        if commit.succeeded:
            self._revision = commit.revision
            return None
        result = commit.results[0]
        assert isinstance(result, ReadResult)
        if result.items:
            return result.items[0]
        self._revision = Revision(0)  # it is gone, with an old lease or by hand
        return await self._write(value, lease)

    def _say(self, error: StoreError) -> None:
        """Log a problem once, however long it lasts."""
        if str(error) == self._said:
            return
        self._said = str(error)
        about: dict[str, object] = {"key": show_key(self._key), "reason": str(error)}
        if isinstance(error, _Taken):
            about["holder"] = error.holder
            logger.error("another instance holds this key", extra=about)
        elif isinstance(error, SessionLost | LeaseNotFound):
            logger.info("status waits for a new session", extra=about)
        else:
            logger.warning("status not written", extra=about)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(kind, error, traceback)
        finally:
            await self._remove()

    async def _remove(self) -> None:
        """Delete our key, if it is ours. Best effort: the end of the lease does it too."""
        if not self._revision:
            return
        try:
            ours = at_revision(self._key, self._revision)
            await self._store.commit(Txn((ours,), (Delete(self._key),)))
        except StoreError as problem:
            logger.info("status left to its lease", extra={"reason": str(problem)})


class _Taken(StoreError):
    """Somebody else's lease holds the key of this instance."""

    def __init__(self, found: KeyValue, *, expected: Revision) -> None:
        try:
            status = decode_status(found.value)
            self.holder = f"{status.host}, since {status.started}"
        except KvError:
            self.holder = "unknown"
        conflict = Conflict(found.key, expected=expected, actual=found.mod_revision)
        super().__init__(
            f"{conflict}: give each instance a name of its own (after a crash, its "
            "predecessor's key goes with its lease)"
        )
