"""A real etcd, started, restarted, killed and orphaned."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import kvconfig.devserver
from kvconfig.devserver import DevServer, EtcdStartFailed
from kvconfig.devserver.probe import PORTS, free_ports, is_healthy, server_version

SHIM = Path(kvconfig.devserver.__file__).with_name("shim.py")


def port_of(endpoint: str) -> int:
    host, _, port = endpoint.rpartition(":")
    assert host == "127.0.0.1"
    return int(port)


def program_of(pid: int | None) -> Path:
    return Path(f"/proc/{pid}/exe").resolve()


def answers(endpoint: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port_of(endpoint)), timeout=2).close()
    except OSError:
        return False
    return True


def is_running(pid: int) -> bool:
    """A zombie, which waits for somebody to reap it, does not run."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def eventually(condition, *, within_s=15.0):
    """Until it holds; fails when it does not in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not come to hold in time"
        time.sleep(0.01)


async def test_a_started_server_answers_on_a_port_of_its_own(etcd_binary, etcdctl):
    async with DevServer(etcd_binary) as server:
        assert port_of(server.endpoint) in PORTS
        assert server_version("127.0.0.1", port_of(server.endpoint)) == etcd_binary.version
        assert server.version == etcd_binary.version
        await etcdctl(server.endpoint, "put", "/a", "1")
        assert await etcdctl(server.endpoint, "get", "/a", "--print-value-only") == "1\n"


async def test_clients_that_ask_for_members_get_the_port_that_it_listens_on(etcd_binary, etcdctl):
    """Why ports are chosen by us: an etcd told to take port 0 announces port 0."""
    async with DevServer(etcd_binary) as server:
        members = json.loads(await etcdctl(server.endpoint, "member", "list", "-w", "json"))
        assert members["members"][0]["clientURLs"] == [f"http://{server.endpoint}"]


async def test_the_pid_is_that_of_etcd_itself(etcd_binary):
    """Nothing stands between us and it: signals by pid (SIGSTOP, SIGKILL) reach etcd."""
    async with DevServer(etcd_binary) as server:
        if sys.platform == "linux":
            assert program_of(server.pid) == etcd_binary.path.resolve()


async def test_leaving_ends_it_and_removes_what_was_temporary(etcd_binary):
    async with DevServer(etcd_binary) as server:
        pid, endpoint, folder = server.pid, server.endpoint, server.data_dir.parent
        assert server.log_path.parent == folder
        assert server.log_path.stat().st_size > 0
    assert server.pid is None
    assert pid is not None
    assert not is_running(pid)
    assert not answers(endpoint)
    assert not folder.exists()
    await server.close()  # again does no harm


async def test_restart_keeps_ports_and_data(etcd_binary, etcdctl, tmp_path):
    async with DevServer(etcd_binary, data_dir=tmp_path / "etcd") as server:
        endpoint, pid = server.endpoint, server.pid
        await etcdctl(endpoint, "put", "/kept", "yes")
        await server.restart()
        assert server.endpoint == endpoint
        assert server.pid != pid
        assert await etcdctl(endpoint, "get", "/kept", "--print-value-only") == "yes\n"
    assert (tmp_path / "etcd" / "member").is_dir(), "a data folder that was given stays"

    async with DevServer(etcd_binary, data_dir=tmp_path / "etcd") as another:
        assert await etcdctl(another.endpoint, "get", "/kept", "--print-value-only") == "yes\n"


async def test_kill_is_a_crash_and_start_brings_it_back(etcd_binary, etcdctl, tmp_path):
    if etcd_binary.version < (3, 5, 6):
        pytest.skip("this etcd can lose committed data when killed (etcd issue 13766)")
    async with DevServer(etcd_binary, data_dir=tmp_path / "etcd", durable=True) as server:
        endpoint = server.endpoint
        await etcdctl(endpoint, "put", "/kept", "yes")
        await server.kill()
        assert server.pid is None
        assert not answers(endpoint)
        await server.start()
        assert server.endpoint == endpoint
        assert await etcdctl(endpoint, "get", "/kept", "--print-value-only") == "yes\n"


async def test_a_frozen_server_can_still_be_stopped(etcd_binary):
    async with DevServer(etcd_binary) as server:
        pid = server.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        await server.stop()
        assert not is_running(pid)


async def test_inherited_variables_do_not_reach_it(etcd_binary, monkeypatch, tmp_path):
    """A machine that configures its own etcd by ETCD_* would break, or be broken by, ours."""
    monkeypatch.setenv("ETCD_NAME", "somebody-else")
    monkeypatch.setenv("ETCD_DATA_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("ETCD_LISTEN_CLIENT_URLS", "http://127.0.0.1:1")
    monkeypatch.setenv("ETCD_INITIAL_CLUSTER", "a=http://127.0.0.1:2,b=http://127.0.0.1:3")
    async with DevServer(etcd_binary) as server:
        assert is_healthy("127.0.0.1", port_of(server.endpoint))
    assert not (tmp_path / "elsewhere").exists()


async def test_fsync_is_skipped_only_where_data_may_be_lost(etcd_binary, caplog):
    async with DevServer(etcd_binary) as throwaway:
        assert "--unsafe-no-fsync" in throwaway.log_path.read_text()
    assert not caplog.records
    with caplog.at_level(logging.WARNING):
        async with DevServer(etcd_binary, durable=True) as durable:
            assert "--unsafe-no-fsync" not in durable.log_path.read_text()
    warned = [r for r in caplog.records if "can lose committed data" in r.getMessage()]
    assert len(warned) == (etcd_binary.version < (3, 5, 6))


async def test_a_start_that_fails_shows_the_log_and_leaves_nothing(
    etcd_binary, monkeypatch, tmp_path
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    server = DevServer(etcd_binary, extra_args=["--no-such-flag"])
    with pytest.raises(EtcdStartFailed) as caught:
        await server.start()
    assert caught.value.exit_code not in {None, 0}
    assert any("no-such-flag" in line for line in caught.value.log_tail)
    assert "no-such-flag" in str(caught.value)
    assert server.pid is None
    assert not list(tmp_path.iterdir())


async def test_a_start_without_an_answer_is_given_up(etcd_binary, tmp_path):
    server = DevServer(etcd_binary, data_dir=tmp_path / "etcd", start_timeout_s=0.0)
    with pytest.raises(EtcdStartFailed, match="no answer within 0 s"):
        await server.start()
    assert server.pid is None


async def test_a_port_taken_meanwhile_is_replaced(etcd_binary, monkeypatch):
    """Between our look at a port and etcd's use of it, somebody else may take it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        offers = [[taken.getsockname()[1], free_ports(1)[0]]]
        monkeypatch.setattr(
            "kvconfig.devserver.process.free_ports",
            lambda count: offers.pop() if offers else free_ports(count),
        )
        async with DevServer(etcd_binary) as server:
            assert not offers
            assert port_of(server.endpoint) != taken.getsockname()[1]


