"""The files in ``deploy/``: each by its own schema or linter, and all by what the code does.

Tools that are absent: their tests are skipped, or fail with ``REQUIRE_LINTERS=1``.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from prometheus_client import Metric

import flowsvc.errors
import kvconfig.errors
from flowsvc.cli import flowctl
from flowsvc.cli.settings import DEFAULT_SERVER
from flowsvc.metrics import Metrics
from kvconfig.etcd import Access
from processors import FlowProcessor
from processors.loading import from_group, load_all
from processors.metrics import families
from processors.monitor import monitored
from tests.conftest import REPOSITORY
from tests.deployments import (
    ALERTS,
    DEPLOY,
    GROUP,
    UNITS,
    Process,
    compose,
    manifests,
    options,
    processes,
    unit,
)
from tests.unit.support_instances import idle

CLEANING_UP_S = 5
"""What a host needs beside its variants: it ends its session, and closes."""


def tool(name: str) -> str:
    """The path of a program: $NAME_BIN, beside this Python, or on PATH."""
    variable = f"{name.replace('-', '_').upper()}_BIN"
    path = os.environ.get(variable) or shutil.which(
        name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    )
    if path is None:
        if os.environ.get("REQUIRE_LINTERS") == "1":
            pytest.fail(f"no {name}, which REQUIRE_LINTERS=1 asks for", pytrace=False)
        pytest.skip(f"no {name} ({variable} names one)")
    return path


def run(*command: str | Path) -> str:
    """All that it says. It has to end well."""
    done = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


# -- by their own schemas and linters ------------------------------------------------------------


INSTALLED = [name.replace("@", "@pipeline") for name in UNITS]


@pytest.fixture
def analyze() -> str:
    """systemd's own checker."""
    return tool("systemd-analyze")


