"""The flow service in process: caches of what plans are made from, one transaction an operation.

Any number of services may work on the same etcd; there is no leader, and none knows of the others.
What keeps them right is in the compares of :mod:`flowsvc.plan`; the caches only save round trips.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from flowsvc.errors import NotFound, VariantTaken
from flowsvc.ids import new_op
from flowsvc.model import NOBODY, Actor, Definition, Done, Flow, StartFlow, StopFlow
from flowsvc.operation import Planner, perform
from flowsvc.plan import (
    Operation,
    plan_put_blueprint,
    plan_put_parameter_type,
    plan_start,
    plan_stop,
)
from flowsvc.view import Holders, Proof, View
from kvconfig.errors import InvalidName, InvalidValue
from kvconfig.informer import Batch, Informer
from kvconfig.keyspace import Keyspace
from kvconfig.layout import claim_layout
from kvconfig.model import KeyValue
from kvconfig.records import FlowRecord, decode_flow, decode_json_object
from kvconfig.store import Store, list_all

__all__ = ["FlowService"]

T = TypeVar("T")
logger = logging.getLogger(__name__)


class FlowService:
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
        self._store = store
        self._ks = keyspace
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
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await claim_layout(self._store, self._ks)
        async with AsyncExitStack() as stack:
            for informer in self._informers:
                await stack.enter_async_context(informer)
            for informer in self._informers:
                await informer.synced()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    # -- flows -------------------------------------------------------------------------------

    async def start_flow(self, request: StartFlow) -> Done:
        """One transaction of puts; one round trip where nobody else writes the same."""
        operation = self._operation(request.op, request.actor, resent=request.resent)
        history = self._ks.history("flow", request.flow, operation.op)
        planner = partial(plan_start, request, operation)
        what = f"start of flow {request.flow!r}"
        try:
            return await self._perform(operation, history, planner, what)
        except VariantTaken as refusal:
            if refusal.holder is not None:
                raise
            holder = await self._find_owner(refusal.variant)  # our cache may lag behind
            raise VariantTaken(refusal.flow, refusal.variant, holder=holder) from refusal

    async def stop_flow(self, request: StopFlow) -> Done:
        """One transaction of deletes; the blueprint is not asked."""
        operation = self._operation(request.op, request.actor, resent=request.resent)
        history = self._ks.history("flow", request.flow, operation.op)
        planner = partial(plan_stop, request, operation)
        return await self._perform(operation, history, planner, f"stop of flow {request.flow!r}")

    async def get_flow(self, flow: str) -> Flow:
        """A linearizable read. Raises ``NotFound``, and ``InvalidValue`` for a broken record."""
        found = await self._read("flow", self._ks.flow(flow), flow)
        return _flow(flow, found)

    async def list_flows(self) -> list[Flow]:
        """A linearizable list. A record that cannot be read is logged and left out."""
        flows = []
        for name, kv in await self._list("flow"):
            try:
                flows.append(_flow(name, kv))
            except InvalidValue as error:
                logger.warning("flow record left out", extra={"reason": str(error)})
        return flows

    # -- blueprints and parameter types --------------------------------------------------------

    async def put_blueprint(
        self, name: str, definition: bytes, *, op: str = "", actor: Actor = NOBODY
    ) -> Done:
        """Store a blueprint; flows that run are not touched."""
        operation = self._operation(op, actor)
        planner = partial(plan_put_blueprint, name, definition, operation)
        return await self._put("flow-blueprint", name, operation, planner)

    async def get_blueprint(self, name: str) -> Definition:
        """A linearizable read. Raises ``NotFound``."""
        found = await self._read("blueprint", self._ks.flow_blueprint(name), name)
        return _definition(name, found)

    async def list_blueprints(self) -> list[Definition]:
        """A linearizable list. A value that cannot be read is logged and left out."""
        return await self._definitions("flow-blueprint")

    async def put_parameter_type(
        self, name: str, definition: bytes, *, op: str = "", actor: Actor = NOBODY
    ) -> Done:
        """Store a parameter type; flows that run are not touched."""
        operation = self._operation(op, actor)
        planner = partial(plan_put_parameter_type, name, definition, operation)
        return await self._put("parameter-type", name, operation, planner)

    async def get_parameter_type(self, name: str) -> Definition:
        """A linearizable read. Raises ``NotFound``."""
        found = await self._read("parameter type", self._ks.parameter_type(name), name)
        return _definition(name, found)

    async def list_parameter_types(self) -> list[Definition]:
        """A linearizable list. A value that cannot be read is logged and left out."""
        return await self._definitions("parameter-type")

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

    def _operation(self, op: str, actor: Actor, *, resent: bool = False) -> Operation:
        at = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds")
        at = at.replace("+00:00", "Z")
        return Operation(op=op or self._new_op(), at=at, actor=actor, resent=resent)

    async def _perform(
        self, operation: Operation, history_key: bytes, planner: Planner, what: str
    ) -> Done:
        done = await perform(self._store, operation, history_key, self._view, planner, what=what)
        logger.info(
            "committed",
            extra={
                "operation": what,
                "op": done.op,
                "revision": done.revision,
                "round_trips": done.round_trips,
            },
        )
        return done

    def _view(self, proof: Proof) -> View:
        return View(self._ks, self._cached, self._holders, proof)

    def _cached(self, key: bytes) -> KeyValue | None:
        for informer in self._informers:
            if key in informer.range:
                item = informer.items.get(key)
                return item.kv if item else None
        return None

    async def _read(self, kind: str, key: bytes, name: str) -> KeyValue:
        found = await self._store.read(key)
        if found is None:
            raise NotFound(kind, name)
        return found

    async def _list(self, type_: str) -> list[tuple[str, KeyValue]]:
        listed = await list_all(self._store, self._ks.type_range(type_))
        named = []
        for kv in listed.items:
            try:
                named.append((self._ks.parse_named(kv.key, type_), kv))
            except InvalidName as error:
                logger.warning("key left out", extra={"reason": str(error)})
        return named

    async def _find_owner(self, variant: str) -> str | None:
        for flow in await self.list_flows():
            if variant in (*flow.record.variants.own, *flow.record.variants.shared):
                return flow.id
        return None

    async def _definitions(self, type_: str) -> list[Definition]:
        definitions = []
        for name, kv in await self._list(type_):
            try:
                definitions.append(_definition(name, kv))
            except InvalidValue as error:
                logger.warning("definition left out", extra={"reason": str(error)})
        return definitions

    async def _put(self, type_: str, name: str, operation: Operation, planner: Planner) -> Done:
        history = self._ks.history(type_, name, operation.op)
        return await self._perform(operation, history, planner, f"put of {type_} {name!r}")


def _itself(kv: KeyValue) -> KeyValue:
    return kv


def _flow(name: str, kv: KeyValue) -> Flow:
    record = decode_flow(kv.value, key=kv.key)
    return Flow(id=name, record=record, mod_revision=kv.mod_revision, version=kv.version)


def _definition(name: str, kv: KeyValue) -> Definition:
    value = decode_json_object(kv.value, key=kv.key)
    return Definition(name=name, definition=value, mod_revision=kv.mod_revision)
