"""What the parts of the work share: the seed, where it goes, and what may be done there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final, Literal, TypeAlias

import msgspec

from flowsvc.bootstrap.report import Report
from flowsvc.errors import Finding, InvalidInput
from flowsvc.model import Actor, Flows
from flowsvc.seed.reading import Seed
from flowsvc.seed.watching import Outcome, Watcher
from kvconfig.codec import encode
from kvconfig.config.bulk import ItemPort

__all__ = ["ABSENT", "MAX_TRIES", "Part", "Policy", "WhenDifferent", "Work", "compared"]

MAX_TRIES: Final = 16
"""How often a write is made anew because somebody else wrote first."""

WhenDifferent: TypeAlias = Literal["keep", "replace", "refuse"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What is done about what is there.

    ``when_different``: whether what is there with another value is kept, replaced, or a reason to
    write nothing at all. ``prune``: what is there of the types of the seed, and not in the seed,
    goes. ``change_flows``: both hold for flows too, and one that was made from older definitions
    differs; otherwise a flow that is there is left alone. ``owned``: the only ones that a prune is
    about, as ``prompt/system``; without a prune they are left, and reported so.
    """

    when_different: WhenDifferent = "keep"
    prune: bool = False
    change_flows: bool = False
    owned: frozenset[str] | None = None


class Work(msgspec.Struct, kw_only=True):
    """One seed on its way. ``bulk`` is ``None`` where only flows can be reached."""

    seed: Seed
    flows: Flows
    bulk: ItemPort | None
    policy: Policy
    actor: Actor
    report: Report
    watcher: Watcher

    @property
    def items(self) -> ItemPort:
        """The configuration. Raises :class:`InvalidInput` where it cannot be reached."""
        if self.bulk is None:
            finding = Finding("$", "configuration needs etcd: --endpoints")
            raise InvalidInput(self.seed.subject, [finding])
        return self.bulk

    def when_there(self, *, equal: bool) -> Outcome:
        """What becomes of something that is there already."""
        if equal:
            return "equal"
        return "replaced" if self.policy.when_different == "replace" else "different"

    def beside(self, type_: str, key: str) -> Outcome | None:
        """What becomes of something that is there and not in the seed; ``None``: no matter."""
        policy = self.policy
        if type_ not in self.seed.types:
            return None
        if policy.owned is None:
            return "deleted" if policy.prune else None
        if f"{type_}/{key}" not in policy.owned:
            return None
        return "deleted" if policy.prune else "left"


class Part(ABC):
    """What is done about some types of the seed."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._seed, self._report = work.seed, work.report

    @abstractmethod
    async def compare(self) -> None:
        """Find out what is to be done, and report it. Nothing is written."""

    @abstractmethod
    async def write(self) -> None:
        """Do it, deletes left out that others may rest on."""

    async def remove(self) -> None:  # noqa: B027 - most have nothing of that kind
        """Do those."""


class _Absent:
    """What stands where nothing does."""


ABSENT = _Absent()


def compared(work: Work, wanted: object, stands: object) -> Outcome:
    """What becomes of a value; 1 and 1.0, 0 and false are not equal, whatever Python thinks."""
    if stands is ABSENT:
        return "created"
    return work.when_there(equal=encode(wanted) == encode(stands))
