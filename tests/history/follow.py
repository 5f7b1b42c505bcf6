"""Whether what one informer said can be told of what really happened.

Where in that history an informer is, its answers don't always tell (a store that was restored has
one revision twice), so all the places where it may be are followed at once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping

from kvconfig.keys import Range
from kvconfig.model import KeyValue
from tests.history.findings import Finding, names
from tests.history.record import Change, Looked, Told, Watcher
from tests.history.replay import State, Truth, part

__all__ = ["Follower", "follow"]


def follow(watcher: Watcher, truth: Truth) -> Iterator[Finding]:
    """The first breach in what it said (after it, it is lost), and how it ended."""
    follower = Follower(watcher.name, watcher.range, truth)
    for entry in watcher.log:
        found = list(follower.take(entry))
        yield from found
        if found:
            break
    if watcher.died:
        yield Finding("defect", f"{watcher.name} died: {watcher.died}")
    if watcher.differences:
        yield Finding("defect", f"{watcher.name} reported {watcher.differences} differences")
    if not watcher.settled:
        yield Finding("settled", f"{watcher.name} never caught up")
    elif not watcher.log or watcher.log[-1].cache != part(truth.steps[-1].after, watcher.range):
        yield Finding("settled", f"{watcher.name} is not what is stored")


class Follower:
    """Follows one informer through ``truth``, entry by entry."""

    def __init__(self, name: str, range_: Range, truth: Truth) -> None:
        self.name = name
        self.range = range_
        self.cache: Mapping[bytes, KeyValue] = {}
        self._truth = truth
        self._heard = truth.concerning(range_)
        self._places: list[int] = []

    def take(self, entry: Told | Looked) -> Iterator[Finding]:
        """What is wrong with it, if anything."""
        if isinstance(entry, Looked):
            if entry.cache != self.cache:
                yield Finding("cache", f"{self.name} changed {self._moved(entry)} and told nobody")
            return
        problem = self._adds_up(entry)
        if problem is not None:
            yield Finding("adds-up", f"{self._at(entry)}: {problem}")
        if entry.resync:
            yield from self._resync(entry)
        else:
            yield from self._live(entry)
        self.cache = entry.cache

    def _resync(self, told: Told) -> Iterator[Finding]:
        first = min(self._places, default=0)
        matching = [
            place
            for place in self._truth.at(told.revision)
            if place >= first and self._state(place) == told.cache
        ]
        if not matching:
            yield Finding("resync", f"{self._at(told)} is no state that the store was in")
        self._places = matching

    def _live(self, told: Told) -> Iterator[Finding]:
        matching = [
            following
            for following in map(self._next, self._places)
            if following is not None
            and self._truth.steps[following].events
            and self._truth.steps[following].revision == told.revision
            and self._state(following) == told.cache
        ]
        if not matching:
            expected = [self._describe(self._next(place)) for place in self._places]
            yield Finding("batch", f"{self._at(told)} where there should be {expected}")
        self._places = matching

    def _adds_up(self, told: Told) -> str | None:
        """Told is exactly what moved: in a list values count, live every put does."""
        before, after = self.cache, told.cache
        for key, old, new in told.changes:
            if old != before.get(key) or new != after.get(key):
                return f"{names([key])} is told otherwise than it is cached"
        keys = [key for key, _, _ in told.changes]
        if len(set(keys)) < len(keys):
            return f"{names(keys)}: one key told twice"
        moved = {key for key in before.keys() | after.keys() if _differ(before, after, key, told)}
        if moved != set(keys):
            return f"{names(moved ^ set(keys))} moved and was not told, or the other way round"
        return None

    def _state(self, place: int) -> State:
        return part(self._truth.steps[place].after, self.range)

    def _next(self, place: int) -> int | None:
        index = bisect_right(self._heard, place)
        return self._heard[index] if index < len(self._heard) else None

    def _moved(self, entry: Looked) -> str:
        return names(
            key
            for key in self.cache.keys() | entry.cache.keys()
            if self.cache.get(key) != entry.cache.get(key)
        )

    def _at(self, told: Told) -> str:
        kind = "resync" if told.resync else "batch"
        shown = ", ".join(map(_show, told.changes))
        return f"{self.name}, {kind} at revision {told.revision} [{shown}]"

    def _describe(self, place: int | None) -> str:
        if place is None:
            return "nothing"
        step = self._truth.steps[place]
        if not step.events:
            return f"a list (restored to {step.revision})"
        keys = names(event.key for event in step.events if event.key in self.range)
        return f"revision {step.revision} [{keys}]"


def _differ(before: State, after: State, key: bytes, told: Told) -> bool:
    old, new = before.get(key), after.get(key)
    if told.resync and old is not None and new is not None:
        return old.value != new.value
    return old != new


def _show(change: Change) -> str:
    key, _, new = change
    return names([key]) + ("" if new else " deleted")
