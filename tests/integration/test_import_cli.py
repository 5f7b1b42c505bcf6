"""``flowctl export`` and ``flowctl import``: what is typed, told, and left when it fails."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowsvc.cli import main
from flowsvc.cli.progress import watched
from flowsvc.seed import export as export_module
from flowsvc.seed.watching import Step
from kvconfig.codec import encode
from kvconfig.errors import Unavailable
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from kvconfig.records import LAYOUT_VERSION, LayoutRecord
from kvconfig.txn import Put, Txn
from tests.seeds import SEED, as_seed

FlowCtl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def flowctl(etcd_endpoint: str, root: str, capfdbinary) -> FlowCtl:
    """``flowctl`` in this process, on a root of its own: exit code, stdout, stderr."""

    def run(*args: str) -> tuple[int, str, str]:
        capfdbinary.readouterr()
        code = main([*args, "--endpoints", etcd_endpoint, "--root", root])
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


@pytest.fixture
def seeded(flowctl: FlowCtl, tmp_path: Path) -> FlowCtl:
    """The same, on the seed."""
    file = tmp_path / "seed.json"
    file.write_bytes(as_seed(SEED))
    assert flowctl("bootstrap", str(file))[0] == 0
    file.unlink()
    return flowctl


def put_raw(endpoint: str, root: str, key: str, value: bytes) -> None:
    async def put() -> None:
        async with connect([endpoint]) as store:
            raw = Keyspace(root).everything().start + key.encode()
            await store.commit(Txn(then=(Put(raw, value),)))

    asyncio.run(put())


# -- export ----------------------------------------------------------------------------------------


def test_an_export_goes_to_stdout_and_what_is_said_to_stderr(seeded):
    """The document alone is on stdout; how much of what, and as of when, on stderr."""
    code, out, err = seeded("export")
    assert code == 0
    assert json.loads(out).keys() == SEED.keys()
    lines = err.splitlines()
    assert lines[:-1] == [
        "flow            2",
        "flow-blueprint  1",
        "parameter-type  1",
        "prompt          2",
        "schema          1",
        "token-cost      1",
    ]
    assert lines[-1].startswith("at revision ")


def test_an_export_to_a_file_has_the_format_of_its_name(seeded, tmp_path):
    """YAML by its end, unless told otherwise; only its owner may read a new file."""
    file = tmp_path / "prompts.yaml"
    assert seeded("export", "prompt", "--file", str(file))[:2] == (0, "")
    assert (
        file.read_text()
        == 'prompt:\n  system: "Be brief."\n  template/a:\n    "n": 1.0\n    text: "…"\n'
    )
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    assert seeded("export", "prompt", "--file", str(file), "--format", "json")[0] == 0
    assert json.loads(file.read_text()) == {"prompt": SEED["prompt"]}
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_and_a_pipe_stay_what_they_are(seeded, tmp_path):
    """What a link leads to is written; what is no file is written to, and not replaced."""
    target, link, pipe = tmp_path / "target", tmp_path / "link", tmp_path / "pipe"
    target.write_text("old")
    link.symlink_to(target)
    assert seeded("export", "prompt", "-f", str(link))[0] == 0
    assert link.is_symlink()
    assert json.loads(target.read_text()) == {"prompt": SEED["prompt"]}
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    assert seeded("export", "prompt", "-f", str(pipe))[0] == 0
    assert pipe.is_fifo()
    assert json.loads(os.read(reader, 10_000)) == {"prompt": SEED["prompt"]}
    os.close(reader)


def test_an_export_that_breaks_off_leaves_the_old_file(seeded, tmp_path, monkeypatch):
    """No half file, no rest of one: the name is taken once all is written."""
    file = tmp_path / "system.json"
    file.write_text("the old one")
    take = export_module._Exporting.take

    def breaks_off(self: Any, page: Any) -> None:
        take(self, page)
        raise Unavailable("it went away")

    monkeypatch.setattr(export_module._Exporting, "take", breaks_off)
    code, _, err = seeded("export", "--file", str(file))
    assert (code, "it went away" in err) == (6, True)
    assert file.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_not_there_is_said(seeded, tmp_path):
    """Where the file cannot be written, there is a message and no traceback."""
    code, out, err = seeded("export", "--file", str(tmp_path / "none" / "x.json"))
    assert (code, out) == (1, "")
    assert "No such file or directory" in err


def test_what_is_left_out_is_said_and_the_exit_code_says_it(seeded, etcd_endpoint, root):
    """The rest is exported; a broken value is named by its key, and never shown."""
    put_raw(etcd_endpoint, root, "prompt/broken", b"secret")
    code, out, err = seeded("export", "prompt")
    assert code == 1
    assert json.loads(out) == {"prompt": SEED["prompt"]}
    assert err.startswith(f"left out: /{root}/prompt/broken: not JSON: ")
    assert err.endswith("; not complete: see above\n")
    assert "secret" not in err


def test_types_that_follow_from_others_are_no_seed(seeded):
    """Asked for by name they are refused, with the reason."""
    code, out, err = seeded("export", "prompt", "active-flow", "a b")
    assert (code, out) == (5, "")
    assert "active-flow: is made from flows" in err
    assert "a b: is no type" in err


@pytest.mark.parametrize(
    "args", [["export"], ["import"], ["bootstrap"], ["import", "x", "--mode", "y"]]
)
def test_wrong_usage_is_exit_code_2(args, capsys, monkeypatch):
    """Without an etcd there is nothing to export; without a seed, nothing to do."""
    monkeypatch.delenv("ETCDCTL_ENDPOINTS", raising=False)
    assert main(args) == 2
    assert capsys.readouterr().out == ""


# -- import ----------------------------------------------------------------------------------------


def test_a_dry_run_lists_what_would_change_and_writes_nothing(seeded, tmp_path):
    """A line on stdout for each change, counts on stderr; then the import does just that."""
    file = tmp_path / "new.yaml"
    file.write_text("prompt:\n  system: Be long.\n  new: 1\ntool: {}\n")
    before = seeded("export")
    code, out, err = seeded("import", str(file), "--mode", "replace", "--dry-run")
    changes = ["created   prompt/new", "replaced  prompt/system", "deleted   prompt/template/a"]
    assert (code, out.splitlines()) == (0, changes)
    said = ["prompt  1 created, 1 replaced, 1 deleted"]
    assert err.splitlines() == [*said, "nothing was written"]
    assert seeded("export") == before
    code, out, err = seeded("import", str(file), "--mode", "replace")
    assert (code, out, err.splitlines()) == (0, "", said)
    assert json.loads(seeded("export", "prompt")[1]) == {"prompt": {"new": 1, "system": "Be long."}}
    assert seeded("import", str(file), "--mode", "replace")[2].splitlines() == ["prompt  2 equal"]


def test_flows_are_changed_only_if_so_said(seeded, tmp_path):
    """--change-flows updates and stops; without it, what is left is named."""
    file = tmp_path / "flows.json"
    file.write_bytes(as_seed({"flow": {"f1": {"blueprint-name": "index"}}}))
    _, _, err = seeded("import", str(file), "--mode", "replace")
    assert err.splitlines() == [
        "flow  1 different, 1 left",
        "there with another value, left as they are: flow/f1",
        "not in the seed, left since flows run or rest on them: flow/f2",
    ]
    _, _, err = seeded("import", str(file), "--mode", "replace", "--change-flows")
    assert err.splitlines() == ["flow  1 replaced, 1 deleted"]
    assert json.loads(seeded("export", "flow")[1]) == {"flow": {"f1": {"blueprint-name": "index"}}}


def test_a_seed_comes_from_files_and_folders_together(flowctl, tmp_path):
    """All that is named is one seed; what stands in two of them is refused, and both are named."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.json").write_text('{"prompt": {"a": 1}}')
    (folder / "b.yaml").write_text("prompt: {b: 2}")
    file = tmp_path / "c.json"
    file.write_text('{"prompt": {"b": 3}}')
    code, _, err = flowctl("bootstrap", str(folder), str(file))
    assert code == 5
    assert f"{file}: $.prompt.b: stands in {folder / 'b.yaml'} too" in err
    file.write_text('{"prompt": {"c": 3}}')
    code, _, err = flowctl("bootstrap", str(folder), str(file))
    assert (code, err.splitlines()) == (0, ["prompt  3 created"])


