"""The informer against a model, step by step, in whatever order hypothesis thinks of.

The model is a dict. It says what every write must do; what the informer tells is followed through
the store's journal (:mod:`tests.history.follow`) whenever all has become quiet.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from random import Random
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kvconfig.backoff import Backoff
from kvconfig.errors import (
    Compacted,
    FutureRevision,
    OutcomeUnknown,
    StoreError,
    Unavailable,
    WatchEnded,
)
from kvconfig.informer import Batch, Informer
from kvconfig.keys import prefix
from kvconfig.memory import MemoryStore, Moment, Snapshot
from kvconfig.memory.faults import CALM, FaultyStore, Rates
from kvconfig.model import KeyValue, Revision
from kvconfig.txn import Delete, Put, Txn
from tests.history.follow import follow
from tests.history.mutants import MEMORY, Mutant, mutate
from tests.history.record import Looked, Watcher, told
from tests.history.replay import Truth
from tests.history.virtual_time import VirtualTimeLoop
from tests.property.model import Model, transaction

T = TypeVar("T")

RANGE = prefix(b"/t/")
STEPS = 50
EXAMPLES = 260
PATIENCE_S = 60.0

keys = st.sampled_from([b"/t/a", b"/t/b", b"/t/c", b"/t/d", b"/elsewhere/e"])
values = st.sampled_from([b"", b"1", b"2"])
writes = st.dictionaries(keys, st.none() | values, min_size=1)
fates = st.sampled_from(["applied", "late", "dropped"])
errors = st.sampled_from(
    [Unavailable("away"), Compacted(), FutureRevision(), WatchEnded("no leader")]
)
calls = st.sampled_from(["watch", "list"])
moments = st.sampled_from(["before", "after"])


class InformerMachine(RuleBasedStateMachine):
    steps: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.memory = MemoryStore(clock=self.loop.time, page_size=2, max_backlog=8)
        self.store = FaultyStore(self.memory, Random(1), CALM)
        self.memory.gate = self.gate
        self.model = Model({}, {})
        self.snapshots: list[tuple[Snapshot, Model]] = []
        self.held_calls: set[tuple[str, str]] = set()
        self.released = asyncio.Event()
        self.late: list[Txn] = []
        self.built: dict[bytes, bytes] = {}
        self.watcher = Watcher(name="informer", range=RANGE)

    @initialize(verify_every_s=st.sampled_from([0.5, 1_000.0]))
    def start(self, verify_every_s: float) -> None:
        self.informer = Informer(
            self.store,
            RANGE,
            lambda kv: kv.value,
            clock=self.loop.time,
            backoff=Backoff(first_s=0.05, most_s=0.5),
            verify_every_s=verify_every_s,
        )
        self.informer.subscribe(self.handle)
        self.run(self.informer.__aenter__())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(coroutine)

    async def gate(self, call: str, moment: Moment) -> None:
        if (call, moment) in self.held_calls:
            await self.released.wait()

    def handle(self, batch: Batch[bytes]) -> None:
        """Build up what is told; and remember it, for :meth:`quiet`."""
        self.watcher.log.append(told(batch, self.cache()))
        for change in batch.changes:
            if change.new is None:
                del self.built[change.key]
            else:
                self.built[change.key] = change.new.kv.value

    def cache(self) -> dict[bytes, KeyValue]:
        return {key: item.kv for key, item in self.informer.items.items()}

    # -- writes -------------------------------------------------------------------------------

    def commit(self, txn: Txn, lost: str = "") -> None:
        """Do it there and here. Whether it is done there, its answer says."""
        self.memory.expire_leases()
        self.model.expire(self.loop.time())
        expected = self.model.do(txn) if lost in ("", "applied") else None
        try:
            commit = self.run(self.store.commit(txn))
        except OutcomeUnknown:
            assert lost
        else:
            assert not lost
            assert commit.succeeded is expected

    @rule(key=keys, value=values)
    def put(self, key: bytes, value: bytes) -> None:
        self.commit(Txn(then=(Put(key, value),)))

    @rule(key=keys)
    def delete(self, key: bytes) -> None:
        self.commit(Txn(then=(Delete(key),)))

    @rule(
        ops=writes,
        guards=st.dictionaries(keys, st.booleans() | values, max_size=2),
    )
    def txn(self, ops: dict[bytes, bytes | None], guards: dict[bytes, bytes | bool]) -> None:
        """Puts and deletes (``None``), if all guards hold: there or not, or with that value."""
        self.commit(transaction(ops, guards))

    @rule(fate=fates, ops=writes)
    def lost_reply(self, fate: Any, ops: dict[bytes, bytes | None]) -> None:
        txn = transaction(ops, {})
        self.memory.lose_next_reply(fate)
        self.commit(txn, lost=fate)
        if fate == "late":
            self.late.append(txn)

    @precondition(lambda self: self.late)
    @rule()
    def deliver_late(self) -> None:
        self.memory.expire_leases()
        self.model.expire(self.loop.time())
        self.memory.deliver_late()
        for txn in self.late:
            self.model.do(txn)
        self.late.clear()

    @rule(ttl_s=st.integers(1, 3), ops=st.dictionaries(keys, values, min_size=1))
    def lease(self, ttl_s: int, ops: dict[bytes, bytes]) -> None:
        lease = self.run(self.store.grant(ttl_s))
        self.model.leases[lease] = (self.loop.time() + ttl_s, ttl_s)
        self.commit(Txn(then=tuple(Put(key, value, lease) for key, value in ops.items())))

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        self.memory.expire_leases()
        self.model.expire(self.loop.time())
        if self.model.leases:
            lease = data.draw(st.sampled_from(sorted(self.model.leases)))
            self.run(self.store.revoke(lease))
            self.model.end(lease)

    # -- what happens to the store, and on the way to it ----------------------------------------

    @rule()
    def cut(self) -> None:
        self.memory.cut_watches("cut")

    @rule()
    def progress(self) -> None:
        self.memory.progress()

    @rule(part=st.floats(0, 1))
    def compact(self, part: float) -> None:
        with suppress(Compacted):
            self.store.compact(Revision(max(1, round(part * self.memory.revision))))

    @rule()
    def snapshot(self) -> None:
        self.memory.expire_leases()
        self.model.expire(self.loop.time())
        self.snapshots.append((self.memory.snapshot(), self.model.copy()))

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        if self.late:
            self.deliver_late()
        snapshot, model = data.draw(st.sampled_from(self.snapshots))
        self.store.restore(snapshot)
        self.model = model.copy()
        for lease, (_, ttl_s) in model.leases.items():
            self.model.leases[lease] = (self.loop.time() + ttl_s, ttl_s)

    @precondition(lambda self: self.snapshots)
    @rule(data=st.data(), moment=moments, before=writes, after=st.lists(writes, max_size=3))
    def restore_in_a_list(
        self,
        data: st.DataObject,
        moment: str,
        before: dict[bytes, bytes | None],
        after: list[dict[bytes, bytes | None]],
    ) -> None:
        """While the list is on its way, or its answer, with writes on both sides of the restore."""
        self.held_calls.add(("list", moment))
        self.cut()
        self.wait(1.0)
        self.commit(transaction(before, {}))
        self.restore(data)
        for ops in after:
            self.commit(transaction(ops, {}))
        self.let_go()

    @rule(error=errors, call=calls)
    def fail(self, error: StoreError, call: str) -> None:
        self.memory.fail_next(error, call)

    @rule(on=st.booleans())
    def repeat(self, on: bool) -> None:
        """A store that gives batches twice."""
        self.store.rates = Rates(repeated=0.5) if on else CALM

    @rule(call=calls, moment=moments)
    def hold(self, call: str, moment: str) -> None:
        """The informer's requests, or replies to it, stay on their way."""
        self.held_calls.add((call, moment))

    @precondition(lambda self: self.held_calls)
    @rule()
    def let_go(self) -> None:
        self.held_calls.clear()
        self.released.set()
        self.released = asyncio.Event()

    # -- time, and what must hold ---------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.1, 1.0]))
    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @invariant()
    def adds_up(self) -> None:
        """At any moment the cache is what was told, whatever went wrong: no error empties it."""
        self.steps["all"] += 1
        if self.watcher.log:
            cache = self.cache()
            assert {key: kv.value for key, kv in cache.items()} == self.built
            self.watcher.log.append(Looked(cache=cache))

    @rule()
    def quiet(self) -> None:
        """When nothing happens any more the cache is what is stored, and all told led there."""
        self.steps["quiet"] += 1
        self.let_go()
        self.store.rates = CALM
        if self.late:
            self.deliver_late()
        self.run(asyncio.sleep(0))
        self.commit(Txn(then=(Put(b"/t/end", b"%d" % self.steps["quiet"]),)))
        last = self.memory.revision
        self.until(lambda: self.has(last), "it never heard of the last write")
        self.memory.expire_leases()
        self.model.expire(self.loop.time())
        expected = {key: value for key, (value, _) in self.model.held.items() if key in RANGE}
        self.until(lambda: self.says(expected), "it is not what is stored")
        self.watcher.settled = True
        self.watcher.differences = self.informer.stats.differences
        assert list(follow(self.watcher, Truth(Revision(1), self.store.journal()))) == []

    def until(self, condition: Callable[[], bool], complaint: str) -> None:
        waiting = asyncio.wait_for(self.informer.until(lambda _: condition()), PATIENCE_S)
        try:
            self.run(waiting)
        except TimeoutError:
            raise AssertionError(complaint) from None

    def has(self, revision: Revision) -> bool:
        end = self.informer.items.get(b"/t/end")
        return end is not None and end.mod_revision == revision

    def says(self, expected: dict[bytes, bytes]) -> bool:
        return {key: item.value for key, item in self.informer.items.items()} == expected

    def teardown(self) -> None:
        try:
            if hasattr(self, "informer"):
                self.quiet()
        finally:
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            if tasks:
                self.run(asyncio.wait(tasks))
            self.loop.close()


def run_machine(examples: int, phases: tuple[Phase, ...]) -> None:
    run_state_machine_as_test(
        InformerMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            phases=phases,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def test_the_informer_and_the_model_agree() -> None:
    """After any steps at all, on every one of more than 10,000."""
    InformerMachine.steps.clear()
    run_machine(EXAMPLES, (Phase.generate, Phase.shrink))
    print(f"\n{dict(InformerMachine.steps)} steps")
    assert InformerMachine.steps["all"] >= 10_000


@pytest.mark.parametrize(
    "mutant", [m for m in MEMORY if m.module == "kvconfig.informer"], ids=lambda m: m.name
)
def test_the_machine_catches_mutants(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """It finds what the history checker finds, too."""
    mutate(mutant, monkeypatch)
    with pytest.raises(AssertionError):
        run_machine(4 * EXAMPLES, (Phase.generate,))
