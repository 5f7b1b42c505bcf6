"""Random sequences of all operations, by several services against one store full of faults.

Whenever all is quiet the invariants must hold (:func:`flowsvc.audit.audit`, and what
:class:`tests.property.flow_world.Judge` adds); and at the end every flow can be stopped, and
leaves nothing. The mutants forget one compare each: the machine has to find every one of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial
from random import Random
from typing import Any, ClassVar, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from flowsvc.errors import FlowServiceError
from flowsvc.model import (
    Change,
    DeleteDefinition,
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
from flowsvc.target import target_of
from kvconfig.errors import OutcomeUnknown, StoreError
from kvconfig.etcd import connect
from kvconfig.keys import Range
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.memory.faults import CALM, Rates
from kvconfig.model import KeyValue, Revision
from kvconfig.store import Store, list_all
from kvconfig.txn import Compare
from tests.history.virtual_time import VirtualTimeLoop
from tests.property.flow_world import (
    BLUEPRINTS,
    FLOWS,
    NAMES,
    TYPES,
    Asked,
    Forgetful,
    Heard,
    as_json,
    check_invariants,
    forgets,
)

T = TypeVar("T")

VERBS_SEEN = ("start", "stop", "update", "pause", "resume", "restart", "roll-out", "rollback")

SERVICES = 3
PATIENCE_S = 600.0
PHASES = (Phase.generate, Phase.shrink) if os.environ.get("SHRINK") else (Phase.generate,)
EXAMPLES = int(os.environ.get("FLOW_EXAMPLES", "60"))

flows, names = st.sampled_from(FLOWS), st.sampled_from(NAMES)
ages = st.integers(1, 6)
parameters = st.fixed_dictionaries(
    {}, optional={"limit": st.integers(1, 2), "size": st.integers(1, 2)}
)
kinds = st.sampled_from(["flow-blueprint", "parameter-type"])
blueprints = st.sampled_from([as_json(b) for b in BLUEPRINTS[:-1] * 3 + BLUEPRINTS[-1:]])


type_puts: list[Change] = [
    PutDefinition(kind="parameter-type", name=name, definition=as_json(one), force=force)
    for name, versions in TYPES.items()
    for one in versions
    for force in (False, True)
]
starts: st.SearchStrategy[Change] = st.builds(
    StartFlow, flow=flows, blueprint_name=names, parameters=parameters
)
flow_changes: st.SearchStrategy[Change] = st.one_of(
    starts,
    st.builds(StopFlow, flow=flows),
    st.builds(
        UpdateFlow,
        flow=flows,
        parameters=parameters,
        blueprint_name=st.sampled_from(["", *NAMES]),
        description=st.sampled_from([None, "x"]),
    ),
    st.builds(PauseFlow, flow=flows),
    st.builds(ResumeFlow, flow=flows),
    st.builds(RollBackFlow, flow=flows, to=ages.map(str)),
    st.builds(RollOut, blueprint_name=names, parameters=parameters),
)
definition_changes: st.SearchStrategy[Change] = st.one_of(
    st.builds(
        PutDefinition,
        kind=st.just("flow-blueprint"),
        name=names,
        definition=blueprints,
        force=st.booleans(),
    ),
    st.sampled_from(type_puts),
    st.builds(DeleteDefinition, kind=st.just("flow-blueprint"), name=names, force=st.booleans()),
    st.builds(
        DeleteDefinition,
        kind=st.just("parameter-type"),
        name=st.sampled_from(sorted(TYPES)),
        force=st.booleans(),
    ),
    st.builds(
        RollBackDefinition,
        kind=st.just("flow-blueprint"),
        name=names,
        to=ages.map(str),
        force=st.booleans(),
    ),
    st.builds(
        RollBackDefinition,
        kind=st.just("parameter-type"),
        name=st.sampled_from(sorted(TYPES)),
        to=ages.map(str),
        force=st.booleans(),
    ),
)
rates = st.builds(
    Rates,
    delay=st.sampled_from([0.0, 0.5]),
    lag=st.sampled_from([0.0, 0.5]),
    refused=st.sampled_from([0.0, 0.1]),
    lost=st.sampled_from([0.0, 0.3]),
    late=st.sampled_from([0.0, 0.1]),
    cut=st.sampled_from([0.0, 0.05]),
    compact=st.sampled_from([0.0, 0.02]),
)


def _some(changes: st.SearchStrategy[Change]) -> st.SearchStrategy[list[tuple[int, Change]]]:
    """Requests, each with the service that gets it."""
    return st.lists(st.tuples(st.integers(0, SERVICES - 1), changes), min_size=1, max_size=6)


class FlowMachine(RuleBasedStateMachine):
    forgets: ClassVar[Callable[[Compare], bool] | None] = None
    counts: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.loop: asyncio.AbstractEventLoop = VirtualTimeLoop()
        self.keyspace = Keyspace("@m")
        self.memory = MemoryStore(clock=self.loop.time)
        self.asked: list[Asked] = []
        self.heard = Heard(self.keyspace)
        self.stack = AsyncExitStack()

    def open_store(self, seed: int) -> Store:
        self.faults = Forgetful(self.memory, Random(seed), CALM)
        self.faults.forgets = type(self).__dict__.get("forgets")
        return self.faults

    def items(self, range_: Range) -> tuple[KeyValue, ...]:
        """What stands, past all faults."""
        mvcc = self.memory.snapshot().mvcc
        return mvcc.page(range_, Revision(0), limit=2**31, keys_only=False)[0].items

    def check(self) -> None:
        """The invariants."""
        check_invariants(self.keyspace, self.items(self.keyspace.everything()), self.asked)
        self.heard.check(self.faults.journal())

    def weather(self, rates: Rates) -> None:
        """From now on this goes wrong."""
        self.faults.rates = rates

    def heal(self) -> None:
        self.faults.heal()

    def deliver_late(self) -> None:
        """What was sent before, and given up, comes now."""
        self.memory.deliver_late()

    @initialize(seed=st.integers(0, 2**16), definitions=st.tuples(blueprints, blueprints))
    def begin(self, seed: int, definitions: tuple[bytes, bytes]) -> None:
        self.store = self.open_store(seed)
        self.services = [self.run(self.open()) for _ in range(SERVICES)]
        for name, (first, *_) in TYPES.items():
            put = PutDefinition(kind="parameter-type", name=name, definition=as_json(first))
            self.together([(0, put)])
        for name, definition in zip(NAMES, definitions, strict=True):
            put = PutDefinition(kind="flow-blueprint", name=name, definition=definition)
            self.together([(0, put)])
        for flow, name in zip(FLOWS, NAMES, strict=False):
            self.together([(1, StartFlow(flow=flow, blueprint_name=name))])

    async def open(self) -> FlowService:
        service = FlowService(self.store, self.keyspace, now=lambda: 1.7e9)
        return await self.stack.enter_async_context(service)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, PATIENCE_S))

    # -- what people ask for --------------------------------------------------------------------

    @rule(requests=_some(flow_changes))
    def change_flows(self, requests: list[tuple[int, Change]]) -> None:
        self.together(requests)

    @rule(requests=_some(st.one_of(flow_changes, flow_changes, definition_changes)))
    def change_both(self, requests: list[tuple[int, Change]]) -> None:
        self.together(requests)

    @rule(requests=_some(starts))
    def start_some(self, requests: list[tuple[int, Change]]) -> None:
        self.together(requests)

    def together(self, requests: list[tuple[int, Change]]) -> None:
        """All at once; in which order, the faults decide."""
        self.run(self.all_of([self.ask(service, self.note(r)) for service, r in requests]))
        self.check()

    @rule(flow=flows, service=st.integers(0, SERVICES - 1), others=_some(flow_changes))
    def restart(self, flow: str, service: int, others: list[tuple[int, Change]]) -> None:
        """While others do what they like with the same flow."""
        asked = self.note(PauseFlow(flow=flow), restart=True)
        more = [self.ask(number, self.note(request)) for number, request in others]
        self.run(self.all_of([self.ask(service, asked), *more]))
        self.check()

    @rule(request=flow_changes, after_s=st.floats(0, 0.3))
    def crash(self, request: Change, after_s: float) -> None:
        """The service is gone in the middle of it; its request may be on its way."""
        asked = self.note(request)
        with suppress(TimeoutError):
            self.run(asyncio.wait_for(self.ask(0, asked), after_s))
        self.check()

    def resend(self, service: int) -> None:
        """Whoever got no answer asks again, perhaps somebody else."""
        unknown = [asked for asked in self.asked if asked.outcome == "unknown"]
        self.run(self.all_of([self.ask(service, asked, resent=True) for asked in unknown]))
        self.check()

    def note(self, request: Change, *, restart: bool = False) -> Asked:
        asked = Asked(request=self.with_op(request), restart=restart)
        self.asked.append(asked)
        return asked

    def with_op(self, request: Change) -> Change:
        """An id; and for a rollback, the id of one of the last that were asked for."""
        op = f"op-{len(self.asked)}"
        if isinstance(request, RollBackFlow | RollBackDefinition):
            about = target_of(request)
            same = [
                asked.request.op
                for asked in self.asked
                if (target_of(asked.request).kind, target_of(asked.request).name)
                == (about.kind, about.name)
            ]
            age = min(int(request.to), len(same))
            return msgspec.structs.replace(request, op=op, to=same[-age] if same else "none")
        return msgspec.structs.replace(request, op=op)

    async def all_of(self, coroutines: list[Coroutine[Any, Any, None]]) -> None:
        await asyncio.gather(*coroutines)

    async def ask(self, service: int, asked: Asked, *, resent: bool = False) -> None:
        request = msgspec.structs.replace(asked.request, resent=resent)
        try:
            if asked.restart:
                assert isinstance(request, PauseFlow)
                done = await self.services[service].restart_flow(request)
            else:
                done = await self.services[service].change(request)
        except OutcomeUnknown:
            asked.outcome = "unknown"
        except (FlowServiceError, StoreError) as error:
            if resent and not isinstance(error, FlowServiceError):
                return  # of this attempt nothing came; of the one before, who knows
            asked.outcome = "refused"
            self.counts[type(error).__name__] += 1
        else:
            asked.outcome, asked.revision = "done", done.revision
            self.counts["restart" if asked.restart else target_of(request).verb] += 1

    # -- what befalls the store -----------------------------------------------------------------

    @rule(rates=rates, event=st.sampled_from(["weather", "late", "resend", "replace"]))
    def meanwhile(self, rates: Rates, event: str) -> None:
        """One rule for all of it, so that half of the steps are about flows."""
        if event == "weather":
            self.weather(rates)
        elif event == "late":
            self.deliver_late()
            self.check()
        elif event == "resend":
            self.resend(2)
        else:
            self.weather(CALM)
            self.services[0] = self.run(self.open())

    # -- the end --------------------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if hasattr(self, "services"):
                self.heal()
                self.resend(1)
                assert not [asked for asked in self.asked if asked.outcome == "unknown"]
                self.run(self.stop_all())
                self.deliver_late()
                self.nothing_is_left()
                self.run(self.stack.aclose())
        finally:
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self.loop.run_until_complete(asyncio.wait(tasks))
            self.loop.close()

    async def stop_all(self) -> None:
        """There is no flow that cannot be stopped."""
        service = await self.open()
        for flow in await service.list_flows():
            await service.stop_flow(StopFlow(flow=flow.id))

    def nothing_is_left(self) -> None:
        self.check()
        for type_ in ("active-flow", "flow-ref", "blueprint-use", "flow"):
            left = self.items(self.keyspace.type_range(type_))
            assert not left, left


def run_machine(
    machine: type[RuleBasedStateMachine], examples: int, phases: tuple[Phase, ...]
) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            phases=phases,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


def test_every_sequence_of_operations_keeps_the_invariants() -> None:
    FlowMachine.counts.clear()
    run_machine(FlowMachine, EXAMPLES, PHASES)
    done = {verb: FlowMachine.counts[verb] for verb in VERBS_SEEN}
    assert min(done.values()) >= 5, FlowMachine.counts


class EtcdFlowMachine(FlowMachine):
    """The same on a real etcd, where the only faults are races and services that go away."""

    endpoint: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.loop.close()
        self.loop = asyncio.new_event_loop()
        self.keyspace = Keyspace(f"@m-{secrets.token_hex(8)}")

    def open_store(self, seed: int) -> Store:
        return self.run(self.stack.enter_async_context(connect([self.endpoint])))

    def items(self, range_: Range) -> tuple[KeyValue, ...]:
        return self.run(list_all(self.store, range_)).items

    def check(self) -> None:
        check_invariants(self.keyspace, self.items(self.keyspace.everything()), self.asked)

    def weather(self, rates: Rates) -> None:
        """Nobody can change it."""

    def heal(self) -> None:
        """There is nothing to heal."""

    def deliver_late(self) -> None:
        """It comes when it comes."""


def test_the_same_on_etcd(etcd_endpoint: str) -> None:
    machine = type("OnEtcd", (EtcdFlowMachine,), {"endpoint": etcd_endpoint})
    FlowMachine.counts.clear()
    run_machine(machine, 10, (Phase.generate,))
    assert min(FlowMachine.counts[verb] for verb in ("start", "stop", "update")) >= 3


def _mutants() -> dict[str, Callable[[Compare], bool]]:
    """Each forgets one of the compares that :mod:`flowsvc.plan` makes.

    Those that random sequences seldom need have a race of their own in ``test_flow_races.py``.
    """
    of = partial(forgets, Keyspace("@m"))
    return {
        "the flow is absent": of("flow", "create_revision", "="),
        "the flow is as it was read": of("flow", "mod_revision", "="),
        "the operation is new": of("history", "create_revision", "="),
        "the variant is absent": of("active-flow", "create_revision", "="),
        "the variant has this value": of("active-flow", "value", "="),
        "another flow shares it": of("flow-ref", "create_revision", "!="),
        "no other flow shares it": of("flow-ref", "create_revision", "=", range_=True),
    }


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", _mutants())
def test_a_mutant_that_forgets_a_compare_is_found(mutant: str) -> None:
    """What the planner compares is needed, all of it: without, the machine breaks an invariant."""
    machine = type("Mutant", (FlowMachine,), {"forgets": _mutants()[mutant]})
    with pytest.raises(AssertionError):
        run_machine(machine, 1_000, (Phase.generate,))
