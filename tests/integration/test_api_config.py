"""The configuration over gRPC: long lists, lost answers, cut watches, and errors as they were."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from io import StringIO
from pathlib import Path
from typing import Any, Self, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]
    reflection_pb2,
    reflection_pb2_grpc,
)

from flowsvc import config_server
from flowsvc.api import config_methods as methods
from flowsvc.api.v1 import config_pb2 as pb
from flowsvc.client import Client, ServerUnavailable
from flowsvc.config_client import ConfigClient
from flowsvc.errors import FlowServiceError, InvalidInput
from flowsvc.server import serve
from kvconfig import jsonlog
from kvconfig.config import Config, ConfigChanges, ConfigItem, Configuration, Found, Removed
from kvconfig.devserver import DevServer, EtcdBinary
from kvconfig.errors import (
    Conflict,
    InvalidName,
    InvalidValue,
    KvError,
    OutcomeUnknown,
    PermissionDenied,
    SchemaViolated,
    Unavailable,
)
from kvconfig.etcd import connect
from kvconfig.keys import Range
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.model import Page, Revision
from kvconfig.store import Store, list_all
from kvconfig.txn import Put, Txn
from tests.contract.support import EtcdBackend
from tests.every_error import ERRORS
from tests.fake_flows import FakeFlows
from tests.integration.test_api import cut_once
from tests.robustness.waiting import eventually

MANY = 20_000


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(page_size=500)


@pytest.fixture
def config(store: MemoryStore) -> Config:
    return Config(store, Keyspace())


@asynccontextmanager
async def connected(config: Configuration, **options: Any) -> AsyncIterator[ConfigClient]:
    async with (
        serve(FakeFlows(), config=config) as port,
        ConfigClient(f"127.0.0.1:{port}", **options) as client,
    ):
        yield client


def told(changes: ConfigChanges) -> dict[str, Any]:
    return {c.key: "gone" if c.item is None else c.item.value for c in changes.changes}


async def fill(store: MemoryStore, value: str) -> Revision:
    """Many items of one type, large ones if so wished."""
    keys = [f"/t/k{n:05}".encode() for n in range(MANY)]
    data = json.dumps(value).encode()
    for first in range(0, MANY, 100):
        some = tuple(Put(key, data) for key in keys[first : first + 100])
        await store.commit(Txn(then=some))
    return store.revision


# -- methods -------------------------------------------------------------------------------------


def test_the_method_table_is_the_service_of_the_proto():
    """No method of ``config.proto`` is forgotten, and none has another type or shape."""
    service = pb.DESCRIPTOR.services_by_name["ConfigService"]
    assert service.full_name == methods.SERVICE
    described = {m.name: (m.input_type, m.output_type, m.server_streaming) for m in service.methods}
    ours = {
        m.name: (m.request.DESCRIPTOR, m.response.DESCRIPTOR, m.streams) for m in methods.METHODS
    }
    assert ours == described


async def test_a_server_without_configuration_says_so():
    """A client of a server that serves flows only learns that there is no such service."""
    async with serve(FakeFlows()) as port, ConfigClient(f"127.0.0.1:{port}") as client:
        with pytest.raises(FlowServiceError, match=r"does not know /kvconfig\.config\.v1"):
            await client.types()


async def test_health_and_reflection_know_the_service(config):
    """As they know the flow service, and only where it is served."""
    for served, code in ((config, None), (None, grpc.StatusCode.NOT_FOUND)):
        async with AsyncExitStack() as stack:
            server = serve(FakeFlows(), config=served, reflection=True)
            channel = grpc.aio.insecure_channel(
                f"127.0.0.1:{await stack.enter_async_context(server)}"
            )
            await stack.enter_async_context(channel)
            check = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=methods.SERVICE)
            )
            if code is None:
                assert (await check).status == health_pb2.HealthCheckResponse.SERVING
            else:
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await check
                assert raised.value.code() is code
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            answer = await stub.ServerReflectionInfo(iter([request])).read()
            names = {service.name for service in answer.list_services_response.service}
            assert (methods.SERVICE in names) is (code is None)


# -- long lists ----------------------------------------------------------------------------------


async def test_many_items_come_whole_at_one_revision(store, config):
    """20,000 items of a type, their keys, and everything, while somebody writes."""
    revision = await fill(store, "x" * 200)

    async def write() -> None:
        for n in range(MANY - 1, -1, -500):
            await config.put("t", f"k{n:05}", "later")
            await asyncio.sleep(0.005)

    async with connected(config) as client, asyncio.TaskGroup() as writing:
        writing.create_task(write())
        pages = [page async for page in client.values("t", revision=revision)]
        assert len(pages) > 5
        assert {page.revision for page in pages} == {revision}
        items = [item for page in pages for item in page]
        assert [item.key for item in items] == [f"k{n:05}" for n in range(MANY)]
        assert {item.value for item in items} == {"x" * 200}
        now = await client.list("t")
        assert now == await config.list("t", revision=now.revision)
        keys = await client.keys("t")
        assert keys == [item.key for item in items]
        assert keys.revision >= now.revision
        pages = [page async for page in client.everything()]
        assert sum(map(len, pages)) == MANY
        assert len({page.revision for page in pages}) == 1
        names = [("t", key) for key in keys]
        assert len(await client.get_many(names)) == MANY


async def test_a_page_of_the_store_larger_than_a_message_comes_in_pieces(store):
    """Whatever the store gives at a time, no message is larger than any gRPC client takes."""
    await fill(store, "x" * 1_000)
    config = Config(cast(Store, OneLargePage(store)), Keyspace())
    async with connected(config) as client:
        sizes = [len(page) async for page in client.values("t")]
    assert sum(sizes) == MANY
    assert max(sizes) * 1_000 < 4_000_000


class OneLargePage:
    """A store whose lists come as one page each."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def list(self, range_: Range, **options: Any) -> AsyncGenerator[Page, None]:
        yield await list_all(self._store, range_, **options)


