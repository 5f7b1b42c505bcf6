"""Test a processor without etcd: run it on a store in memory, put and delete variants, await.

::

    async def test_it_chunks() -> None:
        async with Harness(Chunker()) as harness:
            await harness.put("f1", topics={"input": "in", "output": "out"})
            variant = await harness.running("f1")
            assert variant.parameter("chunk-size", int) == 2000
            await harness.put("f1", topics={"input": "in"})
            failure = await harness.failed("f1")
            assert "$.topics.output" in failure.error

The store is the one that passes etcd's contract tests, so what holds here holds on etcd. What is
put while there is an :meth:`Harness.outage` is heard after it. Everything that waits has a
deadline, and says what there was instead. Leaving the harness stops all variants in good order, so
after it is the place to look at what they did.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from kvconfig.backoff import Backoff
from kvconfig.codec import encode
from kvconfig.config import Config
from kvconfig.errors import Unavailable
from kvconfig.informer import Informer
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.model import Revision
from kvconfig.records import InstanceStatus, VariantFailure, VariantRecord, decode_status
from kvconfig.txn import Delete, Put, Txn
from processors.configuration import watched
from processors.instance import Instance, hosted
from processors.processor import FlowProcessor
from processors.reconciler import Reconciler
from processors.secret import Secret
from processors.sessions import Sessions
from processors.stats import Stats
from processors.variant import Value, Variant

__all__ = ["Harness"]

P = TypeVar("P", bound=FlowProcessor)
T = TypeVar("T")

_by_hand: ContextVar[bool] = ContextVar("processors.testing", default=False)
"""Whether it is the test that calls: an outage is the processor's only."""


