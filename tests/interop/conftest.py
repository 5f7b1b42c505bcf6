"""What the interop tests ask for: a store, a keyspace, and other clients of etcd in a process.

``make peers`` installs those clients, each in a folder of its own. A test whose peer is not there
is skipped; with ``REQUIRE_PEERS=1`` it fails.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from kvconfig.store import Store
from tests.interop.support import REPOSITORY, OpenPeer, Peer, run_peer


@pytest.fixture
async def store(etcd_endpoint: str) -> AsyncIterator[Store]:
    async with connect([etcd_endpoint]) as opened:
        yield opened


@pytest.fixture
def ks(root: str) -> Keyspace:
    return Keyspace(root)


@pytest.fixture
def base(root: str) -> str:
    """What every key of the test begins with."""
    return f"/{root}/"


@pytest.fixture
def peer(etcd_endpoint: str) -> OpenPeer:
    """``async with peer("aetcd") as aetcd:`` a process with that peer (or several) on its path."""

    def open_peer(*names: str, **environ: str) -> AbstractAsyncContextManager[Peer]:
        folders = [_folder(name) for name in names]
        return run_peer(folders, etcd_endpoint, environ)

    return open_peer


def _folder(name: str) -> Path:
    folder = REPOSITORY / ".peers" / name
    if not (folder / ".ready").exists():
        reason = f"{name} is not installed: make peers"
        if os.environ.get("REQUIRE_PEERS") == "1":
            pytest.fail(f"{reason} (REQUIRE_PEERS=1)", pytrace=False)
        pytest.skip(reason)
    return folder
