"""WatchFlows: every status, then each that changes; cut by whatever, it goes on elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from flowsvc.api import methods
from flowsvc.api.v1 import flow_pb2 as pb
from flowsvc.client import Client, ServerUnavailable
from flowsvc.server import serve
from flowsvc.status import FlowStatus
from kvconfig.errors import InvalidValue, PermissionDenied, Unavailable
from kvconfig.model import Revision
from tests.fake_flows import STATUS, FakeFlows, connected


@pytest.fixture
def flows() -> FakeFlows:
    return FakeFlows()


def status_of(flow: str, state: str = "running", revision: int = 7) -> FlowStatus:
    made = FlowStatus(flow=flow, state="running", mod_revision=Revision(revision))
    return msgspec.structs.replace(made, state=state)


GONE = status_of("gone", "stopped", 0)


async def test_statuses_come_as_they_are_told(flows):
    """All there are at first, then each piece of news, whole and in order."""
    news = [status_of("f2", "starting"), status_of("f2"), status_of("f1", "stopped", 0)]
    async with connected(flows) as client, aclosing(client.watch_flows()) as watch:
        assert await anext(watch) == STATUS
        for status in news:
            flows.news.put_nowait(status)
            assert await anext(watch) == status
    assert flows.asked == [("watch_flows",)]


async def test_a_watch_has_no_deadline(flows):
    """It outlives what any other call may take."""
    async with connected(flows, timeout_s=0.2) as client, aclosing(client.watch_flows()) as watch:
        await anext(watch)
        following = asyncio.ensure_future(anext(watch))
        await asyncio.wait([following], timeout=0.4)
        assert not following.done()
        flows.news.put_nowait(status_of("f2"))
        assert (await following).flow == "f2"
    assert flows.asked == [("watch_flows",)]


async def test_who_stops_to_watch_is_not_worked_for():
    """A watch that its reader has closed is closed in the service too, not left to a collector."""

    class Kept(FakeFlows):
        def watch_flows(self):
            self.kept = super().watch_flows()
            return self.kept

    flows = Kept()
    async with connected(flows) as client:
        async with aclosing(client.watch_flows()) as watch:
            await anext(watch)
            assert flows.watching == 1
        async with asyncio.timeout(10):
            await flows.watched_by(0)


@asynccontextmanager
async def a_plain_watch(port: int) -> AsyncIterator[Any]:
    method = methods.WATCH_FLOWS
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_stream(
            method.path, pb.WatchFlowsRequest.SerializeToString, pb.FlowStatus.FromString
        )
        yield call(pb.WatchFlowsRequest())


async def test_a_server_that_stops_ends_watches_as_unavailable(flows):
    """For any gRPC client; and a server with watches stops at once, not after its grace."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(AsyncExitStack())
        port = await server.enter_async_context(serve(flows, grace_s=60))
        call = await stack.enter_async_context(a_plain_watch(port))
        assert (await call.read()).flow == "f1"
        async with asyncio.timeout(10):
            await server.aclose()
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call.read()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    assert flows.watching == 0


async def test_who_does_not_read_keeps_no_server_from_stopping(flows):
    """A watch whose reader takes nothing ends with the server like any other."""
    flows.statuses = [status_of("f" * 100 + str(n)) for n in range(20_000)]
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(AsyncExitStack())
        port = await server.enter_async_context(serve(flows, grace_s=60))
        call = await stack.enter_async_context(a_plain_watch(port))
        await call.read()
        async with asyncio.timeout(10):
            await server.aclose()
    assert flows.watching == 0


async def test_after_a_cut_all_comes_again(flows, tmp_path: Path):
    """From the next server: every status, and flows that are gone meanwhile as stopped."""
    target = f"unix:{tmp_path / 'flow.sock'}"
    flows.statuses = [status_of("gone"), status_of("stays"), status_of("unreadable")]
    async with Client(target) as client, aclosing(client.watch_flows()) as watch:
        async with serve(flows, target):
            assert [(await anext(watch)).flow for _ in range(3)] == ["gone", "stays", "unreadable"]
            flows.news.put_nowait(status_of("known-gone", "stopped", 0))
            assert (await anext(watch)).flow == "known-gone"

        other = OneUnreadable()
        other.statuses = [status_of("new"), status_of("stays")]
        following = asyncio.ensure_future(anext(watch))
        async with serve(other, target):
            assert await following == GONE
            assert await anext(watch) == status_of("new")
            assert await anext(watch) == status_of("stays")
            other.news.put_nowait(status_of("new", "stopped", 0))
            assert (await anext(watch)).state == "stopped"


class OneUnreadable(FakeFlows):
    """It has a flow that lists leave out, because its record cannot be read."""

    async def get_status(self, flow: str) -> FlowStatus:
        if flow == "unreadable":
            raise InvalidValue("not JSON")
        return await super().get_status(flow)


