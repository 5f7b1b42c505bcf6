"""What operations cost, counted: round trips, bytes, events, calls of functions, memory.

Nothing here is timed, so that a slow machine fails nothing and a fast one hides nothing. The limits
lie a little above what was counted when they were written; lower them when something gets cheaper.
What things cost in time is shown by ``make bench``.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import FrameType
from typing import Any

from flowsvc.model import (
    Change,
    PauseFlow,
    ResumeFlow,
    StartFlow,
    StopFlow,
    UpdateFlow,
)
from flowsvc.plan import Operation, Plan, plan
from flowsvc.service import FlowService
from flowsvc.view import Holders, View
from kvconfig.codec import encode
from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.etcd.auth import Tokens
from kvconfig.etcd.messages import batches_of
from kvconfig.etcd.watch import WatchHub
from kvconfig.informer import Informer
from kvconfig.keys import Range
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.model import KeyValue, Revision
from kvconfig.records import VariantRecord, decode_variant
from kvconfig.txn import Put, Txn
from kvconfig.wire import txn_bytes
from processors import FlowProcessor, Tasks, Variant
from processors.instance import hosted
from processors.sessions import Sessions

KS = Keyspace("@costs")
VARIANTS = 36
"""As many as the largest of TrustGraph's own blueprints has."""


def blueprint(variants: int) -> bytes:
    """Each of its own processor ``pN``, with two topics and a parameter."""
    entries = {
        f"p{number}:{{id}}": {
            "topics": {"input": f"flow:p{number}:{{id}}", "output": f"flow:p{number + 1}:{{id}}"},
            "parameters": {"model": "{model}"},
        }
        for number in range(variants)
    }
    return json.dumps({"flow": entries, "parameters": {"model": {"type": "model"}}}).encode()


MODEL = b'{"type":"string","default":"a-model"}'


# -- the planner and the codec, which are pure ----------------------------------------------------


class Known:
    """:class:`flowsvc.view.Cache` of the blueprint, its type and flows given."""

    def __init__(self, variants: int, **more: bytes) -> None:
        values = {KS.flow_blueprint("b"): blueprint(variants), KS.parameter_type("model"): MODEL}
        values |= {KS.flow(name): value for name, value in more.items()}
        self._items = {
            key: KeyValue(key, value, Revision(1), Revision(1), 1) for key, value in values.items()
        }

    def key(self, key: bytes) -> KeyValue | None:
        return self._items.get(key)

    def range(self, range_: Range) -> tuple[KeyValue, ...]:
        raise AssertionError(f"neither a start nor a stop asks for a range: {range_}")


def planned(request: Change, known: Known) -> Txn:
    operation = Operation(op="018f0000-0000-7000-8000-000000000000", at="2026-01-01T00:00:00.000Z")
    made = plan(request, operation, View(KS, known, Holders(), {}))
    assert isinstance(made, Plan)
    return made.txn


def a_start(flow: str = "f1") -> StartFlow:
    return StartFlow(flow=flow, blueprint_name="b")


