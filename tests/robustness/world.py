"""A network of our own: one namespace for each member, one for the clients, and two switches.

Everything hangs on the left switch. Moving a plug to the right one cuts its owner off as a broken
cable would: packets vanish, nobody is told. The process that builds a world has been started in
namespaces of its own (see :func:`command`), so the machine's network is never touched, and all of
it is gone when the process is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence

LEFT, RIGHT = "left", "right"
CLIENT = "client"
CLIENT_PLUG = "plug-client"


def missing() -> str:
    """Why no world can be built here; empty where one can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for tool in ("ip", "unshare", "mount"):
        if shutil.which(tool) is None:
            return f"network namespaces need `{tool}`"
    trial = subprocess.run(
        ["unshare", "--net", "ip", "link", "add", "trial", "type", "bridge"],
        capture_output=True,
        check=False,
        text=True,
    )
    return f"no network namespaces here: {trial.stderr.strip()}" if trial.returncode else ""


def command(inside: Sequence[str]) -> list[str]:
    """The command line that runs ``inside`` where it may build a world."""
    return ["unshare", "--net", "--mount", "--", *inside]


class World:
    """``size`` members' namespaces, m0 and so on; clients are in the namespace of this process."""

    def __init__(self, size: int) -> None:
        self.names = tuple(f"m{index}" for index in range(size))
        self.hosts = tuple(f"10.0.0.{index + 1}" for index in range(size))
        # Names of namespaces are files in /run/netns: these are to be seen by nobody else.
        _run("mount", "-t", "tmpfs", "tmpfs", "/run")
        _ip("link", "set", "lo", "up")
        for switch in (LEFT, RIGHT):
            _ip("link", "add", switch, "type", "bridge")
            _ip("link", "set", switch, "up")
        for name, host in zip(self.names, self.hosts, strict=True):
            _ip("netns", "add", name)
            _ip("link", "add", f"plug-{name}", "type", "veth", "peer", "eth0", "netns", name)
            _ip("-n", name, "addr", "add", f"{host}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "link", "set", "eth0", "up")
        _ip("link", "add", CLIENT_PLUG, "type", "veth", "peer", "eth0")
        _ip("addr", "add", "10.0.0.100/24", "dev", "eth0")
        _ip("link", "set", "eth0", "up")
        self.heal()

    def within(self, name: str) -> tuple[str, ...]:
        """The start of a command line that runs in a member's namespace."""
        found = shutil.which("ip")
        assert found is not None
        return (found, "netns", "exec", name)

    def part(self, names: Iterable[str]) -> None:
        """These (members' names, or ``CLIENT``) on one side, all others on the other."""
        for name in names:
            _ip("link", "set", f"plug-{name}", "master", RIGHT)

    def heal(self) -> None:
        """All together again."""
        for name in (*self.names, CLIENT):
            _ip("link", "set", f"plug-{name}", "master", LEFT, "up")


def _ip(*args: str) -> None:
    _run("ip", *args)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
