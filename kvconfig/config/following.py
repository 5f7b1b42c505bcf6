"""A live view as an iterator: what stands, then what changes, for a reader that may be slow."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterable

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
    """One batch, or several in a row: from what stood before the first to what the last left.

    Of several it holds what is another after all of them: however many keys come and go meanwhile,
    those that are gone again take no room.
    """

    def __init__(self) -> None:
        self.revision = Revision(0)
        self.resync = False
        self._changes: dict[bytes, Change[ConfigItem]] = {}

    def add(self, batch: Batch[ConfigItem]) -> None:
        """The next one in the row."""
        merged = self.revision > 0
        if merged and not self.resync:  # one revision until now: what it only rewrote goes
            self._changes = {key: c for key, c in self._changes.items() if _is_another(c)}
        self.resync = merged or batch.resync
        self.revision = batch.revision
        for change in batch.changes:
            first = self._changes.pop(change.key, change)
            whole = Change(change.key, first.old, change.new)
            if not merged or _is_another(whole):
                self._changes[change.key] = whole

    def changes(self) -> Iterable[Change[ConfigItem]]:
        """Each key once."""
        return self._changes.values()


def _is_another(change: Change[ConfigItem]) -> bool:
    """Whether a key has another value than before, byte by byte, or is new or gone."""
    old, new = (None if item is None else item.kv.value for item in (change.old, change.new))
    return old != new


def _told(change: Change[ConfigItem], type_: str, base: bytes) -> ConfigChange:
    key = show_key(change.key.removeprefix(base))
    if change.new is None:
        return ConfigChange(type=type_, key=key)
    error = "" if change.new.error is None else str(change.new.error)
    return ConfigChange(type=type_, key=key, item=change.new.value, error=error)
