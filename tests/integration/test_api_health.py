"""What foreign clients may ask: health and reflection, with the plain grpc libraries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]
    reflection_pb2,
    reflection_pb2_grpc,
)

from flowsvc.api.methods import SERVICE
from flowsvc.server import serve
from tests.fake_flows import FLOW, FakeFlows

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@asynccontextmanager
async def plain(port: int) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


def about(service: str) -> Any:
    return health_pb2.HealthCheckRequest(service=service)


async def test_a_server_is_healthy():
    """As a whole and by the service's name; others are not known."""
    async with serve(FakeFlows()) as port, plain(port) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", SERVICE):
            assert (await health.Check(about(service))).status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await health.Check(about("another"))
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_health_follows_the_caches(service):
    """Not serving while what the service knows is old, or when that cannot be told."""
    age_s = "0"

    def is_fresh() -> bool:
        return float(age_s) < 30

    async with (
        serve(FakeFlows(), fresh=is_fresh, fresh_every_s=0.01) as port,
        plain(port) as channel,
        asyncio.timeout(10),
    ):
        watch = health_pb2_grpc.HealthStub(channel).Watch(about(service))
        assert (await watch.read()).status == SERVING
        age_s = "31"
        assert (await watch.read()).status == NOT_SERVING
        age_s = "0"
        assert (await watch.read()).status == SERVING
        age_s = "not known"
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()


async def test_a_server_that_is_not_fresh_yet_says_so_from_the_start():
    """There is no moment at which it looks healthy."""
    stale = serve(FakeFlows(), fresh=lambda: False, fresh_every_s=60)
    async with stale as port, plain(port) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(about(""))).status == NOT_SERVING


async def test_a_server_that_stops_is_not_healthy_and_waits_for_no_watch():
    """Who watches its health learns of the stop; nobody who does keeps it from stopping."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(AsyncExitStack())
        port = await server.enter_async_context(serve(FakeFlows(), grace_s=60))
        channel = await stack.enter_async_context(plain(port))
        watch = health_pb2_grpc.HealthStub(channel).Watch(about(""))
        assert (await watch.read()).status == SERVING
        async with asyncio.timeout(10):
            await server.aclose()
            assert (await watch.read()).status == NOT_SERVING
            assert await watch.read() is grpc.aio.EOF


async def test_a_watch_of_what_is_not_there_waits():
    """As the protocol has it: SERVICE_UNKNOWN, and the watch goes on, until the server stops."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(AsyncExitStack())
        port = await server.enter_async_context(serve(FakeFlows(), grace_s=60))
        channel = await stack.enter_async_context(plain(port))
        watch = health_pb2_grpc.HealthStub(channel).Watch(about("another"))
        unknown = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        assert (await watch.read()).status == unknown
        async with asyncio.timeout(10):
            await server.aclose()
            assert await watch.read() is grpc.aio.EOF


async def test_health_is_bad_while_running_calls_end():
    """A load balancer sends nobody any more, while those that are there get their answers."""
    flows, running, may_end = FakeFlows(), asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        running.set()
        await may_end.wait()

    flows.wait = wait
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(AsyncExitStack())
        port = await server.enter_async_context(serve(flows, grace_s=60))
        channel = await stack.enter_async_context(plain(port))
        watch = health_pb2_grpc.HealthStub(channel).Watch(about(SERVICE))
        assert (await watch.read()).status == SERVING
        call = asyncio.ensure_future(get_flow(channel))
        await running.wait()
        stopping = asyncio.create_task(server.aclose())
        assert (await watch.read()).status == NOT_SERVING
        may_end.set()
        assert (await call).id == "f1"
        await stopping


async def get_flow(channel: Any) -> Any:
    from flowsvc.api.v1 import flow_pb2 as pb

    call = channel.unary_unary(
        f"/{SERVICE}/GetFlow", pb.GetFlowRequest.SerializeToString, pb.Flow.FromString
    )
    return await call(pb.GetFlowRequest(flow="f1"))


# -- reflection ----------------------------------------------------------------------------------


async def reflected(channel: Any, **asked: Any) -> Any:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(**asked)
    answers = stub.ServerReflectionInfo(iter([request]))
    return await answers.read()


async def test_reflection_is_off_unless_asked_for():
    """Nobody learns by chance what there is to call."""
    async with serve(FakeFlows()) as port, plain(port) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await reflected(channel, list_services="")
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_client_without_our_proto_can_call():
    """As grpcurl does: list the services, fetch the descriptor, call with messages made from it."""
    flows = FakeFlows()
    async with serve(flows, reflection=True) as port, plain(port) as channel:
        listed = await reflected(channel, list_services="")
        names = {service.name for service in listed.list_services_response.service}
        assert names == {
            SERVICE,
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }

        found = await reflected(channel, file_containing_symbol=SERVICE)
        pool = descriptor_pool.DescriptorPool()
        for data in found.file_descriptor_response.file_descriptor_proto:
            pool.Add(descriptor_pb2.FileDescriptorProto.FromString(data))
        method = pool.FindServiceByName(SERVICE).FindMethodByName("GetFlow")
        request = message_factory.GetMessageClass(method.input_type)
        answer = message_factory.GetMessageClass(method.output_type)

        call = channel.unary_unary(
            f"/{SERVICE}/{method.name}", request.SerializeToString, answer.FromString
        )
        flow: Any = await call(request(flow="f1"))
    assert (flow.id, dict(flow.parameters)) == ("f1", FLOW.record.parameters)
    assert flows.asked == [("f1",)]
