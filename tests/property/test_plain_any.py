"""Any operations before a parameter type is marked secret, and any after it."""

from __future__ import annotations

import asyncio

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from flowsvc.errors import FlowServiceError
from flowsvc.fsck import repair
from flowsvc.model import (
    Change,
    PauseFlow,
    ResumeFlow,
    RollBackDefinition,
    RollBackFlow,
    RollOut,
    StartFlow,
    StopFlow,
    UpdateFlow,
)
from flowsvc.service import FlowService
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.model import KeyValue
from kvconfig.records import decode_flow, decode_history
from kvconfig.store import list_all
from tests.flows import as_json

KS = Keyspace("@p")
PLAIN, REFERENCE = "sk-plain-0123456789", "env:API_KEY"
FLOWS = ("f1", "f2")
BLUEPRINT = {
    "flow": {"caller:{id}": {"topics": {}, "parameters": {"key": "{api-key}", "n": "{n}"}}},
    "blueprint": {"common:{blueprint}": {"topics": {}, "parameters": {"key": "{other}"}}},
    "parameters": {
        "api-key": {"type": "key"},
        "other": {"type": "key", "controlled-by": "api-key"},
        "n": {},
    },
    "interfaces": {},
}
OPEN, MARKED = {"type": "string", "default": PLAIN}, {"type": "string", "secret": True}

Asked = tuple[Change, bool]

flows = st.sampled_from(FLOWS)
given_values: st.SearchStrategy[dict[str, str]] = st.fixed_dictionaries(
    {"n": st.sampled_from("12")}, optional={"api-key": st.sampled_from([PLAIN, REFERENCE])}
)
changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(StartFlow, flow=flows, blueprint_name=st.just("calls"), parameters=given_values),
    st.builds(UpdateFlow, flow=flows, parameters=given_values),
    st.builds(PauseFlow, flow=flows),
    st.builds(ResumeFlow, flow=flows),
    st.builds(RollBackFlow, flow=flows, to=st.integers(0, 9).map(str)),
    st.builds(RollOut, blueprint_name=st.just("calls"), parameters=given_values),
    st.builds(StopFlow, flow=flows),
)
asked = st.tuples(changes, st.booleans())
"""And of a pause, whether it is asked for as a restart."""


@settings(max_examples=25, deadline=None)
@given(before=st.lists(asked, max_size=6), after=st.lists(asked, max_size=8))
def test_no_operation_brings_a_plain_value_back(before: list[Asked], after: list[Asked]) -> None:
    """Nor shows it, whatever was done before; and a roll-out with a reference, and fsck, end it."""
    asyncio.run(_run(before, after))


async def _run(before: list[Asked], after: list[Asked]) -> None:
    store = MemoryStore()
    async with FlowService(store, KS) as service:
        first = await service.put_parameter_type("key", as_json(OPEN))
        await service.put_blueprint("calls", as_json(BLUEPRINT))
        started = StartFlow(flow="f1", blueprint_name="calls", parameters={"n": "1"})
        for number, (request, restart) in enumerate([(started, False), *before]):
            await _ask(service, request, f"{number}", restart=restart)
        marked = (await service.put_parameter_type("key", as_json(MARKED), force=True)).revision
        await service.parameter_types.until(
            lambda items: all(item.kv.mod_revision == marked for item in items.values())
        )
        back = RollBackDefinition(kind="parameter-type", name="key", to=first.op, force=True)
        for number, (request, restart) in enumerate([(back, False), *after], len(before) + 1):
            told = await _ask(service, request, f"{number}", restart=restart)
            assert PLAIN not in told, request
            for kv in await _holding(store):
                assert kv.mod_revision <= marked or _by_a_pause(kv), (request, kv.key)
        await service.change(RollOut(blueprint_name="calls", parameters={"api-key": REFERENCE}))
        assert (await repair(store, KS)).left == ()
        assert await _holding(store) == []


async def _ask(service: FlowService, request: Change, op: str, *, restart: bool) -> str:
    """All that is told of it, and of the flows after it."""
    request = msgspec.structs.replace(request, op=op)
    told: list[object] = []
    try:
        told.append(await service.preview(request))
        if restart and isinstance(request, PauseFlow):
            told.append(await service.restart_flow(request))
        else:
            told.append(await service.change(request))
    except FlowServiceError as error:
        told.append(error)
    return str([*told, await service.list_flows(), *await _histories(service)])


async def _histories(service: FlowService) -> list[object]:
    told: list[object] = []
    for flow in FLOWS:
        try:
            told.append(await service.history("flow", flow))
        except FlowServiceError:
            continue
    return told


async def _holding(store: MemoryStore) -> list[KeyValue]:
    page = await list_all(store, KS.everything())
    return [kv for kv in page.items if PLAIN.encode() in kv.value]


def _by_a_pause(kv: KeyValue) -> bool:
    """It keeps all that it takes away."""
    if kv.key in KS.type_range("flow"):
        return decode_flow(kv.value).paused is not None
    return decode_history(kv.value).action == "pause"
