"""Live views of configuration: typed, complete before a variant is entered, and never emptied."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar

import msgspec
import pytest

from kvconfig.config import Config
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.model import Revision
from kvconfig.txn import Put, Txn
from processors import ConfigChange, ConfigView, FlowProcessor, Instance, Spec, Tasks, Variant
from processors.runner import running
from tests.unit.support_processors import Desk

KEYS = Keyspace()


class Prompt(msgspec.Struct, frozen=True):
    """A shape."""

    text: str
    size: int = 0


class Writer(FlowProcessor):
    """Notes what it sees of its configuration."""

    id = "writer"
    spec = Spec(config={"prompt": Prompt, "tool": object})

    def __init__(self) -> None:
        self.seen: list[dict[str, Prompt]] = []

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        self.seen.append(dict(self.config("prompt", Prompt)))
        yield


class Reader(FlowProcessor):
    """Another one in the same process, of the same type in the same shape."""

    id = "reader"
    spec = Spec(config={"prompt": Prompt})


@asynccontextmanager
async def hosting(
    store: MemoryStore, *processors: FlowProcessor
) -> AsyncIterator[tuple[Config, list[Instance]]]:
    async with running(store, processors, instance="i1") as instances:
        yield Config(store, KEYS), instances


async def up_to(view: ConfigView[Prompt], revision: Revision) -> None:
    await view.informer.until(lambda _: view.revision >= revision)


async def test_it_is_complete_when_a_variant_is_entered() -> None:
    """However slow the list is: no variant sees a part of it."""
    let_through = asyncio.Event()

    async def gate(call: str, moment: str) -> None:
        if call == "list" and moment == "after" and gated:
            gated.pop()
            await let_through.wait()

    store = MemoryStore()
    gated: list[str] = []
    await Config(store, KEYS).put("prompt", "a", {"text": "hello"})
    revision = await Desk(store, KEYS, "writer").put("f")
    gated.append("the first list, which is that of the prompts")
    store.gate = gate
    writer = Writer()
    async with hosting(store, writer) as (_, [instance]):
        await instance.informer.until(lambda _: instance.informer.revision >= revision)
        for _ in range(100):  # turns enough to enter it all the same
            await asyncio.sleep(0)
        assert writer.seen == []
        assert not instance.reconciler.listens
        await asyncio.sleep(0.1)  # as long as a status takes to be written, several times
        status = await store.read(KEYS.processor("writer", "i1"))
        assert status is None, "it would say that all runs"
        let_through.set()
        await instance.reconciler.until(lambda found: "f" in found.running)
        assert writer.seen == [{"a": Prompt("hello")}]


async def test_it_is_live_and_calls_back() -> None:
    """What changed, typed, before and after; an equal value calls nobody."""
    heard: list[ConfigChange[Prompt]] = []
    writer = Writer()
    store = MemoryStore()
    async with hosting(store, writer) as (config, _):
        view = writer.config("prompt", Prompt)
        subscription = view.on_change(heard.extend)
        await config.put("prompt", "a", {"text": "hello"})
        await config.put("prompt", "a", {"text": "hello", "size": 0})
        await config.put("tool", "a", {"another": "type"})
        await config.put("prompt", "a", {"text": "hej"})
        await config.delete("prompt", "a")
        await up_to(view, await config.put("prompt", "b/c", {"text": "deep", "size": 3}))
        assert heard == [
            ConfigChange("a", None, Prompt("hello")),
            ConfigChange("a", Prompt("hello"), Prompt("hej")),
            ConfigChange("a", Prompt("hej"), None),
            ConfigChange("b/c", None, Prompt("deep", 3)),
        ]
        assert dict(view) == {"b/c": Prompt("deep", 3)}
        subscription.close()
        subscription.close()
        await config.delete("prompt", "b/c")
        await up_to(view, store.revision)
        assert len(heard) == 4
        assert len(view) == 0


async def test_a_bad_value_keeps_the_last_good_one() -> None:
    """The error names key and place; other items are not concerned; a good value heals it."""
    heard: list[ConfigChange[Prompt]] = []
    writer = Writer()
    store = MemoryStore()
    async with hosting(store, writer) as (config, _):
        view = writer.config("prompt", Prompt)
        await up_to(view, await config.put("prompt", "a", {"text": "hello"}))
        view.on_change(heard.extend)
        await config.put("prompt", "a", {"text": 1})
        await store.commit(Txn(then=(Put(b"/prompt/new", b"nope"),)))
        await up_to(view, await config.put("prompt", "other", {"text": "hej"}))
        assert dict(view) == {"a": Prompt("hello"), "other": Prompt("hej")}
        assert [change.key for change in heard] == ["other"]
        assert sorted(view.errors) == ["a", "new"]
        assert "/prompt/a at $.text" in str(view.errors["a"])
        await config.put("prompt", "a", {"text": "good"})
        await config.delete("prompt", "new")
        await up_to(view, store.revision)
        assert view.errors == {}
        assert view["a"] == Prompt("good")
        assert [change.key for change in heard] == ["other", "a"]


async def test_a_lost_watch_and_compaction_lose_nothing() -> None:
    """The difference is called back, deletes included."""
    heard: list[ConfigChange[Prompt]] = []
    writer = Writer()
    store = MemoryStore()
    async with hosting(store, writer) as (config, _):
        view = writer.config("prompt", Prompt)
        await config.put("prompt", "a", {"text": "1"})
        await up_to(view, await config.put("prompt", "b", {"text": "1"}))
        view.on_change(heard.extend)
        store.cut_watches("cut")
        await config.delete("prompt", "a")
        revision = await config.put("prompt", "b", {"text": "2"})
        store.compact(revision)
        await up_to(view, revision)
        assert sorted(heard, key=lambda change: change.key) == [
            ConfigChange("a", Prompt("1"), None),
            ConfigChange("b", Prompt("1"), Prompt("2")),
        ]


async def test_a_handler_that_fails_does_not_cost_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged, and stays subscribed."""
    heard: list[ConfigChange[Prompt]] = []

    def broken(_: object) -> None:
        raise RuntimeError("broken")

    writer = Writer()
    async with hosting(MemoryStore(), writer) as (config, _):
        view = writer.config("prompt", Prompt)
        view.on_change(broken)
        view.on_change(heard.extend)
        await config.put("prompt", "a", {"text": "1"})
        await up_to(view, await config.put("prompt", "b", {"text": "1"}))
        assert [change.key for change in heard] == ["a", "b"]
        assert [r.getMessage() for r in caplog.records].count("handler failed") == 2


