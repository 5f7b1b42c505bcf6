"""What the contract tests ask for.

Every test takes a store from ``backend`` or ``store`` and stays below ``base``, so that all tests
can share one etcd.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from kvconfig.store import Store
from tests.contract.support import Backend, EtcdBackend, MemoryBackend


@pytest.fixture(params=["memory", "etcd"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each of the two stores in turn."""
    if request.param == "memory":
        return MemoryBackend()
    return EtcdBackend(request.getfixturevalue("etcd_endpoint"))


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[Store]:
    """A client of the store under test."""
    async with backend.open() as opened:
        yield opened


@pytest.fixture
def base() -> bytes:
    """A prefix of its own for each test."""
    return f"/t-{secrets.token_hex(8)}/".encode()
