"""Values from before their parameter type was marked secret: none comes back, none is shown."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from flowsvc.errors import ParametersInvalid, ParameterTypeInvalid
from flowsvc.fsck import check, repair
from flowsvc.model import (
    AdoptFlow,
    Change,
    PauseFlow,
    PutDefinition,
    ResumeFlow,
    RollBackDefinition,
    RollBackFlow,
    RollOut,
    StartFlow,
    StopFlow,
    UpdateFlow,
)
from flowsvc.service import FlowService
from kvconfig.errors import show_key
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.records import VariantRecord
from kvconfig.store import Store, list_all
from kvconfig.txn import Delete, Put, Txn
from tests.flows import as_json, state

PLAIN = "sk-plain-0123456789"
REFERENCE = "env:API_KEY"
BLUEPRINT: dict[str, Any] = {
    "flow": {"caller:{id}": {"topics": {}, "parameters": {"key": "{api-key}", "n": "{n}"}}},
    "blueprint": {},
    "interfaces": {},
    "parameters": {"api-key": {"type": "key"}, "n": {"type": "n"}},
}
MARKED = {"type": "string", "secret": True}
CALLER = VariantName("caller", "f1")


@pytest.fixture
def ks(root: str) -> Keyspace:
    return Keyspace(root)


@asynccontextmanager
async def a_service(store: Store, ks: Keyspace) -> AsyncIterator[FlowService]:
    """With a flow ``f1`` that was started with a plain value (op ``first``), its type unmarked."""
    async with FlowService(store, ks) as service:
        await service.put_parameter_type("key", as_json({"type": "string", "default": PLAIN}))
        await service.put_parameter_type("n", as_json({"type": "integer", "default": 1}))
        await service.put_blueprint("calls", as_json(BLUEPRINT))
        await service.change(
            StartFlow(flow="f1", blueprint_name="calls", parameters={"api-key": PLAIN}, op="first")
        )
        yield service


async def mark(service: FlowService) -> None:
    """The type is secret from now on, as the service knows once it has heard of it."""
    put = PutDefinition(
        kind="parameter-type", name="key", definition=as_json(MARKED), force=True, op="marked"
    )
    revision = (await service.change(put)).revision
    await service.parameter_types.until(
        lambda items: any(item.kv.mod_revision == revision for item in items.values())
    )


async def everything(store: Store, ks: Keyspace) -> dict[bytes, bytes]:
    return {kv.key: kv.value for kv in (await list_all(store, ks.everything())).items}


async def refused(
    service: FlowService, store: Store, ks: Keyspace, request: Change | AdoptFlow, *, restart=False
) -> str:
    """Why: with flow and parameter in it, and no value; and nothing was written."""
    before = await everything(store, ks)
    make: Callable[[Any], Awaitable[object]] = service.change
    if restart:
        make = service.restart_flow
    with pytest.raises(ParametersInvalid) as raised:
        await make(request)
    assert await everything(store, ks) == before
    assert [finding.path for finding in raised.value.findings] == ["$.parameters.api-key"]
    said = str(raised.value)
    assert PLAIN not in said
    return said


async def test_a_resume_puts_no_plain_value_back(store: Store, ks: Keyspace) -> None:
    """It is refused, and the cure that it names works."""
    async with a_service(store, ks) as service:
        await service.change(PauseFlow(flow="f1"))
        await mark(service)
        said = await refused(service, store, ks, ResumeFlow(flow="f1"))
        assert "flowctl flow update f1 --param api-key=env:NAME" in said
        await service.change(UpdateFlow(flow="f1", parameters={"api-key": REFERENCE}))
        await service.change(ResumeFlow(flow="f1"))
        stands = await state(store, ks)
        assert stands["active-flow/caller/f1"]["parameters"] == {"key": REFERENCE, "n": "1"}


async def test_a_restart_does_not_stop_half_way(store: Store, ks: Keyspace) -> None:
    """What could not be resumed is not paused: it is refused while the flow runs."""
    async with a_service(store, ks) as service:
        await mark(service)
        assert "update f1" in await refused(service, store, ks, PauseFlow(flow="f1"), restart=True)
        assert "paused" not in (await state(store, ks))["flow/f1"]


@pytest.mark.parametrize("runs", [True, False])
async def test_a_rollback_puts_no_plain_value_back(store: Store, ks: Keyspace, runs: bool) -> None:
    """Neither into a flow that stands, nor into one that was stopped since."""
    async with a_service(store, ks) as service:
        await mark(service)
        await service.change(
            UpdateFlow(flow="f1", parameters={"api-key": REFERENCE}, op="referring")
        )
        if not runs:
            await service.change(StopFlow(flow="f1"))
        said = await refused(service, store, ks, RollBackFlow(flow="f1", to="first"))
        assert ("flow update f1" if runs else "flow start -n calls -i f1") in said
        await service.change(RollBackFlow(flow="f1", to="referring"))


async def test_what_is_made_anew_takes_no_plain_value(store: Store, ks: Keyspace) -> None:
    """An update that keeps what was given, and a roll-out over such a flow, are refused too."""
    async with a_service(store, ks) as service:
        await mark(service)
        await refused(service, store, ks, UpdateFlow(flow="f1", parameters={"n": 2}))
        await refused(service, store, ks, RollOut(blueprint_name="calls"))


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("recorded", [PLAIN, REFERENCE])
async def test_no_plain_value_is_adopted(
    store: Store, ks: Keyspace, recorded: str, paused: bool
) -> None:
    """In the record, or only in a variant where the blueprint puts the secret."""
    adopted = AdoptFlow(
        flow="f2",
        blueprint_name="calls",
        parameters={"api-key": recorded, "n": "1"},
        own={VariantName("caller", "f2"): VariantRecord(parameters={"key": PLAIN, "n": "1"})},
        paused=paused,
    )
    async with a_service(store, ks) as service:
        await mark(service)
        assert "start it here" in await refused(service, store, ks, adopted)
        referring = VariantRecord(parameters={"key": REFERENCE, "n": "1"})
        own = {VariantName("caller", "f2"): referring}
        parameters = {"api-key": REFERENCE, "n": "1"}
        await service.change(msgspec.structs.replace(adopted, own=own, parameters=parameters))


async def test_what_is_shown_is_masked(store: Store, ks: Keyspace) -> None:
    """Flows, histories and previews tell where such a value stood, and not what it was."""
    async with a_service(store, ks) as service:
        await service.change(PauseFlow(flow="f1"))
        paused = await service.get_flow("f1")
        assert PLAIN in str(paused), "before it is marked it is shown"
        await mark(service)
        update = UpdateFlow(flow="f1", parameters={"api-key": REFERENCE})
        preview = await service.preview(update)
        flow = await service.get_flow("f1")
        assert flow.record.parameters == {"api-key": "***", "n": "1"}
        assert msgspec.structs.replace(flow, record=paused.record) == paused
        assert flow.record.variants == paused.record.variants
        await service.change(update)
        await service.change(ResumeFlow(flow="f1"))
        history = await service.history("flow", "f1")
        told = [entry.after["record"]["parameters"]["api-key"] for entry in history]
        assert told == [REFERENCE, REFERENCE, "***", "***"]
        assert history[-1].after["variants"]["caller/f1"]["parameters"] == {"key": "***", "n": "1"}
        types = await service.history("parameter-type", "key")
        assert [entry.after.get("default") for entry in types] == [None, "***"]
        shown = [preview, flow, await service.list_flows(), history, types]
        assert PLAIN not in str(shown)
        assert REFERENCE in preview.text


async def test_a_preview_masks_what_stands_in_variants(store: Store, ks: Keyspace) -> None:
    """What processors have, what is compared with it, and what a pause would keep."""
    async with a_service(store, ks) as service:
        await mark(service)
        for request in (
            UpdateFlow(flow="f1", parameters={"api-key": REFERENCE}),
            PauseFlow(flow="f1"),
            StopFlow(flow="f1"),
        ):
            preview = await service.preview(request)
            (change,) = preview.changes
            assert change.before["parameters"] == {"key": "***", "n": "1"}
            assert PLAIN not in str(preview)


async def test_a_default_that_was_plain_does_not_come_back(store: Store, ks: Keyspace) -> None:
    """A type that is secret by now goes back to nothing that holds one."""
    async with a_service(store, ks) as service:
        (put,) = await service.history("parameter-type", "key")
        await mark(service)
        back = RollBackDefinition(kind="parameter-type", name="key", to=put.op, force=True)
        with pytest.raises(ParameterTypeInvalid) as raised:
            await service.change(back)
        assert [finding.path for finding in raised.value.findings] == ["$.default"]
        assert PLAIN not in str(raised.value)


# -- flowctl fsck --------------------------------------------------------------------------------


async def found_in(store: Store, ks: Keyspace) -> dict[str, bool]:
    """The keys at which fsck finds a plain value, and whether it can mend that."""
    _, found = await check(store, ks)
    assert {each.code for each in found} <= {"plain-secret"}, found
    assert PLAIN not in str([(each.key, each.message) for each in found])
    base = len(show_key(ks.everything().start))
    return {each.key[base:]: each.repair is not None for each in found}


async def test_fsck_finds_each_key_that_holds_one(store: Store, ks: Keyspace) -> None:
    """What stands is told; the past is masked, and has all else, order and answers as before."""
    async with a_service(store, ks) as service:
        (put,) = await service.history("parameter-type", "key")
        paused = (await service.change(PauseFlow(flow="f1"))).op
        await service.change(ResumeFlow(flow="f1", op="back"))
        assert await found_in(store, ks) == {}, "nothing is secret yet"
        await mark(service)
        assert await found_in(store, ks) == {
            "flow/f1": False,
            "active-flow/caller/f1": False,
            "history/flow/f1/first": True,
            f"history/flow/f1/{paused}": True,
            "history/flow/f1/back": False,
            f"history/parameter-type/key/{put.op}": True,
        }
        before = await service.history("flow", "f1")
        (stands, *_) = [each for each in (await check(store, ks))[1] if each.key.endswith("w/f1")]
        assert "api-key" in stands.message
        assert "flowctl flow update f1 --param api-key=env:NAME" in stands.message
        await repair(store, ks)
        await service.change(UpdateFlow(flow="f1", parameters={"api-key": REFERENCE}, op="new"))
        assert await found_in(store, ks) == {"history/flow/f1/back": True}
        assert (await repair(store, ks)).left == ()
        holding = [key for key, value in (await everything(store, ks)).items() if b"sk-" in value]
        assert holding == []
        assert (await service.history("flow", "f1"))[1:] == before
        refusing = RollBackFlow(flow="f1", to="first")
        assert "taken out" in str(await refused(service, store, ks, refusing))
        again = StartFlow(flow="f1", blueprint_name="calls", op="first")
        assert (await service.change(again)).revision == before[-1].revision
        await service.change(RollBackFlow(flow="f1", to="new"))


async def test_what_was_masked_does_not_come_back_as_such(store: Store, ks: Keyspace) -> None:
    """Not even where the type takes any value again: *** would reach the processor."""
    async with a_service(store, ks) as service:
        (put,) = await service.history("parameter-type", "key")
        await mark(service)
        await service.stop_flow(StopFlow(flow="f1"))
        assert (await repair(store, ks)).left == ()
        await service.put_parameter_type("key", as_json({"type": "string"}))
        assert "taken out" in await refused(service, store, ks, RollBackFlow(flow="f1", to="first"))
        with pytest.raises(ParameterTypeInvalid, match=r"\$\.default"):
            await service.change(RollBackDefinition(kind="parameter-type", name="key", to=put.op))


async def test_no_repair_puts_one_back(store: Store, ks: Keyspace) -> None:
    """Neither a variant, nor a record, nor an entry of the history; an update puts all in order."""
    async with a_service(store, ks) as service:
        await mark(service)
        await repair(store, ks)
        key, entry = ks.active_flow(CALLER), ks.history("flow", "f1", "first")
        stands = await everything(store, ks)
        edited = stands[ks.flow("f1")].replace(PLAIN.encode(), REFERENCE.encode())
        for damage, code in (
            (Delete(key), "missing-variant"),
            (Put(key, b"{}"), "wrong-value"),
            (Put(ks.flow("f1"), edited), "wrong-record"),
            (Delete(entry), "history-missing"),
        ):
            await store.commit(Txn(then=(damage,)))
            _, found = await check(store, ks)
            assert code in [each.code for each in found]
            repaired = await repair(store, ks)
            assert (repaired.done, list(repaired.left)) == ((), found)
            await store.commit(Txn(then=(Put(damage.key, stands[damage.key]),)))
        await store.commit(Txn(then=(Delete(key),)))
        await service.change(UpdateFlow(flow="f1", parameters={"api-key": REFERENCE}))
        assert (await repair(store, ks)).left == ()


async def test_an_empty_value_is_nobodys_secret(store: Store, ks: Keyspace) -> None:
    """It is no reference, so it is not put back; but there is nothing in it to find or to mask."""
    async with a_service(store, ks) as service:
        await service.change(UpdateFlow(flow="f1", parameters={"api-key": ""}, op="empty"))
        await mark(service)
        await repair(store, ks)
        assert await found_in(store, ks) == {}
        await refused(service, store, ks, PauseFlow(flow="f1"), restart=True)


async def test_a_record_that_is_restored_is_masked(store: Store, ks: Keyspace) -> None:
    """A flow whose record was destroyed can be updated and stopped again, without the value."""
    async with a_service(store, ks) as service:
        await mark(service)
        await store.commit(Txn(then=(Put(ks.flow("f1"), b"nonsense"),)))
        repaired = await repair(store, ks)
        assert "broken-flow-record" in [each.code for each in repaired.done]
        stands = await state(store, ks)
        assert stands["flow/f1"]["parameters"] == {"api-key": "***", "n": "1"}
        await service.change(UpdateFlow(flow="f1", parameters={"api-key": REFERENCE}))
        assert (await repair(store, ks)).left == ()
        assert not any(b"sk-" in value for value in (await everything(store, ks)).values())


async def test_fsck_looks_at_definitions_written_by_hand(store: Store, ks: Keyspace) -> None:
    """A default of a secret type, and one beside a parameter, where it does nothing."""
    async with a_service(store, ks) as service:
        await service.stop_flow(StopFlow(flow="f1"))
        await mark(service)
        await repair(store, ks)
        blueprint = {**BLUEPRINT, "parameters": {"api-key": {"type": "key", "default": PLAIN}}}
        by_hand = (
            Put(ks.parameter_type("key"), as_json({**MARKED, "default": PLAIN})),
            Put(ks.flow_blueprint("calls"), as_json(blueprint)),
        )
        await store.commit(Txn(then=by_hand))
        assert await found_in(store, ks) == {
            "parameter-type/key": False,
            "flow-blueprint/calls": False,
        }
