"""A layout of keys that this version does not know: nobody acts on it, and each says what to do."""

from __future__ import annotations

import asyncio

import pytest

from flowsvc.service import FlowService
from kvconfig.errors import InvalidValue, KvError, LayoutTooNew, LayoutTooOld
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.txn import Put, Txn
from processors.runner import run, running
from tests.unit.support_processors import Desk, Probe

KEYS = Keyspace()

OTHERS = [
    (b'{"version":2}', LayoutTooNew, "upgrade"),
    (b'{"version":0}', LayoutTooOld, "flowctl migrate"),
    (b"nope", InvalidValue, "/kvconfig/layout"),
]


async def lay_out(store: MemoryStore, value: bytes) -> None:
    await store.commit(Txn(then=(Put(KEYS.layout(), value),)))


@pytest.mark.parametrize(("value", "error", "cure"), OTHERS)
async def test_a_service_refuses_to_start(value: bytes, error: type[KvError], cure: str) -> None:
    """Before it reads anything else, and the key is left as it is."""
    store = MemoryStore()
    await lay_out(store, value)
    with pytest.raises(error, match=cure):
        async with FlowService(store, KEYS):
            pass
    found = await store.read(KEYS.layout())
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize(("value", "error", "cure"), OTHERS)
async def test_a_processor_refuses_to_start_anything(
    value: bytes, error: type[KvError], cure: str
) -> None:
    """It ends, and no variant was entered."""
    store, probe = MemoryStore(), Probe()
    await lay_out(store, value)
    await Desk(store, KEYS).put("a")
    with pytest.raises(error, match=cure):
        await run(store, [probe], asyncio.Event())
    assert not probe.starts


async def test_a_processor_ends_when_the_layout_becomes_another() -> None:
    """In good order: what runs is stopped, and it says why."""
    store, probe = MemoryStore(), Probe()
    await lay_out(store, b'{"version":1}')
    await Desk(store, KEYS).put("a")
    async with running(store, [probe]) as [instance]:
        await instance.reconciler.until(lambda found: "a" in found.running)
        await lay_out(store, b'{"version":2}')
        with pytest.raises(LayoutTooNew):
            await instance.failed()
    assert probe.starts == probe.stops
    assert probe.starts["a"] == 1


async def test_a_service_starts_while_etcd_is_out_of_space() -> None:
    """It can still stop flows; and which layout there is, it only has to read."""
    store = MemoryStore()
    async with FlowService(store, KEYS):
        pass
    store.out_of_space = True
    calls = store.calls.copy()
    async with FlowService(store, KEYS) as service:
        assert await service.list_flows() == []
    assert store.calls["commit"] == calls["commit"]


async def test_without_a_layout_a_processor_runs() -> None:
    """It may be there before the first service has written one."""
    store, probe = MemoryStore(), Probe()
    async with running(store, [probe]) as [instance]:
        await instance.settled(await Desk(store, KEYS).put("a"))
        assert set(probe.live) == {"a"}
