"""What is written between the plan of an adoption and its transaction.

Each race is run with the code as it is, and again without the compare that it is about, which must
show.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec
import pytest

from flowsvc.audit import audit
from flowsvc.errors import (
    AlreadyExists,
    FlowServiceError,
    PlanStale,
    SharedVariantDiffers,
    VariantTaken,
)
from flowsvc.model import AdoptFlow, Change, DeleteDefinition, Done, OldKey, RollOut
from flowsvc.service import FlowService
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.memory.faults import CALM
from kvconfig.model import Revision
from kvconfig.records import VariantRecord
from kvconfig.store import list_all
from kvconfig.txn import Compare, Put, Txn
from tests.flows import a_service, start, state
from tests.property.flow_world import Forgetful, forgets

KS = Keyspace("@race")
QUERY = VariantName("query", "small")
VALUE = VariantRecord(topics={"request": "request:query:small"}, parameters={"limit": "10"})
OLD = KS.everything().start + b"flows/f1"
OLD_RECORD = b'{"class-name":"small"}'
"""Written before everything else, at revision 2."""


def adopt(**changed: Any) -> AdoptFlow:
    request = AdoptFlow(
        flow="f1",
        blueprint_name="small",
        parameters={"size": "7"},
        own={VariantName("chunker", "f1"): VariantRecord(parameters={"size": "7"})},
        shared={QUERY: VALUE},
        instead_of=(OldKey(key=OLD, mod_revision=Revision(2)),),
    )
    return msgspec.structs.replace(request, **changed)


class Race(msgspec.Struct, frozen=True, kw_only=True):
    """Ours is planned; then ``theirs`` is done; then ours is sent, and ``sound`` must hold.

    ``compare``: type, target and operator; what the race is about.
    """

    compare: tuple[str, str, str]
    theirs: Change | AdoptFlow | Txn
    sound: Callable[[dict[str, Any], Done | FlowServiceError], object]
    before: tuple[Change, ...] = ()


RACES = {
    "the id is free": Race(
        compare=("flow", "mod_revision", "="),
        theirs=adopt(own={}, shared={}, instead_of=(), description="theirs"),
        sound=lambda found, answer: (
            isinstance(answer, AlreadyExists) and found["flow/f1"]["description"] == "theirs"
        ),
    ),
    "its variants are free": Race(
        compare=("active-flow", "create_revision", "="),
        theirs=adopt(flow="f2", shared={}, instead_of=()),
        sound=lambda found, answer: isinstance(answer, VariantTaken),
    ),
    "what it shares has the value that it wants": Race(
        compare=("active-flow", "value", "="),
        before=(start("f0"),),
        theirs=RollOut(blueprint_name="small", parameters={"limit": 3}),
        sound=lambda found, answer: isinstance(answer, SharedVariantDiffers),
    ),
    "what it is said of the blueprint is true": Race(
        compare=("flow-blueprint", "mod_revision", "="),
        theirs=DeleteDefinition(kind="flow-blueprint", name="small"),
        sound=lambda found, answer: isinstance(answer, Done) and answer.findings,
    ),
    "the old key is what was read": Race(
        compare=("flows", "mod_revision", "="),
        theirs=Txn(then=(Put(OLD, b'{"class-name":"other"}'),)),
        sound=lambda found, answer: isinstance(answer, PlanStale) and "flow/f1" not in found,
    ),
}


async def _run(race: Race, forgotten: Callable[[Compare], bool] | None) -> None:
    memory = MemoryStore()
    await memory.commit(Txn(then=(Put(OLD, OLD_RECORD),)))
    store = Forgetful(memory, Random(1), CALM)
    memory.gate = None
    async with a_service(memory, KS) as other, FlowService(store, KS) as service:
        for request in race.before:
            await other.change(request)
        await service.flows.until(lambda items: len(items) == len(race.before))
        await service.blueprints.until(lambda items: len(items) == 1)
        store.forgets = forgotten
        theirs = race.theirs
        revision = memory.revision
        store.first = lambda: (
            memory.commit(theirs) if isinstance(theirs, Txn) else other.change(theirs)
        )
        answer: Done | FlowServiceError
        try:
            answer = await service.change(adopt())
        except FlowServiceError as refusal:
            answer = refusal
        assert memory.revision > revision
        assert race.sound(await state(memory, KS), answer)
        items = (await list_all(memory, KS.everything())).items
        assert not [each for each in audit(KS, items) if each.severity == "error"]
    await memory.close()


@pytest.mark.parametrize("name", RACES)
async def test_what_is_written_in_between_is_seen(name: str) -> None:
    """The answer, and what stands, are as if it had come first."""
    await _run(RACES[name], None)


@pytest.mark.parametrize("name", RACES)
async def test_without_its_compare_it_would_not_be(name: str) -> None:
    """Each compare is needed."""
    race = RACES[name]
    with pytest.raises(AssertionError):
        await _run(race, forgets(KS, *race.compare))
