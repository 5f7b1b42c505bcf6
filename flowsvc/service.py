"""The flow service in process: caches of what plans are made from, one transaction an operation.

Any number of services may work on the same etcd; there is no leader, and none knows of the others.
What keeps them right is in the compares of :mod:`flowsvc.plan`; the caches only save round trips.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from functools import cache, partial
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

import msgspec

from flowsvc import history
from flowsvc.errors import NotFound, VariantTaken
from flowsvc.ids import new_op
from flowsvc.masking import (
    SecretsOf,
    masked_definitions,
    masked_flow,
    masked_history,
    masked_txn,
    texts_in_flow,
)
from flowsvc.model import (
    AdoptFlow,
    Change,
    Done,
    Flow,
    Flows,
    HistoryEntry,
    HistoryKind,
    PauseFlow,
    Preview,
    Pruned,
    ResumeFlow,
    StopFlow,
)
from flowsvc.observe import Observer
from flowsvc.operation import Foreseen, foresee, perform
from flowsvc.plan import Operation, Plan, Repeated, plan
from flowsvc.plan.flows import plan_restart
from flowsvc.plan.secret import readable_type, secrets_of
from flowsvc.preview import as_json, seen
from flowsvc.reader import StoreReader
from flowsvc.status import FlowStatus, ProcessorStatus
from flowsvc.target import Target, target_of
from flowsvc.view import Holders, Proof, View
from kvconfig.errors import InvalidName, InvalidValue, KvError, NoSpace
from kvconfig.informer import Batch, Informer
from kvconfig.keys import Range
from kvconfig.keyspace import Keyspace
from kvconfig.layout import claim_layout
from kvconfig.model import KeyValue
from kvconfig.records import FlowRecord, VariantRecord, decode_flow, decode_variant
from kvconfig.store import Store
from kvconfig.txn import Txn

__all__ = ["FlowService"]

T = TypeVar("T")
_Planner: TypeAlias = Callable[[Any, Operation, View], Plan | Repeated]
logger = logging.getLogger(__name__)

RESTART_WAIT_S = 30.0
"""How long a restart waits for instances to see that the flow is paused."""


class FlowService(StoreReader, Flows):
    """:class:`flowsvc.model.Flows` on a store. Use it as an async context manager.

    Entering checks (or writes) the layout version and waits until the caches are synced. ``now``
    gives seconds since 1970 for the history; ``new_op`` the id of an operation that has none.
    ``flows``, ``blueprints`` and ``parameter_types`` are the caches, to look at and to wait for.
    """

    def __init__(
        self,
        store: Store,
        keyspace: Keyspace,
        *,
        now: Callable[[], float] = time.time,
        new_op: Callable[[], str] = new_op,
    ) -> None:
        super().__init__(store, keyspace)
        self._now = now
        self._new_op = new_op
        self._holders = Holders()
        self.blueprints = self._informer("flow-blueprint", _itself)
        self.parameter_types = self._informer("parameter-type", _itself)
        self.flows = self._informer("flow", self._decode_flow)
        self.flows.subscribe(self._note_holders)
        self._informers: tuple[Informer[Any], ...] = (
            self.flows,
            self.blueprints,
            self.parameter_types,
        )
        self._cache = _Cache(self._informers)
        self._observer = Observer(store, keyspace, self.flows)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await claim_layout(self._store, self._ks)
        async with AsyncExitStack() as stack:
            for informer in self._informers:
                await stack.enter_async_context(informer)
            for informer in self._informers:
                await informer.synced()
            await stack.enter_async_context(self._observer)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    # -- changes -----------------------------------------------------------------------------

    async def change(self, request: Change | AdoptFlow) -> Done:
        """One transaction; for a start or a stop that nobody else touches, one round trip."""
        operation, target = self._operation(request), target_of(request)
        try:
            return await self._perform(request, operation, target)
        except VariantTaken as refusal:
            if refusal.holder is not None:
                raise
            holder = await self._find_owner(refusal.variant)  # our cache may lag behind
            raise VariantTaken(refusal.flow, refusal.variant, holder=holder) from refusal
        except NoSpace:
            if not isinstance(request, StopFlow):
                raise
            operation = msgspec.structs.replace(operation, recorded=False)
            return await self._perform(request, operation, target)

    async def preview(self, request: Change) -> Preview:
        """The same plan, made from what a read at one revision shows; nothing is written."""
        foreseen = await self._foresee(request, plan)
        planned = foreseen.plan
        texts = self._plain_texts(foreseen.before)
        txn = masked_txn(planned.txn, texts) if isinstance(planned, Plan) else Txn()
        return Preview(
            text=str(txn),
            txn=as_json(txn),
            changes=seen(txn, self._ks, foreseen.before, texts),
            check_revision=foreseen.revision,
            findings=planned.findings if isinstance(planned, Plan) else (),
        )

    async def restart_flow(self, request: PauseFlow) -> Done:
        """See :meth:`flowsvc.model.Flows.restart_flow`."""
        op = request.op or self._new_op()
        found = await self.get_flow(request.flow)
        resume = ResumeFlow(
            flow=request.flow, op=f"{op}.resume", resent=request.resent, actor=request.actor
        )
        await self._foresee(resume, plan_restart)  # else it would stay paused
        paused = await self.change(msgspec.structs.replace(request, op=f"{op}.pause"))
        names = [*found.record.variants.own_names(), *found.record.variants.shared_names()]
        try:
            async with asyncio.timeout(RESTART_WAIT_S):
                await self._observer.taken_away(names, paused.revision)
        except TimeoutError:
            logger.warning("restart goes on", extra={"reason": "not all instances saw the pause"})
        return await self.change(resume)

    # -- reads -------------------------------------------------------------------------------

    async def get_flow(self, flow: str) -> Flow:
        """As read, without what is secret by now."""
        return masked_flow(await super().get_flow(flow), self._secrets())

    async def list_flows(self) -> list[Flow]:
        """As read, without what is secret by now."""
        secrets = self._secrets()
        return [masked_flow(flow, secrets) for flow in await super().list_flows()]

    async def history(self, kind: HistoryKind, name: str) -> list[HistoryEntry]:
        """A linearizable list. ``NotFound`` where nothing was ever done, or all is pruned."""
        found = await history.entries(self._store, self._ks, kind, name)
        if not found:
            raise NotFound("history of " + kind, name)
        if kind == "flow":
            return masked_history(name, found, self._secrets())
        if kind == "parameter-type":
            stands = self._cache.key(self._ks.parameter_type(name))
            type_ = None if stands is None else readable_type(name, stands.value)
            return masked_definitions(found, type_)
        return found

    async def prune_history(
        self, kind: HistoryKind, *, older_than_s: float, name: str = "", dry_run: bool = False
    ) -> Pruned:
        """See :meth:`flowsvc.model.Flows.prune_history`."""
        before_s = self._now() - max(older_than_s, history.MIN_AGE_S)
        return await history.prune(
            self._store, self._ks, kind, before_s=before_s, name=name, dry_run=dry_run
        )

    # -- status ------------------------------------------------------------------------------

    async def get_status(self, flow: str) -> FlowStatus:
        """Raises ``NotFound`` for a flow that never was."""
        return await self._observer.status(flow)

    async def list_statuses(self) -> list[FlowStatus]:
        """All at one revision."""
        return await self._observer.statuses()

    async def get_processor(self, processor: str) -> ProcessorStatus:
        """Raises ``NotFound`` where it has neither a variant nor an instance."""
        return await self._observer.processor(processor)

    async def list_processors(self) -> list[ProcessorStatus]:
        """All at one revision."""
        return await self._observer.processors_all()

    def watch_flows(self) -> AsyncIterator[FlowStatus]:
        """See :meth:`flowsvc.model.Flows.watch_flows`."""
        return self._observer.watch()

    # -- inside ------------------------------------------------------------------------------

    def _informer(self, type_: str, decode: Callable[[KeyValue], T]) -> Informer[T]:
        return Informer(self._store, self._ks.type_range(type_), decode, name=type_)

    def _decode_flow(self, kv: KeyValue) -> tuple[str, FlowRecord]:
        return self._ks.parse_named(kv.key, "flow"), decode_flow(kv.value, key=kv.key)

    def _note_holders(self, batch: Batch[tuple[str, FlowRecord]]) -> None:
        for change in batch.changes:
            if change.old is not None and change.old.value is not None:
                self._holders.remove(*change.old.value)
            if change.new is not None and change.new.value is not None:
                self._holders.add(*change.new.value)

    def _operation(self, request: Change | AdoptFlow) -> Operation:
        at = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds")
        return Operation(
            op=request.op or self._new_op(),
            at=at.replace("+00:00", "Z"),
            resent=request.resent,
            check_revision=request.check_revision,
            actor=request.actor,
        )

    async def _foresee(self, request: Change, planner: _Planner) -> Foreseen:
        operation, target = self._operation(request), target_of(request)
        return await foresee(
            self._store,
            operation,
            self._ks.history(target.kind, target.name, operation.op),
            self._view,
            partial(planner, request, operation),
            shown=self._ks.type_range("active-flow"),
            what=str(target),
        )

    async def _perform(
        self, request: Change | AdoptFlow, operation: Operation, target: Target
    ) -> Done:
        key = self._ks.history(target.kind, target.name, operation.op)
        planner = partial(plan, request, operation)
        performed = await perform(
            self._store, operation, key, self._view, planner, what=str(target)
        )
        done = performed.done
        logger.info(
            "committed",
            extra={
                "operation": str(target),
                "op": done.op,
                "revision": done.revision,
                "round_trips": done.round_trips,
            },
        )
        if performed.entries > history.KEEP + history.SLACK:
            await self._trim(target)
        return done

    async def _trim(self, target: Target) -> None:
        """Keep the history short. What was asked for is done: whatever fails here can wait."""
        try:
            await history.trim(self._store, self._ks, target.kind, target.name, now_s=self._now())
        except KvError as error:
            logger.warning("history not trimmed", extra={"reason": str(error)})

    def _view(self, proof: Proof) -> View:
        return View(self._ks, self._cache, self._holders, proof)

    def _secrets(self) -> SecretsOf:
        """By the blueprint's name, as far as the caches know; for one call."""
        view = self._view({})
        return cache(lambda blueprint: secrets_of(blueprint, view))

    def _plain_texts(self, before: Mapping[bytes, KeyValue]) -> frozenset[str]:
        """What a plan may hold, of any flow, that nobody shall be shown."""
        secrets, texts = self._secrets(), frozenset[str]()
        variants = dict[str, VariantRecord]()
        for kv in before.values():
            with suppress(InvalidName, InvalidValue):
                name = str(self._ks.parse_active_flow(kv.key))
                variants[name] = decode_variant(kv.value, key=kv.key)
        for item in self.flows.items.values():
            if item.value is not None:
                texts |= texts_in_flow(*item.value, secrets, variants)
        return texts

    async def _find_owner(self, variant: str) -> str | None:
        for flow in await self.list_flows():
            if variant in (*flow.record.variants.own, *flow.record.variants.shared):
                return flow.id
        return None


class _Cache:
    """:class:`flowsvc.view.Cache` on informers."""

    def __init__(self, informers: Sequence[Informer[Any]]) -> None:
        self._informers = informers
        self._items = tuple(informer.items for informer in informers)  # live views

    def key(self, key: bytes) -> KeyValue | None:
        """See :class:`flowsvc.view.Cache`."""
        for items in self._items:
            if (item := items.get(key)) is not None:
                return item.kv
        return None

    def range(self, range_: Range) -> tuple[KeyValue, ...]:
        """See :class:`flowsvc.view.Cache`."""
        for informer in self._informers:
            if range_ == informer.range:
                return tuple(item.kv for _, item in sorted(informer.items.items()))
        raise ValueError(f"{range_} is not cached")


def _itself(kv: KeyValue) -> KeyValue:
    return kv
