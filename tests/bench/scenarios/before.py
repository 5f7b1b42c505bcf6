"""The same start by the design that this one replaces, on the same etcd."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

from flowsvc.model import StartFlow
from flowsvc.service import FlowService
from kvconfig.etcd import EtcdStore, connect
from kvconfig.informer import Informer
from kvconfig.keyspace import Keyspace
from kvconfig.records import VariantRecord
from tests.bench.clients.kvconfig_client import variant
from tests.bench.goals import Figures, Row, Scenario, at_least
from tests.bench.places import counted, etcd
from tests.bench.replaced import Replaced, replaced
from tests.flows import as_json

__all__ = ["REPLACED"]

PROCESSORS, CONCERNED, FLOWS, STARTS = 50, 20, 20, 2
SENT = "etcd_network_client_grpc_sent_bytes_total"


class _Both:
    """Both designs at work on one etcd. Each has its own 20 of the 50 processors for each flow."""

    def __init__(self, endpoint: str, old: Replaced, service: FlowService) -> None:
        self._endpoint = endpoint
        self._old, self._service = old, service
        self._chosen = random.Random(9)
        self.informers: list[Informer[VariantRecord]] = []

    async def start(self, flow: str) -> Figures:
        """Start ``flow`` in both, each until all processors concerned know of it.

        The bytes are those that etcd has sent meanwhile.
        """
        concerned = sorted(self._chosen.sample(range(PROCESSORS), CONCERNED))
        topics = {"input": f"in-{flow}", "output": f"out-{flow}"}
        entry = {"topics": topics, "parameters": {"model": "a-model"}}
        blueprint = as_json({"blueprint": {}, "flow": {f"p{n}:{{id}}": entry for n in concerned}})
        done = await self._service.put_blueprint(flow, blueprint)
        await self._service.blueprints.until(
            lambda _: self._service.blueprints.revision >= done.revision
        )
        start = StartFlow(flow=flow, blueprint_name=flow)
        await self._service.preview(start)  # compiles the blueprint: done once for each version
        before = await self._sent()
        begun = time.perf_counter()
        await self._old.start(flow, {f"p{number}": entry for number in concerned})
        old_s = time.perf_counter() - begun
        between = await self._sent()
        begun = time.perf_counter()
        done = await self._service.start_flow(start)
        for number in concerned:
            informer = self.informers[number]
            await informer.until(lambda _, its=informer: its.revision >= done.revision)  # type: ignore[misc]
        new_s = time.perf_counter() - begun
        after = await self._sent()
        return {
            "old_ms": old_s * 1e3,
            "new_ms": new_s * 1e3,
            "old_bytes": between - before,
            "new_bytes": after - between,
        }

    async def _sent(self) -> float:
        return (await counted(self._endpoint))[SENT]


async def _before(rounds: int) -> AsyncGenerator[Figures, None]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(etcd())

        async def connected() -> EtcdStore:
            opened = connect([server.endpoint], timeout_s=60, silence_s=3600)
            return await stack.enter_async_context(opened)

        # A connection each, or one would wait for the bytes of the other.
        old = await stack.enter_async_context(replaced(await connected(), PROCESSORS))
        service = await stack.enter_async_context(FlowService(await connected(), Keyspace()))
        both = _Both(server.endpoint, old, service)
        store = await connected()
        for number in range(PROCESSORS):
            range_ = Keyspace().active_flow_range(f"p{number}")
            informer = await stack.enter_async_context(Informer(store, range_, variant))
            await informer.synced()
            both.informers.append(informer)
        for number in range(FLOWS):
            await both.start(f"running-{number}")
        for turn in range(rounds):
            every = [await both.start(f"f{turn}-{number}") for number in range(STARTS)]
            figures = {name: sum(each[name] for each in every) / STARTS for name in every[0]}
            yield {
                **figures,
                "faster": figures["old_ms"] / figures["new_ms"],
                "fewer_bytes": figures["old_bytes"] / figures["new_bytes"],
            }


REPLACED = Scenario(
    name="replaced",
    about=f"the design that is replaced: N = {PROCESSORS}, P = {CONCERNED}, {FLOWS} flows running",
    rounds=_before,
    rows=(
        Row(what="start, by the replaced design: faster", measure="faster", goal=at_least(40)),
        Row(
            what="start, by the replaced design: fewer bytes read",
            measure="fewer_bytes",
            goal=at_least(1_000),
            digits=0,
        ),
        Row(what="… a start there", measure="old_ms", unit="ms", digits=0),
        Row(what="… a start here", measure="new_ms", unit="ms", digits=1),
        Row(what="… bytes read there", measure="old_bytes", unit="B", digits=0),
        Row(what="… bytes read here", measure="new_bytes", unit="B", digits=0),
    ),
)