def test_a_seed_comes_from_standard_input(flowctl, monkeypatch):
    """JSON, or what --format says; a fault is named without a file."""
    for text, options in (
        (b'{"prompt": {"a": 1}}', []),
        (b"prompt: {a: no}", ["--format", "yaml"]),
    ):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        assert flowctl("import", "-", *options)[0] == 0
    assert json.loads(flowctl("export")[1]) == {"prompt": {"a": "no"}}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"prompt": {"a": 1, "a": 2}}')))
    code, _, err = flowctl("import", "-")
    assert (code, err.splitlines()) == (
        5,
        ["error: standard input is not valid", "  error: $.prompt.a: stands twice in this file"],
    )


def test_what_was_written_is_said_when_it_breaks_off(flowctl, tmp_path, etcd_endpoint, root):
    """The exit code is that of the error; what was finished, and what to do, stands before it."""
    file = tmp_path / "seed.json"
    put_raw(etcd_endpoint, root, "flow-ref/query/index/somebody", b"{}")
    put_raw(etcd_endpoint, root, "active-flow/chunker/f1", b"{}")
    file.write_bytes(as_seed(SEED))
    code, _, err = flowctl("import", str(file))
    assert code == 4
    assert err.startswith(
        "finished before that: 1 schema, 1 parameter-type, 1 flow-blueprint, 2 prompt, "
        "1 token-cost, of 8 in all; run it again, and it goes on from there\nerror: "
    )


