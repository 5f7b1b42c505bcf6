"""What runs, seen from the store: flows' records, their variants and the status of instances.

Promises:

* :meth:`Observer.status`, :meth:`Observer.statuses` and the same of processors are true as of one
  revision, later than the call: they read all that they fold.
* :meth:`Observer.watch` gives every flow first, then each that changed. A slow consumer gets the
  latest of each flow, not every state in between; what is kept for it is bounded by the number of
  flows. Only flows that a change of an instance concerns are folded again.
* There is no task here but the informer's: what a watch needs is done when its consumer asks.

Not promised: that a watch tells of an ``observed_revision`` that moves while nothing else does
(every flow of a processor would change with each start of another); or that it sees a variant's key
that somebody else has put or deleted without writing the flow's record, before that is written or
an informer lists again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self, TypeAlias, TypeVar

import msgspec

from flowsvc.errors import NotFound, TooMuchContention
from flowsvc.news import KnownVariants, Watcher
from flowsvc.status import (
    FlowStatus,
    Instance,
    ProcessorStatus,
    active_names,
    fold,
    fold_processor,
    stopped,
    stopped_everywhere,
)
from kvconfig.errors import Compacted, InvalidName, InvalidValue, KvError, StoreError
from kvconfig.informer import Batch, Informer, Item
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.model import KeyValue, Revision
from kvconfig.records import FlowRecord, decode_flow, decode_status
from kvconfig.store import Store, list_all
from kvconfig.txn import Commit, Guarded, Read, ReadResult, assemble

__all__ = ["Observer"]

ATTEMPTS = 16
"""How often a status is read again because the flow's record moved on meanwhile."""

LISTS = 5
"""How often all is listed again because a compaction came between the pages."""

MANY = 64
"""So many flows whose variants are unknown are read by a list, not one by one."""

TURN = 100
"""After so many flows, other tasks get their turn."""

logger = logging.getLogger(__name__)

T = TypeVar("T")
_Flow: TypeAlias = tuple[str, FlowRecord]
_Live: TypeAlias = dict[str, dict[str, Instance]]  # processor → name → instance


