"""A ``Flows`` without a store, for tests of what lies between it and the caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from flowsvc.client import Client
from flowsvc.errors import Finding, NotFound
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
    VariantChange,
)
from flowsvc.server import serve
from flowsvc.status import (
    FlowStatus,
    InstanceReport,
    ProcessorInstance,
    ProcessorStatus,
    VariantStatus,
)
from kvconfig.model import Revision
from kvconfig.records import FlowRecord, FlowVariants

FLOW = Flow(
    id="f1",
    record=FlowRecord(
        blueprint_name="b",
        description="größer",
        interfaces={"agent": {"request": "r", "response": ""}, "none": {}},
        parameters={"size": "500", "empty": ""},
        variants=FlowVariants(own=("chunker/f1", "loader/f1"), shared=("query/b",)),
        op="op-1",
        given={"size": "500"},
        workspace="w",
    ),
    mod_revision=Revision(2**40),
    version=3,
)


FINDINGS = (Finding("$.flow", "is empty"), Finding("$.tags[0]", "ignored", "warning"))


STATUS = FlowStatus(
    flow="f1",
    state="degraded",
    mod_revision=Revision(2**40),
    variants=(
        VariantStatus(
            name="chunker/f1",
            shared=False,
            state="degraded",
            mod_revision=Revision(2**40),
            instances=(
                InstanceReport(instance="c1", state="running", observed_revision=Revision(2**41)),
                InstanceReport(
                    instance="c2",
                    state="failed",
                    observed_revision=Revision(2**41),
                    error="no such model",
                    attempts=3,
                    since="2025-01-01T00:00:00.000Z",
                ),
            ),
        ),
        VariantStatus(
            name="query/b", shared=True, state="starting", mod_revision=Revision(0), error="no key"
        ),
    ),
    missing=("query",),
)

PROCESSOR = ProcessorStatus(
    processor="chunker",
    state="degraded",
    desired=1,
    running=0,
    instances=(
        ProcessorInstance(
            instance="c1",
            observed_revision=Revision(2**41),
            host="größer",
            started="2025-01-01T00:00:00.000Z",
            version="1.0",
        ),
        ProcessorInstance(
            instance="c2",
            observed_revision=Revision(2**41),
            pending=2,
            failed=1,
            host="h",
            leaving=("f0",),
        ),
    ),
    variants=STATUS.variants[:1],
)

PREVIEW = Preview(
    text="put /flow/f1",
    txn={"compares": [], "then": [{"put": {"key": "/flow/f1"}}], "otherwise": []},
    changes=(
        VariantChange(processor="chunker", variant="f1", after={"topics": {}}),
        VariantChange(processor="query", variant="b", before={"topics": {"ö": "x"}}),
    ),
    check_revision=Revision(2**40),
    findings=FINDINGS,
)

HISTORY = [
    HistoryEntry(op="op-2", revision=Revision(9), action="stop", by="ada", at="t2", why=""),
    HistoryEntry(
        op="op-1",
        revision=Revision(7),
        action="start",
        by="",
        at="t1",
        why="to see",
        after={"record": {"ö": [1, 2.5, None]}},
    ),
]


RUNS = FlowStatus(flow="f1", state="running", mod_revision=Revision(5))
"""A flow of which nothing more is known."""


class FakeFlows(Flows):
    """Remembers what it was asked; answers what it was told to, or raises it.

    ``asked`` holds each request for a change as ``(request,)``, and reads by their arguments; what
    would look the same as another begins with its method's name. ``statuses`` are what a watch
    gives first, then comes what is put into ``news``; ``watching`` counts open watches.
    """

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.error: Exception | None = None
        self.flows = [FLOW]
        self.done = Done(
            op="op-1", revision=Revision(9), round_trips=2, conflicts=1, findings=FINDINGS
        )
        self.definition = Definition(
            name="b", definition={"flow": {"ö": [1, 2.5, None]}}, mod_revision=Revision(5)
        )
        self.previewed = PREVIEW
        self.pruned = Pruned(removed=3, found=7)
        self.statuses = [STATUS]
        self.processors = [PROCESSOR]
        self.news: asyncio.Queue[FlowStatus | Exception] = asyncio.Queue()
        self.watching = 0
        self.wait: Callable[[], Any] | None = None
        self._moved = asyncio.Condition()

    async def _answer(self, *asked: Any) -> None:
        self.asked.append(asked)
        if self.wait is not None:
            await self.wait()
        if self.error is not None:
            raise self.error

    async def change(self, request: Change) -> Done:
        await self._answer(request)
        return self.done

    async def preview(self, request: Change) -> Preview:
        await self._answer("preview", request)
        return self.previewed

    async def restart_flow(self, request: PauseFlow) -> Done:
        await self._answer("restart_flow", request)
        return self.done

    async def get_flow(self, flow: str) -> Flow:
        await self._answer(flow)
        return self.flows[0]

    async def list_flows(self) -> list[Flow]:
        await self._answer()
        return self.flows

    async def get_definition(self, kind: DefinitionKind, name: str) -> Definition:
        await self._answer(kind, name)
        return self.definition

    async def list_definitions(self, kind: DefinitionKind) -> list[Definition]:
        await self._answer(kind)
        return [self.definition]

    async def history(self, kind: HistoryKind, name: str) -> list[HistoryEntry]:
        await self._answer("history", kind, name)
        return HISTORY

    async def prune_history(
        self, kind: HistoryKind, *, older_than_s: float, name: str = "", dry_run: bool = False
    ) -> Pruned:
        await self._answer("prune_history", kind, older_than_s, name, dry_run)
        return self.pruned

    async def get_status(self, flow: str) -> FlowStatus:
        await self._answer("get_status", flow)
        found = [status for status in self.statuses if status.flow == flow]
        if not found:
            raise NotFound("flow", flow)
        return found[0]

    async def list_statuses(self) -> list[FlowStatus]:
        await self._answer("list_statuses")
        return self.statuses

    async def get_processor(self, processor: str) -> ProcessorStatus:
        await self._answer("get_processor", processor)
        return self.processors[0]

    async def list_processors(self) -> list[ProcessorStatus]:
        await self._answer("list_processors")
        return self.processors

    async def watch_flows(self) -> AsyncGenerator[FlowStatus, None]:
        await self._count(+1)
        try:
            await self._answer("watch_flows")
            for status in self.statuses:
                yield status
            while True:
                news = await self.news.get()
                if isinstance(news, Exception):
                    raise news
                yield news
        finally:
            await self._count(-1)

    async def _count(self, change: int) -> None:
        async with self._moved:
            self.watching += change
            self._moved.notify_all()

    async def watched_by(self, count: int) -> None:
        """Wait until so many watches are open."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.watching == count)


@asynccontextmanager
async def connected(flows: Flows, **options: Any) -> AsyncIterator[Client]:
    async with serve(flows) as port, Client(f"127.0.0.1:{port}", **options) as client:
        yield client
