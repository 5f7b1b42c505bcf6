"""Whether a history could have come from a store and informers that keep their promises.

What was recorded (:mod:`tests.history.record`) is held against what really happened
(:mod:`tests.history.replay`). The rules:

``exactly-once``
    an acknowledged write is one revision, a refused one none, an unknown one at most one. (A
    restore may undo it; then it may be done anew, for its compares may hold again.)
``whole``
    a revision holds all of one write and nothing else, and its compares held just before.
``lost-update``
    a counter grows by one each time. (Not where the store was restored between read and write: a
    revision comes again then, and says nothing any more.)
``answer``
    a write's answer, and what a read found, is what stood there at some moment.
``real-time``
    and that moment is later than all that was answered before it was asked.
``batch``
    what an informer tells of a live watch is the next revision of its range, whole.
``resync``
    where it lists, its cache becomes a state that the store was in, no older than the last.
``adds-up``
    what is told is what moved in the cache: values in a resync, every put otherwise.
``cache``
    the cache moves with what is told and never without: no error empties it.
``settled``
    when all is quiet, it is what is stored.
``defect``
    kvconfig itself reported one, or died of one.
"""

from __future__ import annotations

import heapq
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from kvconfig.model import Event, KeyValue
from tests.history.findings import Finding, names
from tests.history.follow import follow
from tests.history.record import History, Read, Write, seen
from tests.history.replay import State, Step, Truth, changes_of, part, perform

__all__ = ["check"]


def check(history: History) -> list[Finding]:
    """All that is wrong with it."""
    truth = Truth(history.first, history.journal)
    owned: dict[str, list[int]] = defaultdict(list)
    writes = {write.id: write for write in history.writes}
    found = list(_causes(truth, writes, owned))
    for write in history.writes:
        found += _outcome(write, truth, owned[write.id])
    found += _real_time(history, truth, owned)
    for watcher in history.watchers:
        found += follow(watcher, truth)
    return found


# -- what happened, and who asked for it ----------------------------------------------------------


def _causes(
    truth: Truth, writes: Mapping[str, Write], owned: dict[str, list[int]]
) -> Iterator[Finding]:
    """Gives each step to the write that caused it."""
    for index, step in enumerate(truth.steps):
        if not step.events or _lease_ended(step):
            continue
        causes = _tags(step)
        write = writes.get(next(iter(causes), "")) if len(causes) == 1 else None
        if write is None:
            keys = names(event.key for event in step.events)
            yield Finding(
                "whole", f"revision {step.revision} [{keys}] has causes {sorted(causes)}, not one"
            )
            continue
        owned[write.id].append(index)
        effect = perform(write.txn, step.before, step.revision)
        if effect is None or effect.changes != changes_of(step.events):
            yield Finding("whole", f"revision {step.revision} is not what {write.id} asked for")
        if write.era == truth.era(index):
            yield from _counts(step)


def _lease_ended(step: Step) -> bool:
    """All keys of one lease are gone, and nothing else happened."""
    gone = {event.key for event in step.events}
    leases = {kv.lease for key, kv in step.before.items() if key in gone}
    return (
        all(event.kv is None for event in step.events)
        and len(leases) == 1
        and 0 not in leases
        and gone == {key for key, kv in step.before.items() if kv.lease in leases}
    )


def _tags(step: Step) -> set[str]:
    """Whose values were put. One that stood there already tells something only when all did."""
    put = [event.kv for event in step.events if event.kv is not None]
    new = [kv for event in step.events if (kv := _new_value(event, step.before))]
    return {str(_content(kv).get("by")) for kv in new or put}


def _new_value(event: Event, before: State) -> KeyValue | None:
    """What was put, unless it is the value that stood there already."""
    old = before.get(event.key)
    if event.kv is None or (old is not None and old.value == event.kv.value):
        return None
    return event.kv


def _counts(step: Step) -> Iterator[Finding]:
    for event in step.events:
        count = _content(event.kv).get("n")
        if (
            count is not None
            and _new_value(event, step.before)
            and count != _content(step.before.get(event.key)).get("n", 0) + 1
        ):
            yield Finding("lost-update", f"{names([event.key])} at revision {step.revision}")


