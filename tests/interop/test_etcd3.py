"""etcd3 0.12, in a process of its own: what it writes we hear of, and what we write it does.

With a current protobuf it imports in pure Python only, and its stubs clash with any other client's
that brings etcd's own; so it is a peer, and not the client underneath.
"""

from __future__ import annotations

import json

import pytest

from flowsvc.errors import AlreadyExists, NotFound
from flowsvc.model import StopFlow
from kvconfig.keyspace import Keyspace
from kvconfig.records import FlowRecord, FlowVariants, VariantRecord
from kvconfig.store import Store
from kvconfig.txn import Put, Txn
from tests.flows import a_service, start, state
from tests.interop.support import Heard, OpenPeer, Processors, as_stored, write_and_watch_at_once

PURE_PYTHON = {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"}

# A flow as a person may write it; what is shared has the reference that holds it.
BY_HAND = {
    "active-flow/loader/f1": '{"topics": {"output": "docs"}, "parameters": {"path": "texts"}}',
    "active-flow/chunker/f1": """
        {"topics": {"input": "docs", "output": "chunks"}, "parameters": {"size": "300"}}""",
    "active-flow/chunker/f1.large": """
        {"topics": {"input": "docs", "output": "chunks"}, "parameters": {"size": "3000"}}""",
    "active-flow/indexer/f1": '{"topics": {"input": "chunks"}}',
    "active-flow/query/all": '{"topics":{"request":"questions"},"parameters":{}}',
    "flow-ref/query/all/f1": "{}",
    "flow/f1": """{
        "description": "größer",
        "blueprint-name": "none",
        "interfaces": {"query": {"request": "questions"}},
        "parameters": {"size": "300"},
        "variants": {
            "own": ["loader/f1", "chunker/f1", "chunker/f1.large", "indexer/f1"],
            "shared": ["query/all"]
        },
        "op": "by-hand"
    }""",
}
LOADER = VariantRecord(topics={"output": "docs"}, parameters={"path": "texts"})
CHUNKERS = [
    VariantRecord(topics={"input": "docs", "output": "chunks"}, parameters={"size": size})
    for size in ("300", "3000")
]
INDEXER = VariantRecord(topics={"input": "chunks"})
QUERY = VariantRecord(topics={"request": "questions"})
RECORD = FlowRecord(
    description="größer",
    blueprint_name="none",
    interfaces={"query": {"request": "questions"}},
    parameters={"size": "300"},
    variants=FlowVariants(
        own=("loader/f1", "chunker/f1", "chunker/f1.large", "indexer/f1"), shared=("query/all",)
    ),
    op="by-hand",
)

CONCERNED = ("loader", "chunker", "indexer", "query")
NOT_CONCERNED = ("chunk", "loader2", "f1")


async def test_a_start_by_hand_is_heard_and_can_be_stopped(
    peer: OpenPeer, store: Store, ks: Keyspace, base: str
) -> None:
    """One transaction of etcd3's starts a flow: one event for each key to the processor that it
    concerns, together, and none to others. The flow service reads the flow as one of its own, and
    stops it."""
    values = {base + key: value for key, value in BY_HAND.items()}
    nothing: dict[str, list[Heard]] = {name: [] for name in (*CONCERNED, *NOT_CONCERNED)}
    async with (
        peer("etcd3", **PURE_PYTHON) as etcd3,
        Processors(store, ks, *CONCERNED, *NOT_CONCERNED) as processors,
        a_service(store, ks, blueprint=None) as service,
    ):
        await etcd3.open("etcd3")
        assert await etcd3.create("etcd3", values)
        flow = await service.get_flow("f1")
        assert flow.record == RECORD
        assert await processors.heard() == nothing | {
            "loader": [Heard(flow.mod_revision, [("f1", LOADER)])],
            "chunker": [Heard(flow.mod_revision, [("f1", CHUNKERS[0]), ("f1.large", CHUNKERS[1])])],
            "indexer": [Heard(flow.mod_revision, [("f1", INDEXER)])],
            "query": [Heard(flow.mod_revision, [("all", QUERY)])],
        }

        assert not await etcd3.create("etcd3", values)
        with pytest.raises(AlreadyExists):
            await service.start_flow(start("f1"))
        assert await processors.heard() == nothing

        done = await service.stop_flow(StopFlow(flow="f1"))
        assert await processors.heard() == nothing | {
            "loader": [Heard(done.revision, [("f1", None)])],
            "chunker": [Heard(done.revision, [("f1", None), ("f1.large", None)])],
            "indexer": [Heard(done.revision, [("f1", None)])],
            "query": [Heard(done.revision, [("all", None)])],
        }
        assert await state(store, ks) == {}
        with pytest.raises(NotFound):
            await service.get_flow("f1")


async def test_its_watch_sees_what_the_flow_service_does(
    peer: OpenPeer, store: Store, ks: Keyspace, base: str
) -> None:
    """A prefix watch of etcd3's sees each key of a start, and of a stop, once, with its value, all
    at the revision that the service answered."""
    chunker = f"{base}active-flow/chunker/"
    async with (
        peer("etcd3", **PURE_PYTHON) as etcd3,
        a_service(store, ks) as service,
    ):
        await etcd3.open("etcd3")
        for prefix in (base, chunker):
            await etcd3.watch("etcd3", prefix)
        started = await service.start_flow(start("f1", size=300))
        put = await as_stored(store, ks, started.revision)
        stopped = await service.stop_flow(StopFlow(flow="f1"))
        written = await as_stored(store, ks, stopped.revision)
        await store.commit(Txn(then=tuple(Put(f"{p}end".encode(), b"") for p in (base, chunker))))
        seen = await etcd3.seen("etcd3", base, until=f"{base}end")
        seen_of_chunker = await etcd3.seen("etcd3", chunker, until=f"{chunker}end")

    values = {
        "active-flow/chunker/f1": {
            "topics": {"input": "flow:load:f1", "output": "flow:chunks:f1"},
            "parameters": {"size": "300"},
        },
        "active-flow/indexer/f1": {"topics": {"input": "flow:chunks:f1"}, "parameters": {}},
        "active-flow/query/small": {
            "topics": {"request": "request:query:small"},
            "parameters": {"limit": "10"},
        },
        "flow-ref/query/small/f1": {},
        "blueprint-use/small/f1": {},
    }
    keys = {base + key for key in (*values, "flow/f1")}
    history = f"{base}history/flow/f1/"
    assert {key for _, key, _ in put} == keys | {history + started.op}
    assert [key for _, key, _ in written] == [history + stopped.op]
    at_start = [each for each in seen if each[0] == started.revision]
    at_stop = [each for each in seen if each[0] == stopped.revision]
    assert seen == at_start + at_stop
    assert sorted(at_start) == put
    found = {key.removeprefix(base): json.loads(value or "") for _, key, value in at_start}
    assert found | values == found
    gone = [(stopped.revision, key, None) for key in keys]
    assert sorted(at_stop, key=str) == sorted([*gone, *written], key=str)
    assert seen_of_chunker == [each for each in seen if each[1].startswith(chunker)]
    assert len(seen_of_chunker) == 2
    print(f"etcd3 saw {len(at_start)} keys of the start, {len(at_stop)} of the stop")


async def test_beside_ours(peer: OpenPeer, store: Store, ks: Keyspace, base: str) -> None:
    """Even etcd3 can be in one process with our client, as long as protobuf is in pure Python."""
    async with peer("etcd3", **PURE_PYTHON) as both:
        await both.open("kvconfig", "etcd3")
        seen = await write_and_watch_at_once(both, ("kvconfig", "etcd3"), base)
    assert [each for each in await as_stored(store, ks) if each[1] != f"{base}end"] == seen
