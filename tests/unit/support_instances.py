"""Instances that run nothing, for those who only look at them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kvconfig.informer import Informer
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from processors import FlowProcessor, Instance
from processors.reconciler import Reconciler, decode_item
from processors.sessions import Sessions
from processors.status import Publisher


class Clock:
    """Stands still."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def idle(
    id_: str = "p", *, store: MemoryStore | None = None, clock: Clock | None = None
) -> Instance:
    """An instance of which nothing was entered: it knows nothing and does nothing."""
    opened, space = store or MemoryStore(), Keyspace()
    processor = FlowProcessor()
    processor.id = id_
    informer: Informer[Any] = Informer(
        opened, space.active_flow_range(id_), decode_item, name=id_, clock=clock or Clock()
    )
    reconciler = Reconciler(processor, informer, space)
    publisher = Publisher(opened, Sessions(opened), space.processor(id_, "i1"), lambda: None)
    return Instance(processor, "i1", informer, reconciler, publisher)


@asynccontextmanager
async def synced(instance: Instance) -> AsyncIterator[None]:
    """Its cache is filled and kept while the block runs."""
    async with instance.informer:
        await instance.informer.synced()
        yield
