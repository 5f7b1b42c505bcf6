"""One race for each compare that random sequences seldom need.

Something is written between the plan and its transaction. Each race is run with the code as it is,
and again without the compare, which must show.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import pytest

from flowsvc.audit import audit
from flowsvc.errors import AlreadyExists, FlowServiceError, InUse, NotFound, ParametersInvalid
from flowsvc.model import (
    Change,
    DeleteDefinition,
    PauseFlow,
    PutDefinition,
    ResumeFlow,
    RollBackFlow,
    RollOut,
    StopFlow,
)
from flowsvc.service import FlowService
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.memory.faults import CALM
from kvconfig.store import list_all
from kvconfig.txn import Compare
from tests.flows import BLUEPRINT, TYPES, a_service, as_json, start, state
from tests.property.flow_world import Forgetful, forgets

KS = Keyspace("@race")
SECRET = {"type": "string", "secret": True}
EDITED = BLUEPRINT | {"flow": {"other:{id}": {}}}


class Race(msgspec.Struct, frozen=True, kw_only=True):
    """``ours`` is planned; then ``theirs`` is done; then ours is sent, and ``sound`` must hold.

    ``compare``: type, target, operator, and whether it is of a range; what the race is about.
    """

    compare: tuple[str, str, str, bool]
    ours: Change
    theirs: Change
    sound: Callable[[dict[str, Any], Exception | None], object]
    before: tuple[Change, ...] = ()


def _put(kind: Any, name: str, definition: object) -> PutDefinition:
    return PutDefinition(kind=kind, name=name, definition=as_json(definition))


RACES = {
    "a start takes the blueprint that stands": Race(
        compare=("flow-blueprint", "mod_revision", "=", False),
        ours=start("f1"),
        theirs=_put("flow-blueprint", "small", EDITED),
        sound=lambda found, error: error is None and "active-flow/other/f1" in found,
    ),
    "a start takes the parameter type that stands": Race(
        compare=("parameter-type", "mod_revision", "=", False),
        ours=start("f1"),
        theirs=_put("parameter-type", "size", TYPES["size"] | {"default": 7}),
        sound=lambda found, error: found["flow/f1"]["parameters"]["size"] == "7",
    ),
    "a rollback needs its blueprint": Race(
        compare=("flow-blueprint", "mod_revision", "=", False),
        before=(start("f1", op="first"), StopFlow(flow="f1")),
        ours=RollBackFlow(flow="f1", to="first"),
        theirs=DeleteDefinition(kind="flow-blueprint", name="small"),
        sound=lambda found, error: isinstance(error, NotFound) and found == {},
    ),
    "a rollback brings back no plain value of a secret": Race(
        compare=("parameter-type", "mod_revision", "=", False),
        before=(start("f1", size=7, op="first"), StopFlow(flow="f1")),
        ours=RollBackFlow(flow="f1", to="first"),
        theirs=_put("parameter-type", "size", SECRET),
        sound=lambda found, error: isinstance(error, ParametersInvalid) and found == {},
    ),
    "a resume neither": Race(
        compare=("parameter-type", "mod_revision", "=", False),
        before=(start("f1", size=7), PauseFlow(flow="f1")),
        ours=ResumeFlow(flow="f1"),
        theirs=msgspec.structs.replace(_put("parameter-type", "size", SECRET), force=True),
        sound=lambda found, error: (
            isinstance(error, ParametersInvalid) and "active-flow/chunker/f1" not in found
        ),
    ),
    "a roll-out takes along who joins": Race(
        compare=("flow-ref", "create_revision", "<", True),
        before=(start("f1"), start("f2")),
        ours=RollOut(blueprint_name="small", parameters={"limit": 3}),
        theirs=start("f3"),
        sound=lambda found, error: found["flow/f3"]["parameters"]["limit"] == "3",
    ),
    "no blueprint goes that is used": Race(
        compare=("blueprint-use", "create_revision", "=", True),
        ours=DeleteDefinition(kind="flow-blueprint", name="small"),
        theirs=start("f1"),
        sound=lambda found, error: isinstance(error, InUse),
    ),
    "no parameter type goes that is referred to": Race(
        compare=("flow-blueprint", "mod_revision", "<", True),
        before=(DeleteDefinition(kind="flow-blueprint", name="small"),),
        ours=DeleteDefinition(kind="parameter-type", name="size"),
        theirs=_put("flow-blueprint", "small", BLUEPRINT),
        sound=lambda found, error: isinstance(error, InUse),
    ),
    "no parameter type is replaced under a flow": Race(
        compare=("blueprint-use", "create_revision", "=", True),
        ours=_put("parameter-type", "size", TYPES["size"] | {"default": 7}),
        theirs=start("f1"),
        sound=lambda found, error: isinstance(error, InUse),
    ),
    "what is to be new replaces nothing": Race(
        compare=("flow-blueprint", "mod_revision", "=", False),
        ours=msgspec.structs.replace(_put("flow-blueprint", "b", EDITED), only_new=True),
        theirs=_put("flow-blueprint", "b", BLUEPRINT),
        sound=lambda found, error: isinstance(error, AlreadyExists),
    ),
}


async def _run(race: Race, forgotten: Callable[[Compare], bool] | None) -> None:
    memory = MemoryStore()
    store = Forgetful(memory, Random(1), CALM)
    memory.gate = None
    async with a_service(memory, KS) as other, FlowService(store, KS) as service:
        for request in race.before:
            await other.change(request)
        revision = memory.revision
        for informer in (service.flows, service.blueprints, service.parameter_types):
            await informer.until(lambda _, i=informer: _caught_up(i, memory))  # type: ignore[misc]
        store.forgets = forgotten
        store.first = lambda: other.change(race.theirs)
        error = None
        try:
            await service.change(race.ours)
        except FlowServiceError as refusal:
            error = refusal
        assert memory.revision > revision
        assert race.sound(await state(memory, KS), error)
        items = (await list_all(memory, KS.everything())).items
        found = [each for each in audit(KS, items) if each.code != "plain-secret"]
        assert not found, "not even a warning"  # what was there before a type was marked, stays


def _caught_up(informer: Any, memory: MemoryStore) -> bool:
    """Whether the cache holds what stands."""
    mvcc = memory.snapshot().mvcc
    page, _ = mvcc.page(informer.range, memory.revision, limit=2**31, keys_only=False)
    return {kv.key: kv for kv in page.items} == {k: i.kv for k, i in informer.items.items()}


@pytest.mark.parametrize("name", RACES)
async def test_what_is_written_in_between_is_seen(name: str) -> None:
    await _run(RACES[name], None)


@pytest.mark.parametrize("name", RACES)
async def test_without_its_compare_it_would_not_be(name: str) -> None:
    race = RACES[name]
    type_, target, op, range_ = race.compare
    with pytest.raises(AssertionError):
        await _run(race, forgets(KS, type_, target, op, range_=range_))
