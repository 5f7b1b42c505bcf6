"""What is new for those who watch flows: which flows a change concerns, what each was told.

Bookkeeping for :mod:`flowsvc.observe`; it reads nothing.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from operator import itemgetter

import msgspec

from flowsvc.status import FlowStatus, Instance
from kvconfig.backoff import Backoff
from kvconfig.errors import RequestRefused, StoreError
from kvconfig.informer import Item
from kvconfig.keyspace import VariantName
from kvconfig.model import Revision
from kvconfig.records import FlowRecord

__all__ = ["KnownVariants", "Watcher"]

logger = logging.getLogger(__name__)


class _Known(msgspec.Struct, frozen=True):
    """The variants of a flow, as they stood with this very record; 0: it has no key."""

    item: Item[tuple[str, FlowRecord]]
    revisions: dict[VariantName, Revision]
    complete: bool


class _Hosted:
    """The variants that flows have on one processor, found by revision and by name."""

    __slots__ = ("by_name", "by_revision")

    def __init__(self) -> None:
        self.by_revision: list[tuple[Revision, str, str]] = []  # and flow and variant, sorted
        self.by_name: dict[str, tuple[str, ...]] = {}  # variant → flows

    def add(self, flow: str, variant: str, revision: Revision) -> None:
        """The flow has the variant."""
        insort(self.by_revision, (revision, flow, variant))
        self.by_name[variant] = (*self.by_name.get(variant, ()), flow)

    def remove(self, flow: str, variant: str, revision: Revision) -> None:
        """No more."""
        del self.by_revision[bisect_left(self.by_revision, (revision, flow, variant))]
        left = tuple(other for other in self.by_name.pop(variant) if other != flow)
        if left:
            self.by_name[variant] = left

    def between(self, low: Revision, high: Revision) -> Iterator[str]:
        """The flows of variants above ``low``, up to ``high``."""
        start = bisect_right(self.by_revision, low, key=itemgetter(0))
        stop = bisect_right(self.by_revision, high, key=itemgetter(0))
        return (flow for _, flow, _ in self.by_revision[start:stop])


class KnownVariants:
    """The mod_revisions of flows' variants, and by them whom a change of an instance concerns.

    A variant changes only with the records of the flows that have it, so what was read with a
    record holds as long as the record does. A flow that lacks a variant is asked for anew each
    time: somebody may have put the key back.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}
        self._hosted: dict[str, _Hosted] = {}  # by processor

    def __len__(self) -> int:
        return len(self._known)

    def get(
        self, flow: str, item: Item[tuple[str, FlowRecord]]
    ) -> Mapping[VariantName, Revision] | None:
        """What is known for this very record, if all of it is there."""
        known = self._known.get(flow)
        if known is None or known.item is not item or not known.complete:
            return None
        return known.revisions

    def put(
        self,
        flow: str,
        item: Item[tuple[str, FlowRecord]],
        names: Iterable[VariantName],
        revisions: Mapping[VariantName, Revision],
    ) -> Mapping[VariantName, Revision]:
        """Remember what was read with a record; the same, with 0 for a variant without a key."""
        self.drop(flow)
        found = {name: revisions.get(name, Revision(0)) for name in names}
        self._known[flow] = _Known(item, found, all(found.values()))
        for name, revision in found.items():
            hosted = self._hosted.setdefault(name.processor, _Hosted())
            hosted.add(flow, name.variant, revision)
        return found

    def drop(self, flow: str) -> None:
        """The flow is gone."""
        known = self._known.pop(flow, None)
        if known is None:
            return
        for name, revision in known.revisions.items():
            hosted = self._hosted[name.processor]
            hosted.remove(flow, name.variant, revision)
            if not hosted.by_revision:
                del self._hosted[name.processor]

    def clear(self) -> None:
        """Nothing is known any more."""
        self._known.clear()
        self._hosted.clear()

    def concerned(
        self, processor: str, old: Instance | None, new: Instance | None
    ) -> Collection[str]:
        """The flows of which an instance says something else than before, each once.

        That is where a list names a variant otherwise, or where ``observed_revision`` has come to
        (or fallen behind) its revision: a few of all that the processor runs, and found without
        looking at the others.
        """
        hosted = self._hosted.get(processor)
        if hosted is None:
            return ()
        if old is None or new is None:
            return dict.fromkeys(flow for _, flow, _ in hosted.by_revision)
        low, high = sorted((old.observed_revision, new.observed_revision))
        found = dict.fromkeys(hosted.between(low, high))
        found.update(dict.fromkeys(hosted.between(Revision(-1), Revision(0))))  # without a key
        named = set(old.pending ^ new.pending)
        failing = old.failed.keys() | new.failed.keys()
        named.update(v for v in failing if old.failed.get(v) != new.failed.get(v))
        for variant in named:
            found.update(dict.fromkeys(hosted.by_name.get(variant, ())))
        return found


