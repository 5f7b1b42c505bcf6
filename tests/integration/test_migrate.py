"""Real configurations of three versions, migrated on a real etcd, and a running system cut over."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from flowsvc.fsck import check
from flowsvc.migrate import OldKeysStand, OldKeysWritten, as_document, migrate, rehearse
from flowsvc.migrate.words import Shape
from flowsvc.model import RollBackFlow, StopFlow, UpdateFlow
from flowsvc.service import FlowService
from kvconfig.config import Config
from kvconfig.errors import LayoutTooOld
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from kvconfig.model import Revision
from kvconfig.store import Store, list_all
from kvconfig.txn import Put, Txn
from tests.flows import state
from tests.migrating import acted_on, everything, put_document, settled, with_flows

VERSIONS = ("1.3", "2.2", "2.3")
SHAPES: dict[str, Shape] = {"1.3": "class", "2.2": "blob", "2.3": "processor"}
HELD = ("active-flow/", "flow/", "flow-ref/", "blueprint-use/")


@pytest.fixture
async def store(etcd_endpoint: str) -> AsyncIterator[Store]:
    async with connect([etcd_endpoint]) as opened:
        yield opened


@pytest.fixture
def ks(root: str) -> Keyspace:
    return Keyspace(root)


@pytest.fixture
def config(shared_data: Path) -> Any:
    """A real configuration by its version."""

    def load(version: str) -> dict[str, Any]:
        text = (shared_data / f"configs/tgconfig-{version}-full.json").read_text()
        loaded: dict[str, Any] = json.loads(text)
        return loaded

    return load


def active_in(document: dict[str, Any]) -> dict[str, dict[str, str]]:
    """What the document says is active, each variant as one flat object."""
    blobs = document.get("active-flow", document.get("flows-active", {}))
    by_type = {
        type_.removeprefix("processor:"): section
        for type_, section in document.items()
        if type_.startswith("processor:")
    }
    return {
        f"{processor}/{variant}": flat(entry)
        for processor, variants in {**blobs, **by_type}.items()
        for variant, entry in variants.items()
    }


def flat(entry: dict[str, Any]) -> dict[str, str]:
    nested = [entry.get(section, {}) for section in ("topics", "parameters")]
    return {**nested[0], **nested[1]} if any(isinstance(e, dict) and e for e in nested) else entry


async def active_now(store: Store, ks: Keyspace) -> dict[str, dict[str, str]]:
    found = await state(store, ks)
    return {
        key.removeprefix("active-flow/"): flat(value)
        for key, value in found.items()
        if key.startswith("active-flow/")
    }


async def sound(store: Store, ks: Keyspace) -> None:
    _, found = await check(store, ks)
    assert not found, found


async def revision(store: Store, ks: Keyspace) -> Revision:
    return (await list_all(store, ks.everything(), keys_only=True)).revision


# -- documents -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_real_configuration_is_carried_over_whole(store, ks, config, version) -> None:
    """Every flow is active, value for value; fsck finds nothing; a second run writes nothing."""
    document = config(version)
    report = await migrate(store, ks, document=document)
    assert not report.findings
    active = active_in(document)
    assert active
    assert await active_now(store, ks) == active
    await sound(store, ks)
    before = await revision(store, ks)
    again = await migrate(store, ks, document=document)
    assert set(again.outcomes.values()) == {"equal"}
    assert await revision(store, ks) == before
    for type_, section in document.items():
        for key, value in section.items() if type_ in ("prompt", "tool", "mcp") else ():
            item = await Config(store, ks).get(type_, key)
            assert item is not None
            assert item.value == value


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_migrated_flow_has_a_whole_life(store, ks, config, version) -> None:
    """An update finds nothing to do; a change is rolled back; a stop leaves nothing behind."""
    await migrate(store, ks, document=config(version))
    async with FlowService(store, ks) as service:
        adopted = await service.get_flow("default")
        as_it_was = await active_now(store, ks)
        before = await revision(store, ks)
        await service.change(UpdateFlow(flow="default"))
        assert await revision(store, ks) == before
        if adopted.record.parameters:
            await service.change(UpdateFlow(flow="default", parameters={"chunk-size": 777}))
            assert await active_now(store, ks) != as_it_was
        await service.change(UpdateFlow(flow="default", description="another"))
        await service.change(RollBackFlow(flow="default", to=adopted.record.op))
        assert await active_now(store, ks) == as_it_was
        await sound(store, ks)
        await service.stop_flow(StopFlow(flow="default"))
    assert not [key for key in await state(store, ks) if key.startswith(HELD)]
    await sound(store, ks)


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_way_back_is_the_very_document(store, ks, config, version) -> None:
    """Without anything kept for it; as another version's it says the same of what is active."""
    document = config(version)
    await migrate(store, ks, document=document)
    assert [item.key for item in await Config(store, ks).list("migration")] == ["style"]
    back, findings = await as_document(store, ks, SHAPES[version])
    assert back == document
    assert not findings
    for shape in SHAPES.values():
        back, _ = await as_document(store, ks, shape)
        assert active_in(back) == active_in(document)