async def test_a_reader_that_stops_keeps_the_server_from_reading_on(store, config):
    """What nobody takes is not read from the store: neither side holds the whole list."""
    await fill(store, "x" * 2_000)
    store.calls.clear()
    async with connected(config) as client, aclosing(client.values("t")) as pages:
        assert len(await anext(pages)) <= 1_000
        await eventually(lambda: store.calls["list"] >= 2)
        seen = -1
        while seen != store.calls["list"]:  # until it has come to rest
            seen = store.calls["list"]
            await asyncio.sleep(0.2)
        assert seen < MANY / 500
        assert 1 + len([page async for page in pages]) >= MANY / 500
        assert store.calls["list"] == MANY / 500


@pytest.mark.parametrize("method", [methods.GET_VALUES, methods.GET_EVERYTHING])
async def test_a_list_that_is_given_up_is_closed_at_once(store, method):
    """Down to what reads the store: nothing of it is left for the garbage collector."""
    ended = []

    class Notes(Config):
        async def values(self, *_: Any, **__: Any) -> AsyncGenerator[Found[ConfigItem], None]:
            try:
                yield Found(revision=Revision(1))
                yield Found(revision=Revision(1))
            finally:
                ended.append(True)

        everything = values

    answers = config_server.list_(Notes(store, Keyspace()), method, method.request())
    await anext(answers)
    await answers.aclose()
    assert ended == [True]


async def test_a_list_that_is_cut_goes_on_where_it_was(store, config, tmp_path: Path):
    """From another server, at the same revision: each item once, whatever was written since.

    So it is with what cannot be read.
    """
    await fill(store, "x" * 2_000)
    keys = [f"k{n:05}" for n in range(MANY)]
    bad = keys[3::7]
    for first in range(0, len(bad), 100):
        some = tuple(Put(f"/t/{key}".encode(), b"{") for key in bad[first : first + 100])
        await store.commit(Txn(then=some))
    revision = store.revision
    target = f"unix:{tmp_path / 'config.sock'}"
    async with ConfigClient(target) as client, AsyncExitStack() as stack:
        async with serve(FakeFlows(), target, config=config, grace_s=0):
            pages = await stack.enter_async_context(aclosing(client.values("t")))
            found = [await anext(pages)]
        await config.delete_many([("t", key) for key in keys[:10]])
        await config.put("t", "k19999", "later")
        async with serve(FakeFlows(), target, config=config):
            found += [page async for page in pages]
    assert [each.key for page in found for each in page.all_in_order()] == keys
    assert [each.key for page in found for each in page.unreadable] == bad
    assert {item.value for page in found for item in page} == {"x" * 2_000}
    assert {page.revision for page in found} == {revision}


