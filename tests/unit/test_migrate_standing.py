"""Old keys beside new ones: told apart, and followed while flows are taken over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from flowsvc.audit import audit
from flowsvc.migrate import OldKeysWritten, as_document, migrate
from flowsvc.migrate.look import standing
from flowsvc.service import FlowService
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.store import list_all
from kvconfig.txn import Put, Txn
from tests.flows import a_service, start
from tests.migrating import everything, put_document

KS = Keyspace("@live")
BASE = KS.everything().start
RECORD = {"blueprint-name": "b", "description": "", "interfaces": {}, "parameters": {}}
BLUEPRINT = {
    "blueprint": {"query:{blueprint}": {"request": "request:tg:q"}},
    "flow": {"chunker:{id}": {"input": "flow:tg:{id}"}},
}


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    made = MemoryStore()
    yield made
    await made.close()


def document(**changed: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "flow-blueprint": {"b": BLUEPRINT},
        "flow": {"f1": RECORD, "f2": RECORD},
        "active-flow": {
            "chunker": {"f1": {"input": "flow:tg:f1"}, "f2": {"input": "flow:tg:f2"}},
            "query": {"b": {"request": "request:tg:q"}},
        },
    }
    return {**made, **{name.replace("_", "-"): value for name, value in changed.items()}}


async def stands(store: MemoryStore, type_: str) -> dict[str, Any]:
    prefix = BASE + f"{type_}/".encode()
    keys = await everything(store, KS)
    return {
        key.removeprefix(prefix).decode(): json.loads(kv.value)
        for key, kv in keys.items()
        if key.startswith(prefix)
    }


async def wrong(store: MemoryStore) -> list[str]:
    items = (await list_all(store, KS.everything())).items
    return [each.key for each in audit(KS, items)]


async def test_keys_of_all_layouts_are_told_apart(store: MemoryStore) -> None:
    """What the new one says is not in the document, and what an old one says is."""
    async with a_service(store, KS) as service:
        await service.start_flow(start("new"))
    await put_document(store, KS, document(flows={"f3": RECORD}))
    found = await standing(store, KS)
    assert found.flows.keys() == {"new"}
    assert {str(name) for name in found.shared} == {"query/small"}
    assert VariantName("chunker", "new") in found.active
    assert found.document["flow"].keys() == {"f1", "f2"}
    assert found.document["flows"].keys() == {"f3"}
    assert found.document["active-flow"].keys() == {"chunker", "query"}
    assert len(found.old.all()) == 2 + 3
    assert found.document["flow-blueprint"].keys() == {"small", "b"}


async def test_old_flows_come_beside_new_ones(store: MemoryStore) -> None:
    """New ones are not touched; one that would share another value stays as it was, whole."""
    async with a_service(store, KS) as service:
        await service.start_flow(start("new"))
        before = await stands(store, "flow")
        sharing = {**BLUEPRINT, "blueprint": {"query:small": {"request": "another"}}}
        active = document()["active-flow"]
        active["query"] = {"small": {"request": "another"}, "b": {"request": "request:tg:q"}}
        made = document(active_flow=active)
        made["flow-blueprint"] = {"b": BLUEPRINT, "odd": sharing}
        made["flow"]["f2"] = {**RECORD, "blueprint-name": "odd"}
        await put_document(store, KS, made)
    report = await migrate(store, KS)
    assert report.outcomes["flow/f1"] == "created"
    assert report.outcomes["flow/f2"] == "failed"
    after = await stands(store, "flow")
    assert after["new"] == before["new"]
    assert after["f2"] == made["flow"]["f2"]
    active_now = await stands(store, "active-flow")
    assert active_now["chunker"] == {"f2": {"input": "flow:tg:f2"}}
    assert active_now["query"] == {"small": {"request": "another"}}


async def test_a_blob_in_a_string_stays_in_a_string(store: MemoryStore) -> None:
    """Whoever reads what is left of it reads it as before."""
    made = document()
    made["active-flow"]["chunker"]["left"] = {"input": "x"}
    made["active-flow"]["chunker"] = json.dumps(made["active-flow"]["chunker"])
    await put_document(store, KS, made)
    await migrate(store, KS)
    assert json.loads((await stands(store, "active-flow"))["chunker"]) == {"left": {"input": "x"}}


async def test_what_cannot_be_read_stays_where_it_is(store: MemoryStore) -> None:
    """Entries that are none, blobs that are none, records of nothing: told, and not touched."""
    made = document()
    made["active-flow"]["chunker"] |= {"a b": {"input": "x"}, "odd": 5}
    made["active-flow"]["broken"] = [1]
    made["flow"]["f3"] = {"description": "no blueprint"}
    await put_document(store, KS, made)
    await store.commit(Txn(then=(Put(BASE + b"active-flow/text", b"{"),)))
    report = await migrate(store, KS)
    assert not report.is_whole
    active = await stands_raw(store)
    assert json.loads(active["active-flow/chunker"]) == {"a b": {"input": "x"}, "odd": 5}
    assert active["active-flow/broken"] == b"[1]"
    assert active["active-flow/text"] == b"{"
    assert json.loads(active["flow/f3"]) == made["flow"]["f3"]


async def stands_raw(store: MemoryStore) -> Mapping[str, bytes]:
    keys = await everything(store, KS)
    return {key.removeprefix(BASE).decode(): kv.value for key, kv in keys.items()}


async def test_what_holds_nothing_any_more_goes(store: MemoryStore) -> None:
    """Blobs that a stop has left empty, definitions under old words; not what differs from them."""
    made = document(
        flow_classes={"b": BLUEPRINT, "c": BLUEPRINT, "d": {}},
        parameter_types={"size": {"type": "integer"}},
    )
    made["flow-blueprint"]["d"] = {"flow": {}}
    made["active-flow"]["idle"] = {}
    await put_document(store, KS, made)
    report = await migrate(store, KS)
    keys = await stands_raw(store)
    assert {key for key in keys if key.startswith(("flow-classes", "parameter-types"))} == {
        "flow-classes/d"
    }
    assert "active-flow/idle" not in keys
    assert {"flow-blueprint/c", "parameter-type/size"} <= keys.keys()
    assert [f.path for f in report.findings if f.severity == "error"] == ["$.flow-classes.d"]
    revision = store.revision
    await migrate(store, KS)
    assert store.revision == revision


async def test_where_nothing_is_old_nothing_is_written(store: MemoryStore) -> None:
    """A system of today, asked to migrate in place."""
    async with a_service(store, KS) as service:
        await service.start_flow(start("f1"))
    revision = store.revision
    report = await migrate(store, KS)
    assert store.revision == revision
    assert not report.findings


@pytest.mark.parametrize("in_place", [False, True])
async def test_two_at_once_end_as_one(store: MemoryStore, in_place: bool) -> None:
    """Each thing is written by one of them; what one has to give up, another run finds done."""
    made = document(prompt={str(number): number for number in range(9)})
    if in_place:
        await put_document(store, KS, made)
    given = None if in_place else made
    both = [migrate(store, KS, document=given) for _ in range(2)]
    for outcome in await asyncio.gather(*both, return_exceptions=True):
        assert not isinstance(outcome, BaseException) or isinstance(outcome, OldKeysWritten)
        if not isinstance(outcome, BaseException):
            assert outcome.is_whole, outcome.findings
    report = await migrate(store, KS, document=given)
    assert report.is_whole
    assert await wrong(store) == []
    assert (await stands(store, "active-flow")).keys() == {"chunker/f1", "chunker/f2", "query/b"}
    async with FlowService(store, KS) as service:
        for id_ in ("f1", "f2"):
            assert len(await service.history("flow", id_)) == 1
    assert (await as_document(store, KS, "blob"))[0] == made
