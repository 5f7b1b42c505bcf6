"""The forms that objects are printed in: for people, for programs, on a terminal and in a pipe."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from typing import Any

import click
import pytest
import yaml
from msgspec import structs

from flowsvc.cli import main
from flowsvc.cli.output import OUTPUTS
from flowsvc.seed.yaml_text import entries
from tests.fake_flows import FLOW, PROCESSOR
from tests.unit.cli.commands import commands

# -- every form ----------------------------------------------------------------------------------


def said(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    assert main(args) == 0
    return capsys.readouterr().out


READS = [
    ("flow", "list"),
    ("flow", "get", "f1"),
    ("flow", "describe", "f1"),
    ("flow", "history", "f1"),
    ("flow", "diff", "f1"),
    ("flow", "start", "-n", "b", "-i", "f1"),
    ("flow", "stop", "f1", "--dry-run"),
    ("blueprint", "list"),
    ("parameter-type", "get", "p"),
    ("processor", "list"),
    ("processor", "describe", "chunker"),
]


@pytest.mark.parametrize("args", READS, ids=" ".join)
def test_yaml_and_lines_say_what_json_says(flows, capsys, args):
    """Three forms of the same data; of a list, a line for each."""
    data: Any = json.loads(said(capsys, *args, "-o", "json"))
    assert data
    assert yaml.safe_load(said(capsys, *args, "-o", "yaml")) == data
    lines = said(capsys, *args, "-o", "jsonl").splitlines()
    assert [json.loads(line) for line in lines] == (data if isinstance(data, list) else [data])


def test_yaml_means_the_same_to_every_version_of_yaml(flows, capsys):
    """Texts that YAML 1.1 or 1.2 takes for something else are in quotes; our own reader has 1.2."""
    odd = {"a": "1e3", "b": "0o17", "c": "no", "d": "12:30", "e": "y", "f": "two\nlines\n"}
    flows.flows = [structs.replace(FLOW, record=structs.replace(FLOW.record, parameters=odd))]
    text = said(capsys, "flow", "get", "f1", "-o", "yaml")
    found = [entry for entry in entries(io.BytesIO(text.encode())) if entry.type == "parameters"]
    assert {entry.key: entry.value for entry in found} == odd
    assert yaml.safe_load(text)["parameters"] == odd


@pytest.mark.parametrize("args", READS, ids=" ".join)
def test_wide_has_all_that_a_table_has(flows, capsys, args):
    """Columns are added, none is taken away."""
    heads = [said(capsys, *args, "-o", form).splitlines()[0].split() for form in OUTPUTS[:2]]
    assert set(heads[0]) <= set(heads[1])


def test_every_command_that_prints_objects_knows_every_form():
    """Nobody has to try which ones; a stream of changes and a picture have forms of their own."""
    others = {}
    for path, command in commands():
        for parameter in command.params:
            if parameter.name == "output" and isinstance(parameter.type, click.Choice):
                others[path] = set(OUTPUTS) - set(parameter.type.choices)
    assert {path for path, missing in others.items() if missing} == {
        ("flow", "watch"),
        ("config", "watch"),
        ("config", "dump"),
        ("blueprint", "graph"),
        ("migrate",),
    }


# -- processors ----------------------------------------------------------------------------------


def test_processors_are_a_table(flows, capsys):
    """What each shall run, how much of it runs, and on how many instances."""
    assert said(capsys, "processor", "list").splitlines() == [
        "PROCESSOR  STATE     DESIRED  RUNNING  INSTANCES",
        "chunker    degraded        1        0          2",
    ]
    wide = said(capsys, "processor", "list", "-o", "wide").splitlines()[1].split()
    assert wide[5:] == ["2", "1", str(2**41), "größer,h"]
    assert said(capsys, "processor", "list", "-o", "name") == "chunker\n"


def test_a_processor_is_described_with_what_its_instances_say(flows, capsys):
    """Each instance, and each variant with the reason why it does not run."""
    text = said(capsys, "processor", "describe", "chunker")
    assert "state        degraded, 0 of 1 variants run" in text
    instance = next(line for line in text.splitlines() if line.startswith("c2  "))
    assert instance.split()[1:] == [str(2**41), "2", "1", "h", "f0"]
    assert "no such model (3 attempts since 2025-01-01T00:00:00.000Z)" in text
    assert flows.asked == [("get_processor", "chunker")]


def test_a_processor_as_data_has_everything(flows, capsys):
    """Nothing that is known of it is left out."""
    found = json.loads(said(capsys, "processor", "describe", "chunker", "-o", "json"))
    assert found["variants"][0]["instances"][1]["attempts"] == 3
    assert found["instances"][0] == {
        "instance": "c1",
        "observed-revision": 2**41,
        "pending": 0,
        "failed": 0,
        "host": "größer",
        "started": PROCESSOR.instances[0].started,
        "version": "1.0",
        "leaving": [],
    }
    assert found["instances"][1]["leaving"] == ["f0"]


# -- a terminal ----------------------------------------------------------------------------------


def on_a_terminal(args: str, **environ: str) -> str:
    """What comes out where stdout and stderr are a terminal."""
    code = f"import sys; from flowsvc.cli import main; {args}"
    ours, theirs = pty.openpty()
    known = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FLOWCTL_SERVER")}
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**known, "TERM": "xterm", **environ},
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 2**16):
                shown += chunk
        except OSError:
            pass  # the other side is closed
        finally:
            os.close(ours)
        assert process.wait() == 0
    return shown.decode().replace("\r\n", "\n")


TABLE = (
    "from flowsvc.cli.output import print_table; print_table(['ID', 'N'], [['f\\x1b[31m1', 20]])"
)


def test_the_head_of_a_table_is_bold_on_a_terminal():
    """And what others wrote has no power over it."""
    assert on_a_terminal(TABLE) == "\x1b[1mID           N\x1b[0m\nf\\x1b[31m1  20\n"


def test_no_color_is_plain_on_a_terminal():
    """As https://no-color.org has it."""
    assert on_a_terminal(TABLE, NO_COLOR="1") == "ID           N\nf\\x1b[31m1  20\n"


