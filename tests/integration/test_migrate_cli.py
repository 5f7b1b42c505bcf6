"""``flowctl migrate`` on a real etcd: what it prints, what it leaves, and with which exit code."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from flowsvc.cli import main
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from tests.migrating import everything, put_document

BLUEPRINT = {"flow": {"chunker:{id}": {"input": "flow:tg:in:{id}"}}, "blueprint": {}}
RECORD = {"blueprint-name": "b", "description": "", "interfaces": {}, "parameters": {}}
DOCUMENT: dict[str, Any] = {
    "flow-blueprint": {"b": BLUEPRINT},
    "flow": {"f1": RECORD},
    "active-flow": {"chunker": {"f1": {"input": "flow:tg:in:f1"}}},
    "prompt": {"system": "Be brief."},
}


class FlowCtl:
    """``flowctl migrate``, told where; what it said last is in ``out`` and ``err``."""

    def __init__(self, endpoint: str, root: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.endpoint, self.root, self._capsys = endpoint, root, capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> int:
        where = ("--endpoints", self.endpoint, "--root", self.root)
        code = main(["migrate", *arguments, *where])
        self.out, self.err = self._capsys.readouterr()
        return code

    def stands(self) -> dict[str, Any]:
        """Every key below the root."""

        async def look() -> dict[str, Any]:
            async with connect([self.endpoint]) as store:
                keys = await everything(store, Keyspace(self.root))
            base = len(f"/{self.root}/")
            return {key[base:].decode(): json.loads(kv.value) for key, kv in keys.items()}

        return asyncio.run(look())

    def put(self, document: dict[str, Any]) -> None:
        """The keys of an old system."""

        async def put() -> None:
            async with connect([self.endpoint]) as store:
                await put_document(store, Keyspace(self.root), document)

        asyncio.run(put())


@pytest.fixture
def flowctl(etcd_endpoint: str, root: str, capsys: pytest.CaptureFixture[str]) -> FlowCtl:
    return FlowCtl(etcd_endpoint, root, capsys)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(DOCUMENT))
    return path


def test_it_counts_on_stdout_and_tells_on_stderr(flowctl: FlowCtl, file: Path) -> None:
    """By type, what became of it; as it goes on, each thing with its revision."""
    assert flowctl(str(file)) == 0
    rows = [line.split() for line in flowctl.out.splitlines()]
    assert rows == [
        ["TYPE", "CREATED"],
        ["migration", "1"],
        ["flow-blueprint", "1"],
        ["prompt", "1"],
        ["flow", "1"],
    ]
    assert "flow/f1 adopted at revision" in flowctl.err
    assert flowctl.stands()["active-flow/chunker/f1"]["topics"] == {"input": "flow:tg:in:f1"}
    assert flowctl(str(file)) == 0
    assert flowctl.out.split()[:2] == ["TYPE", "EQUAL"]
    assert flowctl.err == ""


def test_what_is_not_carried_over_is_told_and_is_a_failure(flowctl: FlowCtl, file: Path) -> None:
    """Exit code 1, the rest done; as JSON the findings are in it, and stderr tells of them not."""
    active = {**DOCUMENT["active-flow"], "odd": {"x": {"input": "secret"}}}
    file.write_text(json.dumps({**DOCUMENT, "active-flow": active}))
    assert flowctl(str(file)) == 1
    assert "error: $.active-flow.odd.x: " in flowctl.err
    assert "secret" not in flowctl.err
    assert "flow/f1" in flowctl.stands()
    assert flowctl(str(file), "-o", "json") == 1
    said = json.loads(flowctl.out)
    assert [each["path"] for each in said["findings"]] == ["$.active-flow.odd.x"]
    assert said["outcomes"]["flow/f1"] == "equal"
    assert said["style"]["shape"] == "blob"
    assert "written" not in said


def test_a_dry_run_prints_the_keys_and_writes_none(flowctl: FlowCtl, file: Path) -> None:
    """As text by sign, as JSON with their values before and after."""
    assert flowctl(str(file), "--dry-run") == 0
    assert f"+ /{flowctl.root}/active-flow/chunker/f1" in flowctl.out.splitlines()
    assert "nothing was written" in flowctl.err
    assert "revision" not in flowctl.err, "those of a copy say nothing"
    assert flowctl(str(file), "--dry-run", "-o", "json") == 0
    written = {each["key"]: each for each in json.loads(flowctl.out)["written"]}
    assert written[f"/{flowctl.root}/flow/f1"]["before"] is None
    assert written[f"/{flowctl.root}/flow/f1"]["after"]["blueprint-name"] == "b"
    assert flowctl.stands() == {}


def test_in_place_a_dry_run_shows_what_goes(flowctl: FlowCtl) -> None:
    """Old keys with a minus, what is changed in its place with a tilde."""
    flowctl.put(DOCUMENT)
    before = flowctl.stands()
    assert flowctl("--from-etcd", "--dry-run") == 0
    lines = flowctl.out.splitlines()
    for line in ("- {}active-flow/chunker", "+ {}active-flow/chunker/f1", "~ {}flow/f1"):
        assert line.format(f"/{flowctl.root}/") in lines
    assert flowctl.stands() == before
    assert flowctl("--from-etcd") == 0
    assert "active-flow/chunker" not in flowctl.stands()


def test_a_document_beside_old_keys_is_a_conflict(flowctl: FlowCtl, file: Path) -> None:
    """Exit code 4: whoever reads both would run everything twice."""
    flowctl.put({"active-flow": DOCUMENT["active-flow"]})
    assert flowctl(str(file)) == 4
    assert "older layout" in flowctl.err
    assert flowctl(str(file), "--dry-run") == 4


def test_the_way_back_is_printed_or_written(flowctl: FlowCtl, file: Path, tmp_path: Path) -> None:
    """The document that was; to a file only where none is, so that nothing is overwritten."""
    assert flowctl(str(file)) == 0
    assert flowctl("--to", "blob") == 0
    assert json.loads(flowctl.out) == DOCUMENT
    assert flowctl("--to", "blob", str(file)) == 2
    assert "exists" in flowctl.err
    assert json.loads(file.read_text()) == DOCUMENT
    old = tmp_path / "old.json"
    assert flowctl("--to", "processor", str(old)) == 0
    assert flowctl.out == ""
    assert json.loads(old.read_text())["processor:chunker"] == {
        "f1": {"topics": {"input": "flow:tg:in:f1"}, "parameters": {}}
    }
    assert flowctl("--to", "interim", "--nested") == 0
    assert json.loads(flowctl.out)["active-flow"]["chunker:f1"]["parameters"] == {}
    assert flowctl("--to", "blob", "-") == 0
    assert json.loads(flowctl.out) == DOCUMENT


def test_who_did_it_is_in_the_history(flowctl: FlowCtl, file: Path) -> None:
    """And why: which file it came from."""
    assert flowctl(str(file), "--by", "me") == 0
    (entry,) = [
        value for key, value in flowctl.stands().items() if key.startswith("history/flow/f1/")
    ]
    assert (entry["action"], entry["by"], entry["why"]) == ("adopt", "me", f"migrate {file}")
