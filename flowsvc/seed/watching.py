"""Who looks on while much is read or written."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias, get_args

__all__ = ["OUTCOMES", "UNWATCHED", "WRITTEN", "Outcome", "Step", "Watcher"]

Outcome: TypeAlias = Literal["created", "replaced", "deleted", "equal", "different", "left"]
"""``different`` stands there with another value, and ``left`` is there beside the seed: both were
left as they are."""

OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
WRITTEN: tuple[Outcome, ...] = ("created", "replaced", "deleted")


class Step(NamedTuple):
    """What becomes of one thing.

    ``before`` and ``after`` are its values as JSON, ``None`` where there is none; ``revision`` is
    the mod_revision at which it stands (0: it does not). Of what came otherwise than planned only
    the outcome is known.
    """

    outcome: Outcome
    type: str
    key: str
    before: bytes | None = None
    after: bytes | None = None
    revision: int = 0

    @property
    def name(self) -> str:
        """Such as ``prompt/system``."""
        return f"{self.type}/{self.key}"

    @property
    def writes(self) -> bool:
        """Whether something is written for it."""
        return self.outcome in WRITTEN


class Watcher:
    """Looks away. A progress bar, or a list of what changes, is one that does not."""

    def begin(self, what: str, total: int) -> None:
        """A stage begins: ``total`` bytes or keys, 0 where that is not known."""

    def advance(self, count: int) -> None:
        """So many more of it are done."""

    def noted(self, step: Step) -> None:
        """What becomes of one thing; once more, if it comes otherwise."""


UNWATCHED = Watcher()