def test_a_pipe_gets_no_decoration():
    """Whatever reads it needs to know nothing of terminals."""
    code = f"import sys; {TABLE}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "ID           N\nf\\x1b[31m1  20\n"


WAIT = """
from flowsvc.cli.progress import latest
with latest() as tell:
    for text in ("", "f1: chunker", "f1: chunker", "f1: \\x1b[31mloader", ""):
        tell(text)
"""


@pytest.mark.parametrize("environ", [{}, {"NO_COLOR": "1"}], ids=["colour", "no-colour"])
def test_a_wait_is_one_line_on_a_terminal(environ):
    """It says the latest, and nothing of it is left at the end; the cursor is there again."""
    shown = on_a_terminal(WAIT, **environ)
    *_, end = shown.partition("f1: \\x1b[31mloader")
    assert "\x1b[1A\x1b[2K" in end, "up one line, and that wiped out"
    assert "\x1b[?25h" in end
    assert ("\x1b[32m" in shown) is not bool(environ)


def test_a_wait_is_lines_in_a_pipe():
    """On stderr, a line whenever something else lacks."""
    done = subprocess.run([sys.executable, "-c", WAIT], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert done.stderr.splitlines() == ["f1: chunker", "f1: \\x1b[31mloader"]


def test_usage_errors_are_readable_on_a_terminal():
    """What was wrong, and the way to help."""
    shown = on_a_terminal("assert main(['flow', 'stop']) == 2")
    assert "Missing argument 'ID'" in shown
    assert "flowctl flow stop -h" in shown or "flowctl flow stop --help" in shown
