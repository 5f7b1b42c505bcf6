"""Migration of old systems made at random, and the way back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from flowsvc.audit import audit
from flowsvc.migrate import Report, as_document, migrate
from flowsvc.model import StopFlow
from flowsvc.service import FlowService
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.model import Revision
from kvconfig.store import list_all
from tests.flows import state
from tests.migrating import acted_on, put_document, settled
from tests.property.old_world import BUSY, SHAPES, State, clean, hurt, wild, write

KS = Keyspace("@old")

many = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],  # explaining takes minutes
)


async def sound(store: MemoryStore) -> None:
    """Nothing is wrong in the store."""
    items = (await list_all(store, KS.everything())).items
    wrong = [anomaly for anomaly in audit(KS, items) if anomaly.severity == "error"]
    assert not wrong, wrong


async def migrated(store: MemoryStore, document: dict[str, Any] | None) -> Report:
    """Migrated, and then once more: that writes nothing."""
    report = await migrate(store, KS, document=document)
    revision = store.revision
    await migrate(store, KS, document=document)
    assert store.revision == revision
    return report


async def seeded(document: Mapping[str, Mapping[str, Any]]) -> MemoryStore:
    """An etcd in which an old system stands."""
    store = MemoryStore()
    await put_document(store, KS, document)
    return store


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


@many
@given(state=clean(), shape=st.sampled_from(SHAPES))
def test_what_was_active_is_active(state: State, shape: str) -> None:
    """Every variant of a flow, and no other, with the value that it had; all of them stop."""
    run(_active(state, shape))


async def _active(old: State, shape: str) -> None:
    store = MemoryStore()
    report = await migrated(store, write(old, shape))
    assert report.is_whole, report.findings
    await sound(store)
    stands = await state(store, KS)
    active = {key: value for key, value in stands.items() if key.startswith("active-flow/")}
    assert active == {f"active-flow/{p}/{v}": entry for (p, v), entry in old.active.items()}
    async with FlowService(store, KS) as service:
        for flow in old.flows:
            record = (await service.get_flow(flow)).record
            assert record.parameters == old.flows[flow]["parameters"]
            await service.stop_flow(StopFlow(flow=flow))
            await sound(store)
    left = await state(store, KS)
    assert not [key for key in left if key.startswith(("active-flow", "flow", "blueprint-use"))]
    await store.close()


@many
@given(state=clean(), shape=st.sampled_from(SHAPES), other=st.sampled_from(SHAPES))
def test_the_way_back_is_the_document_that_another_version_would_have(
    state: State, shape: str, other: str
) -> None:
    """From any shape to any: to its own exactly the same, to another what that would say."""
    assume(state.active)  # or nothing tells one shape from another
    run(_back(state, shape, other))


async def _back(old: State, shape: Any, other: Any) -> None:
    store = MemoryStore()
    await migrated(store, write(old, shape))
    back, findings = await as_document(store, KS, other)
    flat = {"blob": shape in ("blob", "class"), "interim": shape in ("blob", "class")}.get(other)
    assert back == write(old, other, flat=flat if shape != other else None)
    assert all("is paused" in finding.message for finding in findings)
    await store.close()


@pytest.mark.parametrize("shape", SHAPES)
@many
@given(data=st.data())
def test_whatever_has_happened_to_a_document_the_way_back_is_exact(
    shape: Any, data: st.DataObject
) -> None:
    """Fields gone, changed, added, in text, under other words: nothing is lost without a trace."""
    run(_exact(data.draw(hurt(shape))))


@many
@given(document=wild)
def test_any_document_can_be_read_and_comes_back(document: dict[str, Any]) -> None:
    """Anything that is JSON: no error but findings, and back it comes."""
    run(_exact(document))


async def _exact(document: dict[str, Any]) -> None:
    store = MemoryStore()
    before = json.dumps(document)
    report = await migrated(store, document)
    await sound(store)
    assert json.dumps(document) == before, "the document was changed"
    back, findings = await as_document(store, KS, report.style.shape)
    assert json.dumps(back, sort_keys=True) == json.dumps(document, sort_keys=True)
    assert all("is paused" in finding.message for finding in findings)
    await store.close()


# -- in place ------------------------------------------------------------------------------------


async def through_time(store: MemoryStore, first: int) -> list[dict[bytes, bytes]]:
    """All that stood, at every revision from ``first`` on."""
    moments = []
    for revision in range(first, store.revision + 1):
        page = await list_all(store, KS.everything(), revision=Revision(revision))
        moments.append({kv.key: kv.value for kv in page.items})
    return moments


@many
@given(state=clean(), shape=st.sampled_from(SHAPES))
def test_no_variant_is_ever_acted_on_twice_or_by_nobody(state: State, shape: str) -> None:
    """In place: at each revision each variant stands in one form, from the first to the last."""
    run(_in_place(state, write(state, shape)))


@many
@given(state=clean(), data=st.data())
def test_nor_is_it_where_the_old_forms_are_mixed(state: State, data: st.DataObject) -> None:
    """Each variant in a form of its own: a system that was never quite brought to a new version."""
    document = write(State(state.blueprints, state.flows, {}, state.items), "blob")
    for name, entry in state.active.items():
        one = State({}, {}, {name: entry}, {})
        for type_, section in write(one, data.draw(st.sampled_from(SHAPES))).items():
            if not type_.startswith("parameter-type"):
                for key, value in section.items():
                    there = document.setdefault(type_, {}).setdefault(key, value)
                    there.update(value)
    run(_in_place(state, document))


async def _in_place(old: State, document: dict[str, Any]) -> None:
    store = await seeded(document)
    first = store.revision
    report = await migrated(store, None)
    await sound(store)
    for keys in await through_time(store, first):
        seen = acted_on(KS, keys)
        every = [name for names in seen.values() for name in names]
        assert len(every) == len(set(every)), seen
        assert set(every) == old.active.keys()
    seen = acted_on(KS, (await through_time(store, store.revision))[0])
    assert not seen["blob"]
    assert not seen["interim"]
    assert seen["new"] == old.active
    left = {show.split("/")[2] for show in map(bytes.decode, keys)}
    assert not left & {"flows", "flow-classes", "flows-active", "parameter-types"}
    back, _ = await as_document(store, KS, report.style.shape)
    assert back == document
    await store.close()


class Crash(Exception):
    """The process is gone."""


@pytest.mark.parametrize("in_place", [False, True])
def test_broken_off_at_any_request_and_run_again_it_ends_the_same(in_place: bool) -> None:
    """Before and after each single request to the store: nothing else is left, or missing."""
    run(_broken_off(in_place))


async def _broken_off(in_place: bool) -> None:
    document = write(BUSY, "blob")

    async def begun() -> MemoryStore:
        return await seeded(document) if in_place else MemoryStore()

    given = None if in_place else document
    whole = await begun()
    whole.calls.clear()
    await migrate(whole, KS, document=given)
    requests = whole.calls.total()
    wanted = settled((await through_time(whole, whole.revision))[0])
    assert requests > 20
    for number in range(2 * requests):
        store = await begun()
        await _crash(store, given, number)
        await migrated(store, given)
        assert settled((await through_time(store, store.revision))[0]) == wanted, number
        await store.close()
    await whole.close()


async def _crash(store: MemoryStore, document: dict[str, Any] | None, number: int) -> None:
    """Migrate until request or reply ``number``; from then on nothing gets through."""
    count = 0

    async def gate(_call: str, _moment: str) -> None:
        nonlocal count
        count += 1
        if count > number:
            raise Crash

    store.gate = gate
    with suppress(Crash):
        await migrate(store, KS, document=document)
    store.gate = None