def _content(kv: KeyValue | None) -> dict[str, Any]:
    if kv is None:
        return {}
    content: dict[str, Any] = json.loads(kv.value)
    return content


# -- what was answered ----------------------------------------------------------------------------


def _outcome(write: Write, truth: Truth, owned: list[int]) -> Iterator[Finding]:
    owned = truth.kept(owned)
    revisions = [truth.steps[index].revision for index in owned]
    said = f"{write.id} was {write.outcome}" + (f" ({write.error})" if write.error else "")
    if len(owned) > 1:
        yield Finding("exactly-once", f"{said}, and done {len(owned)} times: {revisions}")
    elif write.outcome == "refused" and owned:
        yield Finding("exactly-once", f"{said}, and done at revision {revisions[0]}")
    elif write.outcome == "acked":
        said += f" at {write.revision}"
        if owned and revisions[0] != write.revision:
            yield Finding("exactly-once", f"{said}, and done at revision {revisions[0]}")
        elif owned and not _answers(write, truth.steps[owned[0]].before):
            yield Finding("answer", f"{said}, with results that are not so")
        elif not owned and not _idle_places(write, truth):
            yield Finding("exactly-once", f"{said}, and is nowhere")


def _answers(write: Write, before: State) -> bool:
    effect = perform(write.txn, before, write.revision)
    if write.commit is None or effect is None:
        return effect is not None
    answer = (write.commit.succeeded, write.commit.results)
    return answer == (effect.succeeded, effect.results)


def _idle_places(write: Write, truth: Truth) -> list[int]:
    """Where a write that was answered, and changed nothing, may have been decided."""
    places = []
    for place in truth.at(write.revision):
        state = truth.steps[place].after
        effect = perform(write.txn, state, write.revision)
        if effect is not None and not effect.changes and _answers(write, state):
            places.append(place)
    return places


# -- real time ------------------------------------------------------------------------------------


class _Asked(msgspec.Struct, kw_only=True):
    """Anything that has a place in the history: ``find`` gives its first one from a place on."""

    name: str
    sent: int
    done: float
    find: Callable[[int], int | None]


def _real_time(history: History, truth: Truth, owned: Mapping[str, list[int]]) -> Iterator[Finding]:
    """Each takes the first place that it can have after all that was answered before it was sent.

    If there is any right arrangement, this is one: what comes earlier hinders nobody.
    """
    asked = [_write_asked(write, truth, truth.kept(owned[write.id])) for write in history.writes]
    asked += [_read_asked(read, truth) for read in history.reads]
    answered: list[tuple[float, int, str]] = []
    latest, by = 0, "the start"
    for one in sorted(asked, key=lambda one: one.sent):
        while answered and answered[0][0] < one.sent:
            _, place, name = heapq.heappop(answered)
            if place > latest:
                latest, by = place, name
        place_or_none = one.find(latest)
        if place_or_none is not None:
            heapq.heappush(answered, (one.done, place_or_none, one.name))
        elif one.find(0) is None:
            yield Finding("answer", f"{one.name} found what never was")
        else:
            then = truth.steps[latest].revision
            yield Finding("real-time", f"{one.name} is older than {by} (revision {then})")


def _write_asked(write: Write, truth: Truth, owned: list[int]) -> _Asked:
    done = math.inf if write.done is None or write.outcome == "unknown" else write.done

    def find(first: int) -> int | None:
        if owned:
            return owned[0] if owned[0] > first else None
        if write.outcome != "acked":
            return first  # nothing is known of it, and it hinders nobody
        places = _idle_places(write, truth) or [first]  # nowhere: that was found already
        return next((place for place in places if place >= first), None)

    return _Asked(name=write.id, sent=write.sent, done=done, find=find)


def _read_asked(read: Read, truth: Truth) -> _Asked:
    def fits(place: int) -> bool:
        state = part(truth.steps[place].after, read.range)
        return tuple(seen(state[key]) for key in sorted(state)) == read.found

    def find(first: int) -> int | None:
        places = truth.at(read.revision) if read.revision else range(first, len(truth.steps))
        return next((place for place in places if place >= first and fits(place)), None)

    return _Asked(name=read.id, sent=read.sent, done=read.done, find=find)
