"""What to do about one variant: a pure function of what is wanted and what is there.

It compares values, never names or the kinds of events, so it does not matter which events were
seen, merged or missed on the way.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from processors.variant import Variant

__all__ = ["Bad", "Decision", "Desired", "Gone", "Held", "Observed", "Wanted", "decide"]


class Gone(msgspec.Struct, frozen=True):
    """Nothing of this variant should run."""


class Wanted(msgspec.Struct, frozen=True):
    """This value of it should run."""

    variant: Variant


class Bad(msgspec.Struct, frozen=True):
    """Something should run, but what is stored cannot be used: the last good one goes on."""

    error: Exception


Desired: TypeAlias = Gone | Wanted | Bad


class Held(msgspec.Struct, frozen=True):
    """A value that failed, and that must not be tried (yet)."""

    variant: Variant
    error: Exception


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """What there is of a variant.

    ``running`` was entered and has not been left. ``good`` is the value that ran last. ``ending``:
    something of it has not come to its end yet, so nothing may be started. ``crashed``: it failed
    after it was entered, and nobody has seen to that.
    """

    running: Variant | None = None
    good: Variant | None = None
    held: tuple[Held, ...] = ()
    ending: bool = False
    crashed: bool = False


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do next, to which value; ``error`` says why the desired value does not run.

    ``replace`` takes the running value to another one: stop it, then start the other. ``bury``
    stops what has crashed, which then counts as a failure of its value.
    """

    action: Literal["nothing", "start", "stop", "replace", "bury"]
    variant: Variant | None = None
    error: Exception | None = None


def decide(desired: Desired, observed: Observed) -> Decision:
    """The next step towards ``desired``; done when it says ``nothing`` without an error."""
    if observed.crashed:
        return Decision(action="bury")
    if observed.ending:
        return Decision(action="nothing", error=_problem(desired, observed))
    if isinstance(desired, Gone):
        return Decision(action="nothing" if observed.running is None else "stop")
    error = _problem(desired, observed)
    target = _target(desired, observed)
    running = observed.running
    if target is None:
        return Decision(action="nothing", error=error)
    if running is None:
        return Decision(action="start", variant=target, error=error)
    if running.same_value(target):
        return Decision(action="nothing", variant=running, error=error)
    return Decision(action="replace", variant=target, error=error)


def _problem(desired: Desired, observed: Observed) -> Exception | None:
    if isinstance(desired, Bad):
        return desired.error
    if isinstance(desired, Wanted):
        return _hold(desired.variant, observed)
    return None


def _target(desired: Desired, observed: Observed) -> Variant | None:
    """The first value that may run: the desired one, else what runs, else what ran last."""
    wanted = desired.variant if isinstance(desired, Wanted) else None
    for candidate in (wanted, observed.running, observed.good):
        if candidate is not None and _hold(candidate, observed) is None:
            return candidate
    return None


def _hold(variant: Variant, observed: Observed) -> Exception | None:
    for held in observed.held:
        if held.variant.same_value(variant):
            return held.error
    return None
