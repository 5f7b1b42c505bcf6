"""``docs/security.md``: whoever follows it has a system that is shut."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kvconfig.devserver import EtcdBinary
from kvconfig.devserver.probe import free_ports
from tests.conftest import REPOSITORY
from tests.documents import etcd_at, reader, run

DOCUMENT = REPOSITORY / "docs" / "security.md"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl, which the document uses")
def test_the_document_is_true(etcd_binary: EtcdBinary, etcdctl_path: Path, tmp_path: Path) -> None:
    """Each of its blocks, in order: files are written, commands run, outputs are as shown."""
    programs, folder = tmp_path / "programs", tmp_path / "folder"
    programs.mkdir()
    folder.mkdir()
    client, peer, service, api = free_ports(4)
    environ = reader(programs, etcd=etcd_binary.path, etcdctl=etcdctl_path)
    # Where it listens for clients stands in the document: over TLS.
    peers = {name: url for name, url in etcd_at(client, peer).items() if "CLIENT" not in name}
    run(DOCUMENT, folder, {**environ, **peers}, ports={2379: client, 7480: service, 7443: api})