class Harness(Generic[P]):
    """One instance of ``processor``, on a store of its own; entering starts it, leaving drains it.

    Failed variants are retried within milliseconds. ``timeout_s`` is the deadline of whatever
    waits; after it, AssertionError. A lease lives ``ttl_s``.
    """

    def __init__(self, processor: P, *, timeout_s: float = 5.0, ttl_s: int = 1) -> None:
        self.processor = processor
        self.store = MemoryStore(gate=self._gate)
        self._keyspace = Keyspace()
        self._config = Config(self.store, self._keyspace)
        self._timeout_s = timeout_s
        self._ttl_s = ttl_s
        self._away = False
        self._put = Revision(0)  # the revision of the last put or delete of a variant
        self._stack = AsyncExitStack()
        self._sessions: Sessions
        self.instance: Instance

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            store, processor = self.store, self.processor
            self._sessions = await stack.enter_async_context(Sessions(store, ttl_s=self._ttl_s))
            declared = processor.spec.config.items()
            views = await stack.enter_async_context(watched(store, self._keyspace, declared))
            self.instance = await stack.enter_async_context(
                hosted(
                    processor,
                    store,
                    self._sessions,
                    self._keyspace,
                    instance="harness",
                    views=views,
                    backoff=lambda: Backoff(first_s=0.002, most_s=0.02),
                )
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._away = False
        await self._stack.__aexit__(kind, error, traceback)

    # -- what operators do -------------------------------------------------------------------

    async def put(
        self,
        variant: str,
        *,
        topics: Mapping[str, str] | None = None,
        parameters: Mapping[str, Value] | None = None,
    ) -> None:
        """Put a variant, as the flow service does: parameters become strings."""
        texts = {name: _text(value) for name, value in (parameters or {}).items()}
        record = VariantRecord(topics=dict(topics or {}), parameters=texts)
        await self.put_raw(variant, encode(record))

    async def put_raw(self, variant: str, value: bytes) -> None:
        """Put any bytes as a variant's value, as somebody with ``etcdctl`` might."""
        await self._commit(Put(self._key(variant), value))

    async def delete(self, variant: str) -> None:
        """Delete a variant."""
        await self._commit(Delete(self._key(variant)))

    async def put_config(self, type_: str, key: str, value: object) -> None:
        """Put an item of other configuration; :meth:`settled` waits until its view has it."""
        with _as_operator():
            await self._config.put(type_, key, value)

    async def delete_config(self, type_: str, key: str) -> None:
        """Delete one."""
        with _as_operator():
            await self._config.delete(type_, key)

    # -- what becomes of it ------------------------------------------------------------------

    async def running(self, variant: str) -> Variant:
        """Wait until it runs as it was put last; what it runs with."""

        def runs(found: Reconciler) -> bool:
            return variant in found.running and variant not in _behind(found)

        await self._until(runs, f"{variant} runs")
        return self.instance.reconciler.running[variant]

    def live(self, variant: str) -> Variant | None:
        """What runs of it at this moment: the last good value, while a newer one is bad."""
        return self.instance.reconciler.running.get(variant)

    @property
    def stats(self) -> Stats:
        """How often variants were started, updated in place, stopped, and so on."""
        return self.instance.reconciler.stats

    async def failed(self, variant: str) -> VariantFailure:
        """Wait until it is reported as failed; why. (The last good one may run.)"""
        await self._until(lambda found: variant in found.failures, f"{variant} fails")
        return self.instance.reconciler.failures[variant]

    async def stopped(self, variant: str) -> None:
        """Wait until nothing of it runs, and nothing is left to do for it."""

        def gone(found: Reconciler) -> bool:
            return variant not in found.running and variant not in _behind(found)

        await self._until(gone, f"{variant} is stopped")

    async def settled(self) -> None:
        """Wait until all that was put is heard, configuration too, and all is done but retries."""
        views = map(self.processor.config, self.processor.spec.config)
        informers = [self.instance.informer, *(view.informer for view in views)]
        revision = self.store.revision

        async def settle() -> None:
            for informer in informers:
                await informer.synced()
                self.store.progress()  # those whose range did not change learn the revision too
                await informer.until(partial(_reached, informer, revision))
            await self.instance.reconciler.quiet()

        await self._wait(settle, "all is settled")

    async def status(self) -> InstanceStatus:
        """What the instance reports, once that covers all that was put."""
        key = self._keyspace.processor(self.processor.id, self.instance.name)

        async def reported() -> InstanceStatus:
            await self.instance.settled(self._put)
            while True:
                with _as_operator():
                    found = await self.store.read(key)
                status = decode_status(found.value) if found else None
                if status and status.observed_revision >= self._put and not status.pending:
                    return status
                await asyncio.sleep(0.005)  # it is written by another task, within a moment

        return await self._wait(reported, "the status is written")

    # -- faults ------------------------------------------------------------------------------

    @asynccontextmanager
    async def outage(self) -> AsyncIterator[None]:
        """While the block runs, the processor cannot reach its store; the test can."""
        self._away = True
        self.store.cut_watches("outage")
        try:
            yield
        finally:
            self._away = False

    def cut_watches(self) -> None:
        """End all watches once: the processor lists again, and must lose nothing."""
        self.store.cut_watches("cut by the test")

    async def lose_lease(self) -> None:
        """End the lease of the instance: its status goes, and comes again under another."""
        lease = (await self._sessions.current()).lease
        with _as_operator():
            await self.store.revoke(lease)

    # -- inside ------------------------------------------------------------------------------

    def _key(self, variant: str) -> bytes:
        return self._keyspace.active_flow(VariantName(self.processor.id, variant))

    async def _commit(self, operation: Put | Delete) -> None:
        with _as_operator():
            self._put = (await self.store.commit(Txn(then=(operation,)))).revision

    async def _gate(self, _call: str, _moment: str) -> None:
        if self._away and not _by_hand.get():
            raise Unavailable("an outage, made by the test")

    async def _until(self, predicate: Callable[[Reconciler], bool], what: str) -> None:
        async def come_true() -> None:
            informer = self.instance.informer
            await informer.until(partial(_reached, informer, self._put))
            await self.instance.reconciler.until(predicate)

        await self._wait(come_true, what)

    async def _wait(self, work: Callable[[], Awaitable[T]], what: str) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await work()
        except TimeoutError:
            raise AssertionError(
                f"not within {self._timeout_s:g} s: {what}; {self._state()}"
            ) from None

    def _state(self) -> str:
        found = self.instance.reconciler
        failed = "; ".join(f"{name} failed: {f.error}" for name, f in found.failures.items())
        pending = sorted(_behind(found) - set(found.failures))
        running = sorted(found.running)
        return f"running: {running}, pending: {pending}" + (f", {failed}" if failed else "")


def _reached(informer: Informer[Any], revision: Revision, _: object) -> bool:
    return informer.revision >= revision


def _behind(found: Reconciler) -> set[str]:
    """The variants that are not as desired."""
    return {row.variant for row in found.rows()}


@contextmanager
def _as_operator() -> Iterator[None]:
    token = _by_hand.set(True)
    try:
        yield
    finally:
        _by_hand.reset(token)


def _text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.reference if isinstance(value, Secret) else str(value)
