"""What the tests of apply share: one system, in process or through a server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, closing
from io import BytesIO
from typing import Any

from flowsvc.apply import Apply, plan
from flowsvc.client import Client
from flowsvc.config_client import ConfigClient
from flowsvc.model import Flows
from flowsvc.seed.reading import Source, read_seed
from flowsvc.server import serve
from kvconfig.config.bulk import AskedBulk, ItemPort
from kvconfig.store import Store
from tests.seeds import System, as_seed, system_on

__all__ = ["Applier", "applier_on", "names"]


class Applier:
    """Applies documents to a ``system``, by way of ``flows`` and ``items``. Close it after that."""

    def __init__(self, system: System, flows: Flows, items: ItemPort) -> None:
        self.system, self.flows, self.items = system, flows, items
        self._seeds = ExitStack()
        self.close = self._seeds.close

    async def plan(self, document: dict[str, Any], **options: Any) -> Apply:
        """What an apply would do."""
        source = Source("the files", lambda: BytesIO(as_seed(document)), "json")
        seed = self._seeds.enter_context(read_seed([source], "the files"))
        return await plan(seed, self.flows, self.items, **options)

    async def apply(self, document: dict[str, Any], **options: Any) -> Apply:
        """Do it."""
        found = await self.plan(document, **options)
        await found.carry_out()
        return found

    async def owned(self, set_: str = "default") -> list[str]:
        """What the record says."""
        return list((await self.system.config.get_applied(set_))[0].keys)


@asynccontextmanager
async def applier_on(
    store: Store, root: str = "", *, way: str = "process"
) -> AsyncIterator[Applier]:
    """A system of its own; ``way``: in this process, or through a ``server``."""
    async with system_on(store, root) as system:
        if way == "process":
            with closing(Applier(system, system.service, system.bulk)) as applier:
                yield applier
            return
        async with (
            serve(system.service, config=system.config) as port,
            Client(f"127.0.0.1:{port}") as flows,
            ConfigClient(f"127.0.0.1:{port}") as config,
        ):
            with closing(Applier(system, flows, AskedBulk(config))) as applier:
                yield applier


def names(apply: Apply) -> list[str]:
    """What it does, as ``created prompt/system``."""
    return [f"{step.outcome} {step.name}" for step in apply.steps]