@pytest.fixture
def machine(analyze: str, tmp_path: Path) -> Path:
    """The root of a machine on which the units are installed, and what they start."""
    shutil.copytree("/lib/systemd/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    shutil.copytree(DEPLOY / "systemd", tmp_path / "etc/systemd/system")
    programs = tmp_path / "opt/kvconfig/bin"
    programs.mkdir(parents=True)
    for name in ("flowctl", "processors"):
        (programs / name).write_text("#!/bin/sh\n")
        (programs / name).chmod(0o755)
    return tmp_path


def test_systemd_finds_nothing_to_say(analyze: str, machine: Path):
    """It knows every section and setting of the units, and reads every value."""
    assert run(analyze, "verify", "--man=no", f"--root={machine}", *INSTALLED) == ""


@pytest.mark.parametrize("name", INSTALLED)
def test_systemd_shuts_them_in(analyze: str, machine: Path, name: str):
    """What they could do to their machine, in systemd's own points from 0 to 10: less than 2."""
    offline = ("security", "--no-pager", "--offline=true", f"--root={machine}")
    run(analyze, *offline, "--threshold=20", name)


def test_the_compose_file_meets_the_specification():
    """The schema of the Compose specification."""
    checker = tool("check-jsonschema")
    run(checker, "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_kubernetes_takes_the_manifests(version):
    """The schemas of its API, with no field that they do not know."""
    files = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
    out = run(tool("kubernetes-validate"), "--strict", "-k", version, *files)
    kinds = ("ConfigMap", "Deployment", "PodDisruptionBudget")
    assert out.count("passed") == sum(len(manifests(kind)) for kind in kinds)


def test_the_dockerfile_is_sound():
    """As hadolint sees it."""
    assert run(tool("hadolint"), DEPLOY / "Dockerfile") == ""


def test_every_alert_goes_off_in_time_and_only_then():
    """Prometheus reads all rules; on a system that is well none fires, on a broken one each."""
    promtool = tool("promtool")
    assert f"{len(rules())} rules found" in run(promtool, "check", "rules", ALERTS)
    cases = REPOSITORY / "tests" / "data" / "alerts.test.yaml"
    run(promtool, "test", "rules", cases)
    expected = re.findall(r"labels: '\{alertname=\"(\w+)\"\}'", cases.read_text("utf-8"))
    assert sorted(expected) == sorted(rule["alert"] for rule in rules())


# -- by the code: command lines ------------------------------------------------------------------


def named(found: Iterable[Process]) -> dict[str, Any]:
    return {"argvalues": (listed := list(found)), "ids": [process.where for process in listed]}


@pytest.mark.parametrize("process", **named(processes("flowctl")))
def test_the_flow_service_is_called_as_it_wants_to_be(process: Process, monkeypatch):
    """Its options exist; it is asked for its health where it listens, and has time to end."""
    given = options(process, monkeypatch)
    assert process.command[1] == "serve"
    assert given["listen"] == DEFAULT_SERVER
    assert given["endpoints"]
    assert set(process.probes) <= {given["listen"]}
    assert given["grace_s"] < process.stop_s
    assert process.writable == ()
    scraped(process, given)


@pytest.mark.parametrize("process", **named(processes("processors")))
async def test_processors_are_called_as_they_want_to_be(process: Process, monkeypatch):
    """Their options exist; their probes are answered; they can write, and have time to end."""
    given = options(process, monkeypatch)
    assert process.command[1] == "run"
    assert given["group"] == GROUP
    assert process.stop_s >= FlowProcessor.stop_timeout_s + CLEANING_UP_S
    (folder,) = process.writable
    assert str(given["state_file"].parent) == folder
    async with monitored(0) as monitor:
        with monitor.observe([idle("embeddings")]):
            for url in process.probes:
                path = url.removeprefix(f"http://127.0.0.1:{given['metrics_port']}/")
                answer = await asyncio.to_thread(monitor.get, f"/{path}")
                assert answer.status in {200, 503}, url
    if process.where.startswith("kubernetes"):
        assert len(process.probes) == 2
    scraped(process, given)


def scraped(process: Process, given: dict[str, Any]) -> None:
    """Prometheus reaches what has a network of its own; nobody from elsewhere a machine's port."""
    assert given["metrics_port"]
    assert given["metrics_address"] == ("0.0.0.0" if process.contained else "127.0.0.1")


class Asked(dict[str, str]):
    """An environment that knows what it was asked for."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        """Nothing is set."""
        self.names.add(name)
        return default


def test_the_units_say_where_they_look_for_things():
    """Their file of variables is one, and what is said to stand in it is what is read."""
    assert {unit(name)["EnvironmentFile"][0] for name in UNITS} == {"/etc/kvconfig/etcd.env"}
    said = set(re.findall(r"ETCDCTL_\w+", (DEPLOY / "systemd" / UNITS[0]).read_text("utf-8")))
    Access.from_environ(asked := Asked())
    assert said == asked.names


# -- by the code: what belongs together ----------------------------------------------------------


def test_groups_can_be_loaded(tmp_path: Path):
    """The group file, and the one in each ConfigMap that a host mounts."""
    assert [p.id for p in load_all(from_group(GROUP))] == ["embeddings", "document-rag"]
    texts = {
        name: text
        for found in manifests("ConfigMap")
        for name, text in found["data"].items()
        if name.endswith(".toml")
    }
    mounted = {
        Path(arg).name
        for process in processes("processors")
        if process.where.startswith("kubernetes")
        for arg in process.command
        if arg.endswith(".toml")
    }
    assert texts.keys() == mounted
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        assert [f"{p.id}.toml" for p in load_all(from_group(tmp_path / name))] == [name]


def test_the_way_to_etcd():
    """The ConfigMap reads as an etcd with certificates, which each pod mounts from its Secret."""
    (shared,) = [f for f in manifests("ConfigMap") if f["metadata"]["name"] == "kvconfig-etcd"]
    access = Access.from_environ(shared["data"])
    assert len(access.endpoints) == 3
    assert access.cacert is not None
    assert access.cert is not None
    assert access.key is not None
    for deployment in manifests("Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        secrets = {v["name"]: v["secret"] for v in pod["volumes"] if "secret" in v}
        assert secrets["etcd"]["secretName"] == f"{deployment['metadata']['name']}-etcd"
        mounts = {m["name"]: m["mountPath"] for m in pod["containers"][0]["volumeMounts"]}
        for file in (access.cacert, access.cert, access.key):
            assert str(file.parent) == mounts["etcd"]
        assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}


def test_prometheus_finds_each_pod():
    """Its annotations name the port where metrics are served, and so does the container."""
    ports = {
        process.where.removeprefix("kubernetes, "): arg.removeprefix("--metrics-port=")
        for process in (*processes("flowctl"), *processes("processors"))
        for arg in process.command
        if arg.startswith("--metrics-port=")
    }
    for deployment in manifests("Deployment"):
        template, port = deployment["spec"]["template"], ports[deployment["metadata"]["name"]]
        assert template["metadata"]["annotations"] == {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": port,
            "prometheus.io/path": "/metrics",
        }
        (container,) = template["spec"]["containers"]
        assert container["ports"] == [{"name": "metrics", "containerPort": int(port)}]


def test_selectors_find_their_pods():
    """Each Deployment its own, and each budget those of the Deployment of its name."""
    pods = {
        found["metadata"]["name"]: found["spec"]["template"]["metadata"]["labels"]
        for found in manifests("Deployment")
    }
    assert pods.keys() == {found["metadata"]["name"] for found in manifests("PodDisruptionBudget")}
    for kind in ("Deployment", "PodDisruptionBudget"):
        for found in manifests(kind):
            wanted = found["spec"]["selector"]["matchLabels"].items()
            matched = [name for name, labels in pods.items() if wanted <= labels.items()]
            assert matched == [found["metadata"]["name"]], kind


def test_the_container_is_one_user_everywhere():
    """The user that the image runs as owns the folder of state files, and is that of each pod."""
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    (user,) = re.findall(r"^USER (\d+):\1$", text, re.MULTILINE)
    assert f"install -d -o {user} -g {user} -m 0700 /var/lib/kvconfig" in text
    for deployment in manifests("Deployment"):
        security = deployment["spec"]["template"]["spec"]["securityContext"]
        assert {security[name] for name in ("runAsUser", "runAsGroup", "fsGroup")} == {int(user)}
    assert all(s.get("read_only") for name, s in compose().items() if name != "etcd")


def test_the_image_is_made_from_what_it_needs():
    """All that the Dockerfile and the wheel read is let in by the ignore file."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").split()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    project = (REPOSITORY / "pyproject.toml").read_text("utf-8")
    (packages,) = re.findall(r"\[tool.hatch.build.targets.wheel\]\npackages = \[(.*)\]", project)
    read = re.findall(r"(?:requirements|deploy)/\S+", (DEPLOY / "Dockerfile").read_text("utf-8"))
    needed = {*re.findall(r"\w+", packages), "pyproject.toml", "README.md", "LICENSE"}
    needed |= {name for name in read if name != "deploy/Dockerfile"}
    assert let_in == needed
    assert all((REPOSITORY / name).exists() for name in let_in)


# -- by the code: metrics ------------------------------------------------------------------------


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def series(found: Iterable[Metric]) -> set[str]:
    """The names under which Prometheus keeps them."""
    suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
    return {f"{metric.name}{suffix}" for metric in found for suffix in suffixes[metric.type]}


def test_alerts_rest_on_metrics_that_there_are():
    """Every metric of ours in a rule exists, and every state and outcome that it names."""
    exist = series(families([])) | series(Metrics().registry.collect())
    used = {name for rule in rules() for name in re.findall(r"\bkvconfig_\w+", rule["expr"])}
    assert used - exist == set()
    samples = [s for metric in families([idle("embeddings")]) for s in metric.samples]
    states = {s.labels["state"] for s in samples if "state" in s.labels}
    errors = {**vars(flowsvc.errors), **vars(kvconfig.errors)}
    for rule in rules():
        for label, values in re.findall(r'(state|outcome)=~?"([^"]+)"', rule["expr"]):
            known = states if label == "state" else {*errors, "done", "cancelled"}
            assert set(values.split("|")) <= known, rule["alert"]


def test_alerts_say_what_and_what_to_do():
    """Each has a summary, a description, and somebody to tell; our commands in them exist."""
    for rule in rules():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule["annotations"]) == {"summary", "description"}
        for words in re.findall(r"`flowctl ([a-z ]+)", rule["annotations"]["description"]):
            command: click.Command = flowctl
            for word in words.split():
                assert isinstance(command, click.Group), words
                command = command.commands[word]
