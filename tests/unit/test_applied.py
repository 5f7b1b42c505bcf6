"""What an apply owns: before it writes, after it, and what others changed since."""

from __future__ import annotations

import pytest

from flowsvc.applied import announced, is_changed_since, owned_after, type_of
from flowsvc.seed.watching import OUTCOMES, Outcome, Step

OWNED = frozenset({"t/a", "t/gone"})


@pytest.mark.parametrize(
    ("outcome", "owned", "not_owned"),
    [
        ("created", True, True),
        ("replaced", True, True),
        ("deleted", False, False),
        ("equal", True, False),
        ("different", True, False),
        ("left", True, False),
    ],
)
def test_what_is_owned_by_what_became_of_it(outcome: Outcome, owned, not_owned):
    """What was made now, and what was owned and stands; what did not stand is owned no more."""
    assert owned_after(OWNED, [Step(outcome, "t", "a")]) == ({"t/a"} if owned else set())
    assert owned_after(OWNED, [Step(outcome, "t", "b")]) == ({"t/b"} if not_owned else set())


def test_what_is_announced_leaves_nothing_out():
    """All that is owned, deleted or not, and all that is about to be made."""
    steps = [Step(outcome, "u", outcome) for outcome in OUTCOMES]
    assert announced(OWNED, steps) == {*OWNED, "u/created", "u/replaced"}


def test_changed_since_is_only_what_is_owned_and_newer():
    """The record is written last, so that what was written with it is older."""
    for name, revision, changed in (("a", 8, True), ("a", 7, False), ("b", 8, False)):
        assert is_changed_since(Step("replaced", "t", name, revision=revision), OWNED, 7) == changed


def test_the_type_ends_with_the_first_slash():
    """Keys may hold more of them."""
    assert [type_of(name) for name in ("t/a/b", "flow/f")] == ["t", "flow"]
