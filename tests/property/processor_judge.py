"""What must hold of an instance, judged by what is so and not by what it believes.

What is stored is what the memory store holds past all faults; what runs, the probe knows
(:mod:`tests.property.processor_probe`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import pairwise
from typing import TypeAlias

from kvconfig.errors import show_key
from kvconfig.informer import Batch
from kvconfig.keys import Range
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.memory.faults import FaultyStore
from kvconfig.model import KeyValue, LeaseId, Revision
from kvconfig.records import InstanceStatus, VariantRecord, decode_status
from processors import Instance
from tests.history.replay import Truth
from tests.property.processor_probe import FAILS, RUNS, Entry, Probe, Run, Value

__all__ = [
    "INSTANCE",
    "MOST",
    "NAMES",
    "Facts",
    "Life",
    "Wish",
    "for_nothing",
    "lies",
    "runnable",
    "unfounded",
    "went_back",
    "wrong",
]

INSTANCE = "i1"
MOST = 100
"""So many variants as no list is ever cut off at, here."""
NAMES = (b"a", b"b", b"c", b"d", b"e", b"f")
"""The variants; what is put under any other name is bad."""

Wish: TypeAlias = Value | str
"""What is stored of a variant: a value, or in a word why that is none."""


class Life:
    """One instance from its start to its end. ``began`` is how long the store's journal was."""

    def __init__(self, probe: Probe, began: int) -> None:
        self.probe = probe
        self.began = began
        self.heard: dict[str, list[Wish]] = {}
        """What it heard of each variant: all that it can act upon."""
        self.instance: Instance


class Facts:
    """What is stored, and what it means."""

    def __init__(self, memory: MemoryStore, store: FaultyStore, *, most_listed: int) -> None:
        self.keyspace = Keyspace()
        self.variants = self.keyspace.active_flow_range(Probe.id)
        self.statuses = self.keyspace.type_range("processor")
        self.meaning: dict[bytes, Value] = {}
        """Every value that was written and can be used."""
        self.most_listed = most_listed
        self._memory = memory
        self._store = store

    def items(self, range_: Range) -> tuple[KeyValue, ...]:
        """All keys of a range."""
        mvcc = self._memory.snapshot().mvcc
        return mvcc.page(range_, Revision(0), limit=2**31, keys_only=False)[0].items

    def leases(self) -> set[LeaseId]:
        """Those that live."""
        self._memory.expire_leases()
        return {lease for lease, _ in self._memory.snapshot().ttls_s}

    def truth(self) -> Truth:
        """All that happened so far."""
        return Truth(Revision(1), self._store.journal())

    def label(self, key: bytes) -> str:
        """How a variant is called in reports."""
        return _show(key[len(self.variants.start) :])

    def wish(self, kv: KeyValue | None) -> Wish:
        """What a key asks for."""
        if kv is None:
            return "gone"
        if kv.key[len(self.variants.start) :] not in NAMES:
            return "bad name"
        return self.meaning.get(kv.value, "bad value")

    def note(self, batch: Batch[VariantRecord], heard: dict[str, list[Wish]]) -> None:
        """What an informer tells, in these terms."""
        for change in batch.changes:
            wishes = heard.setdefault(self.label(change.key), [])
            wishes.append(self.wish(change.new.kv if change.new else None))


_show = cache(show_key)


def runnable(wish: Wish) -> bool:
    """Whether it runs in the end."""
    return isinstance(wish, Value) and wish.mode in RUNS


