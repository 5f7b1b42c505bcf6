"""``flowctl serve`` as a process, on a real etcd: what is wired together there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import AsyncExitStack, aclosing
from urllib.request import ProxyHandler, build_opener

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import (  # type: ignore[import-untyped]
    reflection_pb2,
    reflection_pb2_grpc,
)

from flowsvc.api.methods import SERVICE
from flowsvc.cli import main
from flowsvc.cli.children import Child, ChildFailed, child
from flowsvc.client import Client
from flowsvc.model import StopFlow
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from tests.certificates import Authority
from tests.flows import BLUEPRINT, TYPES, as_json, start

ELSEWHERE = "127.0.0.2" if sys.platform == "linux" else "localhost"
"""An address of this machine's alone that is not the default, where there is one."""
HEALTHY = health_pb2.HealthCheckResponse.SERVING


def serving(etcd_endpoint: str, root: str, *more: str):
    where = ("--endpoints", etcd_endpoint, "--root", root, "--listen", "127.0.0.1:0")
    return child("flow service", "flowsvc.cli", "serve", *where, "--grace", "60", *more)


async def address_of(server: Child) -> str:
    line = await server.line(event="listening")
    return str(line["address"])


async def test_the_service_as_a_process(etcd_endpoint, root):
    """Changes, health, reflection and metrics on one server; SIGTERM ends it, watched or not."""
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(AsyncExitStack())
        options = ("--metrics-port", "0", "--metrics-address", ELSEWHERE, "--reflection")
        server = await process.enter_async_context(serving(etcd_endpoint, root, *options))
        address = await address_of(server)
        client = await stack.enter_async_context(Client(address))
        watch = await stack.enter_async_context(aclosing(client.watch_flows()))
        for name, definition in TYPES.items():
            await client.put_parameter_type(name, as_json(definition))
        await client.put_blueprint("small", as_json(BLUEPRINT))
        await client.start_flow(start("f1", size="4711"))
        assert (await anext(watch)).flow == "f1"
        preview = await client.preview(StopFlow(flow="f1"))
        assert {change.variant for change in preview.changes} == {"f1", "small"}
        assert (await client.get_status("f1")).missing == ("chunker", "indexer", "query")

        async with grpc.aio.insecure_channel(address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            asked = health_pb2.HealthCheckRequest(service=SERVICE)
            assert (await health.Check(asked)).status == HEALTHY
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            request = reflection_pb2.ServerReflectionRequest(list_services="")
            listed = await stub.ServerReflectionInfo(iter([request])).read()
            names = {service.name for service in listed.list_services_response.service}
            assert SERVICE in names

        metrics_at = (await server.line(event="listening"))["metrics"]
        assert metrics_at.startswith(f"http://{ELSEWHERE}:")
        text = await asyncio.to_thread(read, metrics_at)
        assert 'kvconfig_flow_operations_total{operation="start",outcome="done"} 1.0' in text
        for cache in ("flow", "flow-blueprint", "parameter-type"):
            assert f'kvconfig_flow_cache_age_seconds{{cache="{cache}"}} ' in text

        async with asyncio.timeout(10):
            await process.aclose()
    assert server.exit_code == 0
    assert "4711" not in json.dumps(server.lines)


def read(url: str) -> str:
    with build_opener(ProxyHandler({})).open(url, timeout=5) as answer:
        text: str = answer.read().decode()
        return text


async def test_the_service_over_tls(etcd_endpoint, root, tmp_path, monkeypatch, capsys):
    """Whom a token and the policy let in; the record of it; and a policy that goes bad."""
    authority = Authority(tmp_path)
    cert, key = authority.issue("server", "127.0.0.1")
    policy, audit, token = (tmp_path / name for name in ("policy.toml", "audit", "a.token"))
    policy.write_text("[[allow]]\nwho = ['alice']\nrole = 'admin'\nparameter-types = ['size*']\n")
    assert main(["token", "create", str(tmp_path / "tokens"), "--for", "alice"]) == 0
    token.write_text(capsys.readouterr().out)
    options = {
        "cert": cert, "key": key, "tokens": tmp_path / "tokens", "policy": policy,
        "audit-log": audit, "metrics-port": 0,
    }  # fmt: skip
    given = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    async with serving(etcd_endpoint, root, *given) as server:
        for name, value in (
            ("SERVER", await address_of(server)),
            ("CACERT", str(authority.cacert)),
            ("TOKEN_FILE", str(token)),
        ):
            monkeypatch.setenv(f"FLOWCTL_{name}", value)
        (tmp_path / "t.json").write_text(json.dumps({"type": "string"}))
        put = ("parameter-type", "put")
        for name, code in (("size", 0), ("other", 1)):
            args = [*put, name, str(tmp_path / "t.json"), "--by", "bob"]
            assert await asyncio.to_thread(main, args) == code
        assert await asyncio.to_thread(main, ["parameter-type", "history", "size"]) == 0
        out, err = capsys.readouterr()
        assert "alice (as bob)" in out
        assert "alice may not call PutParameterType: it takes the role admin" in err

        url = (await server.line(event="listening"))["metrics"]
        bad = 'kvconfig_flow_file_refused{file="policy"} '
        assert f"{bad}0.0" in await asyncio.to_thread(read, url)
        policy.write_text("allow = 1")
        assert f"{bad}1.0" in await asyncio.to_thread(read, url)
        assert await asyncio.to_thread(main, ["parameter-type", "get", "size"]) == 0
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(line["method"], line["result"]) for line in lines] == [
        ("PutParameterType", "ok"),
        ("PutParameterType", "Forbidden"),
        ("GetHistory", "ok"),
        ("GetParameterType", "ok"),
    ]
    assert {line["identity"] for line in lines} == {"alice"}


async def test_one_of_two_replicas_is_killed(etcd_endpoint, root):
    """Without a leader the other goes on: with what was written, and with who watched the first."""
    async with (
        serving(etcd_endpoint, root) as killed,
        serving(etcd_endpoint, root) as left,
        connect([etcd_endpoint]) as store,
    ):
        both = f"ipv4:{await address_of(killed)},{await address_of(left)}"
        async with Client(both) as client, aclosing(client.watch_flows()) as watch:
            for name, definition in TYPES.items():
                await client.put_parameter_type(name, as_json(definition))
            await client.put_blueprint("small", as_json(BLUEPRINT))
            await client.start_flow(start("f1"))
            assert (await anext(watch)).flow == "f1"
            os.kill(killed.pid, signal.SIGKILL)
            await client.start_flow(start("f2"))
            seen: set[str] = set()
            while seen != {"f1", "f2"}:
                seen.add((await anext(watch)).flow)
            await client.stop_flow(StopFlow(flow="f1"))
        assert await store.read(Keyspace(root).flow("f1")) is None
        assert await store.read(Keyspace(root).flow("f2")) is not None
    assert killed.exit_code == -signal.SIGKILL


async def test_a_metrics_port_in_use_is_wrong_usage(etcd_endpoint, root, unused_tcp_port):
    """It is said before anything is served, with the option that it is about."""
    held = await asyncio.start_server(lambda *_: None, "127.0.0.1", unused_tcp_port)
    option = ("--metrics-port", str(unused_tcp_port))
    async with held, serving(etcd_endpoint, root, *option) as server:
        with pytest.raises(ChildFailed, match=f"{' '.join(option)} at 127.0.0.1: Address already"):
            await address_of(server)
    assert server.exit_code == 2
