"""etcd goes away under running processors, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from kvconfig.devserver import DevServer, EtcdBinary
from kvconfig.errors import OutcomeUnknown, StoreError, Unavailable
from kvconfig.etcd import connect
from kvconfig.informer import Informer
from kvconfig.keys import one
from kvconfig.keyspace import Keyspace
from kvconfig.records import InstanceStatus, decode_status
from kvconfig.store import Store
from processors import Instance, running
from tests.unit.support_processors import Desk, Probe

SPACE = Keyspace("@outage")


async def _settled(store: Store) -> InstanceStatus:
    """The instance's status, once it says that nothing is on its way any more."""
    key = SPACE.processor("probe", "one")
    async with (
        asyncio.timeout(30),
        Informer(store, one(key), lambda kv: decode_status(kv.value, key=key)) as informer,
    ):
        await informer.until(
            lambda items: any(item.value and not item.value.pending for item in items.values())
        )
        status = informer.items[key].value
    assert status is not None
    return status


async def _runs(instance: Instance, probe: Probe, wanted: dict[str, int]) -> None:
    """Return when exactly these variants run, with these numbers."""

    def as_wanted(_: object) -> bool:
        found = {name: variant.parameter("n", int) for name, variant in probe.live.items()}
        return found == wanted

    async with asyncio.timeout(30):
        await instance.reconciler.until(as_wanted)


@pytest.mark.robustness_ci
async def test_kill_9_of_the_only_member_under_running_processors(
    robust_binary: EtcdBinary, tell: Callable[[str], None]
) -> None:
    """What was changed before, refused during and made after is reflected exactly.

    Nothing that runs stops because etcd is away; the status comes back under a new lease.
    """
    environ = {"ETCD_BIN": str(robust_binary.path)}
    probe = Probe()
    async with (
        DevServer(durable=True, environ=environ) as server,
        connect([server.endpoint], timeout_s=1.0) as store,
        connect([server.endpoint], timeout_s=1.0) as ours,
        running(store, [probe], keyspace=SPACE, instance="one", ttl_s=2) as (instance,),
    ):
        desk = Desk(ours, SPACE)
        for number in range(20):
            await desk.put(f"f{number}", n=number)
        before = {f"f{number}": number for number in range(20)}
        await _runs(instance, probe, before)

        await server.kill()
        refused = 0
        for number in range(3):
            try:
                await desk.put(f"late{number}", n=1)
            except (Unavailable, OutcomeUnknown):
                refused += 1
        assert refused == 3
        assert {name: v.parameter("n", int) for name, v in probe.live.items()} == before
        assert not probe.stops

        clock = asyncio.get_running_loop().time
        await server.start()
        up = clock()
        await _acknowledged(desk, "f0", 100)
        await desk.delete("f1")
        await desk.put("new", n=7)
        after = {**before, "f0": 100, "new": 7}
        del after["f1"]
        await _runs(instance, probe, after)
        recovered_s = clock() - up
        assert dict(probe.stops) == {"f0": 1, "f1": 1}, "only what was changed was stopped"
        assert not (await _settled(ours)).failed
    tell(f"kill -9 of the only member: as desired {recovered_s:.2f} s after it was back")


async def _acknowledged(desk: Desk, name: str, n: int) -> None:
    """Put until it is acknowledged: the first write may meet the connection that died."""
    async with asyncio.timeout(20):
        while True:
            try:
                await desk.put(name, n=n)
                return
            except StoreError:
                await asyncio.sleep(0.05)
