"""``flowctl apply`` and ``flowctl diff``: what is typed, asked and told."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from flowsvc.cli import main
from flowsvc.cli.apply import command, diff
from flowsvc.server import serve
from kvconfig.etcd import connect
from tests.seeds import SEED, as_seed, system_on

FlowCtl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def flowctl(etcd_endpoint: str, root: str, capfdbinary, monkeypatch, tmp_path: Path) -> FlowCtl:
    """``flowctl`` in this process, on a root and in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLOWCTL_SERVER", raising=False)

    def run(*args: str) -> tuple[int, str, str]:
        capfdbinary.readouterr()
        code = main([*args, "--endpoints", etcd_endpoint, "--root", root])
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return run


def test_the_plan_is_told_and_done_and_then_there_is_nothing_to_do(flowctl):
    """The plan on stdout, object by object with what differs; counts on stderr."""
    Path("a.json").write_text('{"prompt": {"a": {"text": "x", "n": 1}, "b": 2}}')
    assert flowctl("apply", "-f", "a.json", "--yes") == (
        0,
        '+ prompt/a\n    + $.n: 1\n    + $.text: "x"\n+ prompt/b\n    + $: 2\n',
        "prompt  2 created\n",
    )
    Path("a.json").write_text('{"prompt": {"a": {"text": "y", "n": 1}}}')
    code, out, err = flowctl("diff", "-f", "a.json")
    assert (code, out) == (1, '~ prompt/a\n    ~ $.text: "x" -> "y"\n')
    assert err == "1 left over: --prune removes them: prompt/b\n"
    code, out, _ = flowctl("apply", "-f", "a.json", "--prune", "--yes", "-o", "name")
    assert (code, out) == (0, "prompt/a\nprompt/b\n")
    said = "nothing to do: all is as the files say\n"
    assert flowctl("diff", "-f", "a.json", "--prune") == (0, "", said)
    code, out, _ = flowctl("apply", "-f", "a.json", "--yes", "-o", "json")
    assert (code, json.loads(out)) == (0, {"set": "default", "changes": [], "left-over": []})


def test_the_plan_as_json(flowctl):
    """Each object with its action and what differs; a dry run writes nothing."""
    Path("a.json").write_text('{"prompt": {"a": 1}}')
    code, out, err = flowctl("apply", "-f", "a.json", "--dry-run", "-o", "json")
    assert (code, err) == (0, "nothing was written\n")
    assert json.loads(out)["changes"] == [
        {
            "action": "created",
            "type": "prompt",
            "key": "a",
            "written-since": False,
            "differences": [{"path": "$", "after": 1}],
        }
    ]
    assert flowctl("diff", "-f", "a.json", "-o", "name")[:2] == (1, "prompt/a\n")


def test_what_others_wrote_since_is_marked(flowctl):
    """In the plan, before it is overwritten."""
    Path("a.json").write_text('{"prompt": {"a": 1}}')
    assert flowctl("apply", "-f", "a.json", "--yes")[0] == 0
    assert flowctl("config", "put", "prompt", "a", "2")[0] == 0
    assert flowctl("diff", "-f", "a.json")[1].splitlines()[0] == (
        "~ prompt/a  (written since the last apply)"
    )


def test_what_others_rest_on_is_told_when_it_is_left(flowctl):
    """A prune that cannot be done whole says what it left."""
    Path("a.json").write_bytes(as_seed(SEED, flow={}))
    assert flowctl("apply", "-f", "a.json", "--yes")[0] == 0
    assert flowctl("flow", "start", "-n", "index", "-i", "x")[0] == 0
    Path("a.json").write_text("{}")
    code, _, err = flowctl("apply", "-f", "a.json", "--yes", "--prune")
    assert code == 0
    assert err.splitlines()[-1] == (
        "left, since others rest on them: parameter-type/size, flow-blueprint/index"
    )