async def test_a_list_is_given_up_where_the_server_hangs(store):
    """Each piece has the deadline of any call, however long the whole may take."""
    await fill(store, "x")

    class Hangs(Config):
        async def values(self, *_: Any, **__: Any) -> AsyncGenerator[Found[ConfigItem], None]:
            yield Found(await self.get_many([("t", "k00000")]), revision=Revision(1))
            await asyncio.Event().wait()

    async with (
        connected(Hangs(store, Keyspace()), timeout_s=0.3) as client,
        aclosing(client.values("t")) as pages,
        asyncio.timeout(10),
    ):
        assert len(await anext(pages)) == 1
        with pytest.raises(ServerUnavailable, match=r"no answer within 0\.3 s"):
            await anext(pages)


async def test_a_list_is_given_up_where_nobody_goes_on(store, config, tmp_path: Path):
    """No other server comes: that is said, as for any call."""
    await fill(store, "x" * 2_000)
    target = f"unix:{tmp_path / 'config.sock'}"
    async with ConfigClient(target, timeout_s=0.5) as client, AsyncExitStack() as stack:
        async with serve(FakeFlows(), target, config=config, grace_s=0):
            pages = await stack.enter_async_context(aclosing(client.values("t")))
            await anext(pages)
        async with asyncio.timeout(10):
            with pytest.raises(ServerUnavailable):
                await _count(pages)


async def test_an_error_in_the_middle_of_a_list_is_raised_there(store, config):
    """What came before it came; the error is the one of the store, field by field."""
    await fill(store, "x")

    class Refuses(Config):
        async def values(self, *args: Any, **_: Any) -> AsyncGenerator[Found[ConfigItem], None]:
            async with aclosing(config.values(*args)) as pages:
                yield await anext(pages)
            raise PermissionDenied(b"/t/k00500")

    async with (
        connected(Refuses(store, Keyspace())) as client,
        aclosing(client.values("t")) as pages,
    ):
        assert [item.key for item in await anext(pages)][:2] == ["k00000", "k00001"]
        with pytest.raises(PermissionDenied) as raised:
            await _count(pages)
    assert raised.value.key == b"/t/k00500"


async def _count(pages: AsyncIterator[Found[ConfigItem]]) -> int:
    return sum([len(page) async for page in pages])


# -- lost answers --------------------------------------------------------------------------------


class Line:
    """A way to a server that can be cut: every connection at once, new ones are let through."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._ends: list[asyncio.StreamWriter] = []
        self._pumps: list[asyncio.Task[None]] = []
        self.target = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1")
        self.target = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, onward = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends += [writer, onward]
        for source, sink in ((reader, onward), (behind, writer)):
            self._pumps.append(asyncio.create_task(self._pump(source, sink)))

    @staticmethod
    async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
        sink.close()


class LosesAnswers(Config):
    """Writes; then the line is cut before the answer, once for each time it is told to."""

    line: Line
    times = 1

    async def put_many(self, *args: Any, **options: Any) -> Revision:
        revision = await super().put_many(*args, **options)
        await self._lose()
        return revision

    async def delete_many(self, *args: Any, **options: Any) -> Removed:
        removed = await super().delete_many(*args, **options)
        await self._lose()
        return removed

    async def put_schema(self, *args: Any, **options: Any) -> Revision:
        revision = await super().put_schema(*args, **options)
        await self._lose()
        return revision

    async def _lose(self) -> None:
        if self.times:
            self.times -= 1
            self.line.cut()
            await asyncio.Event().wait()  # until gRPC has noticed


@asynccontextmanager
async def losing(config: LosesAnswers) -> AsyncIterator[ConfigClient]:
    async with (
        serve(FakeFlows(), config=config) as port,
        Line(port) as config.line,
        ConfigClient(config.line.target) as client,
    ):
        yield client


async def test_a_lost_answer_to_a_write_on_condition_does_no_harm(store):
    """It is sent again, says so, and gives the revision of the first."""
    config = LosesAnswers(store, Keyspace())
    names = [("t", "a"), ("t", "b")]
    async with losing(config) as client:
        revision = await client.put_many(
            dict.fromkeys(names, 1), if_revisions=dict.fromkeys(names, 0)
        )
        assert [(i.mod_revision, i.version) for i in await config.list("t")] == [(revision, 1)] * 2
        config.times = 1
        at = dict.fromkeys(names, int(revision))
        assert await client.delete_many(names, if_revisions=at) == 2
    assert config.times == 0
    assert await config.list("t") == []


async def test_a_lost_answer_to_a_write_without_one_is_said(store):
    """Also where only some of it is on condition: sent again it might undo another's write."""
    config = LosesAnswers(store, Keyspace())
    names = [("t", "a"), ("t", "b")]
    async with losing(config) as client:
        for write in (
            lambda: client.put_many(dict.fromkeys(names, 1)),
            lambda: client.delete_many(names),
            lambda: client.put_many(dict.fromkeys(names, 1), if_revisions={names[0]: 0}),
            lambda: client.delete_many(names, if_revisions={}),
            lambda: client.put_schema("t", {}),
        ):
            await client.types()  # which waits for the line, as reads do
            config.times = 1
            before = store.revision
            with pytest.raises(OutcomeUnknown):
                await write()
            assert (config.times, store.revision) == (0, before + 1), "it is done, and once"