async def test_what_2_2_had_flat_is_what_2_3_has_nested(store, ks, config) -> None:
    """The rule for flat entries, against the version that had them apart: no exception to it."""
    older, newer = Keyspace(f"{ks.root}-2.2"), Keyspace(f"{ks.root}-2.3")
    await migrate(store, older, document=config("2.2"))
    await migrate(store, newer, document=config("2.3"))
    ours, theirs = [
        {key: value for key, value in (await state(store, each)).items() if key.startswith(HELD)}
        for each in (older, newer)
    ]
    ours["flow/default"].pop("op"), theirs["flow/default"].pop("op")
    assert ours == theirs


async def test_what_later_versions_write_is_carried_over_too(store, ks, shared_data) -> None:
    """The goldens of 2.5 and 2.8 as the configuration that their systems would have."""
    for number, path in enumerate(sorted((shared_data / "goldens").glob("*.json"))):
        golden = json.loads(path.read_text())
        source = json.loads((shared_data / golden["blueprint-file"]).read_text())
        name, flow = golden["blueprint-name"], golden["flow-id"]
        document: dict[str, Any] = {
            "flow-blueprint": {name: source["blueprint"]},
            "parameter-type": source["parameter-type"],
            "flow": {flow: golden["flow-record"]},
        }
        for key, value in golden["active-flow"].items():
            _, _, processor, variant = key.split("/")
            document.setdefault(f"processor:{processor}", {})[variant] = value
        there = Keyspace(f"{ks.root}-{number}")
        report = await migrate(store, there, document=document, workspace=golden["workspace"])
        assert report.is_whole
        # A value that its type forbids: TrustGraph checks none, so an update will be refused.
        assert all(".parameters.reranker-model" in each.path for each in report.findings)
        stands = await state(store, there)
        for key, value in golden["active-flow"].items():
            assert stands[key.removeprefix("/")] == value
        _, found = await check(store, there)
        assert not found
        assert (await as_document(store, there, "processor"))[0] == document


async def test_what_is_there_already_is_left_and_told(store, ks, config) -> None:
    """A definition, an item and a flow with another value; the rest is made."""
    document = config("2.2")
    other = json.loads(json.dumps(document))
    other["parameter-type"]["chunk-size"]["default"] = 1
    other["prompt"]["system"] = "another"
    other["flow"]["default"]["description"] = "another"
    await migrate(store, ks, document=document)
    before = await revision(store, ks)
    other["tool"]["new"] = {"a": 1}
    report = await migrate(store, ks, document=other)
    different = {what for what, outcome in report.outcomes.items() if outcome == "different"}
    assert different == {"parameter-type/chunk-size", "prompt/system", "flow/default"}
    assert {
        each.path.removeprefix("$.").replace(".", "/", 1) for each in report.findings
    } == different
    assert report.outcomes["tool/new"] == "created"
    assert await revision(store, ks) == before + 1


