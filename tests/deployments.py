"""What stands in ``deploy/``, taken apart: each process of ours there, and what is around it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
import pytest
import yaml

from flowsvc.cli import flowctl
from processors.cli import main as processors
from tests.conftest import REPOSITORY

__all__ = [
    "ALERTS",
    "DEPLOY",
    "GROUP",
    "UNITS",
    "Process",
    "compose",
    "etcd_command",
    "manifests",
    "options",
    "processes",
    "unit",
]

DEPLOY = REPOSITORY / "deploy"
GROUP = DEPLOY / "pipeline.toml"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
UNITS = ("kvconfig-flow.service", "kvconfig-processors@.service")


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process of ours. ``stop_s``: how long it may take to end before it is killed.

    ``probes``: the URLs, and the addresses of gRPC, at which it is asked for its health.
    ``environ``: what it is given; ``writable``: the folders it may write to. ``contained``: its
    network is its own, not that of the machine.
    """

    where: str
    command: tuple[str, ...]
    stop_s: float
    probes: tuple[str, ...] = ()
    environ: Mapping[str, str]
    contained: bool
    writable: tuple[str, ...] = ()

    @property
    def program(self) -> str:
        """``flowctl`` or ``processors``."""
        return self.command[0].rpartition("/")[2]


def processes(program: str) -> list[Process]:
    """All of one program."""
    found = [*_of_systemd(), *_of_compose(), *_of_kubernetes()]
    assert {process.program for process in found} == {"flowctl", "processors"}
    return [process for process in found if process.program == program]


def options(process: Process, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command would be called with: click has read and checked all its arguments."""
    group: click.Group = {"flowctl": flowctl, "processors": processors}[process.program]
    # The group file of this repository, for one that is not there until it is deployed.
    args = [re.sub(r"/etc/kvconfig/\S+\.toml", str(GROUP), arg) for arg in process.command[1:]]
    leaf = group.commands[args[0]]
    with monkeypatch.context() as patch:
        patch.setattr(leaf, "callback", lambda **given: given)
        for name in ("ETCDCTL_ENDPOINTS", "FLOWCTL_LISTEN", "FLOWCTL_ROOT"):
            patch.delenv(name, raising=False)
        for name, value in process.environ.items():
            patch.setenv(name, value)
        found: dict[str, Any] = group.main(args, process.program, standalone_mode=False)
    return found


# -- systemd -------------------------------------------------------------------------------------


def unit(name: str) -> dict[str, list[str]]:
    """All settings of a unit, whatever their section; each may be there several times."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "systemd" / name).read_text("utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def _of_systemd() -> Iterator[Process]:
    for name in UNITS:
        found = unit(name)
        settings = shlex.split(" ".join(found.get("Environment", ())))
        environ = dict(setting.split("=", 1) for setting in settings)
        (text,) = found["ExecStart"]
        folders = [f"%S/{folder}" for folder in found.get("StateDirectory", ())]
        for variable, value in environ.items():
            text = text.replace(f"${{{variable}}}", value)
        yield Process(
            where=name,
            command=tuple(shlex.split(_specified(text))),
            stop_s=float(found["TimeoutStopSec"][0]),
            environ={**environ, "ETCDCTL_ENDPOINTS": "etcd1:2379"},
            contained=False,
            writable=tuple(map(_specified, folders)),
        )


def _specified(text: str) -> str:
    return text.replace("%S", "/var/lib").replace("%i", "pipeline")


# -- Compose -------------------------------------------------------------------------------------


def compose() -> dict[str, Any]:
    """The services of the Compose file."""
    services: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))[
        "services"
    ]
    return services


def etcd_command() -> list[str]:
    """How the Compose file starts etcd."""
    command: list[str] = compose()["etcd"]["command"]
    return command


def _of_compose() -> Iterator[Process]:
    for name, service in compose().items():
        if name == "etcd":
            continue
        mounts = [mount.split(":") for mount in service.get("volumes", ())]
        yield Process(
            where=f"compose.yaml, {name}",
            command=tuple(re.sub(r"\$\{\w+:-(.*?)\}", r"\1", arg) for arg in service["command"]),
            stop_s=float(service["stop_grace_period"].removesuffix("s")),
            probes=tuple(_asked(service["healthcheck"]["test"][1:])),
            environ=service["environment"],
            contained=service.get("network_mode") != "host",
            writable=tuple(mount[1] for mount in mounts if mount[2:] != ["ro"]),
        )


def _asked(command: Sequence[str]) -> list[str]:
    """Whom ``ready.py`` asks."""
    program, script, target = command
    assert (program, script) == ("python", "/opt/kvconfig/bin/ready.py")
    return [target]


# -- Kubernetes ----------------------------------------------------------------------------------


def manifests(kind: str) -> list[dict[str, Any]]:
    """All objects of that kind."""
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    objects = [found for file in files for found in yaml.safe_load_all(file.read_text("utf-8"))]
    return [found for found in objects if found["kind"] == kind]


def _of_kubernetes() -> Iterator[Process]:
    configured = {found["metadata"]["name"]: found["data"] for found in manifests("ConfigMap")}
    for deployment in manifests("Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        (source,) = container["envFrom"]
        yield Process(
            where=f"kubernetes, {deployment['metadata']['name']}",
            command=tuple(container["command"]),
            stop_s=pod["terminationGracePeriodSeconds"],
            probes=tuple(_probed(container)),
            environ=configured[source["configMapRef"]["name"]],
            contained=True,
            writable=tuple(
                mount["mountPath"]
                for mount in container["volumeMounts"]
                if not mount.get("readOnly")
            ),
        )


def _probed(container: Mapping[str, Any]) -> Iterator[str]:
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", ())}
    for name in ("livenessProbe", "readinessProbe"):
        probe = container.get(name, {})
        if "exec" in probe:
            yield from _asked(probe["exec"]["command"])
        elif "httpGet" in probe:
            get = probe["httpGet"]
            yield f"http://127.0.0.1:{ports[get['port']]}{get['path']}"