async def test_after_a_lost_answer_others_work_is_not_taken_for_ours(store):
    """Somebody wrote since: whether ours was done in between, nobody can say."""
    other = Config(store, Keyspace())

    class Overtaken(LosesAnswers):
        async def _lose(self) -> None:
            if self.times:
                await other.put("t", "a", "theirs")
            await super()._lose()

    async with losing(Overtaken(store, Keyspace())) as client:
        with pytest.raises(OutcomeUnknown, match="/t/a"):
            await client.put("t", "a", "ours", if_revision=0)


async def test_a_request_that_never_arrived_is_sent_again(config):
    """A connection that is cut costs a write on condition nothing."""
    async with serve(FakeFlows(), config=config) as port:
        async with cut_once(port) as target, ConfigClient(target) as client:
            revision = await client.put("t", "a", 1, if_revision=0)
        async with cut_once(port) as target, ConfigClient(target) as client:
            assert await client.list("t") == await config.list("t", revision=revision)


# -- watches -------------------------------------------------------------------------------------


async def test_after_a_cut_the_difference_is_told(config, tmp_path: Path):
    """From the next server: what is gone, what is new and what is another; nothing else."""
    target = f"unix:{tmp_path / 'config.sock'}"
    await config.put_many({("t", "gone"): 1, ("t", "same"): 2, ("t", "changed"): 3})
    async with (
        ConfigClient(target) as client,
        aclosing(client.changes("t")) as changes,
        asyncio.timeout(20),
    ):
        async with serve(FakeFlows(), target, config=config):
            assert told(await anext(changes)) == {"gone": 1, "same": 2, "changed": 3}
            await config.put("t", "came", 4)
            assert told(await anext(changes)) == {"came": 4}
            await config.delete("t", "came")
            assert told(await anext(changes)) == {"came": "gone"}
        following = asyncio.ensure_future(anext(changes))
        await config.delete("t", "gone")
        await config.put("t", "same", 2)
        await config.put("t", "changed", 5)
        await config.put("t", "new", 6)
        async with serve(FakeFlows(), target, config=config):
            missed = await following
            assert told(missed) == {"gone": "gone", "changed": 5, "new": 6}
            assert missed.resync
            following = asyncio.ensure_future(anext(changes))
            await asyncio.wait([following], timeout=0.05)
        async with serve(FakeFlows(), target, config=config):
            await config.put("t", "same", 7)
            assert told(await following) == {"same": 7}, "a cut that missed nothing is not told"


async def test_a_cut_before_anything_was_told_is_no_news(store, config, tmp_path: Path):
    """What stands is told first, also where there is nothing and two servers are needed for it."""
    target = f"unix:{tmp_path / 'config.sock'}"

    class Hangs(Config):
        async def changes(self, *_: Any) -> AsyncGenerator[ConfigChanges, None]:
            await asyncio.Event().wait()
            yield ConfigChanges(revision=Revision(0), changes=())

    async with (
        ConfigClient(target) as client,
        aclosing(client.changes("t")) as changes,
        asyncio.timeout(20),
    ):
        following = asyncio.ensure_future(anext(changes))
        async with serve(FakeFlows(), target, config=Hangs(store, Keyspace())):
            await asyncio.wait([following], timeout=0.3)
        async with serve(FakeFlows(), target, config=config):
            first = await following
    assert (first.changes, first.resync) == ((), True)