def calls_of(work: Callable[[], object]) -> int:
    """How many functions written in Python are entered. From Python 3.12 on it is fewer: a
    comprehension is none any more."""
    count = 0

    def profile(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal count
        count += event == "call"

    work()  # names are checked, and blueprints compiled, once
    before = sys.getprofile()
    gc.collect()  # what other tests have left would be counted where it is collected
    gc.disable()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


def test_a_plan_is_made_by_few_calls() -> None:
    """5 for each variant and 104 besides: it grows with the variants, not with their square."""

    def counted(variants: int) -> int:
        known = Known(variants)
        return calls_of(lambda: planned(a_start(), known))

    few, many = counted(18), counted(36)
    each = (many - few) / 18
    assert each <= 6, (few, many)
    assert many - 36 * each <= 120, (few, many)


def test_a_message_is_made_by_few_calls() -> None:
    """One for each compare and each put, two for each read: nothing is made by itself."""
    txn = planned(a_start(), Known(VARIANTS))
    wanted = len(txn.compares) + len(txn.then) + 2 * len(txn.otherwise)
    assert calls_of(lambda: txn_bytes(txn)) <= wanted + 10


def test_a_plan_takes_little_memory() -> None:
    """Twice what it sends, and some: values, and the tuples that hold them."""
    known = Known(VARIANTS)
    size = len(txn_bytes(planned(a_start("warm"), known)))
    tracemalloc.start()
    try:
        txn = planned(a_start(), known)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(txn.then) > VARIANTS
    assert peak <= 5 * size, (peak, size)


def test_a_start_and_a_stop_send_few_bytes() -> None:
    """A start sends the value of each variant twice, to its key and to the history; a stop none.

    Beside that a few times its key: compared, put or deleted, read where a compare fails, recorded.
    """
    started = planned(a_start(), Known(VARIANTS))
    puts = {op.key: op.value for op in started.then if isinstance(op, Put)}
    stopped = planned(StopFlow(flow="f1"), Known(VARIANTS, f1=puts[KS.flow("f1")]))
    key = KS.active_flow(VariantName("p10", "f1"))
    start_each, stop_each = (len(txn_bytes(txn)) / VARIANTS for txn in (started, stopped))
    assert start_each <= 2 * len(puts[key]) + 6 * len(key), start_each
    assert stop_each <= 2 * len(key), stop_each


def test_a_value_is_decoded_by_few_calls() -> None:
    """By one, and by two more where it is long: that is all that the checks of its text take."""
    short = VariantRecord(topics={"input": "a"}, parameters={"model": "m"})
    long = VariantRecord(topics={f"t{n}": f"flow:t{n}:f1" for n in range(20)}, parameters={})
    for value, calls in ((short, 1), (long, 3)):
        assert calls_of(partial(decode_variant, encode(value))) == calls


def test_an_event_is_handed_out_by_few_calls() -> None:
    """From the message to the handler: a handful for each of 120 events of one revision."""
    range_ = KS.active_flow_range("p0")
    message = pb.WatchResponse()
    value = encode(VariantRecord(topics={"input": "a"}, parameters={"model": "m"}))
    for number in range(120):
        kv = message.events.add().kv
        kv.key, kv.value, kv.mod_revision = range_.start + b"%d" % number, value, 7

    async def count() -> int:
        informer = Informer(MemoryStore(), range_, _variant)
        heard: list[int] = []
        informer.subscribe(lambda batch: heard.append(len(batch.changes)))

        def hand_out() -> None:
            for batch in batches_of(message.events):
                informer.revision = Revision(1)
                informer._take(batch)

        calls = calls_of(hand_out)
        assert heard == [120, 120], "a revision is one batch"
        return calls

    assert asyncio.run(count()) <= 120 * 4 + 12


# -- from an event to the author's code -----------------------------------------------------------


class Wire:
    """A call of gRPC whose answers a test gives; ``order`` has what happened, in turn."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self._answers: asyncio.Queue[pb.WatchResponse] = asyncio.Queue()

    def opened(self, _requests: object) -> Wire:
        return self

    def answer(self, response: pb.WatchResponse) -> None:
        self._answers.put_nowait(response)

    async def read(self) -> pb.WatchResponse:
        self.order.append("read")
        return await self._answers.get()

    def cancel(self) -> None:
        pass


class Wired(MemoryStore):
    """A store whose watches are etcd's, on a :class:`Wire`."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._hub = WatchHub(
            lambda _: (wire.opened, "wire"),
            lambda _: None,
            Tokens("", _no_token),
            silence_s=3600.0,
        )

    def watch(self, range_: Range, *, start: Revision) -> Any:
        return self._hub.watch(range_, start)


async def _no_token() -> str:
    raise AssertionError("there is no user")


class Entered(FlowProcessor):
    """Says when a variant is entered."""

    id = "p0"

    def __init__(self, on_entry: Callable[[], None]) -> None:
        self._on_entry = on_entry

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        self._on_entry()
        yield


OURS = ("kvconfig.", "processors.")


