"""Watch and list → a cache of one range that is never guessed at.

Promises, after :meth:`Informer.synced`:

* ``items`` is exactly the range as it stood at ``revision``.
* While a watch lives, changes come as one :class:`Batch` per revision: all of a transaction
  together, in order, each once.
* Any end of the watch (error, cancel, compaction, silence, a revision that went back) leads to a
  full list and one ``resync`` batch: the *difference* to what was known, deletes included. Items
  whose value did not change are not in it, though their ``mod_revision`` is refreshed. It is always
  a list: after a snapshot restore a resumed watch is wrong, and nothing shows it. For the same
  reason the watch is opened *before* the list: a server that is restored in between ends it.
* An error never empties the cache; it grows old, and ``last_progress_age_s`` says how old.
* From time to time the cache is compared with a list; a difference is a defect, is reported as
  one, and is mended.
* A value that does not decode is an item with an ``error``; it disturbs no other.

Before the first list there is nothing, or what was known in an earlier life, where somebody still
had it: :meth:`Informer.recall`. The cache is ``stale`` then; the first list hands out the
difference to it, like any other list.

Not promised: that every revision is seen (a resync stands for those between), that ``revision``
moves while nothing in the range changes, or that a handler runs before the writer has its answer.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing, suppress
from types import MappingProxyType
from typing import Generic, TypeVar

import msgspec

from kvconfig.backoff import Backoff
from kvconfig.errors import (
    AuthenticationFailed,
    InvalidValue,
    KvError,
    PermissionDenied,
    StoreError,
    WatchEnded,
    show_key,
)
from kvconfig.keys import Range
from kvconfig.model import KeyValue, Page, Revision, WatchBatch
from kvconfig.owner import Owner
from kvconfig.store import Store, Watch, ahead, list_all

__all__ = ["Batch", "Change", "Informer", "Item", "Stats"]

GRACE_S = 5.0
"""How far a watch may be behind a list before that counts as a difference."""

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Item(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """One key: what it decodes to, or why it does not (then ``value`` is ``None``).

    Caches hold many: they are kept out of the garbage collector's books (``gc=False``). So a value
    must not refer to the item that it is in.
    """

    kv: KeyValue
    value: T | None
    error: KvError | None = None

    @property
    def key(self) -> bytes:
        """The key in the store."""
        return self.kv.key

    @property
    def mod_revision(self) -> Revision:
        """The revision of the last put."""
        return self.kv.mod_revision


class Change(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """One key before and after; ``old`` is ``None`` for a new one, ``new`` for a deleted one."""

    key: bytes
    old: Item[T] | None
    new: Item[T] | None


class Batch(msgspec.Struct, Generic[T], frozen=True):
    """The changes of one revision, or (``resync``) the difference that a list found.

    Revision 0 stands for what was recalled: that of another life.
    """

    revision: Revision
    changes: tuple[Change[T], ...]
    resync: bool


class Stats(msgspec.Struct):
    """Counters since the start: for metrics and for tests that count."""

    watches: int = 0
    lists: int = 0
    batches: int = 0
    events: int = 0
    verified: int = 0
    differences: int = 0
    watch_ends: int = 0
    handler_errors: int = 0


class Informer(Owner, Generic[T]):
    """The cache of one range. Use it as an async context manager; see the module's promises.

    ``decode`` turns a :class:`KeyValue` into ``T`` and raises :class:`KvError` where it cannot.
    About every ``verify_every_s`` the cache is compared with a list of the keys.
    """

    def __init__(
        self,
        store: Store,
        range_: Range,
        decode: Callable[[KeyValue], T],
        *,
        name: str = "",
        clock: Callable[[], float] = time.monotonic,
        backoff: Backoff | None = None,
        verify_every_s: float = 300.0,
    ) -> None:
        self.range = range_
        self.name = name or str(range_)
        self.revision = Revision(0)
        self.stats = Stats()
        self._store = store
        self._decode = decode
        self._clock = clock
        self._backoff = backoff or Backoff()
        self._cache: dict[bytes, Item[T]] = {}
        self._handlers: list[Callable[[Batch[T]], None]] = []
        self._moved = asyncio.Event()
        self._recalled = False
        self._verify_every_s = verify_every_s
        self._last_progress = clock()
        self._listed = Revision(0)
        self._suspects: set[bytes] = set()
        self._failure: Exception | None = None
        self._said: type[StoreError] | None = None

    # -- what users see ----------------------------------------------------------------------

    @property
    def items(self) -> Mapping[bytes, Item[T]]:
        """A read-only live view of the cache, by key."""
        return MappingProxyType(self._cache)

    @property
    def last_progress_age_s(self) -> float:
        """Seconds since the store last gave a sign of life for this range."""
        return self._clock() - self._last_progress

    @property
    def stale(self) -> bool:
        """Whether the cache holds what was recalled, and no list has come since."""
        return self._recalled and not self.revision

    def recall(self, items: Iterable[KeyValue]) -> bool:
        """Show ``items``, from an earlier life, until the first list; whether that was done.

        It is not where there was a list already, nor a second time, nor once the informer has
        ended. Subscribers get a ``resync`` batch with revision 0. Keys outside the range are passed
        over.
        """
        if self.revision or self._recalled or self._failure is not None:
            return False
        self._recalled = True
        self._cache.update((kv.key, self._item(kv)) for kv in items if kv.key in self.range)
        self._tell(self._everything())
        return True

    def subscribe(self, handler: Callable[[Batch[T]], None]) -> None:
        """Call ``handler`` with every batch, in the event loop; it must not block.

        What is cached already comes at once, as a ``resync`` batch. A handler that raises is
        logged and stays subscribed.
        """
        self._handlers.append(handler)
        if self.revision or self._recalled:
            self._call(handler, self._everything())

    async def filled(self) -> None:
        """Return once there is something to go by: the first list, or what was recalled.

        Raises as :meth:`synced`.
        """
        await self._until(lambda: bool(self.revision) or self._recalled)

    async def synced(self) -> None:
        """Return once the first list is there.

        Raises ``PermissionDenied`` or ``AuthenticationFailed`` where it cannot be read: that ends
        the informer. (Where that happens later, or something was recalled, it is tried again, and
        the cache grows old.)
        """
        await self.until(lambda _: True)

    async def until(self, predicate: Callable[[Mapping[bytes, Item[T]]], bool]) -> None:
        """Return once the cache is synced and ``predicate(items)`` holds."""
        await self._until(lambda: bool(self.revision) and predicate(self.items))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._failure is not None:
                raise self._failure
            self._moved.clear()
            await self._moved.wait()

    # -- the loop ----------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                await self._list_and_watch()
            except StoreError as error:
                refused = isinstance(error, PermissionDenied | AuthenticationFailed)
                if refused and not (self.revision or self._recalled):
                    self._fail(error)
                    return
                self.stats.watch_ends += 1
                said = self._backoff.attempts > 0 and self._said is type(error)
                self._said = type(error)
                delay_s = self._backoff.next_s()
                logger.log(
                    logging.DEBUG if said else logging.WARNING,  # once for each kind and outage
                    "informer lists again",
                    extra={"informer": self.name, "reason": str(error), "delay_s": delay_s},
                )
                await asyncio.sleep(delay_s)
            except Exception as error:  # a defect of ours: tell those who wait, then say so
                self._fail(error)
                raise

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._moved.set()

    async def _list_and_watch(self) -> None:
        async with self._store.watch(self.range, start=Revision(0)) as batches:
            self.stats.watches += 1
            await self._list(batches)
            self._backoff.reset()
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._verify_every_s * random.uniform(0.8, 1.2)):
                        await batches.each(self._take)
                await self._verify(batches)

    async def _verify(self, batches: Watch) -> None:
        """Anti-entropy: what a list shows, the watch has told, or tells soon. Else it is a bug."""
        page = await list_all(self._store, self.range, keys_only=True)
        if page.revision < self.revision:
            raise WatchEnded(f"the store went back from {self.revision} to {page.revision}")
        self._suspects = self._differing(page)
        with suppress(TimeoutError):
            async with asyncio.timeout(GRACE_S):
                while self._suspects:
                    self._take(await anext(batches))
        self.stats.verified += 1
        if self._suspects:
            self.stats.differences += len(self._suspects)
            keys = [show_key(key) for key in sorted(self._suspects)[:10]]
            self._suspects = set()
            logger.error(
                "cache differs from store: a defect of kvconfig, please report it",
                extra={"informer": self.name, "keys": keys, "revision": page.revision},
            )
            raise WatchEnded(f"it missed changes of {', '.join(keys)}")

    def _differing(self, page: Page) -> set[bytes]:
        """Keys that stand in the list otherwise than in the cache."""
        listed = {kv.key: kv.mod_revision for kv in page.items}
        cached = {key: item.mod_revision for key, item in self._cache.items()}
        return {key for key, _ in listed.items() ^ cached.items()}

    async def _list(self, watch: Watch) -> None:
        """Read the whole range and hand out the difference to what was cached.

        Only if the watch has lived through it: a store that was restored between two pages of a
        list gives parts of two histories at one revision.
        """
        fresh: dict[bytes, Item[T]] = {}
        revision = Revision(0)
        async with aclosing(ahead(self._store.list(self.range))) as pages:
            async for page in pages:
                revision = page.revision
                for kv in page.items:
                    fresh[kv.key] = self._item(kv)
        if watch.ended is not None:
            raise watch.ended
        self.stats.lists += 1
        self._listed = revision
        changes = tuple(_difference(self._cache, fresh))
        self._cache.clear()
        self._cache.update(fresh)
        self._publish(Batch(revision, changes, resync=True))

    def _take(self, batch: WatchBatch) -> None:
        """What a watch said; what the first list showed already is passed over."""
        self._last_progress = self._clock()
        if not batch.events:
            self.revision = max(self.revision, batch.revision)
            self._moved.set()
        elif batch.revision > self._listed:
            self._apply(batch)

    def _apply(self, batch: WatchBatch) -> None:
        if batch.revision <= self.revision:
            raise WatchEnded(f"revision {batch.revision} came after {self.revision}")
        if self._suspects:
            self._suspects.difference_update(event.key for event in batch.events)
        cache = self._cache
        changes: list[Change[T]] = []
        for event in batch.events:
            if event.kv is not None:
                new = self._item(event.kv)
                changes.append(Change(event.key, cache.get(event.key), new))
                cache[event.key] = new
            elif (old := cache.pop(event.key, None)) is not None:
                changes.append(Change(event.key, old, None))
        self.stats.batches += 1
        self.stats.events += len(changes)
        self._publish(Batch(batch.revision, tuple(changes), resync=False))

    def _item(self, kv: KeyValue) -> Item[T]:
        try:
            return Item(kv, self._decode(kv))
        except KvError as error:
            return Item(kv, None, error)
        except Exception as error:  # a decoder that fails must not cost the other items
            logger.exception("decoder failed", extra={"informer": self.name})
            return Item(kv, None, InvalidValue(f"decoder failed: {error!r}", key=kv.key))

    def _publish(self, batch: Batch[T]) -> None:
        self.revision = batch.revision
        self._last_progress = self._clock()
        self._tell(batch)

    def _everything(self) -> Batch[T]:
        """The whole cache, for those who know nothing of it."""
        changes = tuple(Change(key, None, item) for key, item in self._cache.items())
        return Batch(self.revision, changes, resync=True)

    def _tell(self, batch: Batch[T]) -> None:
        self._moved.set()
        for handler in tuple(self._handlers):
            self._call(handler, batch)

    def _call(self, handler: Callable[[Batch[T]], None], batch: Batch[T]) -> None:
        try:
            handler(batch)
        except Exception:
            self.stats.handler_errors += 1
            logger.exception("handler failed", extra={"informer": self.name})


def _difference(old: Mapping[bytes, Item[T]], new: Mapping[bytes, Item[T]]) -> list[Change[T]]:
    gone = [Change(key, item, None) for key, item in old.items() if key not in new]
    changed = [
        Change(key, old.get(key), item)
        for key, item in new.items()
        if key not in old or old[key].kv.value != item.kv.value
    ]
    return gone + changed
