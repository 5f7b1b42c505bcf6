"""A live view as an iterator: what stands, then what changes, for a reader that may be slow."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterator

from kvconfig.config.port import ConfigChange, ConfigChanges, ConfigItem
from kvconfig.errors import show_key
from kvconfig.informer import Batch, Change, Informer
from kvconfig.model import Revision

__all__ = ["follow"]

MOST_WAITING = 100
"""So many revisions are kept for a reader one by one; what is beyond is put together."""


async def follow(
    informer: Informer[ConfigItem], type_: str, base: bytes
) -> AsyncGenerator[ConfigChanges, None]:
    """What :meth:`kvconfig.config.Configuration.changes` promises, of a view not entered yet.

    It is of items of ``type_``, whose keys begin with ``base``.
    """
    waiting = _Waiting()
    first = True
    async with informer:
        informer.subscribe(waiting.add)
        while True:
            await informer.until(lambda _: bool(waiting))
            batch = waiting.pop()
            changes = tuple(_told(change, type_, base) for change in batch.changes())
            if changes or first:
                yield ConfigChanges(revision=batch.revision, changes=changes, resync=batch.resync)
            first = False


class _Waiting:
    """Batches that a reader has not taken yet, in order."""

    def __init__(self) -> None:
        self._batches: deque[_Merged] = deque()

    def __bool__(self) -> bool:
        return bool(self._batches)

    def add(self, batch: Batch[ConfigItem]) -> None:
        """One more; with too many, it becomes one with the last."""
        if len(self._batches) < MOST_WAITING:
            self._batches.append(_Merged())
        self._batches[-1].add(batch)

    def pop(self) -> _Merged:
        """The next one."""
        return self._batches.popleft()


class _Merged:
    """One batch, or several in a row: from what stood before the first to what the last left."""

    def __init__(self) -> None:
        self.revision = Revision(0)
        self.resync = False
        self._changes: dict[bytes, Change[ConfigItem]] = {}

    def add(self, batch: Batch[ConfigItem]) -> None:
        """The next one in the row."""
        self.resync = batch.resync or self.revision > 0
        self.revision = batch.revision
        for change in batch.changes:
            first = self._changes.get(change.key, change)
            self._changes[change.key] = Change(change.key, first.old, change.new)

    def changes(self) -> Iterator[Change[ConfigItem]]:
        """Each key once; one that came and went in between is none."""
        return (c for c in self._changes.values() if not (c.old is None and c.new is None))


def _told(change: Change[ConfigItem], type_: str, base: bytes) -> ConfigChange:
    key = show_key(change.key.removeprefix(base))
    if change.new is None:
        return ConfigChange(type=type_, key=key)
    error = "" if change.new.error is None else str(change.new.error)
    return ConfigChange(type=type_, key=key, item=change.new.value, error=error)