async def test_a_variant_is_entered_one_turn_after_its_event_is_read() -> None:
    """By few calls of ours, and before the next event is asked for.

    That turn of the loop is the variant's own task. Any other hop between would be a dozen calls
    more, each of which is slow in a process that has just woken up.
    """
    wire = Wire()
    value = encode(VariantRecord(topics={"input": "a"}, parameters={"model": "m"}))
    entered, calls = asyncio.Event(), 0

    def profile(frame: FrameType, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_globals["__name__"].startswith(OURS)

    def on_entry() -> None:
        sys.setprofile(before)
        wire.order.append("entered")
        entered.set()

    before = sys.getprofile()
    store = Wired(wire)
    wire.answer(pb.WatchResponse(created=True))
    async with (
        Sessions(store) as sessions,
        hosted(Entered(on_entry), store, sessions, KS, instance="i") as instance,
    ):
        await instance.settled()
        gc.collect()  # what other tests have left would be counted where it is collected
        counted = []
        for number in range(2):  # the first one compiles patterns
            kv = pb.KeyValue(key=KS.active_flow(VariantName("p0", f"v{number}")), value=value)
            kv.mod_revision = instance.informer.revision + 1
            entered.clear()
            wire.order.clear()
            calls, turns = 0, 0
            sys.setprofile(profile)
            wire.answer(pb.WatchResponse(events=[pb.Event(kv=kv)]))
            while not entered.is_set():
                await asyncio.sleep(0)
                turns += 1
            counted.append((turns, calls))
            await instance.settled()
            assert wire.order == ["entered", "read"]
        turns, calls = counted[1]
        assert turns == 2, "one in which it is read, one in which it is entered"
        assert calls <= 60, calls


# -- operations, on the store in memory ------------------------------------------------------------


def _variant(kv: KeyValue) -> VariantRecord:
    return decode_variant(kv.value, key=kv.key)


@asynccontextmanager
async def service_of(store: MemoryStore, variants: int) -> AsyncIterator[FlowService]:
    """A flow service that knows the blueprint, and has warm caches."""
    async with FlowService(store, KS) as service:
        await service.put_parameter_type("model", MODEL)
        await service.put_blueprint("b", blueprint(variants))
        await service.blueprints.until(lambda items: len(items) == 1)
        await service.parameter_types.until(lambda items: len(items) == 1)
        yield service


OPERATIONS: list[tuple[Change, int]] = [
    (a_start(), 1),
    (UpdateFlow(flow="f1", parameters={"model": "another"}), 2),
    (PauseFlow(flow="f1"), 2),
    (ResumeFlow(flow="f1"), 2),
    (StopFlow(flow="f1"), 1),
]
"""What is asked, one after the other, and how many round trips that is."""


async def test_an_operation_is_few_round_trips() -> None:
    """A start and a stop are one; what has to know what stands is two; none reads besides."""
    store = MemoryStore()
    async with service_of(store, 3) as service:
        counted = {}
        for request, _ in OPERATIONS:
            before = store.calls.copy()
            done = await service.change(request)
            await service.flows.until(lambda _, at=done.revision: service.flows.revision >= at)  # type: ignore[misc]
            assert (store.calls - before).keys() == {"commit"}
            assert (store.calls - before)["commit"] == done.round_trips
            counted[type(request)] = done.round_trips
        assert counted == {type(request): round_trips for request, round_trips in OPERATIONS}


async def test_only_those_concerned_hear_of_a_start() -> None:
    """Of 50 processors, 20 are in the flow: one event for each of them, none for the others."""
    store = MemoryStore()
    async with service_of(store, 20) as service, AsyncExitStack() as stack:
        informers = []
        for number in range(50):
            informer = Informer(store, KS.active_flow_range(f"p{number}"), _variant)
            informers.append(await stack.enter_async_context(informer))
            await informer.synced()
        before = store.calls.copy()
        done = await service.start_flow(a_start())
        for informer in informers[:20]:
            await informer.until(lambda items: len(items) == 1)
        await service.flows.until(lambda _: service.flows.revision >= done.revision)
        assert [informer.stats.events for informer in informers] == [1] * 20 + [0] * 30
        assert store.calls - before == {"commit": 1}, "nobody reads anything to know of it"
