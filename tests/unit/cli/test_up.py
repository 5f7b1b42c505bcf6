"""``flowctl up`` before anything runs: its folder, its options, what it says of an etcd."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from flowsvc.cli import main, up
from flowsvc.cli.folder import FolderTaken, Running, default_folder, hold, who_runs
from flowsvc.cli.machine import judge
from flowsvc.errors import FlowServiceError
from kvconfig.devserver import EtcdBinary


def test_a_folder_is_one_process_at_a_time(tmp_path: Path):
    """The second hears who has it; whoever looks is told where to reach it; then it is free."""
    running = Running(pid=os.getpid(), etcd="127.0.0.1:1", server="127.0.0.1:2")
    with hold(tmp_path / "up") as folder:
        assert who_runs(folder.path) == Running(pid=os.getpid())
        folder.tell(running)
        assert who_runs(folder.path) == running
        with pytest.raises(FolderTaken) as raised, hold(folder.path):
            pass
        assert raised.value.by == running
        assert not folder.killed
    assert who_runs(folder.path) is None
    with hold(folder.path) as again:
        assert not again.killed


def test_a_folder_knows_that_its_last_one_was_killed(tmp_path: Path):
    """Whoever does not come to its end leaves its name behind; nobody takes it for alive."""
    (tmp_path / "lock").write_text('{"pid":1,"etcd":"127.0.0.1:1","server":"127.0.0.1:2"}')
    assert who_runs(tmp_path) is None
    with hold(tmp_path) as folder:
        assert folder.killed


def test_a_log_of_this_life_and_of_the_one_before(tmp_path: Path):
    """No more than two of a kind are kept."""
    for text in ("one", "two", "three"):
        with hold(tmp_path) as folder:
            folder.log("etcd").write_text(text)
    assert (tmp_path / "etcd.log").read_text() == "three"
    assert {file.name: file.read_text() for file in tmp_path.glob("*.log.*")} == {
        "etcd.log.1": "two"
    }


def test_a_folder_that_cannot_be(tmp_path: Path):
    """It is an error that names the folder."""
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "up"
    with pytest.raises(FlowServiceError, match="file/up: Not a directory"), hold(folder):
        pass


def test_where_state_is_kept(monkeypatch, tmp_path: Path):
    """As XDG says: a relative XDG_STATE_HOME does not count."""
    monkeypatch.setenv("HOME", "/h")
    for value, expected in (
        (str(tmp_path), tmp_path / "kvconfig" / "up"),
        ("relative", Path("/h/.local/state/kvconfig/up")),
        ("", Path("/h/.local/state/kvconfig/up")),
    ):
        monkeypatch.setenv("XDG_STATE_HOME", value)
        assert default_folder() == expected


def test_an_old_etcd_is_warned_of(capsys):
    """One that can lose data; a newer one is no matter."""
    for version, told in (((3, 5, 5), True), ((3, 5, 6), False), ((3, 6, 0), False)):
        judge(EtcdBinary(path=Path("/etcd"), version=version, source="PATH"))
        err = capsys.readouterr().err
        assert ("can lose" in err) is told, version


def test_options_that_contradict_each_other(capsys, tmp_path: Path):
    """It is not guessed which one is meant."""
    (tmp_path / "group.toml").touch()
    assert main(["up", "--no-processors", "--group", str(tmp_path / "group.toml")]) == 2
    assert "which of the two" in capsys.readouterr().err


def test_the_examples_of_its_help_are_understood(monkeypatch, tmp_path: Path):
    """Each can be typed; tests/e2e/test_up.py does what they do."""
    monkeypatch.chdir(tmp_path)
    for name in ("pipeline.toml", "seed.json"):
        Path(name).touch()
    given: list[dict[str, object]] = []
    monkeypatch.setattr(up.command, "callback", lambda **options: given.append(options))
    for args in re.findall(r"flowctl (up\b[^)\n]*)", up.command.help or ""):
        assert main(shlex.split(args)) == 0, args
    assert [options["group"] for options in given] == [None, None, "pipeline.toml", None]
    assert given[1]["print_env"]
    assert given[2]["seeds"] == ("seed.json",)
    assert (given[3]["port"], given[3]["etcd_port"], given[3]["data"]) == (0, 0, "second")
