"""What the service does and how well, for Prometheus. Off unless somebody asks for it.

:class:`Measured` stands before any :class:`flowsvc.model.Flows` and tells :class:`Metrics`; so the
service itself knows nothing of metrics. Labels are words of ours (operations, classes of errors,
caches), never names or values.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from flowsvc.model import (
    Change,
    Definition,
    DefinitionKind,
    Done,
    Flow,
    Flows,
    HistoryEntry,
    HistoryKind,
    PauseFlow,
    Preview,
    Pruned,
)
from flowsvc.status import FlowStatus, ProcessorStatus
from flowsvc.target import VERBS

__all__ = ["Measured", "Metrics", "exposed"]

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Metrics:
    """The metrics of one service, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._operations = Counter(
            "kvconfig_flow_operations",
            "Changes that were asked for, by how they ended: done, cancelled, or an error.",
            ["operation", "outcome"],
            registry=self.registry,
        )
        self._conflicts = Counter(
            "kvconfig_flow_conflicts",
            "Transactions that found something written by others, of changes that were done.",
            registry=self.registry,
        )
        self._retries = Counter(
            "kvconfig_flow_retries",
            "Changes that were asked for again after a lost answer.",
            registry=self.registry,
        )
        self._commit_s = Histogram(
            "kvconfig_flow_commit_seconds",
            "From the request to the answer, for changes that were done.",
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._cache_age_s = Gauge(
            "kvconfig_flow_cache_age_seconds",
            "Since etcd last gave a sign of life for a cache.",
            ["cache"],
            registry=self.registry,
        )

        self._file_refused = Gauge(
            "kvconfig_flow_file_refused",
            "1 while a changed file is no good, so that what it held before counts on.",
            ["file"],
            registry=self.registry,
        )

    def operation(self, verb: str, outcome: str, conflicts: int, seconds: float) -> None:
        """A change has ended."""
        self._operations.labels(operation=verb, outcome=outcome).inc()
        self._conflicts.inc(conflicts)
        if outcome == "done":
            self._commit_s.observe(seconds)

    def retry(self) -> None:
        """A change has come that was sent before."""
        self._retries.inc()

    def cache(self, name: str, age_s: Callable[[], float]) -> None:
        """Show the age of a cache. It is asked from another thread."""
        self._cache_age_s.labels(cache=name).set_function(age_s)

    def file(self, name: str, refused: Callable[[], bool]) -> None:
        """Show whether a file is no good as it is now. It is asked from another thread."""
        self._file_refused.labels(file=name).set_function(refused)


@contextmanager
def exposed(metrics: Metrics, port: int, address: str = "127.0.0.1") -> Iterator[int]:
    """Serve the metrics over HTTP, from a thread of their own; gives the port (0: a free one).

    ``address`` is an IPv4 or IPv6 address of this machine; ``0.0.0.0`` and ``::`` are all it has.
    Raises OSError where nothing can listen there.
    """
    server, thread = start_http_server(port, addr=address, registry=metrics.registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Measured(Flows):
    """``flows``, with every change counted and timed."""

    def __init__(
        self, flows: Flows, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._flows, self._metrics, self._clock = flows, metrics, clock

    async def change(self, request: Change) -> Done:
        """Carried out, and measured."""
        return await self._measure(VERBS[type(request)], request, self._flows.change(request))

    async def restart_flow(self, request: PauseFlow) -> Done:
        """Carried out, and measured; with the time that processors took."""
        return await self._measure("restart", request, self._flows.restart_flow(request))

    async def _measure(self, verb: str, request: Change, work: Awaitable[Done]) -> Done:
        if request.resent:
            self._metrics.retry()
        began = self._clock()
        outcome, conflicts = "done", 0
        try:
            done = await work
            conflicts = done.conflicts
            return done
        except asyncio.CancelledError:
            outcome = "cancelled"  # its deadline, or the server's grace, has passed
            raise
        except Exception as error:
            outcome = type(error).__name__
            raise
        finally:
            self._metrics.operation(verb, outcome, conflicts, self._clock() - began)

    # -- the rest as it is -----------------------------------------------------------------------

    async def preview(self, request: Change) -> Preview:
        """As it is."""
        return await self._flows.preview(request)

    async def get_flow(self, flow: str) -> Flow:
        """As it is."""
        return await self._flows.get_flow(flow)

    async def list_flows(self) -> list[Flow]:
        """As it is."""
        return await self._flows.list_flows()

    async def get_definition(self, kind: DefinitionKind, name: str) -> Definition:
        """As it is."""
        return await self._flows.get_definition(kind, name)

    async def list_definitions(self, kind: DefinitionKind) -> list[Definition]:
        """As it is."""
        return await self._flows.list_definitions(kind)

    async def history(self, kind: HistoryKind, name: str) -> list[HistoryEntry]:
        """As it is."""
        return await self._flows.history(kind, name)

    async def prune_history(
        self, kind: HistoryKind, *, older_than_s: float, name: str = "", dry_run: bool = False
    ) -> Pruned:
        """As it is."""
        return await self._flows.prune_history(
            kind, older_than_s=older_than_s, name=name, dry_run=dry_run
        )

    async def get_status(self, flow: str) -> FlowStatus:
        """As it is."""
        return await self._flows.get_status(flow)

    async def list_statuses(self) -> list[FlowStatus]:
        """As it is."""
        return await self._flows.list_statuses()

    async def get_processor(self, processor: str) -> ProcessorStatus:
        """As it is."""
        return await self._flows.get_processor(processor)

    async def list_processors(self) -> list[ProcessorStatus]:
        """As it is."""
        return await self._flows.list_processors()

    def watch_flows(self) -> AsyncIterator[FlowStatus]:
        """As it is."""
        return self._flows.watch_flows()
