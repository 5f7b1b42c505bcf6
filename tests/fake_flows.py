"""A ``Flows`` without a store, for tests of what lies between it and the caller."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from flowsvc.client import Client
from flowsvc.errors import Finding
from flowsvc.model import NOBODY, Actor, Definition, Done, Flow, StartFlow, StopFlow
from flowsvc.server import serve
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
    ),
    mod_revision=Revision(2**40),
    version=3,
)


FINDINGS = (Finding("$.flow", "is empty"), Finding("$.tags[0]", "ignored", "warning"))


class FakeFlows:
    """Remembers what it was asked; answers what it was told to, or raises it."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.error: Exception | None = None
        self.flows = [FLOW]
        self.done = Done(op="op-1", revision=Revision(9), round_trips=2, findings=FINDINGS)
        self.definition = Definition(
            name="b", definition={"flow": {"ö": [1, 2.5, None]}}, mod_revision=Revision(5)
        )
        self.wait: Callable[[], Any] | None = None

    async def _answer(self, *asked: Any) -> None:
        self.asked.append(asked)
        if self.wait is not None:
            await self.wait()
        if self.error is not None:
            raise self.error

    async def start_flow(self, request: StartFlow) -> Done:
        await self._answer(request)
        return self.done

    async def stop_flow(self, request: StopFlow) -> Done:
        await self._answer(request)
        return self.done

    async def get_flow(self, flow: str) -> Flow:
        await self._answer(flow)
        return self.flows[0]

    async def list_flows(self) -> list[Flow]:
        await self._answer()
        return self.flows

    async def put_blueprint(
        self, name: str, definition: bytes, *, op: str = "", actor: Actor = NOBODY
    ) -> Done:
        await self._answer(name, definition, op, actor)
        return self.done

    async def get_blueprint(self, name: str) -> Definition:
        await self._answer(name)
        return self.definition

    async def list_blueprints(self) -> list[Definition]:
        await self._answer()
        return [self.definition]

    async def put_parameter_type(
        self, name: str, definition: bytes, *, op: str = "", actor: Actor = NOBODY
    ) -> Done:
        await self._answer(name, definition, op, actor)
        return self.done

    async def get_parameter_type(self, name: str) -> Definition:
        await self._answer(name)
        return self.definition

    async def list_parameter_types(self) -> list[Definition]:
        await self._answer()
        return [self.definition]


@asynccontextmanager
async def connected(flows: FakeFlows, **options: Any) -> AsyncIterator[Client]:
    async with serve(flows) as port, Client(f"127.0.0.1:{port}", **options) as client:
        yield client
