"""etcd is full: the NOSPACE alarm, and what still works under it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from flowsvc.model import StartFlow, StopFlow
from flowsvc.service import FlowService
from kvconfig.devserver import EtcdBinary, LocalCluster
from kvconfig.errors import NoSpace
from kvconfig.etcd import EtcdStore, connect
from kvconfig.informer import Informer
from kvconfig.keys import prefix
from kvconfig.keyspace import Keyspace
from kvconfig.session import Session
from kvconfig.txn import Delete, Put, Txn
from tests.robustness.recorder import Recorder, raw

Etcdctl = Callable[..., Awaitable[str]]
QUOTA_BYTES = 16 * 2**20


async def fill(store: EtcdStore) -> None:
    """Raises NoSpace."""
    for n in range(64):
        await store.commit(Txn(then=(Put(b"/r/big/%02d" % n, bytes(2**20)),)))


@pytest.mark.timeout(120)
@pytest.mark.robustness_ci
async def test_etcd_is_out_of_space(robust_binary: EtcdBinary, etcdctl: Etcdctl) -> None:
    """Puts are refused as NoSpace and change nothing; deletes pass, watches and leases go on, flows
    can be stopped; and once an operator has made room everything does."""
    quota = f"--quota-backend-bytes={QUOTA_BYTES}"
    async with (
        LocalCluster(3, binary=robust_binary, durable=False, extra_args=[quota]) as cluster,
        connect(cluster.endpoints) as store,
        Informer(store, prefix(b"/r/keys/"), raw) as informer,
        Session(store, ttl_s=3) as session,
        AsyncExitStack() as stack,
    ):
        recorder = Recorder(informer)
        keys = [b"/r/keys/%d" % n for n in range(4)]
        for key in keys:
            await store.commit(Txn(then=(Put(key, b"1", session.lease),)))
        flows = await stack.enter_async_context(FlowService(store, Keyspace("@full")))
        await flows.put_blueprint("b", b'{"blueprint":{"s:common":{}},"flow":{"p:{id}":{}}}')
        for flow in ("f1", "f2"):
            await flows.start_flow(StartFlow(flow=flow, blueprint_name="b"))
        with pytest.raises(NoSpace):
            await fill(store)

        for flow in ("f1", "f2"):
            stopped = await flows.stop_flow(StopFlow(flow=flow))
            assert "out of space" in stopped.findings[0].message
        assert await flows.list_flows() == []
        for txn in (
            Txn(then=(Put(keys[0], b"2"),)),
            Txn(then=(Delete(keys[0]), Put(keys[1], b"2"))),
        ):
            with pytest.raises(NoSpace):
                await store.commit(txn)
        with pytest.raises(NoSpace):
            await store.grant(10)
        found = await store.read(keys[0])
        assert found is not None
        assert found.value == b"1"
        assert (await store.commit(Txn(then=(Delete(keys[0]),)))).succeeded
        assert (await store.commit(Txn(then=(Delete(keys[1]), Delete(keys[2]))))).succeeded
        await asyncio.wait_for(informer.until(lambda items: set(items) == {keys[3]}), 10)
        await asyncio.sleep(4)  # longer than the lease lives without keep-alives
        assert session.lease
        assert set(informer.items) == {keys[3]}

        last = await store.commit(Txn(then=(Delete(b"/r/big/", b"/r/big0"),)))
        await etcdctl(cluster.endpoints[0], "compact", str(last.revision))
        await etcdctl(",".join(cluster.endpoints), "defrag")
        await etcdctl(cluster.endpoints[0], "alarm", "disarm")
        await store.commit(Txn(then=(Put(keys[0], b"3"),)))
        await asyncio.wait_for(informer.until(lambda items: keys[0] in items), 10)
        recorder.check_end()
