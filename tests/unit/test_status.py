"""Whether flows run: the fold, when a wait is over, and whom a change concerns."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowsvc import news, waiting
from flowsvc.errors import NotFound
from flowsvc.news import KnownVariants, Watcher
from flowsvc.status import (
    FlowStatus,
    Instance,
    InstanceReport,
    VariantStatus,
    fold,
    fold_processor,
    lacking,
    not_left,
    settled,
    stopped,
    stopped_everywhere,
)
from kvconfig.errors import InvalidName, PermissionDenied, WatchEnded
from kvconfig.informer import Item
from kvconfig.keyspace import VariantName
from kvconfig.model import KeyValue, Revision
from kvconfig.records import FlowRecord, FlowVariants, InstanceStatus, VariantFailure, VariantRecord

OOPS = VariantFailure(error="oops", attempts=2, since="2026-01-01T00:00:00Z")
A = VariantName("chunker", "f1")
B = VariantName("indexer", "f1")
AT = Revision(10)
"""The revision of every variant here, unless a test says otherwise."""


def record(
    *own: VariantName,
    shared: Sequence[VariantName] = (),
    paused: dict[str, VariantRecord] | None = None,
) -> FlowRecord:
    return FlowRecord(
        blueprint_name="b",
        description="",
        interfaces={},
        parameters={},
        variants=FlowVariants(own=tuple(map(str, own)), shared=tuple(map(str, shared))),
        op="op",
        paused=paused,
    )


def says(
    name: str,
    observed: int,
    *,
    pending: Sequence[str] = (),
    failed: Sequence[str] = (),
    written: int | None = None,
) -> Instance:
    """An instance with this status, ``written`` right after what it observed."""
    status = InstanceStatus(
        observed_revision=observed,
        pending=tuple(pending),
        failed=dict.fromkeys(failed, OOPS),
        host="h",
        started="2026-01-01T00:00:00Z",
        version="1",
    )
    return Instance.read(name, status, Revision(observed + 1 if written is None else written))


def one(*instances: Instance, revision: Revision | None = AT) -> VariantStatus:
    """The status of one variant, by what instances of its processor say."""
    variants = {} if revision is None else {A: revision}
    (variant,) = fold("f1", record(A), AT, variants, {"chunker": instances}).variants
    return variant


def flow_of(
    states: Mapping[VariantName, Sequence[Instance]], *, mod_revision: int = AT
) -> FlowStatus:
    """The status of a flow with these variants, each run by a processor of its own."""
    instances = {name.processor: found for name, found in states.items()}
    return fold("f1", record(*states), Revision(mod_revision), dict.fromkeys(states, AT), instances)


RUNS = says("i1", 10)
STARTS = says("i1", 10, pending=["f1"])
FAILS = says("i1", 10, failed=["f1"])
RUNS_TOO = msgspec.structs.replace(RUNS, name="i2")
FAILS_TOO = msgspec.structs.replace(FAILS, name="i2")
STARTS_TOO = msgspec.structs.replace(STARTS, name="i2")


# -- the fold ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instances", "state"),
    [
        ([], "starting"),
        ([RUNS], "running"),
        ([STARTS], "starting"),
        ([FAILS], "failed"),
        ([RUNS, RUNS_TOO], "running"),
        ([RUNS, STARTS_TOO], "running"),
        ([RUNS, FAILS_TOO], "degraded"),
        ([STARTS, FAILS_TOO], "failed"),
        ([FAILS, FAILS_TOO], "failed"),
        ([says("i1", 9)], "starting"),
        ([says("i1", 11)], "running"),
        ([says("i1", 9, failed=["f1"])], "starting"),
        ([says("i1", 10, pending=["f2"], failed=["f3"])], "running"),
    ],
)
def test_a_variant_runs_where_one_instance_runs_it(instances: list[Instance], state: str) -> None:
    """Running on one and failed on none; failed on one and running on none; degraded on both."""
    assert one(*instances).state == state


def test_a_report_says_who_how_far_and_why() -> None:
    """Each instance, by name: what it observed; and the error, attempts and time of a failure."""
    assert one(FAILS_TOO, STARTS).instances == (
        InstanceReport(instance="i1", state="starting", observed_revision=AT),
        InstanceReport(
            instance="i2",
            state="failed",
            observed_revision=AT,
            error="oops",
            attempts=2,
            since="2026-01-01T00:00:00Z",
        ),
    )


@pytest.mark.parametrize("failed", [[], ["f1"]])
def test_a_status_from_before_a_restore_is_ignored(failed: list[str]) -> None:
    """It speaks of revisions above its own key's: the instance is live, and says nothing."""
    at_own_revision = says("i1", 12, failed=failed, written=12)
    assert one(at_own_revision).state == ("failed" if failed else "running")
    restored = says("i1", 12, failed=failed, written=11)
    assert one(restored) == VariantStatus(
        name="chunker/f1",
        shared=False,
        state="starting",
        mod_revision=AT,
        instances=(InstanceReport(instance="i1", state="starting", observed_revision=Revision(0)),),
    )
    assert not stopped_everywhere([A], Revision(11), {"chunker": [restored]})


