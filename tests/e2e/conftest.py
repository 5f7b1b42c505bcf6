"""Where a test of the whole runs: on an etcd that lets in anybody, and on one that asks who comes.

On the second each process has a certificate of its own and no right but those of its role.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from flowsvc.cli import settings
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
