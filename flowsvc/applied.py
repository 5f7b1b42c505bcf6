"""What an apply owns: everything of its set that it has made itself. Pure.

Names are ``<type>/<key>``, as in :class:`kvconfig.records.AppliedRecord`. What stood there before
with an equal value is not owned; what was overwritten is. Ownership goes by name: what somebody
else changes since stays owned, and :func:`is_changed_since` tells it.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from flowsvc.seed.watching import Step

__all__ = ["announced", "is_changed_since", "owned_after", "type_of"]


def announced(owned: Set[str], steps: Iterable[Step]) -> frozenset[str]:
    """What is recorded before anything is made, so that it is known whatever happens then."""
    return frozenset(owned).union(step.name for step in steps if _is_made(step))


def owned_after(owned: Set[str], steps: Iterable[Step]) -> frozenset[str]:
    """What is owned once all steps are done: what was made now, and what stands of before.

    ``steps`` has one for each name of ``owned`` that stood there.
    """
    stays = (step for step in steps if step.outcome != "deleted")
    return frozenset(step.name for step in stays if _is_made(step) or step.name in owned)


def is_changed_since(step: Step, owned: Set[str], revision: int) -> bool:
    """Whether something owned was written after the record, which was at ``revision``.

    That was somebody else: the record is the last thing that an apply writes. (Or an apply that
    broke off.)
    """
    return step.name in owned and step.revision > revision


def type_of(name: str) -> str:
    """The type in a name; what follows it may have slashes too."""
    return name.partition("/")[0]


def _is_made(step: Step) -> bool:
    return step.outcome in ("created", "replaced")
