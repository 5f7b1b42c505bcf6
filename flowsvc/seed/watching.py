"""Who looks on while much is read or written."""

from __future__ import annotations

__all__ = ["UNWATCHED", "Watcher"]


class Watcher:
    """Looks away. A progress bar, or a list of what changes, is one that does not."""

    def begin(self, what: str, total: int) -> None:
        """A stage begins: ``total`` bytes or keys, 0 where that is not known."""

    def advance(self, count: int) -> None:
        """So many more of it are done."""

    def noted(self, outcome: str, type_: str, key: str) -> None:
        """What becomes of one thing, where it is not left as it stands."""


UNWATCHED = Watcher()
