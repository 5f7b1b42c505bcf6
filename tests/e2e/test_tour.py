"""The tour and README's first five minutes: a newcomer who follows them sees what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvconfig.devserver import EtcdBinary
from kvconfig.devserver.probe import free_ports
from tests.conftest import REPOSITORY
from tests.documents import Command, Step, etcd_at, reader, run


@pytest.fixture
def followed(etcd_binary: EtcdBinary, etcdctl_path: Path, tmp_path: Path):
    """Follow a document on an etcd of its own: what was done."""

    def follow(document: Path) -> list[Step]:
        programs, folder = tmp_path / "programs", tmp_path / "folder"
        programs.mkdir()
        folder.mkdir()
        client, peer = free_ports(2)
        environ = reader(programs, etcd=etcd_binary.path, etcdctl=etcdctl_path)
        return run(document, folder, {**environ, **etcd_at(client, peer)}, ports={2379: client})

    return follow


@pytest.mark.slow
def test_the_tour_is_true(followed) -> None:
    """Each command does what it says; and there are thirty of them, without the shell's own."""
    typed = [step.text for step in followed(REPOSITORY / "docs" / "tour.md") if _types(step)]
    assert len(set(typed)) >= 30


@pytest.mark.slow
def test_the_first_five_minutes_are_true(followed, tmp_path: Path) -> None:
    """README's section, typed as it stands."""
    text = (REPOSITORY / "README.md").read_text("utf-8")
    section = text.partition("\n## Five minutes\n")[2].partition("\n## ")[0]
    document = tmp_path / "README.md"
    document.write_text(section, "utf-8")
    assert sum(map(_types, followed(document))) >= 12


def _types(step: Step) -> bool:
    return isinstance(step, Command) and step.text.startswith(("flowctl", "etcdctl", "processors"))
