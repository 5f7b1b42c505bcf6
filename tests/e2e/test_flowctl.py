"""``flowctl`` against real processes: a flow service, and etcd without one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowsvc.cli import main
from kvconfig.etcd import connect
from kvconfig.txn import Put, Txn
from tests.privileges import Place

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

    def __init__(self, place: Place, *args: str) -> None:
        args = args or ("--listen", "127.0.0.1:0")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flowsvc.cli", "serve", *args],
            env=environ(**place.environ("service")),
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


Told = tuple[int, str, str]


@pytest.fixture
def quick(loop, monkeypatch, capsys) -> Callable[..., Callable[..., Told]]:
    """``flowctl`` in this process: what a process of its own does, without its start-up."""

    def going_to(**where: str) -> Callable[..., Told]:
        def flowctl(*args: str) -> Told:
            with monkeypatch.context() as patch:
                for name in set(os.environ) - environ().keys():
                    patch.delenv(name)
                for name, value in where.items():
                    patch.setenv(name, value)
                capsys.readouterr()
                code = main(args)
            return (code, *capsys.readouterr())

        return flowctl

    return going_to


@pytest.fixture
def serving(place: Place) -> Iterator[Serve]:
    serve = Serve(place)
    yield serve
    if serve.process.poll() is None:
        serve.process.kill()
        serve.process.communicate()


def test_a_service_and_none_give_the_same(serving: Serve, quick, place: Place, tmp_path: Path):
    """Through a flow service, and in process on etcd: the same answers, and the same errors."""
    to_service = {"FLOWCTL_SERVER": serving.address}
    to_etcd = place.environ("service")
    served, alone = FlowCtl(**to_service), FlowCtl(**to_etcd)
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
    quickly_served, quickly_alone = quick(**to_service), quick(**to_etcd)
    for args in (
        ["flow", "list"],
        ["flow", "list", "-o", "wide"],
        ["flow", "list", "-o", "json"],
        ["flow", "describe", "f1"],
        ["flow", "describe", "f2", "-o", "json"],
        ["flow", "history", "f1"],
        ["flow", "history", "f2", "-o", "json"],
        ["flow", "history", "nowhere"],
        ["flow", "diff", "f1"],
        ["flow", "update", "f1", "--param", "size=9", "--dry-run", "-o", "name"],
        ["flow", "update", "f1", "--param", "size=9", "--check-revision", "1"],
        ["flow", "resume", "f1"],
        ["flow", "rollback", "f1", "--to", "nowhere"],
        ["flow", "rollout", "-n", "nowhere"],
        ["flow", "wait", "nowhere"],
        ["blueprint", "delete", "index"],
        ["blueprint", "history", "index"],
        ["parameter-type", "delete", "size"],
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
        first, second = quickly_served(*args), quickly_alone(*args)
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


# -- the life of a flow --------------------------------------------------------------------------


@pytest.fixture(params=["in process", "through a service"])
def flowctl(request, quick, place: Place) -> Callable[..., Told]:
    """``flowctl`` on etcd, or on a service on it."""
    where = place.environ("service")
    if request.param == "through a service":
        where = {"FLOWCTL_SERVER": request.getfixturevalue("serving").address}
    flowctl: Callable[..., Told] = quick(**where)
    return flowctl


@pytest.fixture
def index(flowctl, tmp_path: Path) -> str:
    """A blueprint, stored, with its parameter type."""
    for name, value in (("index", DEFINITION), ("size", {"type": "integer", "default": 500})):
        (tmp_path / name).write_text(json.dumps(value))
    assert flowctl("parameter-type", "put", "size", str(tmp_path / "size"))[0] == 0
    assert flowctl("blueprint", "put", "index", str(tmp_path / "index"), "--op", "put-1")[0] == 0
    return "index"


def answer(flowctl: Callable[..., Told], *args: str) -> Any:
    code, out, err = flowctl(*args, "-o", "json")
    assert code == 0, err
    return json.loads(out)


def test_the_whole_life_of_a_flow(flowctl, index):
    """Start, look, change, look back, go back, pause, resume, stop; and back once more."""
    assert flowctl("flow", "start", "-n", index, "-i", "f1", "--op", "op-1")[0] == 0
    update = ["flow", "update", "f1", "--param", "size=8", "--why", "larger"]
    code, out, _ = flowctl(*update, "--dry-run")
    assert (code, out.splitlines()[:2]) == (
        0,
        ["~ chunker/f1", '    ~ $.parameters.size: "500" -> "8"'],
    )
    assert "  put " in out
    preview = answer(flowctl, *update, "--dry-run")
    assert [change["variant"] for change in preview["changes"]] == ["f1"]
    assert flowctl("flow", "get", "f1")[1].count("size = 500") == 1
    checked = ["--check-revision", str(preview["check-revision"])]
    assert flowctl(*update, "--op", "op-2", *checked)[0] == 0
    assert flowctl(*update, "--dry-run")[1].splitlines()[-1] == "nothing would be written"
    code, _, err = flowctl("flow", "update", "f1", "--param", "size=9", *checked)
    assert (code, "stale" in err) == (4, True)
    entries = answer(flowctl, "flow", "history", "f1")
    assert [(entry["op"], entry["why"]) for entry in entries] == [("op-2", "larger"), ("op-1", "")]
    assert flowctl("flow", "diff", "f1", "-o", "name")[1].split() == [
        "$.record.given.size",
        "$.record.parameters.size",
        "$.variants.chunker/f1.parameters.size",
    ]
    assert flowctl("flow", "rollback", "f1", "--to", "op-1", "--op", "op-3")[0] == 0
    assert answer(flowctl, "flow", "diff", "f1", "op-1")["differences"] == []
    assert flowctl("flow", "rollback", "f1", "--to", "nowhere")[0] == 3
    assert flowctl("flow", "pause", "f1")[0] == 0
    assert flowctl("flow", "pause", "f1")[0] == 4
    assert answer(flowctl, "flow", "describe", "f1")["status"]["state"] == "paused"
    assert flowctl("flow", "resume", "f1")[0] == 0
    assert flowctl("flow", "restart", "f1")[0] == 0
    assert flowctl("flow", "rollout", "-n", index, "-p", '{"size": 10}', "--strict")[0] == 0
    assert flowctl("flow", "stop", "f1", "--op", "op-9")[0] == 0
    assert flowctl("flow", "rollback", "f1", "--to", "op-2")[0] == 0
    assert answer(flowctl, "flow", "get", "f1")["parameters"] == {"size": "8"}
    pruned = answer(flowctl, "flow", "history", "prune", "--older-than", "1h", "f1")
    assert pruned == {"removed": 0, "found": 10, "dry-run": False}
    assert flowctl("flow", "history", "nowhere")[0] == 3


def test_definitions_come_and_go(flowctl, index, tmp_path: Path):
    """Guarded by those who use them, unless forced; and back by their history."""
    assert flowctl("flow", "start", "-n", index, "-i", "f1")[0] == 0
    code, _, err = flowctl("blueprint", "delete", index)
    assert (code, "flow/f1" in err, "--force" in err) == (4, True, True)
    (tmp_path / "other").write_text(json.dumps({**DEFINITION, "description": "another"}))
    put = ["blueprint", "put", index, str(tmp_path / "other")]
    assert flowctl(*put)[0] == 4
    assert flowctl(*put, "--force", "--dry-run")[0] == 0
    assert flowctl(*put, "--force")[0] == 0
    assert flowctl("blueprint", "diff", index, "-o", "name") == (0, "$.description\n", "")
    assert flowctl("blueprint", "delete", index, "--force", "-o", "name")[:2] == (0, "index\n")
    assert flowctl("flow", "stop", "f1")[0] == 0
    assert flowctl("blueprint", "rollback", index, "--to", "put-1")[0] == 0
    assert answer(flowctl, "blueprint", "get", index)["definition"] == DEFINITION
    actions = [entry["action"] for entry in answer(flowctl, "blueprint", "history", index)]
    assert actions == ["rollback", "delete", "put", "put"]


def test_wait_until_it_runs(flowctl, index, loop, place: Place):
    """7 while nobody runs its processors, 0 once instances say that they do."""
    assert flowctl("flow", "start", "-n", index, "-i", "f1")[0] == 0
    code, out, err = flowctl("flow", "wait", "f1", "--timeout", "50ms")
    assert (code, out) == (7, "")
    assert "nobody runs processor chunker, query" in err.splitlines()[0]
    revision = answer(flowctl, "flow", "get", "f1")["revision"]
    loop.run(_report(place, revision))
    assert flowctl("flow", "wait", "f1", "--everywhere", "--revision", str(revision)) == (
        0,
        "f1 is running\n",
        "",
    )
    assert flowctl("flow", "list", "-o", "wide")[1].splitlines()[1].split()[:2] == ["f1", "running"]
    assert answer(flowctl, "flow", "describe", "f1")["status"]["missing"] == []


async def _report(place: Place, revision: int) -> None:
    """Say what an instance of each processor would, once it runs all up to a revision."""
    status = {"observed-revision": revision, "host": "h", "started": "t", "version": "1"}
    value = json.dumps(status).encode()
    async with connect(place.access("host")) as store:
        keys = [place.keyspace.processor(name, "i1") for name in ("chunker", "query")]
        await store.commit(Txn(then=tuple(Put(key, value) for key in keys)))


def test_watch_tells_of_changes_until_interrupted(serving: Serve, quick, tmp_path: Path):
    """A line for each change, at once, as JSON; then Ctrl-C."""
    flowctl = quick(FLOWCTL_SERVER=serving.address)
    (tmp_path / "b").write_text('{"flow": {"a:{id}": {"topics": {}}}}')
    assert flowctl("blueprint", "put", "b", str(tmp_path / "b"))[0] == 0
    assert flowctl("flow", "start", "-n", "b", "-i", "f1")[0] == 0
    with subprocess.Popen(
        [sys.executable, "-m", "flowsvc.cli", "flow", "watch", "f1", "-o", "jsonl"],
        env=environ(FLOWCTL_SERVER=serving.address),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watch:
        assert watch.stdout is not None
        first = json.loads(watch.stdout.readline())
        assert (first["flow"], first["state"], first["missing"]) == ("f1", "starting", ["a"])
        for verb, state in (("pause", "paused"), ("resume", "starting"), ("stop", "stopped")):
            assert flowctl("flow", verb, "f1")[0] == 0
            assert json.loads(watch.stdout.readline())["state"] == state
        watch.send_signal(signal.SIGINT)
        out, err = watch.communicate(timeout=30)
        assert (watch.returncode, out) == (130, "")
        assert "Traceback" not in err
