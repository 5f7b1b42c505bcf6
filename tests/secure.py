"""``make demo-secure``: what ``docs/security.md`` says, typed on a real etcd and shown."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from kvconfig.devserver import find_etcd, find_etcdctl
from kvconfig.devserver.probe import free_ports
from tests.documents import etcd_at, reader, run

__all__ = ["secure"]

DOCUMENT = Path(__file__).parents[1] / "docs" / "security.md"


def secure(etcd: Path, etcdctl: Path, where: Path, *, tell: Callable[[str], None]) -> None:
    """Follow the document in a folder. Raises :class:`tests.documents.DocumentError`."""
    programs, folder = where / "programs", where / "folder"
    programs.mkdir()
    folder.mkdir()
    client, peer, service, api = free_ports(4)
    environ = reader(programs, etcd=etcd, etcdctl=etcdctl)
    # Where it listens for clients stands in the document: over TLS.
    peers = {name: url for name, url in etcd_at(client, peer).items() if "CLIENT" not in name}
    ports = {2379: client, 7480: service, 7443: api}
    run(DOCUMENT, folder, {**environ, **peers}, ports=ports, tell=tell)


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def main() -> None:
    """Of a terminal."""
    etcd = find_etcd()
    with tempfile.TemporaryDirectory() as folder:
        secure(etcd.path, find_etcdctl(beside=etcd), Path(folder), tell=_show)
    sys.stdout.write("\nall of docs/security.md was typed, and came as it says there\n")


if __name__ == "__main__":
    main()
