"""The examples in the help of commands that work on etcd itself: each is typed, on a real one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowsvc.cli import demo, main
from tests.certificates import Authority
from tests.e2e.test_flowctl import Serve
from tests.integration.test_migrate_cli import DOCUMENT
from tests.privileges import Place
from tests.seeds import SEED, as_seed
from tests.unit.cli.commands import commands

ELSEWHERE = {
    "flow": "tests/unit/cli/test_cli.py",
    "blueprint": "tests/unit/cli/test_cli.py",
    "parameter-type": "tests/unit/cli/test_cli.py",
    "processor": "tests/unit/cli/test_cli.py",
    "config": "tests/unit/cli/test_config.py",
    "apply": "tests/integration/test_apply_cli.py",
    "diff": "tests/integration/test_apply_cli.py",
    "completion": "tests/unit/cli/test_completion.py",
    "rbac": "tests/integration/test_rbac_cli.py",
    "up": "tests/unit/cli/test_up.py",
    "demo": "tests/e2e/test_demo.py",
}
"""Who types the examples of the other commands."""

ADDRESSES = ("127.0.0.1:2379", "etcd1:2379", "etcd2:2379")
"""What examples call an etcd; the second one is another system here."""


def examples() -> Iterator[tuple[str, str]]:
    """The first word of each command, and each line of its examples, in the order of the help."""
    for path, command in commands():
        if not path or path[0] in ELSEWHERE:
            continue
        text = (command.help or "").partition("Example:")[2].replace("\\\n", " ")
        for line in text.splitlines():
            if line.strip().startswith("flowctl "):
                yield path[0], line.strip()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where they are typed, with the files that they name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "seed.json").write_bytes(as_seed(SEED))
    (tmp_path / "system.json").write_bytes(as_seed(SEED))
    (tmp_path / "config.json").write_text(json.dumps(DOCUMENT))
    Authority(tmp_path).issue("server", "127.0.0.1")
    (tmp_path / "policy.toml").write_text('[[allow]]\nwho = ["*"]\nrole = "viewer"\n')
    return tmp_path


def test_every_command_has_examples_that_a_test_types():
    """A new command is typed here, or its name stands in :data:`ELSEWHERE`, with its test."""
    names = {path[0] for path, _ in commands() if path}
    assert names - ELSEWHERE.keys() == {name for name, _ in examples()}
    for name, file in ELSEWHERE.items():
        assert f'"{name}"' in Path(file).read_text() or name in Path(file).stem


@pytest.mark.parametrize("name", sorted({name for name, _ in examples()}))
def test_every_example_works(folder: Path, etcd_endpoint: str, root: str, capfd, name: str):
    """In their order, and what ``>`` names is written."""
    for command, line in examples():
        if command != name:
            continue
        text, _, redirected = line.partition(" > ")
        words = shlex.split(text.removesuffix("&"))[1:]
        at = root + ("2" if "etcd2:2379" in words else "")
        args = [etcd_endpoint if word in ADDRESSES else word for word in words]
        if name == "serve":
            args = ["127.0.0.1:0" if word.endswith(":7480") else word for word in args]
            assert Serve(Place(endpoint=etcd_endpoint, root=at), *args[1:]).end()[0] == 0
            continue
        where = [] if name == "token" else ["--root", at]
        assert main([*args, *where]) == 0, line
        if redirected:
            (folder / redirected).write_text(capfd.readouterr().out)
            assert (folder / redirected).stat().st_size > 1


def test_the_examples_of_the_demo_are_understood(folder: Path, monkeypatch) -> None:
    """Each can be typed; tests/e2e/test_demo.py does what they do."""
    given: list[dict[str, object]] = []
    monkeypatch.setattr(demo.command, "callback", lambda **options: given.append(options))
    (folder / "docs").mkdir()
    (folder / "everything.json").write_text("{}")
    lines = (demo.command.help or "").partition("Example:")[2].split("\n")
    for line in filter(None, map(str.strip, lines)):
        assert main(shlex.split(line)[1:]) == 0, line
    assert len({str(options) for options in given}) == 3