async def test_the_store_may_be_away(flows):
    """UNAVAILABLE is what the service may say itself; the watch waits until it can be had again."""
    away = Unavailable("no leader")
    failures = chain([None, away, away], repeat(None))

    async def fail() -> None:
        flows.error = next(failures)

    flows.wait = fail
    async with connected(flows) as client, aclosing(client.watch_flows()) as watch:
        assert await anext(watch) == STATUS
        flows.news.put_nowait(Unavailable("no leader"))
        assert await anext(watch) == STATUS
    assert flows.asked.count(("watch_flows",)) >= 3


async def test_an_end_of_the_flows_own_watch_is_a_cut(flows):
    """A watch has no end: where the service's own ends, it is about to go, and others are not."""

    class Short(FakeFlows):
        async def watch_flows(self):
            self.asked.append("watched")
            yield STATUS

    short = Short()
    async with connected(short) as client, aclosing(client.watch_flows()) as watch:
        assert [await anext(watch) for _ in range(3)] == [STATUS] * 3
    assert short.asked.count("watched") == 3


async def test_other_errors_end_the_watch(flows):
    """What no other server could do better is raised."""
    async with connected(flows) as client:
        async with aclosing(client.watch_flows()) as watch:
            await anext(watch)
            flows.news.put_nowait(PermissionDenied(b"/flow/f"))
            with pytest.raises(PermissionDenied):
                await anext(watch)
        flows.error = PermissionDenied(b"/flow/f")
        async with aclosing(client.watch_flows()) as watch:
            with pytest.raises(PermissionDenied):
                await anext(watch)


async def test_nobody_there_is_said_at_the_beginning(tmp_path: Path):
    """A watch that never began does not wait for ever for a server."""
    client = Client(f"unix:{tmp_path / 'none'}", timeout_s=1)
    async with client, aclosing(client.watch_flows()) as watch:
        with pytest.raises(ServerUnavailable):
            await anext(watch)


async def test_a_server_that_does_not_answer_is_given_up(unused_tcp_port):
    """Beginning has the deadline of any call: what accepts connections only is no server."""
    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(
        lambda _, writer: held.append(writer), "127.0.0.1", unused_tcp_port
    )
    async with silent, Client(f"127.0.0.1:{unused_tcp_port}", timeout_s=0.5) as client:
        async with aclosing(client.watch_flows()) as watch, asyncio.timeout(5):
            with pytest.raises(ServerUnavailable, match=r"no answer within 0\.5 s"):
                await anext(watch)
        for writer in held:
            writer.close()


async def test_a_client_that_is_closed_ends_its_watches(flows):
    """As an error of the tree, not as a cancellation of who reads."""
    async with serve(flows) as port:
        client = Client(f"127.0.0.1:{port}")
        async with client:
            watch = client.watch_flows()
            await anext(watch)
            following = asyncio.ensure_future(anext(watch))
            await asyncio.wait([following], timeout=0.05)
        with pytest.raises(ServerUnavailable, match="closed"):
            await following


async def test_who_is_cancelled_while_watching_is_cancelled(flows):
    """A cancellation goes through, and leaves nothing behind."""
    async with connected(flows) as client:
        watch = client.watch_flows()
        await anext(watch)
        following = asyncio.ensure_future(anext(watch))
        await asyncio.wait([following], timeout=0.05)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        await flows.watched_by(0)


async def test_any_of_the_servers_can_be_killed():
    """A client that knows several goes on with those that are left: calls and watch alike."""
    first, second = FakeFlows(), FakeFlows()
    second.statuses = [status_of("f1")]
    async with AsyncExitStack() as stack:
        killed = await stack.enter_async_context(AsyncExitStack())
        one = await killed.enter_async_context(serve(first, grace_s=0))
        two = await stack.enter_async_context(serve(second))
        target = f"ipv4:127.0.0.1:{one},127.0.0.1:{two}"
        client = await stack.enter_async_context(Client(target))
        watch = await stack.enter_async_context(aclosing(client.watch_flows()))
        assert await anext(watch) == STATUS
        await killed.aclose()
        assert await anext(watch) == status_of("f1")
        assert await client.get_status("f1") == status_of("f1")


async def test_watches_leave_room_for_calls(flows, monkeypatch):
    """A server takes so many watches only; the next one is refused, and tries again."""
    monkeypatch.setattr("flowsvc.server._MAX_WATCHES", 1)
    async with connected(flows) as client:
        async with aclosing(client.watch_flows()) as one:
            await anext(one)
            async with aclosing(client.watch_flows()) as two:
                with pytest.raises(ServerUnavailable, match="1 watches run already"):
                    await anext(two)
            assert (await client.get_flow("f1")).id == "f1"
        await flows.watched_by(0)
        async with aclosing(client.watch_flows()) as three:
            assert await anext(three) == STATUS
