"""Flat entries: the rule that says what is a topic, and blueprints in today's form and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowsvc.blueprint import parse_blueprint
from flowsvc.migrate.blueprints import as_it_was, modernised
from flowsvc.migrate.flat import flattened, section_of, split
from flowsvc.migrate.reading import Style
from kvconfig.records import VariantRecord

FLAT = Style(shape="blob", flat=True)
CLASS = Style(shape="class", flat=True)

TOPICS = [
    ("x", "persistent://tg/flow/chunk-load:{id}"),
    ("x", "non-persistent://tg/request/prompt:{class}"),
    ("x", "q0/tg/response/{id}"),
    ("x", "q1/tg/flow/chunk-load"),
    ("x", "flow:tg:triples-store:{id}"),
    ("x", "request:tg:librarian"),
    ("x", "response:{workspace}:prompt:{id}"),
    ("x", "notify:tg:config"),
    ("x", "state:tg:x"),
    ("input", "anything"),
    ("prompt-request", "{workspace}"),
    ("mcp-response", ""),
    ("next", "{id}"),
    ("some-output", "{size}-{id}"),
]
PARAMETERS = [
    ("chunk-size", "{chunk-size}"),
    ("input", "{input-topic}"),
    ("model", "gpt-4"),
    ("model", "{vendor}/{model}"),
    ("url", "http://host/persistent://x"),
    ("q1", "q1"),
    ("x", "{id}"),
    ("inputs", "x"),
    ("x", ""),
]


@pytest.mark.parametrize(("name", "text"), TOPICS)
def test_a_topic_looks_like_one_of_any_version_or_has_the_name_of_one(name: str, text: str) -> None:
    """By its text first, then by its name."""
    assert section_of(name, text) == "topics"


@pytest.mark.parametrize(("name", "text"), PARAMETERS)
def test_a_placeholder_of_a_parameter_is_one_whatever_its_name(name: str, text: str) -> None:
    """And all that is no topic."""
    assert section_of(name, text) == "parameters"


def test_an_active_entry_goes_by_its_blueprint() -> None:
    """What is a topic there is one here, whatever it looks like; the rule is for the rest."""
    like = VariantRecord(topics={"model": "x"}, parameters={"input": "y"})
    fields = {"model": "gpt", "input": "flow:tg:x", "output": "flow:tg:y", "size": "5"}
    assert split(fields, like) == VariantRecord(
        topics={"model": "gpt", "output": "flow:tg:y"},
        parameters={"input": "flow:tg:x", "size": "5"},
    )


def test_what_flattening_would_lose_is_not_flattened() -> None:
    """A name in both sections, a further field, a name that would make it look nested."""
    assert flattened({"topics": {"a": "1"}, "parameters": {"b": "2"}}) == {"a": "1", "b": "2"}
    assert flattened({}) == {}
    assert flattened({"topics": {"a": "1"}, "parameters": {"a": "1"}}) is None
    assert flattened({"topics": {"a": "1"}, "more": {}}) is None
    assert flattened({"topics": {"parameters": {}}}) is None
    assert flattened({"topics": "text"}) is None


OLD: dict[str, Any] = {
    "description": "{class} stays in what is no template",
    "tags": ["{class}"],
    "class": {"query:{class}": {"request": "non-persistent://tg/request/q:{class}"}},
    "flow": {
        "chunker:{id}": {"input": "persistent://tg/flow/in:{id}", "size": "{size}", "n": 5},
        "nothing:{id}": {},
    },
    "interfaces": {"load": "persistent://tg/flow/in:{id}", "q": {"request": "q:{class}"}},
}
NEW: dict[str, Any] = {
    "description": "{class} stays in what is no template",
    "tags": ["{class}"],
    "blueprint": {
        "query:{blueprint}": {"topics": {"request": "non-persistent://tg/request/q:{blueprint}"}}
    },
    "flow": {
        "chunker:{id}": {
            "topics": {"input": "persistent://tg/flow/in:{id}"},
            "parameters": {"size": "{size}", "n": 5},
        },
        "nothing:{id}": {},
    },
    "interfaces": {
        "load": {"flow": "persistent://tg/flow/in:{id}"},
        "q": {"request": "q:{blueprint}"},
    },
}


def test_a_blueprint_comes_into_todays_form_and_back() -> None:
    """Words, entries and interfaces; what is not known stays as it is."""
    assert modernised(OLD) == NEW
    assert modernised(NEW) == NEW
    assert as_it_was(NEW, CLASS) == OLD
    in_2_2 = as_it_was(NEW, FLAT)
    assert in_2_2["blueprint"] == {
        "query:{blueprint}": {"request": "non-persistent://tg/request/q:{blueprint}"}
    }
    assert as_it_was(NEW, Style(shape="processor", flat=False)) == NEW
    parse_blueprint("b", NEW)


HALF: list[tuple[Any, Any]] = [
    ({"topics": {"a": "1"}, "size": "5"}, {"topics": {"a": "1"}, "parameters": {"size": "5"}}),
    (
        {"topics": {"size": "1"}, "size": "5"},
        {"topics": {"size": "1"}, "parameters": {"size": "5"}},
    ),
    ({"parameters": {"size": "1"}, "size": "5"}, {"parameters": {"size": "1"}, "size": "5"}),
    ({"topics": {"a": "1"}, "more": [1]}, {"topics": {"a": "1"}, "more": [1]}),
    ({"topics": {}, "parameters": "x"}, {"topics": {}, "parameters": "x"}),
    ({"topics": "flow:x"}, {"topics": {"topics": "flow:x"}}),
    ({"topics": [1], "input": "flow:x"}, {"topics": [1]}),
    ("no entry", "no entry"),
]


@pytest.mark.parametrize(("old", "new"), HALF)
def test_an_entry_that_is_half_flat_loses_nothing(old: Any, new: Any) -> None:
    """What has a place goes there; the rest stays, for the check of the blueprint to tell."""
    assert modernised({"flow": {"p:{id}": old}}) == {"flow": {"p:{id}": new}}


def test_names_that_only_the_old_word_told_apart_stay_apart() -> None:
    """A rewording that would make one of two entries is not done."""
    both: dict[str, Any] = {"flow": {"p:{class}": {"topics": {}}, "p:{blueprint}": {"topics": {}}}}
    assert modernised(both) == both


def test_two_sections_of_shared_entries_are_left_for_the_check() -> None:
    """``class`` beside ``blueprint``: nobody knows which of them counts."""
    both: dict[str, Any] = {"class": {"p:{class}": {}}, "blueprint": {"p:x": {}}}
    assert modernised(both).keys() == both.keys()


def test_real_blueprints_are_converted_as_they_were_by_hand(shared_data: Path) -> None:
    """Those of 1.3 and 2.2 come to what later versions wrote, and back to what they were."""
    converted = json.loads((shared_data / "blueprints/1.3-everything.converted.json").read_text())
    document = json.loads((shared_data / "configs/tgconfig-1.3-full.json").read_text())
    old = document["flow-classes"]["everything"]
    by_hand = parse_blueprint("everything", converted["blueprint"])
    ours = parse_blueprint("everything", modernised(old))
    assert (ours.own, ours.interfaces) == (by_hand.own, by_hand.interfaces)
    assert {e.variant: e.topics for e in ours.shared} == {
        e.variant: e.topics for e in by_hand.shared
    }
    assert as_it_was(modernised(old), CLASS) == old
    older, newer = (
        json.loads((shared_data / f"configs/tgconfig-{version}-full.json").read_text())
        for version in ("2.2", "2.3")
    )
    for name, blueprint in older["flow-blueprint"].items():
        assert modernised(blueprint) == newer["flow-blueprint"][name]
        assert as_it_was(newer["flow-blueprint"][name], FLAT) == blueprint