async def test_a_first_message_larger_than_a_message_may_be_comes_whole(store, config):
    """20,000 items that stand are one batch, though they travel in many pieces."""
    await fill(store, "x" * 1_000)
    async with connected(config) as client, aclosing(client.changes("t")) as changes:
        first = await anext(changes)
        assert len(first.changes) == MANY
        revision = await config.put("t", "k00007", 1)
        following = await anext(changes)
        assert (following.revision, told(following)) == (revision, {"k00007": 1})


async def test_a_watch_survives_what_befalls_the_store(store, config):
    """A watch of the server's own that is cut, and a compaction meanwhile, cost nothing."""
    await config.put_many({("t", "a"): 1, ("t", "b"): 2})
    async with (
        connected(config) as client,
        aclosing(client.changes("t")) as changes,
        asyncio.timeout(20),
    ):
        assert told(await anext(changes)) == {"a": 1, "b": 2}
        store.cut_watches("a cable")
        await config.delete("t", "a")
        await config.put("t", "b", 3)
        store.compact(store.revision)
        missed = await anext(changes)
        assert (told(missed), missed.resync) == ({"a": "gone", "b": 3}, True)
        await config.put("t", "b", 4)
        assert told(await anext(changes)) == {"b": 4}


async def test_a_watch_survives_the_death_of_etcd(etcd_binary: EtcdBinary):
    """Killed, started again, written to and compacted: the reader is told the difference."""
    async with DevServer(etcd_binary) as etcd, connect([etcd.endpoint]) as store:
        config = Config(store, Keyspace())
        await config.put_many({("t", "a"): 1, ("t", "b"): 2, ("t", "c"): 3})
        async with connected(config) as client, aclosing(client.changes("t")) as changes:
            assert len((await anext(changes)).changes) == 3
            await etcd.kill()
            await etcd.start()
            async with connect([etcd.endpoint]) as other, asyncio.timeout(60):
                writer = Config(other, Keyspace())
                await writer.delete("t", "a")
                revision = await writer.put("t", "b", 5)
                await EtcdBackend(etcd.endpoint).compact(revision)
                seen: dict[str, Any] = {}
                while seen != {"a": "gone", "b": 5}:
                    seen |= told(await anext(changes))
                await writer.put("t", "c", 6)
                assert told(await anext(changes)) == {"c": 6}


async def test_a_slow_reader_holds_nothing_up(config):
    """Who does not read costs the server one batch, and is told in the end how things stand."""
    await config.put("t", "a", 0)
    value = "x" * 50_000
    async with (
        connected(config) as client,
        aclosing(client.changes("t")) as changes,
        asyncio.timeout(60),
    ):
        await anext(changes)
        for n in range(1_000):
            await config.put("t", "a", f"{n} {value}")
        last = await config.put("t", "a", "done")
        batches = 0
        while (batch := await anext(changes)).revision < last:
            batches += 1
        assert told(batch) == {"a": "done"}
        assert batches < 1_000, "not each of them was kept"


async def test_watches_of_both_kinds_leave_room_for_calls(config, monkeypatch):
    """A server takes so many watches only, whatever they watch; and it stops with them."""
    monkeypatch.setattr("flowsvc.server._MAX_WATCHES", 1)
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(AsyncExitStack())
        port = await server.enter_async_context(serve(FakeFlows(), config=config, grace_s=60))
        target = f"127.0.0.1:{port}"
        client = await stack.enter_async_context(ConfigClient(target, timeout_s=3))
        flows = await stack.enter_async_context(Client(target, timeout_s=3))
        changes = await stack.enter_async_context(aclosing(client.changes("t")))
        await anext(changes)
        async with aclosing(flows.watch_flows()) as statuses:
            with pytest.raises(ServerUnavailable, match="1 watches run already"):
                await anext(statuses)
        assert await client.types() == []
        async with asyncio.timeout(10):
            await server.aclose()


# -- errors --------------------------------------------------------------------------------------


class Fails(Config):
    """Raises what it is told to."""

    error: Exception

    async def put_many(self, *_: Any, **__: Any) -> Revision:
        raise self.error

    async def get_many(self, *_: Any, **__: Any) -> Found[ConfigItem]:
        raise self.error

    async def types(self, **_: Any) -> Found[str]:
        raise self.error

    async def changes(self, *_: Any) -> AsyncGenerator[ConfigChanges, None]:
        for error in (self.error,):
            raise error
        yield ConfigChanges(revision=Revision(0), changes=())


