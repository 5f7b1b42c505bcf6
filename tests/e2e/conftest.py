"""Where a test of the whole runs: on an etcd that lets in anybody, and on one that asks who comes.

On the second each process has a certificate of its own and no right but those of its role.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

import pytest

from flowsvc.cli import settings
from kvconfig.devserver import EtcdBinary
from kvconfig.devserver.probe import free_ports
from tests.certificates import Authority
from tests.documents import Step, etcd_at, reader, run
from tests.identities import Reads, admit_all, guard, make_data
from tests.privileges import Place

PROCESSORS = ("a", "chunker", "query")
"""Those of the blueprints in these tests."""


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.Runner]:
    """One event loop for all commands of a test: gRPC's poller does not like it to change."""
    with asyncio.Runner() as runner:
        monkeypatch.setattr(settings, "run", runner.run)
        yield runner


@pytest.fixture(params=["open", "guarded"])
def etcd(request: pytest.FixtureRequest) -> Place:
    """The session's etcd of either kind. Shared: keep below a root of your own."""
    if request.param == "open":
        return Place(endpoint=request.getfixturevalue("etcd_endpoint"))
    guarded: Place = request.getfixturevalue("guarded_etcd")
    return guarded


@pytest.fixture
def place(etcd: Place, root: str, loop: asyncio.Runner) -> Place:
    """A root of its own for a test, where :data:`PROCESSORS` are let in too."""
    return loop.run(etcd.below(root, *PROCESSORS))


class Follow(Protocol):
    """Do what a document says, on an etcd of its own that listens at 2379; what was done.

    ``also``: other ports that it names. ``processors``: all that it runs or names, with the types
    of configuration that each reads; ``roots``: of all systems in its etcd.
    """

    def __call__(
        self,
        document: Path,
        *also: int,
        processors: Reads = ...,
        roots: Sequence[str] = ...,
    ) -> list[Step]: ...


@pytest.fixture(params=["open", "guarded"])
def follow(
    request: pytest.FixtureRequest, etcd_binary: EtcdBinary, etcdctl_path: Path, tmp_path: Path
) -> Follow:
    """On an etcd of either kind."""

    def follow(
        document: Path,
        *also: int,
        processors: Reads = MappingProxyType({}),
        roots: Sequence[str] = ("",),
    ) -> list[Step]:
        programs, folder = tmp_path / "programs", tmp_path / "folder"
        programs.mkdir()
        folder.mkdir()
        client, peer, *others = free_ports(2 + len(also))
        where = etcd_at(client, peer)
        etcds = {"etcd": etcd_binary.path, "etcdctl": etcdctl_path}
        if request.param == "open":
            environ = reader(programs, **etcds)
        else:
            authority = Authority(tmp_path / "certificates")
            environ = reader(programs)
            where = guard(programs, authority, where, **etcds)
            everybody = admit_all(authority, f"127.0.0.1:{client}", processors, roots)
            make_data(etcd_binary.path, folder, where, everybody)
        ports = dict(zip((2379, *also), (client, *others), strict=True))
        return run(document, folder, {**environ, **where}, ports=ports)

    return follow
