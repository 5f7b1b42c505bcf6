"""What an operator does to a cluster with etcdctl and etcdutl, for the scenarios."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from kvconfig.devserver import LocalCluster, Member

Etcdctl = Callable[..., Awaitable[str]]
ROOT = ("root", "root-password")
APP = ("app", "app-password")
ALLOWED = b"/r-"
"""What ``APP`` may read and write: everything that starts so."""


async def enable_auth(etcdctl: Etcdctl, endpoint: str) -> None:
    """Users ``ROOT``, who may do all, and ``APP``, who may touch ``ALLOWED`` only."""
    await etcdctl(endpoint, "user", "add", ":".join(ROOT))
    await etcdctl(endpoint, "user", "grant-role", "root", "root")
    await etcdctl(endpoint, "role", "add", "app")
    granted = ("readwrite", ALLOWED.decode(), "--prefix=true")
    await etcdctl(endpoint, "role", "grant-permission", "app", *granted)
    await etcdctl(endpoint, "user", "add", ":".join(APP))
    await etcdctl(endpoint, "user", "grant-role", "app", "app")
    await etcdctl(endpoint, "auth", "enable")


async def as_root(etcdctl: Etcdctl, endpoint: str, *args: str) -> str:
    """Once users are asked for."""
    return await etcdctl(endpoint, f"--user={':'.join(ROOT)}", *args)


async def restore(cluster: LocalCluster, member: Member, snapshot: Path, etcdctl: Path) -> None:
    """Give a member that does not run the data of a snapshot, in a folder of its own."""
    # From 3.5 on etcdutl does it, before that etcdctl.
    beside = etcdctl.with_name("etcdutl")
    tool = beside if beside.exists() else etcdctl
    member.data_dir = member.data_dir.with_name(f"{member.data_dir.name}-restored")
    process = await asyncio.create_subprocess_exec(
        tool,
        "snapshot",
        "restore",
        snapshot,
        f"--data-dir={member.data_dir}",
        f"--name={member.name}",
        f"--initial-cluster={cluster.initial_cluster}",
        f"--initial-advertise-peer-urls={member.peer_url}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, said.decode(errors="replace")