@pytest.mark.parametrize(
    "error",
    [error for error in ERRORS if not isinstance(error, Unavailable)],
    ids=lambda error: type(error).__name__,
)
async def test_an_error_crosses_the_wire_with_its_fields(store, error):
    """Of a write, a read, a list and a watch: the same class, equal field by field."""
    config = Fails(store, Keyspace())
    config.error = error
    expected = dict(vars(error))
    if isinstance(error, InvalidName):  # an invalid character cannot travel: it comes escaped
        expected["name"] = "f\\udcff oo"
    async with connected(config) as client, aclosing(client.changes("t")) as changes:
        for call in (client.put("t", "k", 1), client.get("t", "k"), client.types(), anext(changes)):
            with pytest.raises(type(error)) as raised:
                await call
            assert type(raised.value) is type(error)
            assert vars(raised.value) == expected


async def test_what_a_foreign_client_gets_wrong_is_told(config):
    """No JSON, or one item twice: refused with the place, and nothing is written."""
    write = pb.PutRequest.Write
    async with connected(config) as client:
        with pytest.raises(InvalidValue) as invalid:
            await client._one(
                methods.PUT, pb.PutRequest(writes=[write(type="t", key="k", value="{")])
            )
        assert invalid.value.key == b"/t/k"
        twice = [write(type="t", key="k", value=text) for text in ("1", "2")]
        with pytest.raises(InvalidInput) as refused:
            await client._one(methods.PUT, pb.PutRequest(writes=twice))
        assert refused.value.findings[0].path == "$.writes[1]"
        with pytest.raises(InvalidInput):
            await client._one(
                methods.DELETE,
                pb.DeleteRequest(writes=[pb.DeleteRequest.Write(type="t", key="k")] * 2),
            )
    assert await config.types() == []


async def test_values_are_json_text_for_any_client(config):
    """A plain gRPC client reads and writes them with what every language has."""
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(serve(FakeFlows(), config=config))
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        await stack.enter_async_context(channel)
        put = channel.unary_unary(
            methods.PUT.path, pb.PutRequest.SerializeToString, pb.PutResponse.FromString
        )
        text = '{"b": [1, 2.5, null], "a": "ü"}'
        write = pb.PutRequest.Write(type="t", key="k", value=text)
        revision = (await put(pb.PutRequest(writes=[write]))).revision
        get = channel.unary_stream(
            methods.GET.path, pb.GetRequest.SerializeToString, pb.GetResponse.FromString
        )
        call = get(pb.GetRequest(names=[pb.Name(type="t", key="k")]))
        (piece,) = [piece async for piece in call]
    (item,) = piece.items
    assert item.value == '{"a":"ü","b":[1,2.5,null]}'
    assert (item.revision, piece.revision) == (revision, revision)


@pytest.fixture
def json_log() -> Iterator[StringIO]:
    """What is logged as JSON, of every logger and from the lowest level on."""
    root, written = logging.getLogger(), StringIO()
    handlers, level = root.handlers[:], root.level
    jsonlog.configure("json", written, logging.DEBUG)
    yield written
    root.handlers[:], root.level = handlers, level


async def test_what_is_logged_holds_no_value(config, store, json_log):
    """Neither what is put nor what is refused gets into the log."""
    secret = "hunter2-of-the-user"
    await config.put_schema("s", {"type": "integer"})
    async with connected(config) as client, aclosing(client.changes("t")) as changes:
        await anext(changes)
        await client.put("t", "k", secret)
        assert told(await anext(changes)) == {"k": secret}
        for call in (
            client.put("s", "k", secret),
            client.put("t", "k", secret, if_revision=0),
            client.put_schema("t", {"const": secret, "type": secret}),
            client.put("flow", "k", secret),
            client.put("t", secret + "\n", 1),
        ):
            with suppress(KvError):
                await call
        await store.commit(Txn(then=(Put(b"/t/k", secret.encode()),)))
        (unreadable,) = (await client.list("t")).unreadable
        assert secret not in str(unreadable)
    assert secret not in json_log.getvalue()
    said = [json.loads(line) for line in json_log.getvalue().splitlines()]
    refused = {line["error"] for line in said if line["event"] == "a call was refused"}
    assert {SchemaViolated.__name__, Conflict.__name__} <= refused