async def test_what_cannot_be_written_keeps_back_nothing_else(store, ks, config) -> None:
    """An item that its schema forbids, one that stands there and cannot be read, a flow whose
    variant is another's: errors, and no more.
    """
    document = config("2.2")
    await store.commit(Txn(then=(Put(ks.item("prompt", "system"), b"{"),)))
    await Config(store, ks).put_schema("tool", {"type": "string"})
    lone: dict[str, Any] = {"flow": {"chunker:default": {}}}
    holder = {**document["flow"]["default"], "blueprint-name": "lone"}
    await migrate(
        store,
        ks,
        document={
            "flow-blueprint": {"lone": lone},
            "flow": {"holder": holder},
            "active-flow": {"chunker": {"default": {}}},
        },
    )
    report = await migrate(store, ks, document=with_flows(document, ["default", "other"]))
    failed = {what for what, outcome in report.outcomes.items() if outcome == "failed"}
    tools = {f"tool/{key}" for key in document["tool"]}
    assert failed == {"flow/default", "prompt/system", *tools}
    (finding,) = [each for each in report.findings if each.path == "$.flow.default"]
    assert "holder" in finding.message
    assert report.outcomes["flow/other"] == "created"
    assert not report.is_whole
    await sound(store, ks)


async def test_a_dry_run_shows_what_is_then_done_and_writes_nothing(store, ks, config) -> None:
    """Key by key and value by value, but for operations and their time."""
    document = with_flows(config("1.3"), ["f1", "f2"])
    before = await everything(store, ks)
    revision_before = await revision(store, ks)
    report, written = await rehearse(store, ks, lambda copy: migrate(copy, ks, document=document))
    assert await revision(store, ks) == revision_before
    assert not before
    done = await migrate(store, ks, document=document)
    assert done.outcomes == report.outcomes
    stands = {key: kv.value for key, kv in (await everything(store, ks)).items()}
    shown = {each.key: each.after for each in written if each.after is not None}
    assert settled(shown) == settled(stands)
    _, again = await rehearse(store, ks, lambda copy: migrate(copy, ks, document=document))
    assert again == []


# -- in place ------------------------------------------------------------------------------------


async def through_time(
    store: Store, ks: Keyspace, first: Revision
) -> AsyncIterator[dict[bytes, bytes]]:
    """All that stood below the root at every revision from ``first`` on."""
    for number in range(first, await revision(store, ks) + 1):
        page = await list_all(store, ks.everything(), revision=Revision(number))
        yield {kv.key: kv.value for kv in page.items}


def interim(document: dict[str, Any]) -> dict[str, Any]:
    """The same with a key for each variant, as ``<processor>:<variant>``."""
    lone = {
        f"{processor}:{variant}": entry
        for processor, variants in document["active-flow"].items()
        for variant, entry in variants.items()
    }
    return {**document, "active-flow": lone}


@pytest.mark.parametrize("shape", ["1.3", "2.2", "2.3", "interim"])
async def test_a_running_system_is_cut_over_flow_by_flow(store, ks, config, shape) -> None:
    """At every revision each variant is acted on by processors of one kind, and of no other.

    All of a flow changes hands at one revision. In the end the old kinds have nothing, and no key
    of theirs is left.
    """
    flows = ["f1", "f2", "f3"]
    document = with_flows(config("2.2" if shape == "interim" else shape), flows)
    document = interim(document) if shape == "interim" else document
    await put_document(store, ks, document)
    first = await revision(store, ks)
    active = acted_on(ks, {key: kv.value for key, kv in (await everything(store, ks)).items()})
    old = {**active["blob"], **active["interim"]}
    report = await migrate(store, ks)
    assert report.is_whole, report.findings
    hops = []
    before: set[tuple[str, str]] = set()
    async for keys in through_time(store, ks, first):
        seen = acted_on(ks, keys)
        names = [name for kind in seen.values() for name in kind]
        assert len(names) == len(set(names)), "acted on twice"
        assert set(names) == old.keys(), "acted on by nobody"
        if seen["new"].keys() != before:
            hops.append(seen["new"].keys() - before)
            before = set(seen["new"])
    assert len(hops) == len(flows)
    for flow, hop in zip(flows, hops, strict=True):
        assert {name for name in old if name[1] == flow} <= hop
    stands = await everything(store, ks)
    seen = acted_on(ks, {key: kv.value for key, kv in stands.items()})
    assert not seen["blob"]
    assert not seen["interim"]
    assert {name: flat(entry) for name, entry in seen["new"].items()} == {
        name: flat(entry) for name, entry in old.items()
    }
    await sound(store, ks)
    before_again = await revision(store, ks)
    await migrate(store, ks)
    assert await revision(store, ks) == before_again
    back, _ = await as_document(store, ks, report.style.shape)
    assert back == document


