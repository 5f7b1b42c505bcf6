"""Defects that the machine found in the processors: each keeps its reproduction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest

from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore, Moment
from kvconfig.model import Revision
from kvconfig.records import InstanceStatus, decode_status
from kvconfig.txn import Delete, Put, Txn
from processors import running
from processors.sessions import Sessions
from processors.status import About, Publisher, fold
from tests.history import virtual_time
from tests.property.processor_probe import Probe, Value
from tests.property.processor_world import on_loop_time, time_s

KEYSPACE = Keyspace()
STATUS = KEYSPACE.processor("probe", "i1")
ABOUT = About(host="h", started="2026-01-01T00:00:00Z", version="1")


@pytest.fixture(autouse=True)
def _virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    on_loop_time(monkeypatch)


class Stage(MemoryStore):
    """A store, a probe that runs what stands in it, and hands to put it there."""

    def __init__(self) -> None:
        super().__init__(clock=time_s)
        self.probe = Probe(Random(1), lambda _: 0)

    @asynccontextmanager
    async def instance(self) -> AsyncIterator[None]:
        async with running(self, [self.probe], instance="i1"):
            await asyncio.sleep(1.0)
            yield

    async def put(self, name: str, value: Value | None) -> Revision:
        """A value, or with ``None`` one that is bad."""
        raw = value.spelt(Random(1)) if value else b"bad"
        key = KEYSPACE.active_flow(VariantName("probe", name))
        return (await self.commit(Txn(then=(Put(key, raw),)))).revision

    async def delete(self, name: str) -> Revision:
        key = KEYSPACE.active_flow(VariantName("probe", name))
        return (await self.commit(Txn(then=(Delete(key),)))).revision

    async def status(self) -> InstanceStatus:
        found = await self.read(STATUS)
        assert found is not None
        return decode_status(found.value)


def play(scenario: Callable[[Stage], Awaitable[None]]) -> None:
    async def on_stage() -> None:
        await scenario(Stage())

    virtual_time.run(on_stage())


def test_what_is_entered_too_late_is_left() -> None:
    """Entering that swallows its cancellation, and goes on: it waited for ever to be left."""

    async def scenario(stage: Stage) -> None:
        async with stage.instance():
            await stage.put("a", Value("deaf"))
            await asyncio.sleep(20.0)
            await stage.put("a", Value("ok"))
            await asyncio.sleep(20.0)
            assert {name: run.value.mode for name, run in stage.probe.live.items()} == {"a": "ok"}

    play(scenario)


def test_tasks_end_before_their_variant_is_left() -> None:
    """Also where it is cancelled, here in an update that hangs when its instance ends."""

    async def scenario(stage: Stage) -> None:
        async with stage.instance():
            await stage.put("a", Value())
            await asyncio.sleep(1.0)
            await stage.put("a", Value(update="hang", n=1))
            await asyncio.sleep(0.5)
        assert stage.probe.breaches == []

    play(scenario)


def test_a_status_that_was_undone_is_written_again() -> None:
    """The store was restored to just before it, and to nothing else that was news."""

    async def scenario(stage: Stage) -> None:
        async with stage.instance():
            await stage.put("a", Value())
            await asyncio.sleep(1.0)
            deleted = await stage.delete("a")
            snapshot = stage.snapshot()
            await asyncio.sleep(1.0)
            stage.restore(snapshot)
            await asyncio.sleep(10.0)
            assert (await stage.status()).observed_revision == deleted

    play(scenario)


def test_a_status_is_undone_while_its_answer_is_on_its_way() -> None:
    """The answer is of the store as it was before it was restored, and comes when that is known."""

    async def scenario(stage: Stage) -> None:
        answered = asyncio.Event()

        async def hold(call: str, moment: Moment) -> None:
            if (call, moment) == ("commit", "after"):
                await answered.wait()

        async with stage.instance():
            await stage.put("a", Value())
            await asyncio.sleep(1.0)
            deleted = await stage.delete("a")
            snapshot = stage.snapshot()
            stage.gate = hold
            await asyncio.sleep(1.0)
            stage.restore(snapshot)
            await asyncio.sleep(3.0)
            answered.set()
            await asyncio.sleep(10.0)
            assert (await stage.status()).observed_revision == deleted

    play(scenario)


def test_a_status_that_changes_back_after_a_lost_reply_is_written() -> None:
    """It was thought to stand there still, and what stood there was what came in between."""

    async def scenario(stage: Stage) -> None:
        said = 1

        def status() -> InstanceStatus:
            return fold([], Revision(said), ABOUT)

        async def change_back(call: str, moment: Moment) -> None:
            nonlocal said
            if (call, moment) == ("commit", "after"):
                said = 1

        async with (
            Sessions(stage) as sessions,
            Publisher(stage, sessions, STATUS, status) as publisher,
        ):
            publisher.notify()
            await asyncio.sleep(1.0)
            stage.lose_next_reply()
            stage.gate, said = change_back, 2
            publisher.notify()
            await asyncio.sleep(10.0)
            assert (await stage.status()).observed_revision == 1

    play(scenario)


def test_what_is_not_listed_is_not_said_to_be_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store was restored to an earlier put of the same value, which is no change of it."""
    assert fold.__kwdefaults__ is not None
    monkeypatch.setitem(fold.__kwdefaults__, "most", 1)

    async def scenario(stage: Stage) -> None:
        async with stage.instance():
            await stage.put("a", None)
            put = await stage.put("b", None)
            await asyncio.sleep(1.0)
            snapshot = stage.snapshot()
            await stage.delete("b")
            await asyncio.sleep(1.0)
            await stage.put("b", None)
            await asyncio.sleep(1.0)
            stage.restore(snapshot)
            await asyncio.sleep(10.0)
            status = await stage.status()
            assert set(status.failed) == {"a"}
            assert status.observed_revision < put

    play(scenario)