class Watcher:
    """One who watches: the flows that it is to be told of, and what it was told last.

    ``relisted``: all flows are to be looked at, so a list may be cheaper than single reads.
    """

    def __init__(self, flows: Iterable[str]) -> None:
        self.relisted = True
        self._due: OrderedDict[str, None] = OrderedDict.fromkeys(flows)
        self._told: dict[str, int] = {}  # the hash of the last status, flow by flow
        self._moved = asyncio.Event()
        self._closed = asyncio.Event()
        self._backoff = Backoff()

    def __len__(self) -> int:
        return len(self._due)

    def mark(self, flow: str, *, gone: bool = False) -> None:
        """The flow may have changed. One that came and went unseen is no news."""
        if gone and flow not in self._told:
            self._due.pop(flow, None)
            return
        self._due[flow] = None
        self._moved.set()

    def mark_all(self, flows: Iterable[str]) -> None:
        """Every flow may have changed: these, and those that are gone."""
        self._due.update(dict.fromkeys(flows))
        for flow in [flow for flow in self._told if flow not in self._due]:
            self._due[flow] = None
        self.relisted = True
        self._moved.set()

    def close(self) -> None:
        """No more is to come."""
        self._closed.set()
        self._moved.set()

    async def next(self) -> str | None:
        """The next flow that may have changed; ``None`` at the end."""
        while not (self._due or self._closed.is_set()):
            self._moved.clear()
            await self._moved.wait()
        return None if self._closed.is_set() else self._due.popitem(last=False)[0]

    def is_news(self, status: FlowStatus) -> bool:
        """Whether it is another than was told last; from now on it was told."""
        if status.state == "stopped":
            return self._told.pop(status.flow, None) is not None
        digest = _digest(status)
        if self._told.get(status.flow) == digest:
            return False
        self._told[status.flow] = digest
        return True

    def answered(self) -> None:
        """The store answers: the next pause is a short one."""
        self._backoff.reset()

    async def pause(self, error: StoreError) -> None:
        """Wait a little before the store is asked again. Raises ``error`` where that is useless."""
        if isinstance(error, RequestRefused):
            raise error
        again = self._backoff.attempts > 0
        delay_s = self._backoff.next_s()
        logger.log(
            logging.DEBUG if again else logging.WARNING,  # once for each outage
            "statuses of flows wait for the store",
            extra={"reason": str(error), "delay_s": delay_s},
        )
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._closed.wait()


def _digest(status: FlowStatus) -> int:
    """Of all but the observed revisions, which move with whatever else a processor does."""
    variants = tuple(
        (
            variant.name,
            variant.shared,
            variant.state,
            variant.mod_revision,
            variant.error,
            tuple((r.instance, r.state, r.error, r.attempts, r.since) for r in variant.instances),
        )
        for variant in status.variants
    )
    return hash((status.state, status.mod_revision, variants, status.missing))