def test_files_that_are_wrong_have_the_code_of_that(flowctl):
    """Not that of a difference; nothing is on stdout, and nothing is written."""
    Path("a.json").write_bytes(as_seed({"flow": {"f": {"blueprint-name": "none"}}, "t": {"a": 1}}))
    for verb in (["diff"], ["apply", "--yes"]):
        code, out, err = flowctl(*verb, "-f", "a.json")
        assert (code, out) == (3, "")
        assert "blueprint" in err
    assert flowctl("config", "list", "t", "-o", "name")[1] == ""
    assert flowctl("diff", "-f", "a.json", "--set", "a/b")[0] == 5


@pytest.mark.parametrize("args", [[], ["-f", "-"]])
def test_without_a_terminal_it_has_to_be_told(flowctl, args):
    """Nobody can be asked, so that is wrong usage, and says what to give."""
    Path("a.json").write_text("{}")
    code, out, err = flowctl("apply", *(args or ["-f", "a.json"]))
    assert (code, out) == (2, "")
    assert "--yes" in err


async def test_it_goes_through_a_server(etcd_endpoint, root, tmp_path, capfdbinary, monkeypatch):
    """Flows, configuration and the record: nothing but the server is asked."""
    monkeypatch.delenv("ETCDCTL_ENDPOINTS", raising=False)
    (tmp_path / "a.json").write_bytes(as_seed(SEED))
    async with connect([etcd_endpoint]) as store, system_on(store, root) as system:
        async with serve(system.service, config=system.config) as port:
            where = ["-f", str(tmp_path), "--server", f"127.0.0.1:{port}"]
            assert await asyncio.to_thread(main, ["apply", *where, "--yes"]) == 0
            assert await asyncio.to_thread(main, ["diff", *where, "--prune"]) == 0
        record, _ = await system.config.get_applied("default")
        assert len(record.keys) == 8
        assert (await system.document()).keys() == SEED.keys()


@pytest.mark.parametrize(
    ("answer", "ends"),
    [
        (b"y\n", (0, b"prompt  1 created\n")),
        (b"\n", (1, b"nothing was written\n")),
        (None, (130, b"interrupted\n")),
    ],
)
def test_on_a_terminal_it_asks(etcd_endpoint, root, tmp_path, answer, ends):
    """Yes does it; anything else does not, and Ctrl-C ends it at once."""
    (tmp_path / "a.json").write_text('{"prompt": {"a": 1}}')
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "flowsvc.cli", "apply", "-f", str(tmp_path)]
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("FLOWCTL_", "ETCDCTL_"))}
    with subprocess.Popen(
        [*command, "--endpoints", etcd_endpoint, "--root", root],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ,
    ) as process:
        try:
            assert process.stderr is not None
            prompt = b"apply? [y/N] "
            assert process.stderr.read(len(prompt)) == prompt
            if answer is None:
                process.send_signal(signal.SIGINT)
            else:
                os.write(ours, answer)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    os.close(ours)
    os.close(theirs)
    assert out.decode() == "+ prompt/a\n    + $: 1\n"
    assert (process.returncode, err.lstrip(b"\n")) == ends
    differs = main(["diff", "-f", str(tmp_path), "--endpoints", etcd_endpoint, "--root", root])
    assert differs == (0 if answer == b"y\n" else 1)


@pytest.mark.parametrize("of", [command, diff], ids=lambda of: of.name)
def test_every_example_works(flowctl, of: click.Command):
    """What --help shows can be typed."""
    Path("deployment").mkdir()
    Path("deployment/system.json").write_bytes(as_seed(SEED))
    Path("prompts.yaml").write_text("prompt: {a: 1}")
    Path("flows.yaml").write_text("flow: {}")
    lines = [line.strip() for line in (of.help or "").splitlines()]
    examples = [line for line in lines if line.startswith("flowctl ")]
    assert examples
    for line in examples:
        assert flowctl(*shlex.split(line)[1:])[0] == (0 if of is command else 1), line