class Observer:
    """The observed state of all flows. Use it as an async context manager.

    ``flows`` is the flow service's informer of ``/flow/`` (name and record), entered and synced by
    its owner, before and for as long as this is used. ``processors`` is its own, of
    ``/processor/``: to look at and to wait for.

    Methods raise :class:`kvconfig.errors.StoreError` where the store cannot be read.
    """

    def __init__(self, store: Store, keyspace: Keyspace, flows: Informer[_Flow]) -> None:
        self._store = store
        self._ks = keyspace
        self._flows = flows
        self._live: _Live = {}
        self._variants = KnownVariants()
        self._watchers: set[Watcher] = set()
        self._listing = asyncio.Lock()
        self._stack = AsyncExitStack()
        self.processors: Informer[tuple[str, Instance]] = Informer(
            store, keyspace.type_range("processor"), self._decode_instance, name="processor"
        )
        self.processors.subscribe(self._instances_changed)
        flows.subscribe(self._flows_changed)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.processors)
            await self.processors.synced()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for watcher in self._watchers:
            watcher.close()
        await self._stack.aclose()

    # -- what is asked -----------------------------------------------------------------------

    async def status(self, flow: str) -> FlowStatus:
        """One flow, its variants and their instances, as of one revision: one transaction.

        A flow that is gone is ``stopped`` for as long as there is history of it. Raises
        ``NotFound`` for one that never was, ``InvalidValue`` for a record that cannot be read,
        ``TooMuchContention`` where others write it all the time.
        """
        key, past = self._ks.flow(flow), self._ks.history_range("flow", flow)
        head = (Read(key), Read(past.start, past.end, limit=1, keys_only=True))
        cached = self._flows.items.get(key)
        guess = cached.kv if cached is not None else None
        for _ in range(ATTEMPTS):
            record = None if guess is None else decode_flow(guess.value, key=key)
            names = [] if record is None else active_names(record)
            processors = sorted({name.processor for name in names})
            ranges = [self._ks.processor_range(processor) for processor in processors]
            reads = [Read(range_.start, range_.end) for range_ in ranges]
            found, history, *rest = await self._read(head, [*self._keys(names), *reads])
            if not found:
                if not history:
                    raise NotFound("flow", flow)
                return stopped(flow)
            if record is not None and found[0] == guess:
                variants = _revisions(names, rest)
                live = self._instances(kv for items in rest[len(names) :] for kv in items)
                return fold(flow, record, found[0].mod_revision, variants, live)
            guess = found[0]
        raise TooMuchContention(f"status of flow {flow!r}", attempts=ATTEMPTS)

    async def statuses(self) -> list[FlowStatus]:
        """Every flow, by id, all as of one revision. One that cannot be read is left out."""
        return await self._listed(self._statuses)

    async def processor(self, processor: str) -> ProcessorStatus:
        """One processor, its variants and instances, as of one revision: one transaction.

        Raises ``InvalidName``, and ``NotFound`` where it has neither a variant nor an instance.
        """
        keys = self._ks.active_flow_range(processor), self._ks.flow_ref_processor_range(processor)
        reports = self._ks.processor_range(processor)
        reads = [Read(range_.start, range_.end, keys_only=True) for range_ in keys]
        found = await self._read((*reads, Read(reports.start, reports.end)), ())
        variants, shared = self._named(found[0]), self._shared(found[1])
        instances = self._instances(found[2]).get(processor, [])
        if not variants and not instances:
            raise NotFound("processor", processor)
        return fold_processor(processor, variants, shared, instances)

    async def processors_all(self) -> list[ProcessorStatus]:
        """Every processor that has a variant or an instance, by name, all as of one revision.

        Without their variants, of which there may be very many.
        """
        return await self._listed(self._processors_all)

    async def watch(self) -> AsyncGenerator[FlowStatus, None]:
        """The status of every flow, then each that changes; ``stopped`` for one that is gone.

        It ends when the observer is left. While the store does not answer it waits. Raises a
        ``RequestRefused`` where reading is not allowed. Close it (``contextlib.aclosing``).
        """
        watcher = Watcher(self._names())
        self._watchers.add(watcher)
        try:
            turns = 0
            while (flow := await watcher.next()) is not None:
                if watcher.relisted:
                    watcher.relisted = False
                    await self._learn_all(watcher)
                status = await self._latest(flow, watcher)
                if status is not None and watcher.is_news(status):
                    yield status
                turns += 1
                if turns % TURN == 0:
                    await asyncio.sleep(0)
        finally:
            self._watchers.discard(watcher)
            if not self._watchers:
                self._variants.clear()

    async def taken_away(self, names: Iterable[VariantName], revision: Revision) -> None:
        """Return when no live instance runs those of ``names`` any more that are not in etcd.

        ``revision`` is that of the operation which took them away. Those that other flows kept are
        not waited for: no instance hears of them. It has no deadline of its own.
        """
        names = list(names)
        found = await self._read((), self._keys(names))
        gone = [name for name, items in zip(names, found, strict=True) if not items]
        await self.processors.until(
            lambda _: stopped_everywhere(gone, revision, self._live_of(gone))
        )

    # -- reading -----------------------------------------------------------------------------

    def _keys(self, names: Iterable[VariantName]) -> list[Read]:
        return [Read(self._ks.active_flow(name), keys_only=True) for name in names]

    async def _read(self, head: Sequence[Read], more: Iterable[Read]) -> list[tuple[KeyValue, ...]]:
        """What each read finds, all as of one revision."""
        parts = [Guarded(ops=(read,)) for read in more]
        if not head and not parts:
            return []
        return list(_found(await self._store.commit(assemble(Guarded(ops=tuple(head)), parts))))

    async def _listed(self, read: Callable[[], Awaitable[list[T]]]) -> list[T]:
        """What ``read`` lists; again, where it took longer than a compaction leaves time for."""
        for _ in range(LISTS - 1):
            with suppress(Compacted):
                return await read()
        return await read()

    async def _processors_all(self) -> list[ProcessorStatus]:
        page = await list_all(self._store, self._ks.type_range("processor"))
        live = self._instances(page.items)
        variants: dict[str, dict[VariantName, Revision]] = {processor: {} for processor in live}
        for name, revision in (await self._variants_at(page.revision)).items():
            variants.setdefault(name.processor, {})[name] = revision
        statuses = []
        for processor, named in sorted(variants.items()):
            await asyncio.sleep(0)
            status = fold_processor(processor, named, (), live.get(processor, []))
            statuses.append(_without_variants(status))
        return statuses

    async def _statuses(self) -> list[FlowStatus]:
        page = await list_all(self._store, self._ks.type_range("flow"))
        variants = await self._variants_at(page.revision)
        processors = self._ks.type_range("processor")
        live = self._instances(
            (await list_all(self._store, processors, revision=page.revision)).items
        )
        statuses = []
        for turn, kv in enumerate(page.items):
            if turn % TURN == 0:
                await asyncio.sleep(0)
            try:
                flow, record = (
                    self._ks.parse_named(kv.key, "flow"),
                    decode_flow(kv.value, key=kv.key),
                )
                statuses.append(fold(flow, record, kv.mod_revision, variants, live))
            except KvError as error:
                logger.warning("flow left out", extra={"reason": str(error)})
        return statuses

    async def _variants_at(self, revision: Revision) -> dict[VariantName, Revision]:
        """The mod_revision of every variant there is."""
        found: dict[VariantName, Revision] = {}
        keys = self._ks.type_range("active-flow")
        async for page in self._store.list(keys, revision=revision, keys_only=True):
            found |= self._named(page.items)
        return found

    def _named(self, items: Iterable[KeyValue]) -> dict[VariantName, Revision]:
        """The mod_revision of each variant; a key that names none is of nobody's."""
        found = {}
        for kv in items:
            with suppress(InvalidName):
                found[self._ks.parse_active_flow(kv.key)] = kv.mod_revision
        return found

    def _shared(self, items: Iterable[KeyValue]) -> set[VariantName]:
        """The variants that references name."""
        found = set()
        for kv in items:
            with suppress(InvalidName):
                found.add(self._ks.parse_flow_ref(kv.key)[0])
        return found

    def _instances(self, items: Iterable[KeyValue]) -> dict[str, list[Instance]]:
        live: dict[str, list[Instance]] = {}
        for kv in items:
            try:
                processor, instance = self._decode_instance(kv)
            except InvalidName:
                continue  # no instance of ours
            live.setdefault(processor, []).append(instance)
        return live

    def _decode_instance(self, kv: KeyValue) -> tuple[str, Instance]:
        """One whose status cannot be read is live, and says nothing."""
        processor, name = self._ks.parse_processor(kv.key)
        try:
            status = decode_status(kv.value, key=kv.key)
        except InvalidValue:
            status = None
        return processor, Instance.read(name, status, kv.mod_revision)

    # -- watching ----------------------------------------------------------------------------

    def _names(self) -> Iterator[str]:
        """Every flow that is cached, and can be read."""
        return (item.value[0] for item in self._flows.items.values() if item.value is not None)

    def _live_of(self, names: Iterable[VariantName]) -> dict[str, list[Instance]]:
        processors = {name.processor for name in names}
        return {p: list(self._live[p].values()) for p in processors if p in self._live}

    def _flows_changed(self, batch: Batch[_Flow]) -> None:
        if not self._watchers:
            return
        if batch.resync:  # perhaps of another history: nothing that was known need hold
            self._variants.clear()
            self._all_again()
            return
        for change in batch.changes:
            try:
                flow = self._ks.parse_named(change.key, "flow")
            except InvalidName:
                continue
            if change.new is None:
                self._variants.drop(flow)
            for watcher in self._watchers:
                watcher.mark(flow, gone=change.new is None)

    def _instances_changed(self, batch: Batch[tuple[str, Instance]]) -> None:
        if batch.resync:  # items that are not among the changes may have another mod_revision
            self._live.clear()
            for item in self.processors.items.values():
                if item.value is not None:
                    processor, instance = item.value
                    self._live.setdefault(processor, {})[instance.name] = instance
            self._all_again()
            return
        for change in batch.changes:
            changed = change.new if change.new is not None else change.old
            if changed is None or changed.value is None:
                continue  # a key that is no instance
            processor, instance = changed.value
            live = self._live.setdefault(processor, {})
            old = live.pop(instance.name, None)
            new = instance if change.new is not None else None
            if new is not None:
                live[new.name] = new
            elif not live:
                del self._live[processor]
            for flow in self._variants.concerned(processor, old, new):
                for watcher in self._watchers:
                    watcher.mark(flow)

    def _all_again(self) -> None:
        for watcher in self._watchers:
            watcher.mark_all(self._names())

    async def _latest(self, flow: str, watcher: Watcher) -> FlowStatus | None:
        """The status to be told, or ``None`` where there is none, or where it comes up again."""
        key = self._ks.flow(flow)
        item = self._flows.items.get(key)
        if item is None:
            return stopped(flow)
        if item.value is None:
            logger.warning("flow left out", extra={"reason": str(item.error)})
            return None
        try:
            known = self._variants.get(flow, item)
            if known is None:
                known = await self._learn(flow, item)
                if known is None:
                    return None  # the informer tells of the other record, and marks the flow again
            live = self._live_of(known)
            there = {name: revision for name, revision in known.items() if revision}
            status = fold(flow, item.value[1], item.mod_revision, there, live)
        except StoreError as error:
            watcher.mark(flow)
            await watcher.pause(error)
            return None
        except KvError as error:  # names in the record that are none
            logger.warning("flow left out", extra={"reason": str(error)})
            return None
        watcher.answered()
        return status

    async def _learn(self, flow: str, item: Item[_Flow]) -> Mapping[VariantName, Revision] | None:
        """The variants of the flow, read with its record; ``None`` if that is another by now."""
        assert item.value is not None
        names = active_names(item.value[1])
        record, *found = await self._read((Read(item.key),), self._keys(names))
        if record != (item.kv,) or self._flows.items.get(item.key) is not item:
            return None
        return self._variants.put(flow, item, names, _revisions(names, found))

    async def _learn_all(self, watcher: Watcher) -> None:
        """The variants of every flow by two lists, where very many are unknown."""
        async with self._listing:  # another watch may do it just now
            items = [item for item in self._flows.items.values() if item.value is not None]
            unknown = [i for i in items if i.value and self._variants.get(i.value[0], i) is None]
            if len(unknown) <= MANY:
                return
            try:
                keys = self._ks.type_range("flow")
                page = await list_all(self._store, keys, keys_only=True)
                revisions = await self._variants_at(page.revision)
            except StoreError as error:
                watcher.relisted = True
                await watcher.pause(error)
                return
        listed = {kv.key: kv for kv in page.items}
        for turn, item in enumerate(unknown):
            if turn % TURN == 0:
                await asyncio.sleep(0)
            # Another item in the cache: perhaps of another history.
            same = self._flows.items.get(item.key) is item and _same(listed.get(item.key), item.kv)
            if not same or item.value is None:
                continue
            flow, record = item.value
            try:
                self._variants.put(flow, item, active_names(record), revisions)
            except InvalidName:
                continue  # said when its turn comes


def _without_variants(status: ProcessorStatus) -> ProcessorStatus:
    replace = msgspec.structs.replace
    instances = tuple(replace(instance, leaving=()) for instance in status.instances)
    return replace(status, variants=(), instances=instances)


def _same(listed: KeyValue | None, cached: KeyValue) -> bool:
    """Whether a key that was listed without its value stands as it is cached."""
    return listed is not None and (listed.create_revision, listed.mod_revision) == (
        cached.create_revision,
        cached.mod_revision,
    )


def _revisions(
    names: Iterable[VariantName], found: Iterable[Sequence[KeyValue]]
) -> dict[VariantName, Revision]:
    """The mod_revisions of those that were found, in the order they were asked for."""
    pairs = zip(names, found, strict=False)
    return {name: items[0].mod_revision for name, items in pairs if items}


def _found(commit: Commit) -> Iterator[tuple[KeyValue, ...]]:
    """What its reads found, nested ones too, in order."""
    for result in commit.results:
        if isinstance(result, ReadResult):
            yield result.items
        elif isinstance(result, Commit):
            yield from _found(result)
