"""The configuration file, and what goes before what."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowsvc.cli import main
from flowsvc.cli.settings import DEFAULT_SERVER, Settings


@pytest.fixture
def file(tmp_path: Path, monkeypatch) -> Path:
    """Where the file lies unless a variable says otherwise."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    found = tmp_path / "flowctl" / "config.toml"
    found.parent.mkdir()
    return found


def test_a_file_goes_before_the_default(flows, opened, file):
    """Each of its settings is that of every command that has the option."""
    file.write_text('server = "s:1"\nroot = "@r"\ntimeout = "3s"\noutput = "name"\n')
    assert main(["flow", "list"]) == 0
    assert opened == [Settings(server="s:1", root="@r", timeout_s=3.0)]


def test_output_is_what_the_file_says(flows, capsys, file):
    """Where the command has that form; a watch, which has not, keeps its own."""
    file.write_text('output = "name"\n')
    assert main(["flow", "list"]) == 0
    assert capsys.readouterr().out == "f1\n"
    assert main(["flow", "list", "-o", "jsonl"]) == 0
    assert capsys.readouterr().out.startswith("{")
    assert main(["flow", "watch", "--help"]) == 0


@pytest.mark.parametrize(
    ("text", "environ", "args", "server", "endpoints"),
    [
        ("", {}, [], DEFAULT_SERVER, ()),
        ('server = "file:1"', {}, [], "file:1", ()),
        ('endpoints = ["a:1", "b:2"]', {}, [], None, ("a:1", "b:2")),
        ('endpoints = "a:1,b:2"', {}, [], None, ("a:1", "b:2")),
        ('server = "file:1"', {"FLOWCTL_SERVER": "env:1"}, [], "env:1", ()),
        ('server = "file:1"', {"FLOWCTL_SERVER": "env:1"}, ["--server", "flag:1"], "flag:1", ()),
        ('server = "file:1"', {"ETCDCTL_ENDPOINTS": "e:2"}, [], None, ("e:2",)),
        ('server = "file:1"', {}, ["--endpoints", "e:2"], None, ("e:2",)),
        ('endpoints = "e:2"', {"FLOWCTL_SERVER": "env:1"}, [], "env:1", ("e:2",)),
        ('server = "file:1"\nendpoints = "e:2"', {}, [], "file:1", ("e:2",)),
    ],
)
def test_what_is_nearer_wins(  # noqa: PLR0917 - fixtures
    flows, opened, file, monkeypatch, text, environ, args, server, endpoints
):
    """Flag, variable, file, default; endpoints that are nearer than a server mean: in process."""
    file.write_text(text)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(["flow", "list", *args]) == 0
    assert opened == [Settings(server=server, endpoints=endpoints)]


def test_a_variable_names_another_file(flows, opened, file, tmp_path, monkeypatch):
    """FLOWCTL_CONFIG goes before the usual place; a file that it names has to be there."""
    file.write_text('server = "usual:1"')
    other = tmp_path / "other.toml"
    other.write_text('server = "other:1"')
    monkeypatch.setenv("FLOWCTL_CONFIG", str(other))
    assert main(["flow", "list"]) == 0
    assert opened[0].server == "other:1"
    other.unlink()
    assert main(["flow", "list"]) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("server = a", "not TOML: Invalid value (at line 1"),
        ("sevrer = 'a:1'", "there is no setting 'sevrer'; there are server, endpoints"),
        ("server = 7", "server: 7 is no text"),
        ("endpoints = ['a']", "endpoints: 'a' is not host:port"),
        ("endpoints = [1]", "endpoints: 1 is no text"),
        ("timeout = '7 fortnights'", "timeout: '7 fortnights' is no time"),
        ("timeout = true", "timeout: True is no time"),
        ("output = 'xml'", "output: 'xml' is none of table, wide, json"),
    ],
)
def test_a_bad_file_is_named_with_its_key(flows, capsys, file, text, said):
    """Wrong usage: where, what, and what could stand there."""
    file.write_text(text)
    assert main(["flow", "list"]) == 2
    err = capsys.readouterr().err
    assert f"{file}: {said}" in err
    assert not flows.asked


def test_what_is_no_text_at_all_is_refused(flows, capsys, file):
    """Bytes that are no UTF-8."""
    file.write_bytes(b"\xff")
    assert main(["flow", "list"]) == 2
    assert "not TOML" in capsys.readouterr().err


def test_help_and_completion_do_without_a_bad_file(flows, capsys, file, monkeypatch):
    """Who has to mend it can read how, and a shell that completes is told nothing."""
    file.write_text("nonsense")
    assert main(["flow", "list", "--help"]) == 0
    for name, value in {
        "_FLOWCTL_COMPLETE": "bash_complete",
        "COMP_WORDS": "flowctl flow stop ",
        "COMP_CWORD": "3",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main([])
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert out.endswith("\nplain,f1\n")
