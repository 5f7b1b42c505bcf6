"""Clusters to be hurt, and what goes into the tables of how it went.

All of it is marked ``robustness`` and left out of a plain ``pytest``. With ``REQUIRE_ROBUSTNESS=1``
what cannot run here fails instead of being skipped.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from kvconfig.devserver import EtcdBinary, EtcdUnavailable, LocalCluster, find_etcd, show_version
from kvconfig.devserver.finder import DURABLE_FROM
from tests.reports import PEERS, RECOVERY
from tests.robustness import report
from tests.robustness.peers import table
from tests.robustness.required import absent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder is ``robustness``."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.robustness)


@pytest.fixture(autouse=True)
def _rows(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """What a test puts into the tables is handed over when it is done."""
    yield
    for row in report.taken():
        record_property(RECOVERY, row)
    for scenario, cells in table.taken():
        record_property(PEERS, [scenario, cells])


@pytest.fixture(scope="session")
def robust_binary() -> EtcdBinary:
    """An etcd that may be killed: older ones lose what they have acknowledged."""
    try:
        found = find_etcd()
    except EtcdUnavailable as error:
        absent(str(error))
        raise
    if found.version < DURABLE_FROM:
        absent(f"{found}: killing needs {show_version(DURABLE_FROM)} or newer (set ETCD_BIN)")
    return found


@pytest.fixture
async def cluster(robust_binary: EtcdBinary) -> AsyncIterator[LocalCluster]:
    """Three members on loopback, for one test."""
    async with LocalCluster(binary=robust_binary) as started:
        yield started
