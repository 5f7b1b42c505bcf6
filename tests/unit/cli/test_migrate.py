"""``flowctl migrate`` before it goes anywhere: what can be asked for, and what cannot."""

from __future__ import annotations

import pytest

from flowsvc.cli import main, migrate
from flowsvc.migrate import SHAPES

ETCD = ("--endpoints", "127.0.0.1:1")


def test_it_offers_every_shape() -> None:
    """They are repeated there, because the command line must load quickly."""
    assert migrate.SHAPES == SHAPES


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--endpoints"),
        (("x.json",), "--endpoints"),
        (("x.json", "--server", "127.0.0.1:7480"), "not through a flow service"),
        (ETCD, "FILE or --from-etcd"),
        (("x.json", "--from-etcd", *ETCD), "FILE or --from-etcd"),
        (("--from-etcd", "--to", "blob", *ETCD), "--to only reads"),
        (("--dry-run", "--to", "blob", *ETCD), "--to only reads"),
        (("--from-etcd", "--flat", *ETCD), "for --to"),
        (("--to", "yaml", *ETCD), "blob"),
        (("does-not-exist.json", *ETCD), "No such file"),
    ],
)
def test_what_makes_no_sense_is_said_at_once(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and what to give instead."""
    assert main(["migrate", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_what_is_no_document_is_refused(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 5, before etcd is asked for anything."""
    file = tmp_path / "config.json"
    file.write_text('{"flow": {"a": 1, "a": 2}}')
    assert main(["migrate", str(file), *ETCD]) == 5
    assert "$.flow.a: stands twice" in capsys.readouterr().err


def test_a_workspace_that_is_no_name_is_refused(
    tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 5 too."""
    file = tmp_path / "config.json"
    file.write_text("{}")
    assert main(["migrate", str(file), "--workspace", "a b", *ETCD]) == 5
    assert "workspace" in capsys.readouterr().err
