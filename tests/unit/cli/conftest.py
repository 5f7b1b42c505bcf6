"""Commands without a server: ``Flows`` that are told what to answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from flowsvc.cli import settings
from flowsvc.cli.settings import Settings
from tests.fake_flows import FakeFlows


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch) -> None:
    for name in ("FLOWCTL_SERVER", "ETCDCTL_ENDPOINTS", "FLOWCTL_ROOT", "FLOWCTL_BY", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def opened() -> list[Settings]:
    """With what settings a command went for its answer."""
    return []


@pytest.fixture
def flows(monkeypatch, opened) -> FakeFlows:
    """What the commands get as the flow service."""
    fake = FakeFlows()

    @asynccontextmanager
    async def open_fake(where: Settings) -> AsyncIterator[FakeFlows]:
        opened.append(where)
        yield fake

    for name in ("open_flows", "open_reader"):
        monkeypatch.setattr(settings, name, open_fake)
    return fake