async def test_configuration_stays_in_its_place(store, ks, config) -> None:
    """It is at the same key in both layouts, and not written again."""
    document = config("2.2")
    await put_document(store, ks, document)
    before = await everything(store, ks)
    await migrate(store, ks)
    after = await everything(store, ks)
    for type_ in ("prompt", "tool", "mcp", "token-cost", "collection", "interface-description"):
        in_type = ks.type_range(type_)
        kept = {key: kv for key, kv in before.items() if key in in_type}
        assert kept == {key: kv for key, kv in after.items() if key in in_type}
        assert len(kept) == len(document[type_])


async def test_whoever_still_writes_the_old_keys_is_noticed(store, ks, config) -> None:
    """The old flow service changes a blob in between: nothing is lost, and another run goes on."""
    document = with_flows(config("2.2"), ["f1", "f2"])
    await put_document(store, ks, document)
    blob = ks.everything().start + b"active-flow/chunker"
    wrote: list[str] = []

    async def interfere() -> None:
        found = await store.read(blob)
        assert found is not None
        changed = {**json.loads(found.value), "late": {"input": "flow:tg:x"}}
        await store.commit(Txn(then=(Put(blob, json.dumps(changed).encode()),)))

    def tell(line: str) -> None:
        wrote.append(line)

    await migrate_with(store, ks, tell, interfere)
    assert any("f1 adopted" in line for line in wrote)
    found = await store.read(blob)
    assert found is not None
    assert json.loads(found.value).keys() == {"f2", "late"}
    await migrate(store, ks)
    found = await store.read(blob)
    assert found is not None
    assert json.loads(found.value).keys() == {"late"}, "of no flow: it stays where it was"
    seen = acted_on(ks, {key: kv.value for key, kv in (await everything(store, ks)).items()})
    assert len(seen["new"]) == len(active_in(document))


async def migrate_with(store: Store, ks: Keyspace, tell: Any, interfere: Any) -> None:
    """Migrate; after the first flow somebody interferes, and the run ends saying so."""
    once = [interfere]

    class Interfering:
        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def commit(self, txn: Txn) -> Any:
            commit = await store.commit(txn)
            if once and any(isinstance(op, Put) and op.key == ks.flow("f1") for op in txn.then):
                await once.pop()()
            return commit

    with pytest.raises(OldKeysWritten, match="stop the flow service"):
        await migrate(Interfering(), ks, tell=tell)


async def test_a_document_does_not_go_where_flows_of_an_old_layout_stand(store, ks, config) -> None:
    """Two copies of one flow would run: it is refused, and nothing is written."""
    document = config("2.2")
    await put_document(store, ks, {"active-flow": document["active-flow"]})
    before = await revision(store, ks)
    with pytest.raises(OldKeysStand, match="active-flow"):
        await migrate(store, ks, document=document)
    assert await revision(store, ks) == before


async def test_an_older_layout_version_becomes_ours(store, ks) -> None:
    """A service refuses it, and says to migrate; after that it starts."""
    await store.commit(Txn(then=(Put(ks.layout(), b'{"version":0}'),)))
    with pytest.raises(LayoutTooOld):
        async with FlowService(store, ks):
            pass
    await migrate(store, ks)
    async with FlowService(store, ks) as service:
        assert await service.list_flows() == []


async def test_blobs_that_are_too_large_for_a_transaction_are_told(store, ks, config) -> None:
    """A flow rewrites each blob that it leaves: where etcd takes no such request, it stays."""
    document = with_flows(config("2.2"), ["f1"])
    for processor in ("chunker", "prompt", "metering"):
        document["active-flow"][processor]["big"] = {"input": "x" * 700_000}
    await put_one_by_one(store, ks, document)
    report = await migrate(store, ks)
    assert report.outcomes["flow/f1"] == "failed"
    (said,) = [each.message for each in report.findings if each.path == "$.flow.f1"]
    assert "max-request-bytes" in said
    seen = acted_on(ks, {key: kv.value for key, kv in (await everything(store, ks)).items()})
    assert not seen["new"]
    assert len(seen["blob"]) == len(active_in(document))


async def put_one_by_one(store: Store, ks: Keyspace, document: dict[str, Any]) -> None:
    for type_, section in document.items():
        for key, value in section.items():
            await put_document(store, ks, {type_: {key: value}})