async def test_a_cancelled_start_leaves_nothing_running(etcd_binary, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    # Never healthy: the start would go on for ever.
    monkeypatch.setattr("kvconfig.devserver.process.is_healthy", lambda *_: False)
    server = DevServer(etcd_binary, start_timeout_s=60)
    starting = asyncio.create_task(server.start())
    await asyncio.to_thread(eventually, lambda: server.pid is not None)
    pid = server.pid
    assert pid is not None
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not is_running(pid)
    assert not list(tmp_path.iterdir())


async def test_starting_does_not_hold_up_the_loop(etcd_binary):
    """Everything slow is done in threads: the loop is never away for long."""
    pauses: list[float] = []

    async def tick() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            pauses.append(time.monotonic() - before)

    ticking = asyncio.create_task(tick())
    async with DevServer(etcd_binary) as server:
        await server.restart()
    ticking.cancel()
    await asyncio.wait([ticking])
    # A start takes half a second; a loop blocked by it would show one tick of that length.
    assert max(pauses) < 0.3


async def test_two_starts_of_one_server_are_refused(etcd_binary):
    async with DevServer(etcd_binary) as server:
        with pytest.raises(RuntimeError, match="already running"):
            await server.start()
        assert answers(server.endpoint)


def test_it_outlives_the_thread_and_the_loop_that_started_it(etcd_binary):
    """Linux ties a child to the *thread* that forked it; ours must live as long as the process."""
    server = DevServer(etcd_binary)
    starter = threading.Thread(target=lambda: asyncio.run(server.start()))
    starter.start()
    starter.join()
    try:
        assert server.pid is not None
        assert is_running(server.pid)
        assert is_healthy("127.0.0.1", port_of(server.endpoint))
    finally:
        asyncio.run(server.close())


ORPHAN = """
import asyncio, sys
from kvconfig.devserver import DevServer

async def main():
    async with DevServer(durable=sys.argv[1] == "durable") as server:
        print(server.pid, server.endpoint, server.data_dir.parent, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
@pytest.mark.parametrize("mode", ["throwaway", "durable"])
def test_it_ends_with_a_parent_that_was_killed(etcd_binary, tmp_path, mode):
    """SIGKILL leaves the parent no time to stop it; the kernel does it."""
    env = {**os.environ, "ETCD_BIN": str(etcd_binary.path), "TMPDIR": str(tmp_path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", ORPHAN, mode], stdout=subprocess.PIPE, text=True, env=env
    )
    with parent:
        assert parent.stdout is not None
        pid, endpoint, _folder = parent.stdout.readline().split()
        assert is_running(int(pid))
        assert answers(endpoint)
        parent.kill()
        parent.wait()
        eventually(lambda: not is_running(int(pid)))
        eventually(lambda: not answers(endpoint))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a process to its parent")
def test_a_parent_gone_before_the_tie_is_noticed():
    """The race of every such tie: the parent may end between the fork and the request."""
    somebody_else = "1" if os.getpid() != 1 else "2"
    done = subprocess.run(
        [sys.executable, "-I", "-S", SHIM, somebody_else, "9", "/bin/echo", "ran"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "gone already" in done.stderr


async def test_the_session_server_is_there(etcd_server, etcd_endpoint, etcdctl, root):
    """What other tests build on: one etcd for all, a root for each."""
    assert etcd_server.endpoint == etcd_endpoint
    await etcdctl(etcd_endpoint, "put", f"/{root}/x", "1")
    assert await etcdctl(etcd_endpoint, "get", f"/{root}/", "--prefix", "--keys-only") == (
        f"/{root}/x\n\n"
    )
