"""What to do about one variant, for every state it can be in."""

from types import MappingProxyType

import pytest

from kvconfig.model import Revision
from processors import Variant
from processors.diff import Bad, Decision, Desired, Gone, Held, Observed, Wanted, decide


def variant(value: str, revision: int = 1) -> Variant:
    return Variant(
        processor="p",
        name="f",
        topics=MappingProxyType({}),
        parameters=MappingProxyType({"v": value}),
        mod_revision=Revision(revision),
    )


V1, V2 = variant("1"), variant("2", 2)
OOPS, WORSE = RuntimeError("oops"), RuntimeError("worse")
BAD = ValueError("bad")


def nothing(running: Variant | None = None, error: Exception | None = None) -> Decision:
    return Decision(action="nothing", variant=running, error=error)


CASES: dict[str, tuple[Desired, Observed, Decision]] = {
    "nothing wanted, nothing there": (Gone(), Observed(), nothing()),
    "deleted": (Gone(), Observed(running=V1, good=V1), Decision(action="stop")),
    "new": (Wanted(V1), Observed(), Decision(action="start", variant=V1)),
    "as desired": (Wanted(V1), Observed(running=V1, good=V1), nothing(V1)),
    "put again, equal": (Wanted(variant("1", 9)), Observed(running=V1, good=V1), nothing(V1)),
    "changed": (
        Wanted(V2),
        Observed(running=V1, good=V1),
        Decision(action="replace", variant=V2),
    ),
    "changed while stopped": (
        Wanted(V2),
        Observed(good=V1),
        Decision(action="start", variant=V2),
    ),
    "crashed": (
        Wanted(V1),
        Observed(good=V1, ending=True, crashed=True),
        Decision(action="bury"),
    ),
    "crashed, and nothing wanted any more": (
        Gone(),
        Observed(good=V1, ending=True, crashed=True),
        Decision(action="bury"),
    ),
    "bad from the start": (Bad(BAD), Observed(), nothing(error=BAD)),
    "bad later: the last good one stays": (
        Bad(BAD),
        Observed(running=V1, good=V1),
        nothing(V1, BAD),
    ),
    "bad, and the last good one crashed: start that": (
        Bad(BAD),
        Observed(good=V1),
        Decision(action="start", variant=V1, error=BAD),
    ),
    "bad, and the last good one may not be tried yet": (
        Bad(BAD),
        Observed(good=V1, held=(Held(V1, OOPS),)),
        nothing(error=BAD),
    ),
    "failed to start, held back": (
        Wanted(V1),
        Observed(held=(Held(V1, OOPS),)),
        nothing(error=OOPS),
    ),
    "the new one failed: back to the last good one": (
        Wanted(V2),
        Observed(good=V1, held=(Held(V2, OOPS),)),
        Decision(action="start", variant=V1, error=OOPS),
    ),
    "the new one failed, the last good one runs": (
        Wanted(V2),
        Observed(running=V1, good=V1, held=(Held(V2, OOPS),)),
        nothing(V1, OOPS),
    ),
    "the new one is due again": (
        Wanted(V2),
        Observed(running=V1, good=V1),
        Decision(action="replace", variant=V2),
    ),
    "both failed: wait": (
        Wanted(V2),
        Observed(good=V1, held=(Held(V2, OOPS), Held(V1, WORSE))),
        nothing(error=OOPS),
    ),
    "another one than the one that failed": (
        Wanted(V2),
        Observed(held=(Held(V1, OOPS),)),
        Decision(action="start", variant=V2),
    ),
    "still ending: wait": (Wanted(V2), Observed(good=V1, ending=True), nothing()),
    "still ending, deleted: wait": (Gone(), Observed(good=V1, ending=True), nothing()),
    "still ending, bad: say so": (Bad(BAD), Observed(ending=True), nothing(error=BAD)),
}


@pytest.mark.parametrize("name", CASES)
def test_decide(name: str) -> None:
    """One step towards what is wanted, from any state."""
    desired, observed, expected = CASES[name]
    decision = decide(desired, observed)
    assert (decision.action, decision.error) == (expected.action, expected.error)
    assert decision.variant is expected.variant or (
        decision.variant is not None
        and expected.variant is not None
        and decision.variant.same_value(expected.variant)
    )
