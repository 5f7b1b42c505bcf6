"""etcdctl: a person sees with it what we put, and what a person writes with it we hear of."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from flowsvc.model import StopFlow
from kvconfig.keyspace import Keyspace
from kvconfig.records import VariantRecord
from kvconfig.store import Store
from tests.flows import a_service, start
from tests.interop.support import Heard, Processors

CHUNKER = (
    '{"parameters":{"size":"300"},"topics":{"input":"flow:load:f1","output":"flow:chunks:f1"}}'
)
SMALL = '{"parameters":{"size":"300"},"topics":{"input":"in"}}'
LARGE = '{"topics": {"input": "in"}, "parameters": {"size": "3000"}}'


def record(size: str) -> VariantRecord:
    return VariantRecord(topics={"input": "in"}, parameters={"size": size})


async def test_get_shows_what_runs(
    etcdctl: Callable[..., Awaitable[str]],
    etcd_endpoint: str,
    store: Store,
    ks: Keyspace,
    base: str,
) -> None:
    """`etcdctl get --prefix …/active-flow/` prints a started flow's variants as JSON; nothing once
    it has stopped."""
    get = ("get", "--prefix", f"{base}active-flow/")
    async with a_service(store, ks) as service:
        await service.start_flow(start("f1", size=300))
        assert (await etcdctl(etcd_endpoint, *get)).splitlines() == [
            f"{base}active-flow/chunker/f1",
            CHUNKER,
            f"{base}active-flow/indexer/f1",
            '{"parameters":{},"topics":{"input":"flow:chunks:f1"}}',
            f"{base}active-flow/query/small",
            '{"parameters":{"limit":"10"},"topics":{"request":"request:query:small"}}',
        ]
        await service.stop_flow(StopFlow(flow="f1"))
        assert await etcdctl(etcd_endpoint, *get) == ""


async def test_put_and_del_are_heard(
    etcdctl: Callable[..., Awaitable[str]],
    etcd_endpoint: str,
    store: Store,
    ks: Keyspace,
    base: str,
) -> None:
    """Each put and each del is one event to the processor that it concerns, and none to others."""
    chunker = f"{base}active-flow/chunker/"
    async with Processors(store, ks, "chunker", "chunk") as processors:
        for args in (
            ("put", f"{chunker}f1", SMALL),
            ("put", f"{chunker}f1", LARGE),
            ("del", f"{chunker}f1"),
            ("del", f"{chunker}f1"),
        ):
            await etcdctl(etcd_endpoint, *args)
        heard = await processors.heard()
    assert [batch.changes for batch in heard["chunker"]] == [
        [("f1", record("300"))],
        [("f1", record("3000"))],
        [("f1", None)],
    ]
    assert heard["chunk"] == []


async def test_txn_is_heard_whole(
    etcdctl: Callable[..., Awaitable[str]],
    etcd_endpoint: str,
    store: Store,
    ks: Keyspace,
    base: str,
) -> None:
    """A transaction, and a del of a prefix, come in one batch at one revision to each processor;
    a transaction whose compare does not hold comes to nobody."""
    chunker, indexer = f"{base}active-flow/chunker/", f"{base}active-flow/indexer/"
    small = json.dumps(SMALL)  # in double quotes: of what is in single ones etcdctl keeps a part
    txn = f"""create("{chunker}f1") = "0"

put {chunker}f1 {small}
put {chunker}f2 {small}
put {indexer}f1 {small}


"""
    both = [("f1", record("300")), ("f2", record("300"))]
    async with Processors(store, ks, "chunker", "indexer", "chunk") as processors:
        assert (await etcdctl(etcd_endpoint, "txn", stdin=txn.encode())).startswith("SUCCESS")
        found = await store.read(f"{chunker}f1".encode())
        assert found is not None
        assert await processors.heard() == {
            "chunker": [Heard(found.mod_revision, both)],
            "indexer": [Heard(found.mod_revision, both[:1])],
            "chunk": [],
        }
        assert (await etcdctl(etcd_endpoint, "txn", stdin=txn.encode())).startswith("FAILURE")
        assert await processors.heard() == {"chunker": [], "indexer": [], "chunk": []}
        await etcdctl(etcd_endpoint, "del", "--prefix", chunker)
        (batch,) = (await processors.heard())["chunker"]
        assert batch.changes == [("f1", None), ("f2", None)]