def lies(facts: Facts, life: Life) -> Iterator[str]:
    """At any moment: what the instance would say of itself, and is not so."""
    status = life.instance._publisher._status()  # whether or not it can be written just now
    if status is None:
        return
    named = {*status.pending, *status.failed}
    items = life.instance.informer.items
    wishes = {facts.label(key): facts.wish(item.kv) for key, item in items.items()}
    covered = [i.key for i in items.values() if i.mod_revision <= status.observed_revision]
    for name in map(facts.label, covered):
        run, wish = life.probe.live.get(name), wishes[name]
        runs = run and run.phase == "entered" and not run.crashed and run.value == wish
        if name not in named and not runs:
            yield f"{name} is said to run at {wish}"
    if max(len(status.pending), len(status.failed)) < facts.most_listed:
        for name in sorted(life.probe.live.keys() - wishes.keys() - named):
            yield f"{name} is said not to run"


# -- at rest --------------------------------------------------------------------------------------


def wrong(facts: Facts, life: Life, seen: Counter[str]) -> list[str]:
    """At rest: what does not run as it should, and what is not said of it as it is.

    Where nothing is wrong, what there was is counted in ``seen``.
    """
    keys = facts.items(facts.statuses)
    if [kv.key for kv in keys] != [facts.keyspace.processor(Probe.id, INSTANCE)]:
        return [f"status keys are {[show_key(kv.key) for kv in keys]}"]
    (key,) = keys
    if {key.lease} != facts.leases():
        return [f"the status is under lease {key.lease}; these live: {facts.leases()}"]
    truth, status = facts.truth(), decode_status(key.value)
    stored = {facts.label(kv.key): kv for kv in facts.items(facts.variants)}
    wishes = {name: facts.wish(kv) for name, kv in stored.items()}
    kept = _never_gone(facts, life, truth)
    failing: dict[str, Revision] = {}
    found: list[str] = []
    for name in sorted(stored.keys() | life.probe.live.keys()):
        wish, run = wishes.get(name, "gone"), life.probe.live.get(name)
        stuck = run is not None and run.phase == "leaving"
        if stuck or not (wish == "gone" or runnable(wish)):
            failing[name] = stored[name].mod_revision if name in stored else Revision(0)
        if not stuck:
            found += _misplaced(name, wish, run, life.probe.good.get(name, set()), name in kept)
    found += _misreported(status, failing, facts.most_listed)
    found += _misdated(status, failing, _last_change(facts, truth), key.mod_revision)
    found += _misnamed(status, wishes)
    if not found:
        _count(seen, wishes, life, failing)
        seen["capped"] += len(failing) > facts.most_listed
    return found


def _misplaced(
    name: str, wish: Wish, run: Run | None, good: set[Value], kept: bool
) -> Iterator[str]:
    """What runs of a variant, and what should. ``kept``: it was never deleted meanwhile."""
    if run is not None and run.phase == "entering":
        yield f"{name} is being entered"
    elif runnable(wish):
        if run is None or run.value != wish:
            yield f"{name} runs at {run and run.value}, not at {wish}"
    elif wish == "gone":
        if run is not None:
            yield f"{name} runs at {run.value}, and was deleted"
    elif run is not None and run.value not in good:
        yield f"{name} runs at {run.value}, which is not its last good value"
    elif run is None and good and kept:
        yield f"{name} does not run at its last good value"


def _misreported(
    status: InstanceStatus, failing: Mapping[str, Revision], most_listed: int
) -> Iterator[str]:
    """``failing``: what must be reported, and at which revision it was put."""
    if status.pending:
        yield f"pending at rest: {status.pending}"
    for name in sorted(status.failed.keys() - failing.keys()):
        yield f"{name} is reported and does not fail"
    unlisted = sorted(failing.keys() - status.failed.keys())
    if unlisted and len(status.failed) < most_listed:
        yield f"not reported: {unlisted}"


def _misdated(
    status: InstanceStatus, failing: Mapping[str, Revision], last: Revision, written: Revision
) -> Iterator[str]:
    """``last`` is when something changed last, ``written`` when the status was written."""
    observed = status.observed_revision
    unlisted = sorted(failing.keys() - status.failed.keys())
    for name in unlisted:
        if 0 < failing[name] <= observed:
            yield f"{name} fails at {failing[name]}; unsaid, yet {observed} is said to be observed"
    if not unlisted and observed < last:
        yield f"observed {observed}, and {last} came after that"
    if observed >= written:
        yield f"observed {observed}, and written at {written} already"