async def test_a_handler_is_called_where_it_was_registered() -> None:
    """What it logs for a variant is about that variant; leaving the block takes it off."""
    here: ContextVar[str] = ContextVar("here", default="")
    heard: list[str] = []
    writer = Writer()
    async with hosting(MemoryStore(), writer) as (config, _):
        view = writer.config("prompt", Prompt)

        async def variant() -> None:
            here.set("in the variant")
            with view.on_change(lambda _: heard.append(here.get())):
                await up_to(view, await config.put("prompt", "a", {"text": "1"}))
            await up_to(view, await config.put("prompt", "b", {"text": "1"}))

        await asyncio.create_task(variant())
        assert heard == ["in the variant"]


async def test_one_watch_serves_all_that_read_alike() -> None:
    """Two processors of one process, one type, one shape: one list, one view."""
    store = MemoryStore()
    writer, reader = Writer(), Reader()
    async with hosting(store, writer, reader):
        assert writer.config("prompt") is reader.config("prompt")


async def test_what_was_not_declared_is_not_given() -> None:
    """Each mistake says what to do."""
    writer = Writer()
    with pytest.raises(LookupError, match="not hosted"):
        writer.config("prompt")
    async with hosting(MemoryStore(), writer):
        with pytest.raises(LookupError, match=r"declare it in spec\.config"):
            writer.config("prompts")
        with pytest.raises(TypeError, match="is declared as"):
            writer.config("prompt", dict)
