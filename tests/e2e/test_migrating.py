"""``docs/migrating.md``: whoever follows it sees what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowsvc.migrate import SHAPES
from kvconfig.devserver import EtcdBinary
from kvconfig.devserver.probe import free_ports
from tests.conftest import REPOSITORY
from tests.documents import etcd_at, reader, run

DOCUMENT = REPOSITORY / "docs" / "migrating.md"


@pytest.mark.slow
def test_the_document_is_true(etcd_binary: EtcdBinary, etcdctl_path: Path, tmp_path: Path) -> None:
    """Each of its blocks, in order: files are written, commands run, outputs are as shown."""
    programs, folder = tmp_path / "programs", tmp_path / "folder"
    programs.mkdir()
    folder.mkdir()
    client, peer = free_ports(2)
    environ = reader(programs, etcd=etcd_binary.path, etcdctl=etcdctl_path)
    run(DOCUMENT, folder, {**environ, **etcd_at(client, peer)}, ports={2379: client})


def test_its_table_has_every_shape() -> None:
    """A new one is written down."""
    rows = [
        line.split("|")[1].strip()
        for line in DOCUMENT.read_text("utf-8").splitlines()
        if "|" in line
    ]
    assert {f"`{shape}`" for shape in SHAPES} <= set(rows)
