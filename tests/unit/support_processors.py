"""A processor that does as it is told, and a store to tell it what to run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kvconfig.backoff import Backoff
from kvconfig.codec import encode
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.model import Revision
from kvconfig.records import VariantRecord
from kvconfig.store import Store
from kvconfig.txn import Delete, Put, Txn
from processors import FlowProcessor, Instance, Parameter, Permanent, Spec, Tasks, Variant
from processors.instance import hosted
from processors.sessions import Sessions


class Boom(Exception):
    """What a probe fails with."""


class Probe(FlowProcessor):
    """Runs what it is given and keeps book; ``mode`` in a variant's parameters makes it fail.

    ``ok``; ``fail``: entering raises; ``permanent``: it raises ``Permanent``; ``crash``: its task
    raises once it runs; ``hang``: entering never returns; ``stubborn``: leaving takes until
    ``release`` is set, cancelled or not.
    """

    id = "probe"
    spec = Spec(
        topics=("input",),
        parameters={
            "mode": Parameter(str, default="ok"),
            "n": Parameter(int, default=0),
        },
    )
    start_timeout_s = 0.4
    stop_timeout_s = 0.4

    def __init__(self) -> None:
        self.live: dict[str, Variant] = {}
        self.starts: Counter[str] = Counter()
        self.stops: Counter[str] = Counter()
        self.healed: set[str] = set()
        self.release = asyncio.Event()
        self._crashes: dict[str, asyncio.Future[None]] = {}

    def crash(self, name: str) -> None:
        """Make the task of a variant fail, where one runs."""
        crash = self._crashes.get(name)
        if name in self.live and crash is not None and not crash.done():
            crash.set_exception(Boom("crashed"))

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        name = variant.name
        mode = "ok" if name in self.healed else variant.parameter("mode", str)
        self.starts[name] += 1
        assert name not in self.live, "twice at once"
        self.live[name] = variant
        try:
            await asyncio.sleep(0)
            if mode == "fail":
                raise Boom("cannot start")
            if mode == "permanent":
                raise Permanent("never")
            if mode == "hang":
                await asyncio.Event().wait()
            self._crashes[name] = asyncio.get_running_loop().create_future()
            tasks.spawn(self._task(self._crashes[name], mode))
            yield
            await asyncio.sleep(0)
            if mode == "stubborn":
                await self._refuse()
        finally:
            self.stops[name] += 1
            del self.live[name]

    async def _task(self, crash: asyncio.Future[None], mode: str) -> None:
        if mode == "crash":
            raise Boom("crashed")
        await crash

    async def _refuse(self) -> None:
        while not self.release.is_set():
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                continue


class Hasty(Probe):
    """Has no time to lose: on a busy machine a start may time out that did not hang."""

    start_timeout_s = 0.05
    stop_timeout_s = 0.05


class Desk:
    """Puts and deletes variants, as an operator would."""

    def __init__(self, store: Store, keyspace: Keyspace, processor: str = "probe") -> None:
        self.store, self.keyspace, self.processor = store, keyspace, processor

    def key(self, name: str) -> bytes:
        return self.keyspace.active_flow(VariantName(self.processor, name))

    async def put(self, name: str, **parameters: object) -> Revision:
        given = {key: str(value) for key, value in parameters.items()}
        record = VariantRecord(topics={"input": "in"}, parameters=given)
        return await self.put_raw(self.key(name), encode(record))

    async def put_raw(self, key: bytes, value: bytes) -> Revision:
        return (await self.store.commit(Txn(then=(Put(key, value),)))).revision

    async def delete(self, name: str) -> Revision:
        return (await self.store.commit(Txn(then=(Delete(self.key(name)),)))).revision


class Quick(Backoff):
    """Delays that a test need not wait for, and that are never nothing."""

    def next_s(self) -> float:
        self.attempts += 1
        return 0.002 * self.attempts


class Never(Backoff):
    """The next attempt is so far away that only a put brings it."""

    def next_s(self) -> float:
        self.attempts += 1
        return 3600.0


@asynccontextmanager
async def probing(
    probe: Probe, *, backoff: type[Backoff] = Never, store: MemoryStore | None = None
) -> AsyncIterator[tuple[Desk, Instance]]:
    """``probe`` hosted on a store in memory."""
    opened = store or MemoryStore()
    keyspace = Keyspace()
    async with (
        Sessions(opened) as sessions,
        hosted(probe, opened, sessions, keyspace, instance="i1", backoff=backoff) as instance,
    ):
        await instance.settled()
        yield Desk(opened, keyspace), instance
