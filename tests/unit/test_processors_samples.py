"""The sample pipeline, end to end on stores and topics in memory."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

import msgspec
import pytest

from kvconfig.codec import encode
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.records import VariantRecord
from kvconfig.txn import Put, Txn
from processors import FlowProcessor, Instance, running
from processors.samples import messages
from processors.samples.chunker import Chunker, split
from processors.samples.gateway import Gateway
from processors.samples.generic import Generic
from processors.samples.index import opened
from processors.samples.indexer import Indexer
from processors.samples.loader import Loader, find_files
from processors.samples.messages import Answer, Chunk, Indexed, Query
from processors.samples.query import QueryProcessor
from processors.samples.search import search
from processors.samples.topics import MemoryTopics

TEXT = " ".join(f"word{n}" for n in range(400))


@pytest.mark.parametrize("size", [1, 2, 7, 50, 1000, 5000])
def test_split_loses_nothing(size: int) -> None:
    """Chunks are no longer than asked; without the overlaps they make the text again."""
    for overlap in {0, size // 3, size - 1}:
        pieces = list(split(TEXT, size, overlap))
        assert all(len(piece) <= size for piece in pieces)
        assert pieces[0] + "".join(piece[overlap:] for piece in pieces[1:]) == TEXT
    assert list(split("", size, 0)) == [""]


async def test_topics_keep_messages_and_push_back() -> None:
    """Messages wait for a consumer; a full topic makes its publisher wait."""
    topics = MemoryTopics(limit=2)
    await topics.publish("t", b"1")
    await topics.publish("t", b"2")
    late = asyncio.create_task(topics.publish("t", b"3"))
    await asyncio.sleep(0)
    assert not late.done()
    async with topics.take("t") as message:
        assert message == b"1"
    await late
    assert topics.waiting("t") == 2


async def test_a_message_that_was_not_finished_comes_again() -> None:
    """A consumer that fails or is stopped leaves its message to the next one, in its place."""
    topics = MemoryTopics()
    await topics.publish("t", b"1")
    await topics.publish("t", b"2")
    with pytest.raises(RuntimeError):
        async with topics.take("t"):
            raise RuntimeError
    async with topics.take("t") as message:
        assert message == b"1"
    async with topics.take("t") as message:
        assert message == b"2"
    assert topics.waiting("t") == 0
    assert topics._queues == {}


async def test_index_is_idempotent_per_document(tmp_path: Path) -> None:
    """The first chunk begins the document anew; the same chunk twice is one."""
    async with opened(tmp_path / "sub" / "i.sqlite") as index:
        for position, text in ((0, "alpha one"), (1, "alpha two"), (1, "alpha two"), (2, "beta")):
            await index.add("f", "d", position, text)
        assert await index.count("f") == (1, 3)
        assert {hit.position for hit in await index.search("ALPHA beta")} == {0, 1, 2}
        await index.add("f", "d", 0, "gamma")
        assert await index.count("f") == (1, 1)
        assert await index.search("alpha") == ()
        assert await index.search('"gamma* NEAR(', flow="other") == ()
        (hit,) = await index.search('"gamma* NEAR(', flow="f")
        assert (hit.document, hit.snippet) == ("d", "[gamma]")
        with pytest.raises(ValueError, match="no word"):
            await index.search("!?")


def test_files_are_found_in_order_and_hidden_ones_are_not(tmp_path: Path) -> None:
    """Patterns add up; what begins with a dot is left alone."""
    for name in ("b.md", "a/c.md", "a/d.txt", ".git/e.md", "a/.f.md", "g.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    found = find_files(tmp_path, ["**/*.md", "**/*.txt", "*.md"])
    assert [file.relative_to(tmp_path).as_posix() for file in found] == [
        "a/c.md",
        "a/d.txt",
        "b.md",
    ]
    assert find_files(tmp_path / "g.py", ["*.md"]) == [tmp_path / "g.py"]


class Pipeline:
    """All five processors on one store, and what it takes to run flows of them."""

    def __init__(self, store: MemoryStore, topics: MemoryTopics, folder: Path) -> None:
        self.store, self.topics, self.folder = store, topics, folder
        self.instances: dict[str, Instance] = {}
        self._blueprint = json.loads(
            resources.files("processors.samples").joinpath("document-index.json").read_text()
        )["flow-blueprint"]["document-index"]
        self.socket = str(folder / "gw.sock")

    def puts(self, flow: str, **given: str) -> list[Put]:
        """The variants of a flow, rendered as the flow service does."""
        values = {
            "workspace": "default",
            "blueprint": "document-index",
            "id": flow,
            "pattern": "**/*.md",
            "chunk-overlap": "10",
            "input-path": str(self.folder / "in"),
            "index-path": str(self.folder / "index.sqlite"),
            "gateway-socket": self.socket,
            **{name.replace("_", "-"): value for name, value in given.items()},
        }

        def fill(text: str) -> str:
            for name, value in values.items():
                text = text.replace("{" + name + "}", value)
            return text

        puts = []
        for key, entry in {**self._blueprint["blueprint"], **self._blueprint["flow"]}.items():
            processor, _, variant = fill(key).partition(":")
            record = VariantRecord(
                topics={name: fill(topic) for name, topic in entry["topics"].items()},
                parameters={name: fill(value) for name, value in entry["parameters"].items()},
            )
            name = VariantName(processor, variant)
            puts.append(Put(Keyspace().active_flow(name), encode(record)))
        return puts

    async def start(self, flow: str, **given: str) -> None:
        revision = (await self.store.commit(Txn(then=tuple(self.puts(flow, **given))))).revision
        for instance in self.instances.values():
            await instance.settled(revision)

    async def indexed(self, flow: str) -> Indexed:
        async with self.topics.take(f"flow:indexed:default:{flow}") as message:
            return msgspec.json.decode(message, type=Indexed)

    async def ask(self, words: str, flow: str = "") -> Answer:
        asked = Query(query=words, flow=flow, limit=50)
        await self.topics.publish("request:search:default:document-index", messages.encode(asked))
        async with self.topics.take("response:search:default:document-index") as message:
            return msgspec.json.decode(message, type=Answer)


@asynccontextmanager
async def pipeline(folder: Path) -> AsyncIterator[Pipeline]:
    (folder / "in").mkdir()
    (folder / "in" / "one.md").write_text("The quick fox. " + TEXT)
    (folder / "in" / "two.md").write_text("A lazy dog. " + TEXT)
    topics, store = MemoryTopics(), MemoryStore()
    made = Pipeline(store, topics, folder)
    kinds = (Loader, Chunker, Indexer, QueryProcessor, Gateway)
    processors: list[FlowProcessor] = [kind(topics) for kind in kinds]
    async with running(store, processors, instance="i") as instances:
        made.instances = {instance.processor.id: instance for instance in instances}
        yield made


async def test_load_chunk_index_query(tmp_path: Path) -> None:
    """Two flows with different chunk sizes over the same files, answered by one shared variant."""
    async with pipeline(tmp_path) as p:
        await p.start("small", chunk_size="100")
        await p.start("large", chunk_size="1000")
        small, large = await p.indexed("small"), await p.indexed("large")
        assert (small.documents, large.documents) == (2, 2)
        assert small.chunks > large.chunks >= 6
        answer = await p.ask("fox")
        assert {(hit.flow, hit.document, hit.position) for hit in answer.hits} == {
            ("small", "one.md", 0),
            ("large", "one.md", 0),
        }
        assert {hit.flow for hit in (await p.ask("dog", flow="large")).hits} == {"large"}
        assert (await p.ask("?")).error == "no word to search for"
        assert set(p.instances["query"].reconciler.running) == {"document-index"}
        assert set(p.instances["chunker"].reconciler.running) == {"small", "large"}


async def test_restart_with_another_chunk_size_in_the_middle(tmp_path: Path) -> None:
    """Whatever was on its way when the chunker was replaced, the index is whole at the end."""
    async with pipeline(tmp_path) as p:
        await p.start("f", chunk_size="50")
        for size in ("60", "70", "200"):
            await p.start("f", chunk_size=size)
        done = await p.indexed("f")
        assert done.documents == 2
        async with opened(tmp_path / "index.sqlite") as index:
            for word in ("word0", "word200", "word399"):
                found = {hit.document for hit in await index.search(word, flow="f", limit=50)}
                assert found == {"one.md", "two.md"}


async def test_loading_again_indexes_the_same(tmp_path: Path) -> None:
    """A loader that starts anew loads anew, and nothing is there twice."""
    async with pipeline(tmp_path) as p:
        await p.start("f", chunk_size="100")
        first = await p.indexed("f")
        await p.start("f", chunk_size="100", pattern="*.md")
        assert await p.indexed("f") == first


async def test_samples_refuse_what_cannot_work(tmp_path: Path) -> None:
    """Each says what is wrong, and where."""
    async with pipeline(tmp_path) as p:
        await p.start("f", chunk_size="10", pattern="../*.md", input_path=str(tmp_path / "no"))
        await p.start("g", chunk_size="100", input_path=str(tmp_path / "no"))
        failures = {name: one.reconciler.failures for name, one in p.instances.items()}
        assert failures["chunker"]["f"].error == (
            "$.parameters.chunk-overlap: expected less than chunk-size"
        )
        assert failures["loader"]["f"].error.startswith("$.parameters.pattern: ")
        assert failures["loader"]["g"].error.startswith("FileNotFoundError: ")


async def test_malformed_messages_are_dropped(tmp_path: Path) -> None:
    """A message that nobody can read does not stop those behind it."""
    async with pipeline(tmp_path) as p:
        await p.start("f", chunk_size="100")
        await p.indexed("f")
        await p.topics.publish("flow:chunk-load:default:f", b"nonsense")
        await p.topics.publish("flow:chunk-load:default:f", messages.encode(Chunk("d", 0, "zebra")))
        await p.topics.publish(
            "flow:document-load:default:f", b'{"kind":"end-of-load","documents":0}'
        )
        assert (await p.indexed("f")).documents == 3
        assert [hit.document for hit in (await p.ask("zebra")).hits] == ["d"]


async def test_gateway_serves_other_processes(tmp_path: Path) -> None:
    """Search over the socket, twice at the same time; the socket goes with the variant."""
    async with pipeline(tmp_path) as p:
        await p.start("f", chunk_size="100")
        topics = {
            "request_topic": "request:search:default:document-index",
            "response_topic": "response:search:default:document-index",
        }

        def ask(words: str, id_: str):
            asked = Query(query=words, id=id_)
            return search(p.socket, asked, done_topics=["flow:indexed:default:f"], **topics)

        fox, dog = await asyncio.gather(ask("fox", "1"), ask("dog", "2"))
        assert [hit.document for hit in fox] == ["one.md"]
        assert [hit.document for hit in dog] == ["two.md"]
        assert (await ask("lazy", "3"))[0].document == "two.md", "the end of the load is kept"
        assert Path(p.socket).stat().st_mode & 0o777 == 0o600  # noqa: ASYNC240
    assert not (tmp_path / "gw.sock").exists()


async def test_gateway_answers_nonsense_with_an_error(tmp_path: Path) -> None:
    """A client that sends what is no order hears so, and can go on."""
    async with pipeline(tmp_path) as p:
        await p.start("f", chunk_size="100")
        reader, writer = await asyncio.open_unix_connection(p.socket)
        writer.write(b'no json\n{"op":"explode","topic":"t"}\n')
        assert b"error" in await reader.readline()
        assert b"error" in await reader.readline()
        writer.write(
            b'{"op":"subscribe","topic":"t"}\n{"op":"publish","topic":"t","message":[1]}\n'
        )
        assert json.loads(await reader.readline()) == {"topic": "t", "message": [1]}
        writer.close()
        await writer.wait_closed()


async def test_search_command(tmp_path: Path) -> None:
    """Another process asks: hits and 0, nothing found and 1, no gateway and 1."""
    async with pipeline(tmp_path) as p:
        await p.start("f", chunk_size="100")

        async def command(*args: str) -> tuple[int | None, str, str]:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "processors.samples.search",
                "--request-topic=request:search:default:document-index",
                "--response-topic=response:search:default:document-index",
                *args,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await process.communicate()
            return process.returncode, out.decode(), err.decode()

        done = "--done-topic=flow:indexed:default:f"
        (code, out, err), nothing, nobody = await asyncio.gather(
            command(f"--socket={p.socket}", done, "quick", "fox"),
            command(f"--socket={p.socket}", done, "unheard-of"),
            command(f"--socket={tmp_path}/no.sock", "--timeout=0.2", "fox"),
        )
        assert (code, err) == (0, "")
        assert out.startswith("1. one.md (chunk 0, flow f): The [quick] [fox].")
        assert nothing == (1, "", "nothing found\n")
        assert nobody == (1, "", "Error: no answer within 0.2 s\n")


async def test_generic_takes_anything() -> None:
    """It stands in for processors that are not here."""
    store, generic = MemoryStore(), Generic()
    generic.id = "text-completion"
    record = VariantRecord(topics={"a": "b"}, parameters={"model": "x"})
    key = Keyspace().active_flow(VariantName("text-completion", "f"))
    async with running(store, [generic], instance="i") as (instance,):
        await instance.settled((await store.commit(Txn(then=(Put(key, encode(record)),)))).revision)
        assert set(instance.reconciler.running) == {"f"}