def _misnamed(status: InstanceStatus, wishes: Mapping[str, Wish]) -> Iterator[str]:
    """Failures that are reported for another reason than theirs."""
    for name, failure in status.failed.items():
        wish = wishes.get(name)
        reason = FAILS.get(wish.mode) if isinstance(wish, Value) else None
        if reason and reason not in failure.error and "does not stop" not in failure.error:
            yield f"{name} is at {wish}, and reported with: {failure.error}"


def _never_gone(facts: Facts, life: Life, truth: Truth) -> set[str]:
    """The variants that were there all the time since the instance began."""
    steps = truth.steps[life.began :]
    keys = set(steps[-1].after).intersection(*(step.after for step in steps))
    return {facts.label(key) for key in keys if key in facts.variants}


def _last_change(facts: Facts, truth: Truth) -> Revision:
    """When a variant changed last, since the store was restored."""
    return truth.steps[truth.kept([0, *truth.concerning(facts.variants)])[-1]].revision


def _count(
    seen: Counter[str], wishes: Mapping[str, Wish], life: Life, failing: Mapping[str, Revision]
) -> None:
    for name, wish in wishes.items():
        run = life.probe.live.get(name)
        kind = wish if isinstance(wish, str) else wish.mode
        seen[f"{kind} {'fails' if name in failing else 'runs'}"] += 1
        if run is not None and run.value != wish:
            seen["stuck" if run.phase == "leaving" else "last good runs"] += 1


# -- in hindsight ---------------------------------------------------------------------------------


def unfounded(facts: Facts, life: Life) -> Iterator[str]:
    """What was given to a variant and never put."""
    put = {
        (kv.key, kv.mod_revision, facts.wish(kv))
        for step in facts.truth().steps
        for kv in step.after.values()
        if kv.key in facts.variants
    }
    for entry in life.probe.entries:
        key = facts.variants.start + entry.run.name.encode()
        if (key, entry.mod_revision, entry.value) not in put:
            yield f"{entry.run.name} got {entry.value} of {entry.mod_revision}, which never was"


def went_back(facts: Facts) -> Iterator[str]:
    """A status that covers less than the one before it: a delayed write that should have lost.

    (It may where lists are cut off, and where the store went back itself.)
    """
    observed = 0
    truth = facts.truth()
    for place, step in enumerate(truth.steps):
        for event in step.events if truth.era(place) == 0 and facts.most_listed >= MOST else ():
            if event.key in facts.statuses:
                before = observed
                observed = decode_status(event.kv.value).observed_revision if event.kv else 0
                if event.kv and observed < before:
                    yield f"the status at {step.revision} went back from {before} to {observed}"


def for_nothing(life: Life) -> Iterator[str]:
    """What was started again at the value that it had, and nothing heard was a reason for that."""
    by_name: dict[str, list[Entry]] = {}
    for entry in life.probe.entries:
        by_name.setdefault(entry.run.name, []).append(entry)
    for name, entries in by_name.items():
        for before, after in pairwise(entries):
            if before.value != after.value:
                continue
            if before.value.mode == "permanent" and before.heard == after.heard:
                yield f"{name} was tried again without another put: {after.value}"
            ran = before.sure and before.run.entered and not before.run.crashed
            heard = life.heard[name][max(0, before.heard - 1) : after.heard]
            stopped = any(_stops(wish, after.value) for wish in heard)
            if ran and runnable(after.value) and not stopped:
                yield f"{name} was started again for nothing, at {after.value}"


def _stops(wish: Wish, value: Value) -> bool:
    """Whether it stops what runs at ``value``: another value does, one that is refused does not."""
    return wish == "gone" or (isinstance(wish, Value) and wish.mode != "refused" and wish != value)