def test_a_status_that_cannot_be_read_says_nothing() -> None:
    """Its instance is live all the same."""
    unread = Instance.read("i1", None, AT)
    status = flow_of({A: [unread]})
    assert (status.state, status.missing) == ("starting", ())
    assert flow_of({A: [unread, RUNS_TOO]}).state == "running"


def test_a_variant_without_a_key_has_failed() -> None:
    """The record names it and etcd does not have it: nobody can run it, whatever was observed."""
    variant = one(RUNS, revision=None)
    assert (variant.state, variant.mod_revision, variant.instances) == ("failed", 0, ())
    assert "no key" in variant.error


def test_a_flow_is_as_its_worst_variant() -> None:
    """Failed before degraded before starting before running; running without any."""
    degraded = [RUNS, FAILS_TOO]
    assert flow_of({}).state == "running"
    assert flow_of({A: [RUNS], B: [RUNS]}).state == "running"
    assert flow_of({A: [RUNS], B: [STARTS]}).state == "starting"
    assert flow_of({A: degraded, B: [STARTS]}).state == "degraded"
    assert flow_of({A: degraded, B: [FAILS]}).state == "failed"


def test_processors_that_nobody_runs_are_named() -> None:
    """Sorted, each once, however many variants it has; the flow is starting."""
    names = [VariantName(processor, "1") for processor in "zyxwv"] + [VariantName("z", "2"), A]
    status = fold("f1", record(*names), AT, dict.fromkeys(names, AT), {"chunker": [RUNS], "z": []})
    assert (status.missing, status.state) == (("v", "w", "x", "y", "z"), "starting")


def test_shared_variants_are_marked_and_all_come_by_name() -> None:
    """Own and shared ones in one order."""
    names = {A: Revision(3), B: Revision(4)}
    status = fold("f1", record(B, shared=[A]), AT, names, {})
    shown = [(v.name, v.shared, v.mod_revision) for v in status.variants]
    assert shown == [("chunker/f1", True, 3), ("indexer/f1", False, 4)]


def test_a_paused_flow_has_no_variants() -> None:
    """Whatever its record names stands in etcd no more, or for others: nothing is missing."""
    status = fold("f1", record(A, paused={str(A): VariantRecord()}), AT, {A: AT}, {})
    assert status == FlowStatus(flow="f1", state="paused", mod_revision=AT)


def test_a_record_that_names_no_variant_is_refused() -> None:
    """It is damaged: nothing is guessed."""
    damaged = msgspec.structs.replace(record(), variants=FlowVariants(own=("nonsense",)))
    with pytest.raises(InvalidName):
        fold("f1", damaged, AT, {}, {})


UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A machine that is busy with other tests is slow, and no worse for it."""

variant_names = st.sampled_from(["f1", "f2", "f3"])
instances_drawn = st.lists(
    st.builds(
        says,
        st.sampled_from(["i1", "i2", "i3", "i4"]),
        st.integers(0, 20),
        pending=st.lists(variant_names, unique=True),
        failed=st.lists(variant_names, unique=True),
        written=st.integers(1, 22),
    ),
    unique_by=lambda instance: instance.name,
    max_size=4,
)
flows_drawn = st.dictionaries(
    st.builds(VariantName, st.sampled_from(["p", "q"]), variant_names),
    st.integers(1, 20).map(Revision),
    max_size=5,
)


@UNHURRIED
@given(flows_drawn, instances_drawn, instances_drawn, st.randoms(use_true_random=False))
def test_the_order_of_what_is_folded_does_not_matter(
    variants: dict[VariantName, Revision], p: list[Instance], q: list[Instance], chance: Any
) -> None:
    """Of variants in the record, of keys, and of instances."""
    status = fold("f1", record(*variants), AT, variants, {"p": p, "q": q})
    names = list(variants)
    for order in (names, p, q):
        chance.shuffle(order)
    mixed = {name: variants[name] for name in names}
    assert fold("f1", record(*names), AT, mixed, {"q": q, "p": p}) == status


@UNHURRIED
@given(
    st.integers(1, 20),
    st.integers(0, 20),
    st.integers(1, 22),
    st.lists(variant_names, unique=True),
    st.lists(variant_names, unique=True),
)
def test_what_is_said_of_a_variant(
    revision: int, observed: int, written: int, pending: list[str], failed: list[str]
) -> None:
    """Nothing counts before its revision was observed, nor anything above the key's own revision;
    then it runs, except where a list names it."""
    instance = says("i1", observed, pending=pending, failed=failed, written=written)
    counts = revision <= observed <= written
    state = one(instance, revision=Revision(revision)).state
    assert (state == "failed") == (counts and "f1" in failed)
    assert (state == "running") == (counts and "f1" not in {*pending, *failed})


# -- waiting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instances", "one_is_enough", "all_are_needed"),
    [
        ([], False, False),
        ([STARTS], False, False),
        ([RUNS], True, True),
        ([RUNS, STARTS_TOO], True, False),
        ([RUNS, RUNS_TOO], True, True),
        ([RUNS, FAILS_TOO], True, True),
        ([RUNS, FAILS_TOO, msgspec.structs.replace(STARTS, name="i3")], True, False),
        ([FAILS], True, True),
    ],
)
def test_a_wait_is_over_when_each_variant_runs_or_one_failed(
    instances: list[Instance], *, one_is_enough: bool, all_are_needed: bool
) -> None:
    """On one instance; or, for everywhere, when no live one has anything left to start."""
    status = flow_of({A: [RUNS], B: instances})
    assert settled(status) == one_is_enough
    assert settled(status, everywhere=True) == all_are_needed


def test_a_degraded_flow_is_not_settled_while_another_variant_starts() -> None:
    """Degraded is the worse of the two, and not the end."""
    status = flow_of({A: [RUNS, FAILS_TOO], B: [STARTS]})
    assert status.state == "degraded"
    assert not settled(status)


def test_what_waiting_does_not_change_ends_it() -> None:
    """A flow that failed, though more is to start; a paused one; one that is gone."""
    for status in (flow_of({A: [FAILS], B: [STARTS]}), flow_of({A: [FAILS, STARTS_TOO]})):
        assert settled(status)
        assert settled(status, everywhere=True)
    paused = fold("f1", record(A, paused={}), AT, {}, {})
    assert settled(paused, revision=AT)
    assert not settled(paused, revision=Revision(AT + 1))
    assert settled(stopped("f1"), revision=AT)


@pytest.mark.parametrize("instance", [RUNS, FAILS])
def test_a_status_from_before_the_operation_ends_no_wait(instance: Instance) -> None:
    """Neither a good nor a bad one: it speaks of what the operation has replaced."""
    status = flow_of({A: [instance]}, mod_revision=20)
    assert settled(status, revision=Revision(20))
    assert not settled(status, revision=Revision(21))
    assert "revision 20, not at 21" in lacking(status, revision=Revision(21))


def test_what_lacks_is_named() -> None:
    """Variants that do not run, ten at the most, and processors that nobody runs."""
    status = flow_of({A: [RUNS, STARTS_TOO], B: []})
    assert lacking(status) == (
        "not running anywhere yet: indexer/f1; nobody runs processor indexer"
    )
    assert "everywhere yet: chunker/f1, indexer/f1;" in lacking(status, everywhere=True)
    many = flow_of({VariantName(f"p{n:02}", "f1"): [STARTS] for n in range(12)})
    assert lacking(many).endswith("p08/f1, p09/f1 and 2 more")


@pytest.mark.parametrize(
    ("instances", "over"),
    [
        ([], True),
        ([says("i1", 10)], True),
        ([says("i1", 9)], False),
        ([says("i1", 10, pending=["f1"])], False),
        ([says("i1", 10, failed=["f1"])], False),
        ([says("i1", 10, pending=["f2"], failed=["f3"])], True),
        ([says("i1", 10), says("i2", 9)], False),
    ],
)
def test_a_stop_is_done_when_all_live_instances_have_left(
    instances: list[Instance], *, over: bool
) -> None:
    """They have observed the delete, and no list names the variant; inside and from outside."""
    assert stopped_everywhere([A, B], AT, {"chunker": instances}) == over
    assert (not_left(fold_processor("chunker", {}, (), instances), [A, B], AT) == []) == over
    again = fold_processor("chunker", {A: Revision(12)}, (), instances)
    assert not_left(again, [A, B], AT) == []


class Board:
    """Statuses by hand: what a read gives, and what a watch will tell."""

    def __init__(self, now: FlowStatus | None, *news_: FlowStatus, ends: bool = False) -> None:
        self.now = now
        self.reads = 0
        self.closed = asyncio.Event()
        self._news = news_
        self._ends = ends

    async def get_status(self, flow: str) -> FlowStatus:
        self.reads += 1
        if self.now is None:
            raise NotFound("flow", flow)
        return self.now

    async def watch_flows(self) -> AsyncIterator[FlowStatus]:
        try:
            for status in self._news:
                yield status
            if not self._ends:
                await asyncio.Event().wait()
        finally:
            self.closed.set()


def other(status: FlowStatus) -> FlowStatus:
    return msgspec.structs.replace(status, flow="other")


async def test_wait_returns_at_once_what_is_settled() -> None:
    """One read, and no watch."""
    board = Board(flow_of({A: [RUNS]}))
    assert await waiting.wait(board, "f1", timeout_s=9) == board.now
    assert (board.reads, board.closed.is_set()) == (1, False)


@pytest.mark.parametrize("end", [RUNS, FAILS])
async def test_wait_watches_until_the_flow_runs_or_fails(end: Instance) -> None:
    """Of the flow asked for, at the revision asked for; the watch is closed then."""
    old, starting, last = (
        flow_of({A: [FAILS]}, mod_revision=10),
        flow_of({A: [STARTS]}, mod_revision=11),
        flow_of({A: [end]}, mod_revision=11),
    )
    board = Board(starting, other(last), old, starting, last)
    assert await waiting.wait(board, "f1", revision=Revision(11), timeout_s=9) == last
    assert board.closed.is_set()


async def test_wait_proves_that_a_flow_is_stopped() -> None:
    """A watch that is behind tells of a stop before our start: that ends no wait."""
    running = flow_of({A: [RUNS]})
    board = Board(flow_of({A: [STARTS]}), stopped("f1"), running)
    assert await waiting.wait(board, "f1", timeout_s=9) == running
    board = Board(flow_of({A: [STARTS]}), stopped("f1"))

    async def gone(flow: str) -> FlowStatus:
        board.now = stopped(flow) if board.reads else board.now
        return await Board.get_status(board, flow)

    board.get_status = gone  # type: ignore[method-assign]
    assert (await waiting.wait(board, "f1", timeout_s=9)).state == "stopped"


async def test_wait_says_what_lacks_when_its_time_is_over() -> None:
    """The state, the variants and the processors that nobody runs; the watch is closed."""
    board = Board(flow_of({A: [STARTS], B: []}))
    with pytest.raises(TimeoutError) as raised:
        await waiting.wait(board, "f1", timeout_s=0.01)
    text = str(raised.value)
    assert "'f1' does not run after 0.01 s: it is starting" in text
    assert "chunker/f1, indexer/f1; nobody runs processor indexer" in text
    assert board.closed.is_set()


async def test_wait_raises_what_it_is_told() -> None:
    """A flow that never was; a watch that ends by itself."""
    with pytest.raises(NotFound):
        await waiting.wait(Board(None), "f1", timeout_s=9)
    with pytest.raises(WatchEnded):
        await waiting.wait(Board(flow_of({A: [STARTS]}), ends=True), "f1", timeout_s=9)


# -- news ----------------------------------------------------------------------------------------


def item(flow: str, *names: VariantName) -> Item[tuple[str, FlowRecord]]:
    kv = KeyValue(flow.encode(), b"", AT, AT, 1)
    return Item(kv, (flow, record(*names)))


@UNHURRIED
@given(flows_drawn, st.none() | instances_drawn, st.none() | instances_drawn)
def test_a_change_that_is_news_concerns_its_flow(
    variants: dict[VariantName, Revision],
    old: list[Instance] | None,
    new: list[Instance] | None,
) -> None:
    """Whatever changes a status, other than how far was observed, leads to a new fold."""
    known = KnownVariants()
    known.put("f1", item("f1", *variants), variants, variants)
    before, after = next(iter(old or []), None), next(iter(new or []), None)

    def status(instance: Instance | None) -> FlowStatus:
        found = [msgspec.structs.replace(instance, name="i1")] if instance else []
        return fold("f1", record(*variants), AT, variants, {"p": found})

    same = news._digest(status(before)) == news._digest(status(after))
    if not same:
        assert list(known.concerned("p", before, after)) == ["f1"]


def test_a_change_concerns_few() -> None:
    """Another start on a processor is nothing to the flows that run there already."""
    known = KnownVariants()
    for n in range(1, 6):
        name = VariantName("p", f"v{n}")
        known.put(f"f{n}", item(f"f{n}", name), [name], {name: Revision(n)})
    assert list(known.concerned("p", says("i", 3), says("i", 4))) == ["f4"]
    assert list(known.concerned("p", says("i", 5), says("i", 5, failed=["v2"]))) == ["f2"]
    assert list(known.concerned("p", says("i", 5, pending=["v1"]), says("i", 9))) == ["f1"]
    assert list(known.concerned("p", None, says("i", 9))) == ["f1", "f2", "f3", "f4", "f5"]
    assert list(known.concerned("q", None, says("i", 9))) == []


def test_a_shared_variant_concerns_all_who_have_it() -> None:
    """Also when one of them is gone."""
    known = KnownVariants()
    for flow in ("f1", "f2", "f3"):
        known.put(flow, item(flow, A), [A], {A: AT})
    assert list(known.concerned("chunker", STARTS, RUNS)) == ["f1", "f2", "f3"]
    known.drop("f2")
    assert list(known.concerned("chunker", STARTS, RUNS)) == ["f1", "f3"]
    assert list(known.concerned("chunker", None, RUNS)) == ["f1", "f3"]


def test_what_is_known_holds_for_one_record_and_only_if_it_is_all() -> None:
    """Another record, a variant without a key, a flow that is gone: it is asked for again."""
    known = KnownVariants()
    first, second = item("f1", A, B), item("f1", A, B)
    known.put("f1", first, [A, B], {A: AT, B: AT})
    assert known.get("f1", first) == {A: AT, B: AT}
    assert known.get("f1", second) is None
    known.put("f1", second, [A, B], {A: AT})
    assert known.get("f1", second) is None
    assert list(known.concerned("chunker", says("i", 20), says("i", 21))) == []
    assert list(known.concerned("indexer", says("i", 20), says("i", 21))) == ["f1"]
    known.drop("f1")
    assert len(known) == 0
    assert list(known.concerned("indexer", None, says("i", 21))) == []


def test_a_watcher_that_does_not_come_keeps_each_flow_once() -> None:
    """However often it changes; one that came and went unseen is forgotten."""
    watcher = Watcher(["f1"])
    for turn in range(1000):
        watcher.mark("f1")
        watcher.mark(f"g{turn}")
        watcher.mark(f"g{turn}", gone=True)
    assert len(watcher) == 1
    assert watcher.is_news(flow_of({A: [RUNS]}))
    watcher.mark("f1", gone=True)
    watcher.relisted = False
    watcher.mark_all(["f2"])
    assert len(watcher) == 2, "f1 was told of, so its end is news"
    assert watcher.relisted


def test_only_what_differs_is_news() -> None:
    """How far an instance has observed is none; a stop is, once, of what was told before."""
    watcher = Watcher([])
    assert not watcher.is_news(stopped("f1"))
    assert watcher.is_news(flow_of({A: [RUNS]}))
    assert not watcher.is_news(flow_of({A: [says("i1", 15)]}))
    assert watcher.is_news(flow_of({A: [FAILS]}))
    more = msgspec.structs.replace(OOPS, attempts=3)
    again = msgspec.structs.replace(FAILS, failed={"f1": more})
    assert watcher.is_news(flow_of({A: [again]}))
    assert watcher.is_news(flow_of({A: [again]}, mod_revision=11))
    assert watcher.is_news(stopped("f1"))
    assert not watcher.is_news(stopped("f1"))
    # Of a variant without a key no instance is asked, yet somebody runs its processor now.
    assert watcher.is_news(fold("f1", record(A), AT, {}, {}))
    assert watcher.is_news(fold("f1", record(A), AT, {}, {"chunker": [RUNS]}))


async def test_a_refusal_ends_a_watch() -> None:
    """Asking again is useless."""
    with pytest.raises(PermissionDenied):
        await Watcher([]).pause(PermissionDenied(b"/flow/f1"))
