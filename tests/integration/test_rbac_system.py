"""The whole system under least privilege: client certificates, users by common name, auth on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flowsvc.cli import main
from flowsvc.model import StartFlow, StopFlow
from flowsvc.service import FlowService
from kvconfig.codec import encode
from kvconfig.devserver import EtcdBinary, LocalCluster
from kvconfig.errors import AuthenticationFailed, PermissionDenied
from kvconfig.etcd import Access, connect
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.records import VariantRecord
from kvconfig.store import list_all
from kvconfig.txn import Put, Txn
from processors import FlowProcessor, Spec, Tasks, Variant, running
from processors.cli import main as processors_cli
from processors.samples.chunker import Chunker
from processors.samples.gateway import Gateway
from processors.samples.indexer import Indexer
from processors.samples.loader import Loader
from processors.samples.query import QueryProcessor
from processors.samples.topics import MemoryTopics
from tests.certificates import Authority
from tests.privileges import environ_of
from tests.robustness.waiting import eventually

Options = tuple[str, ...]
Etcdctl = Callable[..., Awaitable[str]]
ROOT_OF_KEYS = "@secure"
KS = Keyspace(ROOT_OF_KEYS)
PIPELINE = ("chunker", "gateway", "indexer", "loader", "query")
WIDE = 150
"""Variants of one flow: more than fit into a transaction without others nested in it."""
SEED = resources.files("processors.samples") / "document-index.json"


class Listener(FlowProcessor):
    """Says which prompts it has heard of."""

    id = "listener"
    spec = Spec(config={"prompt": object})

    def __init__(self) -> None:
        self.heard: set[str] = set()

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        prompts = self.config("prompt", object)
        with prompts.on_change(lambda changes: self.heard.update(c.key for c in changes)):
            yield


class People:
    """Everybody's certificates, of one authority; the common name says who it is."""

    def __init__(self, folder: Path, environ: pytest.MonkeyPatch) -> None:
        self.authority, self._environ = Authority(folder), environ
        self.endpoints: tuple[str, ...] = ()

    def access(self, name: str) -> Access:
        """How somebody of this name comes."""
        return self.authority.access(name, *self.endpoints)

    async def flowctl(self, name: str, *args: str) -> int:
        """The exit code of a command that somebody types."""
        for variable, value in environ_of(self.access(name)).items():
            self._environ.setenv(variable, value)
        return await asyncio.to_thread(main, [*args, "--root", ROOT_OF_KEYS])


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> People:
    return People(tmp_path, monkeypatch)


@pytest.fixture
def rbac(tmp_path: Path) -> Options:
    """The options that plan this system, with what `processors describe` says of its classes."""
    described = CliRunner().invoke(processors_cli, ["describe", f"{__name__}:Listener"])
    declared = tmp_path / "processors.json"
    declared.write_text(described.output)
    pipeline = ",".join(f"processor/{name}" for name in PIPELINE)
    return (
        "--processors",
        str(declared),
        "--user",
        f"pipeline={pipeline}",
        "--user",
        "ada=operator",
    )


async def test_the_whole_system(  # noqa: PLR0917 - fixtures
    etcd_binary: EtcdBinary,
    etcdctl: Etcdctl,
    people: People,
    rbac: Options,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A flow starts, runs, hears of configuration and stops; operators look and mend: everybody
    with his own certificate, and no right but those of the plan."""
    async with LocalCluster(
        1, binary=etcd_binary, tls=people.authority.etcd(), durable=False
    ) as cluster:
        people.endpoints = cluster.endpoints
        await set_up(cluster.endpoints[0], etcdctl, people, rbac, tmp_path)
        topics, listener = MemoryTopics(), Listener()
        pipeline = [
            Loader(topics), Chunker(topics), Indexer(topics), QueryProcessor(topics),
            Gateway(topics),
        ]  # fmt: skip
        async with (
            connect(people.access("flow-service@secure")) as of_service,
            connect(people.access("pipeline")) as of_pipeline,
            connect(people.access("listener@secure")) as of_listener,
            FlowService(of_service, KS) as service,
            running(of_pipeline, pipeline, keyspace=KS, instance="i1", ttl_s=3),
            running(of_listener, [listener], keyspace=KS, instance="i1", ttl_s=3),
        ):
            (tmp_path / "docs").mkdir()
            (tmp_path / "docs" / "one.md").write_text("Least privilege is what is left.")
            parameters = {
                "input-path": str(tmp_path / "docs"),
                "index-path": str(tmp_path / "index.sqlite"),
                "gateway-socket": str(tmp_path / "g"),
            }
            for flow, blueprint, given in (
                ("f1", "document-index", parameters), ("f2", "listening", {}),
            ):  # fmt: skip
                await service.start_flow(
                    StartFlow(flow=flow, blueprint_name=blueprint, parameters=given)
                )

            async def all_run() -> bool:
                return [s.state for s in await service.list_statuses()] == ["running"] * 2

            await eventually(all_run)
            assert await people.flowctl("ada", "config", "put", "prompt", "greeting", '"hi"') == 0
            await eventually(lambda: listener.heard == {"greeting"})

            assert await people.flowctl("ada", "fsck") == 0
            assert await people.flowctl("ada", "doctor") == 0
            assert "2 running" in capsys.readouterr().out
            assert await people.flowctl("root", "rbac", "check", *rbac) == 0
            assert await people.flowctl("ada", "rbac", "check", *rbac) == 1
            assert "for root only" in capsys.readouterr().err

            for flow in ("f1", "f2"):
                await service.stop_flow(StopFlow(flow=flow))

            async def nothing_stands() -> bool:
                return await service.list_statuses() == []

            await eventually(nothing_stands)
            statuses = await list_all(of_service, KS.type_range("processor"))
            assert len(statuses.items) == len(PIPELINE) + 1

            wrong = Put(KS.active_flow(VariantName("chunker", "x")), encode(VariantRecord()))
            with pytest.raises(PermissionDenied):
                await of_pipeline.commit(Txn(then=(wrong,)))
            async with connect(people.access("nobody")) as of_nobody:
                with pytest.raises((AuthenticationFailed, PermissionDenied)):
                    await of_nobody.read(KS.layout())
        async with connect(people.access("flow-service@secure")) as of_service:
            left = await list_all(of_service, KS.type_range("processor"))
            assert left.items == (), "each took its own status and its lease with it"


async def set_up(
    endpoint: str, etcdctl: Etcdctl, people: People, rbac: Options, folder: Path
) -> None:
    """As docs/security.md says: definitions, then root, then roles and users, then auth."""
    listening = folder / "listening.json"
    variants: dict[str, Any] = {f"listener:{{id}}-{n}": {"topics": {}} for n in range(WIDE)}
    listening.write_text(json.dumps({"flow-blueprint": {"listening": {"flow": variants}}}))
    assert await people.flowctl("root", "import", str(SEED), str(listening)) == 0
    access = people.access("root")
    tls = (f"--cacert={access.cacert}", f"--cert={access.cert}", f"--key={access.key}")
    await etcdctl(endpoint, *tls, "user", "add", "root", "--no-password")
    await etcdctl(endpoint, *tls, "user", "grant-role", "root", "root")
    apply = ("rbac", "apply", "--no-password", *rbac)
    assert await people.flowctl("root", *apply, "--enable-auth") == 0
    assert await people.flowctl("root", *apply) == 0
