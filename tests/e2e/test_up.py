"""``flowctl up``, as a user has it: started, ended, killed and started again, on one folder."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvconfig.devserver import EtcdBinary
from kvconfig.devserver.probe import free_ports

PORTS = ("--port", "0", "--etcd-port", "0")
PATIENCE_S = 40
READY = "Ctrl-C ends all of it"
GROUP = """\
[[processor]]
class = "processors.samples.generic:Generic"
id = "greet"
"""
SEED = """\
flow-blueprint:
  greeter:
    flow:
      "greet:{id}": {topics: {input: "names:{id}"}}
flow:
  hello: {blueprint-name: greeter}
prompt:
  system: Be brief.
"""


def environ(**more: str) -> dict[str, str]:
    """Ours, without what would tell flowctl where to go."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FLOWCTL_", "ETCDCTL_EN"))}
    return {**kept, **more}


def flowctl(*args: str, **env: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "flowsvc.cli", *args],
        env=environ(**env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


class Up:
    """One ``flowctl up`` on free ports, and all that it has printed."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flowsvc.cli", "up", *self._data, *PORTS, *args],
            env=environ(PYTHONUNBUFFERED="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    @property
    def _data(self) -> tuple[str, str]:
        return ("--data", str(self.folder))

    def until(self, text: str) -> None:
        """Read on until it says so. If it does not in time, it is killed."""
        assert self.process.stdout is not None
        late = threading.Timer(PATIENCE_S, self.process.kill)
        late.start()
        try:
            for line in self.process.stdout:
                self.said.append(line)
                if text in line:
                    return
        finally:
            late.cancel()
            late.join()
        assert self.process.stderr is not None
        said = "".join(self.said) + self.process.stderr.read()
        pytest.fail(f"it ended, or {PATIENCE_S} s passed, before it said {text!r}:\n{said}")

    def pids(self) -> dict[str, int]:
        """The processes that it has started, by what they are."""
        rows = re.findall(r"^(etcd|flow service|processors).*process (\d+)", "".join(self.said), 8)
        return {name: int(pid) for name, pid in rows}

    def env(self) -> dict[str, str]:
        """What it says is to be exported."""
        code, out, err = flowctl("up", *self._data, "--print-env")
        assert (code, err) == (0, "")
        return dict(re.findall(r"^export (\w+)=(\S+)$", out, re.MULTILINE))

    def end(self, number: signal.Signals | None) -> tuple[int, str]:
        """Its exit code after that signal, and what it said on stderr beside warnings."""
        if number:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=40)
        self.said += out.splitlines(keepends=True)
        told = [line for line in err.splitlines() if not line.startswith("warning: etcd ")]
        return self.process.returncode, "\n".join(told)


def left_of(pids: dict[str, int], *, within_s: float = 0.0) -> list[str]:
    """Those that still run after that time. (A process that nobody waited for has no command.)"""

    def runs(pid: int) -> bool:
        try:
            return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
        except OSError:
            return False

    deadline = time.monotonic() + within_s
    while (left := [name for name, pid in pids.items() if runs(pid)]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.02)
    return left


@pytest.fixture
def folder(etcd_binary: EtcdBinary) -> Iterator[Path]:
    # Not tmp_path: the path of a Unix socket in it has to be short.
    path = Path(tempfile.mkdtemp(prefix="up-"))
    yield path / "data"
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def up(folder: Path) -> Iterator[Callable[..., Up]]:
    """Starts one on the folder. Those of a test that fails are killed."""
    started: list[Up] = []

    def start(*args: str) -> Up:
        started.append(Up(folder, *args))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    (tmp_path / "one.md").write_text(
        "A folder that is kept keeps the flows that were started. " * 40
    )
    return tmp_path


def test_a_second_life_runs_what_the_first_was_told(up, folder: Path, documents: Path):
    """Flows outlive Ctrl-C and SIGKILL of `up`, on the same ports; its processes neither."""
    server, etcd = free_ports(2)
    ports = ("--port", str(server), "--etcd-port", str(etcd))
    first = up(*ports)
    first.until(READY)
    pids = first.pids()
    assert set(pids) == {"etcd", "flow service", "processors"}
    env = first.env()
    start = ("flow", "start", "-n", "document-index", "-i", "docs")
    code, _, err = flowctl(*start, "--param", f"input-path={documents}", **env)
    assert (code, err) == (0, "")
    first.until("docs is running")
    code, _, err = flowctl("up", "--data", str(folder))
    assert code == 1
    assert f"as process {first.process.pid}" in err
    code, err = first.end(signal.SIGINT)
    assert (code, first.said[-1]) == (0, "ended\n"), err
    assert left_of(pids) == []

    second = up(*ports)
    second.until("docs is running")
    pids = second.pids()
    assert left_of(pids) == list(pids), "all of them run"
    assert second.end(signal.SIGKILL) == (-signal.SIGKILL, "")

    third = up(*ports)  # at once: it has to wait for what the second left behind
    third.until("docs is running")
    assert left_of(pids, within_s=15) == []
    assert flowctl("flow", "list", "-o", "name", **third.env()) == (0, "docs\n", "")
    assert third.end(signal.SIGTERM)[0] == 0
    assert left_of(third.pids()) == []
    logs = {"etcd.log", "processors.log", "service.log"}
    assert {file.name for file in folder.glob("*.log") if file.stat().st_size} == logs


def test_processors_and_seeds_of_ones_own(up, tmp_path: Path):
    """--group runs others than the samples, --bootstrap seeds flows and configuration for them."""
    (tmp_path / "group.toml").write_text(GROUP)
    (tmp_path / "seed.yaml").write_text(SEED)
    group = ("--group", str(tmp_path / "group.toml"))
    running = up(*group, "--bootstrap", str(tmp_path / "seed.yaml"))
    running.until("hello is running")
    env = running.env()
    assert flowctl("blueprint", "list", "-o", "name", **env) == (0, "greeter\n", "")
    code, out, _ = flowctl("config", "get", "prompt", "system", **env)
    assert code == 0
    assert "Be brief." in out
    assert running.end(signal.SIGTERM)[0] == 0


def test_what_ends_by_itself_ends_all(up):
    """A process of it that dies is named, with its last words, and nothing else stays."""
    running = up("--no-processors")
    running.until(READY)
    pids = running.pids()
    assert set(pids) == {"etcd", "flow service"}
    os.kill(pids["flow service"], signal.SIGKILL)
    code, err = running.end(None)
    assert code == 1
    assert err.startswith("error: the flow service ended by itself:\n")
    assert '"event":"listening"' in err
    assert running.said[-1] != "ended\n"
    assert left_of(pids) == []


def test_a_second_ctrl_c_ends_it_at_once(up):
    """Even where a process of it does not want to end."""
    running = up("--no-processors")
    running.until(READY)
    pids = running.pids()
    os.kill(pids["flow service"], signal.SIGSTOP)
    running.process.send_signal(signal.SIGINT)
    while "a second Ctrl-C" not in running.process.stderr.readline():
        assert running.process.poll() is None
    began = time.monotonic()
    assert running.end(signal.SIGINT)[0] == 0
    assert time.monotonic() - began < 10
    assert left_of(pids) == []


def test_a_port_that_is_taken_is_named(folder: Path):
    """Before anything is started, with the option that takes another."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for option in ("--port", "--etcd-port"):
            code, out, err = flowctl("up", "--data", str(folder), *PORTS, option, str(port))
            assert (code, out) == (2, "")
            assert f"port {port} of 127.0.0.1 is taken" in err
            assert f"{option} PORT" in err
    assert not (folder / "etcd").exists()


def test_nobody_to_talk_to(folder: Path):
    """--print-env without an `up` on the folder fails, and starts none."""
    code, out, err = flowctl("up", "--data", str(folder), "--print-env")
    assert (code, out) == (1, "")
    assert "does not run" in err
    assert not folder.exists()
