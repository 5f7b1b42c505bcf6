"""Export and import, on both stores: what stands becomes a document, and a document what stands."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from flowsvc.bootstrap import Policy
from flowsvc.errors import InvalidInput, TooMuchContention
from flowsvc.model import PauseFlow, PutDefinition, StartFlow, UpdateFlow
from flowsvc.seed.watching import Watcher
from kvconfig.errors import Conflict, OutcomeUnknown
from kvconfig.model import Revision
from kvconfig.store import Store
from kvconfig.txn import Commit, Delete, Put, Txn
from tests.seeds import MERGE, REPLACE, SEED, Noted, System, likeness, system_on

CHANGE_FLOWS = Policy(when_different="replace", prune=True, change_flows=True)


@pytest.fixture
async def system(store: Store, root: str) -> AsyncIterator[System]:
    async with system_on(store, root) as made:
        yield made


async def put_raw(system: System, key: str, value: bytes) -> None:
    """Somebody writes by hand."""
    raw = system.ks.everything().start + key.encode()
    await system.store.commit(Txn(then=(Put(raw, value),)))


# -- export ----------------------------------------------------------------------------------------


async def test_an_export_is_a_seed(system):
    """It has what the system was made from, and nothing that follows from it."""
    await system.seed(SEED)
    document, exported = await system.exported()
    as_given = json.loads(json.dumps(SEED))
    as_given["flow"]["f2"]["parameters"]["size"] = "900"
    assert json.loads(document) == as_given
    assert exported.counts == {type_: len(section) for type_, section in SEED.items()}
    assert (exported.left_out, exported.revision) == ((), await system.revision())


async def test_some_types_are_exported_empty_ones_too(system):
    """Those that were asked for, each with its section; of the others nothing."""
    await system.seed(SEED)
    document, exported = await system.exported("prompt", "nothing", "flow")
    assert json.loads(document).keys() == {"prompt", "nothing", "flow"}
    assert exported.counts == {"prompt": 2, "nothing": 0, "flow": 2}
    with pytest.raises(InvalidInput) as raised:
        await system.exported("prompt", "history", "active-flow", "flows")
    assert [finding.path for finding in raised.value.findings] == [
        "active-flow",
        "flows",
        "history",
    ]


async def test_what_cannot_be_exported_is_said_and_the_rest_is_exported(system):
    """What is no JSON, no item or no flow, by its key; the document can be imported."""
    await system.seed(SEED)
    whole = await system.document()
    broken = {
        "prompt/nope": b"nope",
        "prompt//x": b"1",
        "flow/f9": b'{"blueprint-name": 7}',
        "flow/a/b": b"{}",
        "flow-blueprint/list": b"[]",
        "parameter-type/a/b": b"{}",
        "flows/old": b"{}",
        "loose": b"1",
        "schema/history": b"true",
    }
    for key, value in broken.items():
        await put_raw(system, key, value)
    document, exported = await system.exported()
    assert json.loads(document) == whole
    base = system.ks.everything().start.decode()
    assert sorted(f.path for f in exported.left_out) == sorted(base + key for key in broken)
    report = await system.seed(document, policy=MERGE)
    assert sum(report.written.values()) == 0


async def test_a_flow_is_exported_as_it_was_given(system):
    """What was given apart from defaults; paused, and in which workspace; not what it is now."""
    await system.seed({**SEED, "flow": {}})
    service = system.service
    await service.start_flow(StartFlow(flow="a", blueprint_name="index", workspace="w"))
    await service.start_flow(StartFlow(flow="b", blueprint_name="index", parameters={"size": 7}))
    await service.change(PauseFlow(flow="b"))
    assert (await system.document())["flow"] == {
        "a": {"blueprint-name": "index", "workspace": "w"},
        "b": {"blueprint-name": "index", "parameters": {"size": "7"}, "paused": True},
    }


# -- import ----------------------------------------------------------------------------------------


async def test_an_export_makes_an_equal_system(store, root):
    """All keys but ids of operations and times are the same, and so is the next export."""
    async with system_on(store, root) as here, system_on(store, f"{root}-copy") as there:
        await here.seed(SEED)
        await here.service.change(PauseFlow(flow="f2"))
        in_another = StartFlow(flow="f3", blueprint_name="index", workspace="w")
        await here.service.start_flow(in_another)
        for format_ in ("json", "yaml"):
            document, _ = await here.exported(format_=format_)
            await there.seed(document, format_, policy=REPLACE)
            assert (await there.exported(format_=format_))[0] == document
        copy = await likeness(store, there.ks)
        assert copy == await likeness(store, here.ks)


async def test_the_same_import_again_writes_nothing(system):
    """Not a key, not a revision: neither by merging nor by replacing, flows included."""
    await system.seed(SEED, policy=CHANGE_FLOWS)
    before = await system.everything()
    document, _ = await system.exported()
    for policy in (MERGE, REPLACE, CHANGE_FLOWS):
        for seed in (SEED, document):
            report = await system.seed(seed, policy=policy)
            assert (report.total("equal"), sum(report.written.values())) == (8, 0)
    assert await system.everything() == before


async def test_merging_deletes_nothing(system):
    """What differs is written; what the document does not hold stays."""
    await system.seed(SEED)
    noted = Noted()
    report = await system.seed(
        {"prompt": {"system": "x", "new": 1}, "tool": {"t": 1}}, policy=MERGE, watcher=noted
    )
    assert noted.all == ["created prompt/new", "replaced prompt/system", "created tool/t"]
    assert report.written == {"prompt": 2, "tool": 1}
    document = await system.document()
    assert document["prompt"] == {
        "new": 1,
        "system": "x",
        "template/a": {"text": "…", "n": 1.0},
    }
    assert document["token-cost"] == SEED["token-cost"]


async def test_replacing_deletes_what_its_types_hold_beside_it(system):
    """Of the types in the document, an empty one too; of other types nothing."""
    await system.seed({**SEED, "flow": {}, "tool": {"t": 1}})
    await system.seed({"parameter-type": {"unused": {"type": "string"}}})
    noted = Noted()
    seed = {
        "prompt": {"template/b": 1},
        "tool": {},
        "schema": {},
        "parameter-type": SEED["parameter-type"],
        "flow-blueprint": {},
    }
    report = await system.seed(seed, policy=REPLACE, watcher=noted)
    assert noted.all == [
        "deleted schema/token-cost",
        "deleted parameter-type/unused",
        "deleted flow-blueprint/index",
        "deleted prompt/system",
        "deleted prompt/template/a",
        "created prompt/template/b",
        "deleted tool/t",
    ]
    assert sum(report.written.values()) == 7
    assert await system.document() == {
        "parameter-type": SEED["parameter-type"],
        "prompt": {"template/b": 1},
        "token-cost": SEED["token-cost"],
    }


async def test_what_goes_is_told_in_the_order_of_names(system):
    """Whatever there is, two runs say the same of it, in the same order."""
    names = [f"n{number:02}" for number in range(20)]
    seed = {
        "parameter-type": {name: {} for name in names},
        "flow-blueprint": {name: {"flow": {"p:{id}": {}}} for name in names},
        "flow": {name: {"blueprint-name": name} for name in names},
    }
    await system.seed(seed)
    report = await system.seed({"flow": {}}, policy=REPLACE)
    assert report.named("left") == [f"flow/{name}" for name in names]
    noted = Noted()
    await system.seed({type_: {} for type_ in seed}, policy=CHANGE_FLOWS, watcher=noted)
    assert noted.all == [f"deleted {type_}/{name}" for type_ in seed for name in names]


async def test_who_looks_on_sees_every_key_compared(system):
    """What stands in the types of the document is counted before, and passed in whole."""

    class Watching(Watcher):
        def __init__(self) -> None:
            self.stages: list[list[Any]] = []

        def begin(self, what: str, total: int) -> None:
            self.stages.append([what, total, 0])

        def advance(self, count: int) -> None:
            self.stages[-1][2] += count

    await system.seed({"t": {"a": 1, "b": 2}, "u": {"a": 1}, "v": {"a": 1}})
    watching = Watching()
    await system.seed({"t": {"b": 3}, "u": {}, "new": {"a": 1}}, policy=MERGE, watcher=watching)
    assert watching.stages == [["comparing", 0, 0], ["comparing", 3, 3], ["writing", 2, 2]]


async def test_flows_that_are_there_are_left_alone(system):
    """Unless it is said, none is changed or stopped, and what they rest on stays as well."""
    await system.seed(SEED)
    before = await system.everything()
    seed = {
        "flow": {"f1": {"blueprint-name": "index", "parameters": {"size": 7}}},
        "flow-blueprint": {},
        "parameter-type": {},
    }
    report = await system.seed(seed, policy=REPLACE)
    assert report.named("different") == ["flow/f1"]
    assert sorted(report.named("left")) == [
        "flow-blueprint/index",
        "flow/f2",
        "parameter-type/size",
    ]
    assert sum(report.written.values()) == 0
    assert await system.everything() == before


async def test_flows_are_changed_and_stopped_if_so_said(system):
    """Updated to what the document says, paused, resumed, and stopped where it has them not."""
    flows = {name: {"blueprint-name": "index"} for name in ("a", "b", "c", "d")}
    flows["c"]["paused"] = True  # type: ignore[assignment]
    await system.seed({**SEED, "flow": flows})
    await system.service.change(UpdateFlow(flow="a", parameters={"size": 9}, description="old"))
    wanted = {
        "a": {"blueprint-name": "index", "description": "new"},
        "b": {"blueprint-name": "index", "paused": True},
        "c": {"blueprint-name": "index", "parameters": {"size": "7"}},
        "e": {"blueprint-name": "index"},
    }
    noted = Noted()
    await system.seed({**SEED, "flow": wanted}, policy=CHANGE_FLOWS, watcher=noted)
    assert noted.all == [
        "replaced flow/a",
        "replaced flow/b",
        "replaced flow/c",
        "created flow/e",
        "deleted flow/d",
    ]
    assert (await system.document())["flow"] == wanted
    flow = await system.service.get_flow("c")
    assert (flow.record.paused, flow.record.parameters) == (None, {"size": "7"})
    await system.seed({**SEED, "flow": {}, "flow-blueprint": {}}, policy=CHANGE_FLOWS)
    assert "flow-blueprint" not in await system.document()


async def test_a_flow_in_another_workspace_is_not_moved(system):
    """A workspace cannot be changed in place: said, and left."""
    await system.seed(SEED)
    seed = {"flow": {"f1": {**SEED["flow"]["f1"], "workspace": "w"}}}
    report = await system.seed(seed, policy=Policy(change_flows=True))
    assert report.named("different") == ["flow/f1"]
    assert [finding.path for finding in report.findings["flow/f1"]] == ["$.workspace"]


async def test_what_is_no_item_stays_where_all_is_replaced(system):
    """A key that nobody can have written through us is left, and said."""
    await put_raw(system, "prompt//x", b"1")
    report = await system.seed({"prompt": {"a": 1}}, policy=REPLACE)
    (finding,) = report.findings["prompt"]
    assert finding.path == system.ks.everything().start.decode() + "prompt//x"
    assert report.counts["prompt"] == {"created": 1}


async def test_a_schema_goes_before_what_violates_it(system):
    """Replaced together, schema and items need not meet what was there before."""
    await system.seed({"schema": {"t": {"type": "string"}}, "t": {"a": "x", "b": "y"}})
    seed = {"schema": {"t": {"type": "integer"}}, "t": {"a": 1}}
    await system.seed(seed, policy=REPLACE)
    assert await system.document() == seed
    await system.seed({"schema": {}, "t": {"a": "x"}}, policy=REPLACE)
    assert await system.document() == {"t": {"a": "x"}}
    await system.seed({"schema": {"t": {"type": "string"}}}, policy=REPLACE)
    assert (await system.document())["t"] == {"a": "x"}, "a type without a section is not touched"


# -- others write meanwhile ------------------------------------------------------------------------


def somebody_else_writes(system: System, *operations: Put | Delete) -> Any:
    """A ``commit`` before whose first put they are done: after all was compared."""
    commit, left = system.store.commit, list(operations)

    async def meddled(txn):
        if left and any(isinstance(op, Put) for op in txn.then):
            await commit(Txn(then=tuple(left)))
            left.clear()
        return await commit(txn)

    return meddled


@pytest.mark.parametrize("policy", [Policy(), MERGE, REPLACE], ids=["keep", "merge", "replace"])
async def test_what_others_write_meanwhile_is_compared_again(system, monkeypatch, policy):
    """Whoever is to win wins: never is a value put that nobody compared with what it replaces."""
    await system.seed({"t": {"b": 1, "c": 1, "gone": 1}})
    key = system.ks.item
    meddled = somebody_else_writes(
        system,
        Put(key("t", "a"), b"9"),  # was absent
        Put(key("t", "b"), b"9"),  # is as the document says, then
        Delete(key("t", "c")),
        Put(key("t", "e"), b"2"),  # just what is going to be put
        Put(key("t", "gone"), b"9"),
    )
    monkeypatch.setattr(system.store, "commit", meddled)
    seed = {"t": {"a": 2, "b": 2, "c": 2, "d": 2, "e": 2}}
    report = await system.seed(seed, policy=policy)
    found = {item.key: item.value for item in await system.config.list("t")}
    if policy.when_different == "keep":
        assert found == {"a": 9, "b": 9, "d": 2, "e": 2, "gone": 9}
        assert +report.counts["t"] == {"created": 1, "equal": 1, "different": 3}
    else:
        kept = {} if policy.prune else {"gone": 9}
        assert found == {**seed["t"], **kept}
        wanted = {"created": 2, "replaced": 2, "equal": 1, "deleted": 1}
        assert +report.counts["t"] == {
            key: count for key, count in wanted.items() if key != "deleted" or policy.prune
        }


async def test_what_others_write_meanwhile_into_an_empty_type_stays(system, monkeypatch):
    """Beside ours, between ours, or one of ours: theirs stand, and what is left of ours."""
    key = system.ks.item
    meddled = somebody_else_writes(
        system, *(Put(key("t", name), b"9") for name in ("a", "c", "d", "g"))
    )
    monkeypatch.setattr(system.store, "commit", meddled)
    report = await system.seed({"t": {"b": 1, "d": 1, "f": 1}})
    assert report.counts["t"] == {"created": 2, "different": 1}
    found = {item.key: item.value for item in await system.config.list("t")}
    assert found == {"a": 9, "b": 1, "c": 9, "d": 9, "f": 1, "g": 9}


@pytest.mark.parametrize("policy", [Policy(), MERGE], ids=["keep", "merge"])
async def test_a_definition_that_comes_meanwhile_is_not_lost(system, monkeypatch, policy):
    """It stays, and is named; where all is to be replaced, it is replaced, and that is said."""
    service, change = system.service, system.service.change
    theirs = b'{"description":"theirs"}'

    async def meddled(request: Any) -> Any:
        if isinstance(request, PutDefinition):
            await change(PutDefinition(kind=request.kind, name=request.name, definition=theirs))
        return await change(request)

    monkeypatch.setattr(service, "change", meddled)
    seed: dict[str, Any] = {"parameter-type": {"p": {}}, "flow-blueprint": {"b": {}}}
    report = await system.seed(seed, policy=policy)
    if policy == MERGE:
        assert (+report.counts["parameter-type"], report.total("replaced")) == ({"replaced": 1}, 2)
        assert report.written == {"parameter-type": 1, "flow-blueprint": 1}
        assert await system.document() == seed
    else:
        assert report.named("different") == ["parameter-type/p", "flow-blueprint/b"]
        assert (report.total("created"), +report.written) == (0, {})
        assert await system.document() == {
            type_: dict.fromkeys(section, json.loads(theirs)) for type_, section in seed.items()
        }


RUN_IT_AGAIN = "finished before that: nothing, of 1 in all; run it again, and it goes on from there"


async def test_who_never_comes_first_gives_up(system, monkeypatch):
    """Somebody who always writes first: bounded, and said, with what was written until then."""
    commit, key = system.store.commit, system.ks.item("t", "a")

    async def meddled(txn):
        if any(isinstance(op, Put) for op in txn.then):
            await commit(Txn(then=(Put(key, b"9"),)))
        return await commit(txn)

    monkeypatch.setattr(system.store, "commit", meddled)
    with pytest.raises(TooMuchContention) as raised:
        await system.seed({"t": {"a": 1}}, policy=MERGE)
    assert raised.value.__notes__ == [RUN_IT_AGAIN]
    assert [item.value for item in await system.config.list("t")] == [9]


@pytest.mark.parametrize("before", ["absent", "there", "deleted meanwhile"])
async def test_a_schema_that_changes_meanwhile_ends_an_import(system, monkeypatch, before):
    """What was checked against another one is not put, nor tried again: the schema is named."""
    schema = system.ks.schema("t")
    if before != "absent":
        await system.config.put_schema("t", True)
    commit, sent = system.store.commit, list[Txn]()

    async def meddled(txn):
        if any(isinstance(op, Put) for op in txn.then):
            sent.append(txn)
            deleted = before == "deleted meanwhile"
            await commit(Txn(then=(Delete(schema) if deleted else Put(schema, b"true"),)))
        return await commit(txn)

    monkeypatch.setattr(system.store, "commit", meddled)
    with pytest.raises(Conflict) as raised:
        await system.seed({"t": {"a": 1}})
    assert (raised.value.key, raised.value.__notes__) == (schema, [RUN_IT_AGAIN])
    assert len(sent) == 1
    assert await system.config.list("t") == []
    monkeypatch.undo()
    assert (await system.seed({"t": {"a": 1}})).written == {"t": 1}


async def test_a_schema_that_changes_meanwhile_is_nothing_to_deletes(system, monkeypatch):
    """Of the types of a transaction only those count in which something is put."""
    await system.seed({"t": {"a": 1}})
    key, schema = system.ks.item("t", "a"), system.ks.schema("t")
    meddled = somebody_else_writes(system, Put(key, b"9"), Put(schema, b"true"))
    monkeypatch.setattr(system.store, "commit", meddled)
    report = await system.seed({"t": {}, "u": {"b": 1}}, policy=REPLACE)
    assert report.written == {"t": 1, "u": 1}
    assert await system.document() == {"schema": {"t": True}, "u": {"b": 1}}


async def test_a_lost_reply_is_no_conflict(system, monkeypatch):
    """What was written though nobody said so is found, and counts as ours."""
    commit, lost = system.store.commit, list[Commit]()

    async def loses(txn):
        done = await commit(txn)
        if not lost and any(isinstance(op, Put) for op in txn.then):
            lost.append(done)
            raise OutcomeUnknown("the reply was lost")
        return done

    monkeypatch.setattr(system.store, "commit", loses)
    report = await system.seed({"t": {"a": 1, "b": 2}})
    assert lost[0].succeeded
    assert (report.counts["t"], report.written) == ({"created": 2}, {"t": 2})
    item = await system.config.get("t", "a")
    assert (item.mod_revision, item.version) == (lost[0].revision, 1)


async def test_many_items_go_in_many_transactions(system, monkeypatch):
    """Each is no larger than etcd takes, by count and by bytes, and each item is in one."""
    commit, sizes = system.store.commit, list[tuple[int, int, int]]()

    async def noted(txn):
        if puts := [op for op in txn.then if isinstance(op, Put)]:
            sizes.append((len(puts), len(txn.compares), sum(len(put.value) for put in puts)))
        return await commit(txn)

    monkeypatch.setattr(system.store, "commit", noted)
    seed: dict[str, Any] = {f"t{number}": {"k": 1} for number in range(100)}
    seed["many"] = {f"k{number}": number for number in range(500)}
    seed["large"] = {f"k{number}": "x" * 200_000 for number in range(5)}
    seed["huge"] = {"k": "x" * 1_200_000}
    report = await system.seed(seed)
    assert sum(count for count, _, _ in sizes) == sum(report.written.values()) == 606
    assert max(compares for _, compares, _ in sizes) <= 128
    assert max(size for _, _, size in sizes) == 1_200_002
    assert all(size < 1_000_000 for count, _, size in sizes if count > 1)
    assert len(sizes) < 30
    assert (await system.document())["many"] == seed["many"]
    sizes.clear()
    await system.seed({"many": {f"k{n}": -n for n in range(1, 500)}}, policy=MERGE)
    assert [count for count, _, _ in sizes] == [120, 120, 120, 120, 19], "none was in the way"


async def test_the_compared_revision_is_one(system, monkeypatch):
    """All types are compared as of one revision."""
    await system.seed({"a": {"k": 1}, "b": {"k": 1}})
    pages, seen = system.bulk.pages, set[Revision]()

    def noted(range_, *, revision):
        seen.add(revision)
        return pages(range_, revision=revision)

    monkeypatch.setattr(system.bulk, "pages", noted)
    await system.seed({"a": {"k": 1}, "b": {"k": 1}, "c": {}})
    assert seen == {await system.revision()}
