"""The guide for authors of processors: a reader who follows it sees what it says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from kvconfig.devserver import EtcdBinary
from kvconfig.devserver.probe import free_ports
from processors import FlowProcessor
from tests.conftest import REPOSITORY
from tests.documents import etcd_at, reader, run

GUIDE = REPOSITORY / "docs" / "writing-a-processor.md"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl, which the guide uses")
def test_the_guide_is_true(etcd_binary: EtcdBinary, etcdctl_path: Path, tmp_path: Path) -> None:
    """Each of its blocks, in order: files are written, commands run, outputs are as shown."""
    programs, folder = tmp_path / "programs", tmp_path / "folder"
    programs.mkdir()
    folder.mkdir()
    client, peer, metrics = free_ports(3)
    environ = reader(programs, etcd=etcd_binary.path, etcdctl=etcdctl_path)
    run(
        GUIDE,
        folder,
        {**environ, **etcd_at(client, peer)},
        ports={2379: client, 9100: metrics},
    )


def test_the_table_of_limits_is_true() -> None:
    """It has every number that a class of processors may set, with its default."""
    rows = re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", GUIDE.read_text("utf-8"), re.MULTILINE)
    numbers = {
        name: value for name, value in vars(FlowProcessor).items() if isinstance(value, int | float)
    }
    assert {name: float(value) for name, value in rows} == numbers
