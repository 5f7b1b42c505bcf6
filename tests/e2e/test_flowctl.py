"""``flowctl`` against real processes: a flow service, and etcd without one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DEFINITION = {
    "description": "One processor of its own, one shared",
    "parameters": {"size": {"type": "size"}},
    "interfaces": {},
    "flow": {"chunker:{id}": {"topics": {"input": "in:{id}"}, "parameters": {"size": "{size}"}}},
    "blueprint": {"query:{blueprint}": {"topics": {"request": "ask:{blueprint}"}}},
}


def environ(**more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FLOWCTL_", "ETCDCTL_"))}
    return {**kept, **more}


class FlowCtl:
    """``flowctl`` in a process of its own, told by the environment where to go."""

    def __init__(self, **where: str) -> None:
        self._environ = environ(**where)

    def __call__(self, *args: str, stdin: str = "") -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "flowsvc.cli", *args],
            env=self._environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr


class Serve:
    """``flowctl serve``, and where it listens."""

    def __init__(self, endpoint: str, root: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flowsvc.cli", "serve", "--listen", "127.0.0.1:0"],
            env=environ(ETCDCTL_ENDPOINTS=endpoint, FLOWCTL_ROOT=root),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = ""
        assert self.process.stderr is not None
        for text in self.process.stderr:
            line = json.loads(text)
            if line["event"] == "listening":
                self.address = line["address"]
                break

    def end(self) -> tuple[int, list[str]]:
        """Its exit code after SIGTERM, and what it logged since."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=30)
        assert out == "", "the log goes to stderr"
        return self.process.returncode, [json.loads(line)["event"] for line in err.splitlines()]


@pytest.fixture
def serving(etcd_endpoint, root) -> Iterator[Serve]:
    serve = Serve(etcd_endpoint, root)
    yield serve
    if serve.process.poll() is None:
        serve.process.kill()
        serve.process.communicate()


def test_a_service_and_none_give_the_same(serving: Serve, etcd_endpoint, root, tmp_path: Path):
    """Through a flow service, and in process on etcd: the same answers, and the same errors."""
    served = FlowCtl(FLOWCTL_SERVER=serving.address)
    alone = FlowCtl(ETCDCTL_ENDPOINTS=etcd_endpoint, FLOWCTL_ROOT=root)
    file = tmp_path / "index.json"
    file.write_text(json.dumps(DEFINITION))
    size = '{"type": "integer", "default": 500}'
    assert served("parameter-type", "put", "size", "-", "-o", "name", stdin=size)[:2] == (
        0,
        "size\n",
    )
    assert alone("blueprint", "put", "index", str(file), "-o", "name") == (0, "index\n", "")
    assert served("flow", "start", "-n", "index", "-i", "f1", "--param", "size=7")[0] == 0
    assert alone("flow", "start", "-n", "index", "-i", "f2", "-p", '{"size": 8}')[0] == 0
    for args in (
        ["flow", "list"],
        ["flow", "list", "-o", "json"],
        ["flow", "get", "f1"],
        ["flow", "get", "f2", "-o", "json"],
        ["flow", "get", "nowhere"],
        ["flow", "start", "-n", "index", "-i", "f1"],
        ["flow", "start", "-n", "nowhere", "-i", "f3"],
        ["flow", "start", "-n", "index", "-i", "bad id"],
        ["flow", "stop", "nowhere"],
        ["blueprint", "list"],
        ["blueprint", "get", "index", "-o", "json"],
        ["blueprint", "put", "b", __file__],
        ["parameter-type", "list"],
        ["parameter-type", "get", "size", "-o", "json"],
    ):
        first, second = served(*args), alone(*args)
        assert first == second, args
    assert json.loads(alone("flow", "get", "f2", "-o", "json")[1])["parameters"] == {"size": "8"}
    assert served("flow", "stop", "f2", "-o", "name") == (0, "f2\n", "")
    assert alone("flow", "stop", "f1", "-o", "name") == (0, "f1\n", "")
    assert served("flow", "list", "-o", "name") == (0, "", "")


def test_the_same_request_twice_is_done_once(serving: Serve, tmp_path: Path):
    """With --op a command can be repeated after a lost answer: it says the same again."""
    flowctl = FlowCtl(FLOWCTL_SERVER=serving.address)
    file = tmp_path / "b.json"
    file.write_text('{"flow": {"a:{id}": {"topics": {}}}, "blueprint": {}, "interfaces": {}}')
    assert flowctl("blueprint", "put", "b", str(file))[0] == 0
    start = ["flow", "start", "-n", "b", "-i", "f1", "--op", "op-1"]
    first = flowctl(*start)
    assert first[0] == 0
    assert flowctl(*start)[:2] == first[:2]
    assert flowctl(*start[:-1], "op-2")[0] == 4


def test_serve_ends_in_order(serving: Serve):
    """SIGTERM: it says so, lets calls end, and its exit code is 0."""
    assert serving.address
    code, said = serving.end()
    about_etcd = "etcd has a known fault"  # what it says of the version that runs
    assert (code, [line for line in said if line != about_etcd]) == (0, ["stopping", "stopped"])


def test_serve_says_why_it_cannot(etcd_endpoint, unused_tcp_port):
    """A listening address beyond this machine is wrong usage; an etcd that is not there is 6."""
    flowctl = FlowCtl()
    code, out, err = flowctl("serve", "--endpoints", etcd_endpoint, "--listen", "0.0.0.0:0")
    assert (code, out) == (2, "")
    assert "loopback" in err
    code, out, err = flowctl("serve", "--endpoints", f"127.0.0.1:{unused_tcp_port}")
    assert (code, out) == (6, "")
    assert f"127.0.0.1:{unused_tcp_port} is not available" in err
    assert "Traceback" not in err


def test_nobody_there_is_unavailable(unused_tcp_port):
    """Exit code 6, with the address and the ways out."""
    code, out, err = FlowCtl(FLOWCTL_SERVER=f"127.0.0.1:{unused_tcp_port}")("flow", "list")
    assert (code, out) == (6, "")
    assert f"127.0.0.1:{unused_tcp_port}" in err
    assert "flowctl serve" in err
