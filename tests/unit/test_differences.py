"""In what two JSON values differ."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowsvc.differences import ABSENT, Difference, differences

scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "b", 0.0, 1.5])
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4)
    ),
    max_leaves=12,
)


def shown(before: Any, after: Any) -> list[tuple[str, str]]:
    return [(found.sign, found.path) for found in differences(before, after)]


def test_objects_are_compared_field_by_field():
    """Each difference names its place and both values."""
    before = {"record": {"parameters": {"size": "1", "old": ""}, "op": "o"}, "same": [1, {}]}
    after = {"record": {"parameters": {"size": "2", "new": None}, "op": "o"}, "same": [1, {}]}
    assert differences(before, after) == [
        Difference(path="$.record.parameters.new", after=None),
        Difference(path="$.record.parameters.old", before=""),
        Difference(path="$.record.parameters.size", before="1", after="2"),
    ]


def test_what_comes_and_goes_is_shown_to_its_leaves():
    """An object that was not there is told field by field; an empty one is a leaf."""
    value = {"topics": {"in": "a", "out": "b"}, "parameters": {}}
    leaves = ["$.parameters", "$.topics.in", "$.topics.out"]
    assert shown(ABSENT, value) == [("+", path) for path in leaves]
    assert shown(value, ABSENT) == [("-", path) for path in leaves]
    assert shown({"v": {}}, {"v": {"a": 1}}) == [("+", "$.v.a")]
    assert shown({}, {"v": {}}) == [("+", "$.v")]
    assert differences({"a": 1}, 5) == [Difference(path="$", before={"a": 1}, after=5)]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (["a", "b", "c"], ["a", "x", "b", "c"], [("+", "$[1]")]),
        (["a", "b", "c"], ["b", "c"], [("-", "$[0]")]),
        (["a", "b", "c"], ["a", "x", "c"], [("~", "$[1]")]),
        (["a", "b"], ["a", "x", "y", "b"], [("+", "$[1]"), ("+", "$[2]")]),
        (["a", "a"], ["a"], [("-", "$[1]")]),
        ([{"n": 1}, 2], [{"n": 3}, 2], [("~", "$[0].n")]),
        ([], [], []),
    ],
)
def test_lists_keep_what_they_have_in_common(before, after, found):
    """One more or one less item is one difference, wherever it is."""
    assert shown(before, after) == found


def test_types_matter():
    """JSON's 1, 1.0, true and "1" are four values; null is not nothing."""
    kinds = [1, 1.0, True, "1", None, {}, []]
    for n, one in enumerate(kinds):
        for m, other in enumerate(kinds):
            assert bool(differences([one], [other])) == (n != m)
    assert shown({"a": None}, {}) == [("-", "$.a")]


def test_names_of_any_kind_make_readable_paths():
    """What is not printable is escaped: paths go to terminals."""
    assert shown({}, {"chunker:{id}": 1, "\x1b[31m": 2}) == [
        ("+", "$.\\x1b[31m"),
        ("+", "$.chunker:{id}"),
    ]


def test_deep_lists_take_no_time():
    """Depth costs no more than size does."""
    before: Any = [1]
    after: Any = [2]
    for _ in range(100):
        before, after = [before], [after]
    ((sign, path),) = shown(before, after)
    assert (sign, path) == ("~", "$" + "[0]" * 101)


@given(values, values)
def test_no_difference_means_equal(before, after):
    """There are differences exactly where the JSON texts differ; backwards they mirror."""
    forth, back = differences(before, after), differences(after, before)
    assert bool(forth) == (json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True))
    assert {(f.path, repr(f.before), repr(f.after)) for f in forth} == {
        (f.path, repr(f.after), repr(f.before)) for f in back
    }
    assert differences(before, deepcopy(before)) == []