@pytest.mark.parametrize("name", ["import", "bootstrap"])
def test_configuration_is_not_written_into_a_layout_that_is_not_known(
    name, flowctl, tmp_path, etcd_endpoint, root
):
    """The etcd is looked at itself, whichever flow service is asked for flows."""
    put_raw(etcd_endpoint, root, "kvconfig/layout", b'{"version": 99}')
    file = tmp_path / "seed.json"
    file.write_bytes(as_seed({"prompt": SEED["prompt"]}))
    code, _, err = flowctl(name, str(file), "--server", "127.0.0.1:9")
    assert (code, "layout version 99" in err) == (1, True)
    put_raw(etcd_endpoint, root, "kvconfig/layout", encode(LayoutRecord(version=LAYOUT_VERSION)))
    code, out, _ = flowctl("export", "prompt")
    assert (code, json.loads(out)) == (0, {"prompt": {}})


@pytest.mark.parametrize("name", ["export", "import", "bootstrap"])
def test_every_example_works(name, seeded, tmp_path, monkeypatch):
    """What --help shows can be typed, wherever etcd is."""
    monkeypatch.chdir(tmp_path)
    for file in ("system.json", "seed.json"):
        Path(file).write_bytes(as_seed(SEED))
    help_ = seeded(name, "--help")[1]
    lines = [line.strip() for line in help_.splitlines() if line.startswith("    flowctl ")]
    assert lines
    for line in lines:
        typed, *_ = line.removeprefix("flowctl ").partition(" > ")
        words = shlex.split(typed)
        where = words.index("--endpoints")
        assert seeded(*words[:where], *words[where + 2 :])[0] == 0, line


# -- as processes ----------------------------------------------------------------------------------


def test_an_export_piped_into_an_import_carries_a_system_over(seeded, etcd_endpoint, root):
    """Two processes and a pipe; and a reader that goes away is no defect."""
    environ = {**os.environ, "ETCDCTL_ENDPOINTS": etcd_endpoint}
    command = [sys.executable, "-m", "flowsvc.cli"]
    export, import_ = [*command, "export", "--root", root], [*command, "import", "-"]
    with subprocess.Popen(export, env=environ, stdout=subprocess.PIPE) as exporting:
        done = subprocess.run(
            [*import_, "--root", f"{root}-copy"],
            env=environ,
            stdin=exporting.stdout,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
        )
    assert exporting.returncode == 0
    assert "flow            2 created" in done.stderr
    assert seeded("export", "--root", f"{root}-copy")[1] == seeded("export")[1]
    with subprocess.Popen(
        export, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as left:
        assert left.stdout is not None
        left.stdout.close()
        _, err = left.communicate(timeout=60)
    assert b"Traceback" not in err


# -- progress --------------------------------------------------------------------------------------


def test_a_terminal_shows_how_far_it_is(monkeypatch, capsys):
    """A bar for each stage on stderr; what is listed stays on stdout."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with watched(listed=True) as watcher:
        watcher.begin("reading", 10)
        watcher.advance(5)
        watcher.begin("writing", 4)
        watcher.noted(Step("created", "prompt", "a"))
        watcher.advance(4)
    out, err = capsys.readouterr()
    assert "created   prompt/a" in out
    assert "writing" in err
    assert "100%" in err


def test_nobody_looks_where_there_is_no_terminal(capsys):
    """Redirected, nothing is written that nobody asked for."""
    with watched() as watcher:
        watcher.begin("reading", 10)
        watcher.advance(10)
        watcher.noted(Step("created", "prompt", "a"))
    assert capsys.readouterr() == ("", "")
