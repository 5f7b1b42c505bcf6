"""The way back, and what is kept for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from flowsvc.migrate import as_document, migrate
from flowsvc.migrate.back import style_for
from flowsvc.migrate.inverse import NewState, written
from flowsvc.migrate.kept import STYLE, keep, put_back, style_of
from flowsvc.migrate.reading import Style
from flowsvc.model import PauseFlow, StartFlow, StopFlow
from flowsvc.service import FlowService
from kvconfig.config import Config
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.records import VariantRecord
from kvconfig.txn import Put, Txn
from tests.flows import a_service, start

KS = Keyspace("@back")
RECORD = {"blueprint-name": "b", "description": "", "interfaces": {}, "parameters": {}}
DOCUMENT: dict[str, Any] = {
    "flow-blueprint": {"b": {"flow": {"chunker:{id}": {"input": "flow:tg:{id}"}}}},
    "flow": {"f1": {**RECORD, "color": "red"}, "f2": RECORD},
    "active-flow": {
        "chunker": {"f1": {"input": "flow:tg:f1"}, "f2": {"input": "flow:tg:f2"}, "gone": {"x": 1}}
    },
    "prompt": {"a b": 1, "ü": 2},
    "empty": {},
}


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    made = MemoryStore()
    yield made
    await made.close()


# -- what is kept --------------------------------------------------------------------------------


def test_only_what_would_not_come_back_is_kept() -> None:
    """A part that is another, one that is missing, one that there was not: each in an item."""
    was = {"same": {"a": 1}, "other": {"a": 1}, "missing": {"ü": None}, "odd": 5}
    back = {"same": {"a": 1}, "other": {"a": 2}, "new": {"a": 1}}
    parts = {(type_, key): value for type_ in ("same", "other", "missing")
             for key, value in was[type_].items()} | {("odd", None): 5}  # type: ignore[attr-defined]  # fmt: skip
    items = keep(parts, back, Style())
    assert len(items) == 4 + 1
    assert list(items)[-1] == STYLE, "it says that the others are there"
    assert style_of(items) == Style()
    assert put_back(back, items) == (was, [])


def test_what_has_changed_since_comes_back_as_it_stands() -> None:
    """Its part is left out, and named; so is what somebody else wrote among the items."""
    items = keep({("other", "a"): 1, ("missing", "b"): 1}, {"other": {"a": 2}}, Style())
    changed = {"other": {"a": 3}, "missing": {"b": 4}}
    assert put_back(changed, items) == (changed, [("other", "a"), ("missing", "b")])
    items["migration", "kept/odd"] = "not ours"
    assert put_back({"other": {"a": 2}}, items) == ({"other": {"a": 1}, "missing": {"b": 1}}, [])


def test_in_another_shape_only_configuration_is_put_back() -> None:
    """The rest was said in words that this shape does not have."""
    items = keep({("flows-active", "p"): {"x": {}}, ("prompt", "ü"): 1}, {}, Style(shape="class"))
    document, left_out = put_back({}, items, items_only=True)
    assert document == {"prompt": {"ü": 1}}
    assert left_out == [("flows-active", "p")]


def test_without_a_style_nothing_is_known_of_the_document() -> None:
    """Also where somebody wrote something else there."""
    assert style_of({}) is None
    assert style_of({STYLE: "flat"}) is None
    assert style_of({STYLE: {"shape": "other"}}) is None


STYLES: list[tuple[Any, Style | None, bool | None, Style]] = [
    ("blob", None, None, Style(shape="blob", flat=False)),
    ("blob", Style(shape="class", flat=True, sparse=True), None, Style(shape="blob", flat=True)),
    ("blob", Style(shape="processor", flat=False), None, Style(shape="blob", flat=False)),
    ("blob", Style(shape="blob", flat=True, sparse=True), None, Style(flat=True, sparse=True)),
    ("blob", Style(shape="blob", flat=True), False, Style(shape="blob", flat=False)),
    ("class", None, None, Style(shape="class", flat=True, sparse=True)),
    ("processor", Style(shape="blob", flat=True), None, Style(shape="processor", flat=False)),
    ("interim", Style(shape="blob", flat=True), None, Style(shape="interim", flat=True)),
]


@pytest.mark.parametrize(("shape", "was", "flat", "wanted"), STYLES)
def test_a_document_is_written_as_it_was_where_that_is_known(
    shape: Any, was: Style | None, flat: bool | None, wanted: Style
) -> None:
    """Flat where it was flat; nested where nothing is known of it; and as somebody says."""
    assert style_for(shape, was, flat=flat) == wanted


def test_what_has_no_flat_form_is_nested_and_told() -> None:
    """One name for a topic and a parameter."""
    both = VariantRecord(topics={"x": "t"}, parameters={"x": "5"})
    other = VariantRecord(topics={"x": "t"}, parameters={"y": "5"})
    new = NewState(active={VariantName("p", "both"): both, VariantName("p", "v"): other})
    document, findings = written(new, Style(shape="blob", flat=True))
    assert document["active-flow"]["p"] == {
        "both": {"topics": {"x": "t"}, "parameters": {"x": "5"}},
        "v": {"x": "t", "y": "5"},
    }
    assert [finding.path for finding in findings] == ["$.active-flow.p"]


# -- the way back --------------------------------------------------------------------------------


async def test_what_nobody_has_changed_comes_back_to_the_letter(store: MemoryStore) -> None:
    """An entry of no flow, a number, an unknown field, a key that is none here, an empty type."""
    await migrate(store, KS, document=DOCUMENT)
    assert await as_document(store, KS, "blob") == (DOCUMENT, [])


async def test_what_was_changed_comes_back_as_it_stands_and_is_told(store: MemoryStore) -> None:
    """One flow is stopped, another started: the blob that they were in is what it is now."""
    await migrate(store, KS, document=DOCUMENT)
    async with FlowService(store, KS) as service:
        await service.stop_flow(StopFlow(flow="f1"))
        await service.start_flow(StartFlow(flow="f3", blueprint_name="b"))
    document, findings = await as_document(store, KS, "blob")
    assert document["active-flow"] == {
        "chunker": {"f2": {"input": "flow:tg:f2"}, "f3": {"input": "flow:tg:f3"}}
    }
    assert document["flow"].keys() == {"f2", "f3"}
    assert {"flow-blueprint", "prompt", "empty"} <= document.keys()
    assert document["prompt"] == DOCUMENT["prompt"]
    assert {finding.path for finding in findings} == {"$.active-flow.chunker", "$.flow.f1"}
    assert {finding.severity for finding in findings} == {"warning"}


async def test_a_system_that_never_was_another_can_go_there(store: MemoryStore) -> None:
    """Nested entries, today's definitions, in the words of the version; a paused flow has none."""
    async with a_service(store, KS) as service:
        await service.start_flow(start("f1", size=5))
        await service.start_flow(start("f2"))
        await service.change(PauseFlow(flow="f2"))
    document, findings = await as_document(store, KS, "blob")
    assert document["active-flow"]["chunker"] == {
        "f1": {
            "topics": {"input": "flow:load:f1", "output": "flow:chunks:f1"},
            "parameters": {"size": "5"},
        }
    }
    assert document["flow"]["f2"]["parameters"] == {"size": "2000", "limit": "10"}
    assert [finding.path for finding in findings] == ["$.flow.f2"]
    old, _ = await as_document(store, KS, "class")
    assert old["flows-active"]["chunker"]["f1"]["size"] == "5"
    assert old["flow-classes"]["small"]["class"].keys() == {"query:{class}"}
    other = MemoryStore()
    await migrate(other, KS, document=old)
    assert (await as_document(other, KS, "class"))[0] == old
    await other.close()


async def test_what_no_older_version_has_is_left_out_and_told(store: MemoryStore) -> None:
    """Schemas are not configuration there."""
    await Config(store, KS).put_schema("prompt", {"type": "string"})
    document, findings = await as_document(store, KS, "blob")
    assert document == {}
    assert [finding.path for finding in findings] == ["$.schema"]


async def test_what_cannot_be_read_is_told(store: MemoryStore) -> None:
    """An item that is no JSON, a variant and a record that are none."""
    base = KS.everything().start
    for key, value in {
        "prompt/x": b"{",
        "prompt/\xff": b"1",
        "active-flow/p/v": b"[]",
        "flow/f": b'{"variants":{},"op":1}',
    }.items():
        await store.commit(Txn(then=(Put(base + key.encode("latin-1"), value),)))
    document, findings = await as_document(store, KS, "blob")
    assert document == {}
    assert sorted(finding.path for finding in findings) == [
        "$.active-flow.p/v", "$.flow.f", "$.prompt.\\xff", "$.prompt.x",
    ]  # fmt: skip
