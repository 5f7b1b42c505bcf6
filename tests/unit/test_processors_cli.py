"""``processors run`` before anything runs: what it teaches, and what it refuses."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner

from processors.cli import main
from processors.loading import from_group

GENERIC = "processors.samples.generic:Generic"
CHUNKER = "processors.samples.chunker:Chunker"


def refused(*args: str) -> str:
    """What it says of wrong usage, in one line."""
    result = CliRunner().invoke(main, ["run", *args])
    assert result.exit_code == 2, result.output
    return " ".join(result.output.split())


@pytest.fixture
def group(tmp_path: Path) -> Path:
    file = tmp_path / "group.toml"
    file.write_text(f'[[processor]]\nclass = "{CHUNKER}"')
    return file


def test_help_teaches(tmp_path: Path) -> None:
    """Examples that can be copied; the group file is one."""
    result = CliRunner().invoke(main, ["run", "--help"])
    assert result.exit_code == 0
    assert "etcdctl put /active-flow/hello/f1" in result.output
    assert "httpGet: {path: /readyz, port: 9100}" in result.output
    example = tmp_path / "pipeline.toml"
    paragraphs = dedent(result.output).split("\n\n")
    (text,) = [text for text in paragraphs if "[[processor]]" in text]
    example.write_text(text.partition("\n")[2])
    chunker, loader = from_group(example)
    assert (chunker.path, chunker.id) == ("my.pipeline:Chunker", None)
    assert (loader.path, loader.id) == ("my.pipeline:Loader", "loader-docs")
    assert loader.arguments == {"folder": "docs"}


def test_describe_tells_what_is_declared(group: Path) -> None:
    """For each processor of arguments and group its id and the types that it reads; as JSON."""
    talking = "tests.integration.talking_processor:Talking"
    result = CliRunner().invoke(main, ["describe", f"{talking}=t", "--group", str(group)])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == [
        {"id": "t", "config": ["prompt"]},
        {"id": "chunker", "config": []},
    ]
    refusal = CliRunner().invoke(main, ["describe", GENERIC])
    assert refusal.exit_code == 2
    assert f"give it one: {GENERIC}=ID" in refusal.output


def test_something_is_to_run(tmp_path: Path) -> None:
    """No processor at all is a mistake, and so is a group that is not there."""
    assert "which processors? give a PROCESSOR, or --group FILE" in refused()
    assert f"'{tmp_path}/nope' does not exist" in refused("--group", f"{tmp_path}/nope")


def test_an_id_is_for_one_processor(group: Path) -> None:
    """With several it says how each gets its own; nothing is guessed."""
    several = "--id is for one PROCESSOR: of several, each is given as PROCESSOR=ID"
    assert several in refused("--id", "a", f"{GENERIC}=b", CHUNKER)
    assert several in refused("--id", "a", GENERIC, "--group", str(group))
    assert several in refused("--id", "a", "--group", str(group))
    assert f"{GENERIC}=b has an id of its own already" in refused("--id", "a", f"{GENERIC}=b")
    assert "processor id 'a/b' is not allowed" in refused("--id", "a/b", GENERIC)


def test_what_cannot_be_hosted(group: Path) -> None:
    """A mistake in an argument or a group file is wrong usage; both are looked at together."""
    assert f"give it one: {GENERIC}=ID" in refused(GENERIC)
    group.write_text("[[processors]]")
    assert f"{group} at $: Object contains unknown field" in refused("--group", str(group))
    group.write_text(f'[[processor]]\nclass = "{CHUNKER}"')
    both = f"{GENERIC}=chunker and {group}, processor 1 both have the id 'chunker'"
    assert both in refused(f"{GENERIC}=chunker", "--group", str(group))


@pytest.mark.parametrize("args", [["--root", "staging"], ["--instance", "a/b"]])
def test_bad_options_are_usage_errors(args: list[str]) -> None:
    """Names are checked before anything starts."""
    assert "is not allowed" in refused(f"{GENERIC}=a", *args)


def test_a_metrics_port_in_use_is_wrong_usage() -> None:
    """It is said before anything starts, with the option that it is about."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
        said = refused(f"{GENERIC}=a", "--metrics-port", port)
    assert f"--metrics-port {port} at 127.0.0.1: Address already in use" in said


def test_metrics_need_what_the_base_install_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said how to get it."""
    for name in ("processors.monitor", "processors.metrics"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    said = refused(f"{GENERIC}=a", "--metrics-port", "0")
    assert "--metrics-port needs prometheus-client: pip install 'kvconfig[service]'" in said
