"""The demo, as a user runs it: to its end, and to ends that come early. Nothing stays behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvconfig.devserver import EtcdBinary

MARK = "KVCONFIG_TEST_RUN"
BLUEPRINT: dict[str, Any] = {
    "name": "pair",
    "blueprint": {
        "description": "Two processors, one of them shared",
        "parameters": {"size": {"type": "size"}, "model": {"type": "model"}},
        "interfaces": {},
        "flow": {
            "chunker:{id}": {"topics": {"input": "in:{id}"}, "parameters": {"size": "{size}"}},
            "left:{id}": {"topics": {}, "parameters": {"model": "{model}"}},
            "right:{id}": {"topics": {}},
        },
        "blueprint": {"llm:{blueprint}": {"topics": {"request": "llm:{blueprint}"}}},
    },
    "parameter-type": {
        "size": {"type": "integer", "default": 500},
        "model": {"type": "string", "required": True},
    },
}


class Demo:
    """Runs ``flowctl demo``; knows its processes, and theirs, by a mark in the environment."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self._mark = uuid.uuid4().hex
        self.environ = {**os.environ, MARK: self._mark, "TMPDIR": str(scratch)}

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "flowsvc.cli", "demo", *args],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *args: str) -> tuple[int, str, str]:
        began = time.monotonic()
        with self.start(*args) as process:
            out, err = process.communicate(timeout=100)
        print(f"flowctl demo {' '.join(args)}: {time.monotonic() - began:.1f} s")
        return process.returncode, out, err

    def processes(self) -> list[str]:
        """The command lines of all processes that carry the mark."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environ = (folder / "environ").read_bytes().split(b"\0")
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:  # it has ended, or is another user's
                continue
            if f"{MARK}={self._mark}".encode() in environ and command:
                found.append(command)
        return found

    def check_nothing_is_left(self, *, within_s: float = 0.0, files: bool = True) -> None:
        deadline = time.monotonic() + within_s
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert left == []
        if files:
            assert list(self.scratch.iterdir()) == []


@pytest.fixture
def demo(etcd_binary: EtcdBinary) -> Iterator[Demo]:
    # Not tmp_path: the path of a Unix socket has to be short.
    scratch = Path(tempfile.mkdtemp(prefix="demo-"))
    yield Demo(scratch)
    shutil.rmtree(scratch, ignore_errors=True)


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    folder = tmp_path / "documents"
    folder.mkdir()
    paragraph = "A transaction puts every key of a flow at one revision, or none of them. "
    (folder / "one.md").write_text(paragraph * 40)
    (folder / "two.txt").write_text("Watches tell each processor of its own keys. " * 40)
    return folder


@pytest.fixture
def blueprint(tmp_path: Path) -> Path:
    file = tmp_path / "pair.json"
    file.write_text(json.dumps(BLUEPRINT))
    return file


def section(out: str, title: str) -> list[str]:
    """The lines below a title, up to the next empty line."""
    lines = out.splitlines()
    (start,) = (n for n, line in enumerate(lines) if line.startswith(title))
    end = next((n for n in range(start, len(lines)) if not lines[n]), len(lines))
    return lines[start + 1 : end]


def who_heard(out: str) -> dict[str, list[str]]:
    """By processor: what it heard of each transaction, without the times."""
    rows = section(out, "Who heard what")
    head = next(n for n, row in enumerate(rows) if row.startswith("processor"))
    cells = [re.split(r"\s{2,}", row) for row in rows[head + 1 :]]
    return {name: [re.sub(r" [-+][0-9.]+", "", cell) for cell in heard] for name, *heard in cells}


# -- to its end ----------------------------------------------------------------------------------


def test_the_document_index(demo: Demo, documents: Path):
    """Two flows over real text: one revision each, a search answered, one stopped, all ended."""
    code, out, err = demo.run("--input", str(documents), "--query", "every transaction")
    assert (code, err) == (0, "")
    demo.check_nothing_is_left()

    small = section(out, "flowctl flow start -n document-index -i small")
    large = section(out, "flowctl flow start -n document-index -i large")
    assert any(
        re.match(r"at revision \d+ +all 10 keys: 1 record, 3 own variants, 2 s", s) for s in small
    )
    assert any(
        re.match(r"at revision \d+ +all 8 keys: 1 record, 3 own variants, 2 r", s) for s in large
    )
    assert all(any("; 1 round trip from" in line for line in lines) for lines in (small, large))
    assert any("not put again: gateway/document-index, query/" in line for line in large)

    printed = section(out, "etcdctl get --prefix /active-flow/")
    assert printed[::2] == [
        f"/active-flow/{name}"
        for name in (
            "chunker/large", "chunker/small", "gateway/document-index", "indexer/large",
            "indexer/small", "loader/large", "loader/small", "query/document-index",
        )
    ]  # fmt: skip
    assert json.loads(printed[3])["parameters"] == {"chunk-overlap": "40", "chunk-size": "400"}

    found = section(out, "Search for 'every transaction'")
    chunks = [int(n) for line in found for n in re.findall(r"2 documents in (\d+) chunks", line)]
    assert len(chunks) == 2
    assert chunks[0] > chunks[1]
    assert sum("one.md (chunk" in line for line in found) >= 2

    left = section(out, "etcdctl get --prefix --keys-only /active-flow/")
    assert [key for key in left if key.endswith("/small")] == []
    assert {"/active-flow/query/document-index", "/active-flow/chunker/large"} <= set(left)
    assert who_heard(out) == {
        "loader": ["put", "put", "delete", "delete"],
        "chunker": ["put", "put", "delete", "delete"],
        "indexer": ["put", "put", "delete", "delete"],
        "query": ["put", "·", "·", "delete"],
        "gateway": ["put", "·", "·", "delete"],
        "chunk": ["·", "·", "·", "·"],
    }


def test_another_blueprint(demo: Demo, blueprint: Path):
    """Any blueprint, with a processor that does nothing for each id, and parameters given."""
    for params in ("model=m,size=7", '{"model": "m", "size": 7}'):
        code, out, err = demo.run("--blueprint", str(blueprint), "--params", params)
        assert (code, err) == (0, "")
        demo.check_nothing_is_left()
        printed = section(out, "etcdctl get --prefix /active-flow/")
        values = dict(zip(printed[::2], map(json.loads, printed[1::2]), strict=True))
        assert values["/active-flow/chunker/f1"]["parameters"] == {"size": "7"}
        assert values["/active-flow/left/f2"]["parameters"] == {"model": "m"}
        assert who_heard(out) == {
            **{id_: ["put", "put", "delete", "delete"] for id_ in ("chunker", "left", "right")},
            "llm": ["put", "·", "·", "delete"],
            "chunk": ["·", "·", "·", "·"],
        }


@pytest.mark.slow
def test_real_blueprints(demo: Demo, shared_data: Path):
    """Every blueprint that we have of TrustGraph's; the second run's time is printed."""
    files = sorted((shared_data / "blueprints").glob("*.json"))
    assert files
    for file in files:
        code, out, err = demo.run("--blueprint", str(file))
        assert (code, err) == (0, ""), file.name
        demo.check_nothing_is_left()
        definition = json.loads(file.read_text())["blueprint"]
        own = {key.partition(":")[0] for key in definition["flow"]}
        heard = who_heard(out)
        assert {id_ for id_, cells in heard.items() if cells[2] != "·"} == own


# -- ends that come early ------------------------------------------------------------------------


def test_a_failure_midway_ends_everything(demo: Demo, blueprint: Path):
    """A parameter that is missing is found when all runs: the error is told, and all ends."""
    code, out, err = demo.run("--blueprint", str(blueprint))
    assert code == 5
    assert "flowctl flow start" in out
    assert "model" in err
    assert "Traceback" not in err
    demo.check_nothing_is_left()


def test_a_variant_that_does_not_run_is_told(demo: Demo, documents: Path):
    """A processor that cannot do its work is named with its reason, and all ends."""
    code, _, err = demo.run("--input", str(documents), "--params", "chunk-size=5,chunk-overlap=9")
    assert code == 1
    assert "chunker" in err
    assert "chunk-overlap" in err
    demo.check_nothing_is_left()


def test_no_documents_is_wrong_usage(demo: Demo, tmp_path: Path):
    """A folder without documents is refused before anything starts."""
    empty = tmp_path / "empty"
    empty.mkdir()
    code, out, err = demo.run("--input", str(empty))
    assert (code, out) == (2, "")
    assert "give --input" in err
    demo.check_nothing_is_left()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)]
)
def test_a_demo_that_is_ended_takes_all_with_it(demo: Demo, documents: Path, number, code):
    """Asked to end, interrupted or killed in the middle: no process of it stays."""
    with demo.start("--input", str(documents)) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("processor host"):
                break
        assert len(demo.processes()) == 4, "the demo, etcd, the flow service, the host"
        process.send_signal(number)
        process.stdout.read()
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(30) == code
    assert "Traceback" not in said
    demo.check_nothing_is_left(within_s=15, files=number is not signal.SIGKILL)
