"""Ten thousand increments by sixteen writers, on a cluster."""

from __future__ import annotations

import pytest

from kvconfig.config import Config
from kvconfig.devserver import LocalCluster
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from tests.counting import count_up


@pytest.mark.timeout(300)
async def test_no_increment_is_lost(cluster: LocalCluster) -> None:
    """Each writer reads, adds one and puts with `if_revision`, and tries again on a conflict."""
    async with connect(cluster.endpoints) as store:
        conflicts = await count_up(Config(store, Keyspace()), writers=16, each=625)
    print(f"10,000 increments, {conflicts} conflicts")
    assert conflicts > 0
