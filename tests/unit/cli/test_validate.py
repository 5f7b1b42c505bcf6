"""``flowctl blueprint validate`` and ``parameter-type validate``: files alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowsvc.cli import main

GOOD = '{"flow": {"p:{id}": {"topics": {"input": "in:{id}"}}}, "blueprint": {}}'
BAD = '{"flow": {"p": {"topics": {"input": 7}}}}'


def test_what_is_good_is_said_to_be(capsys, tmp_path: Path):
    """Nothing on stdout but the head of the table; how many are valid on stderr."""
    file = tmp_path / "b.json"
    file.write_text(GOOD)
    assert main(["blueprint", "validate", str(file)]) == 0
    out, err = capsys.readouterr()
    assert out.split() == ["FILE", "SEVERITY", "PATH", "MESSAGE"]
    assert err == "1 of 1 valid\n"


def test_all_that_is_wrong_comes_at_once(capsys, tmp_path: Path):
    """Every file, every finding with its path; the exit code is that of invalid input."""
    for name, text in {"good": GOOD, "bad": BAD, "none": "not json"}.items():
        (tmp_path / name).write_text(text)
    files = [str(tmp_path / name) for name in ("good", "bad", "none")]
    assert main(["blueprint", "validate", *files, "-o", "jsonl"]) == 5
    out, err = capsys.readouterr()
    found = [json.loads(line) for line in out.splitlines()]
    assert {each["file"] for each in found} == set(files[1:])
    assert "$.flow.p.topics.input" in {each["path"] for each in found}
    assert err == "1 of 3 valid\n"


def test_warnings_are_errors_only_if_asked(capsys, tmp_path: Path):
    """A default outside its own enum is a warning."""
    file = tmp_path / "type.json"
    file.write_text('{"type": "string", "enum": ["a"], "default": "b"}')
    assert main(["parameter-type", "validate", str(file), "-o", "name"]) == 0
    assert main(["parameter-type", "validate", str(file), "--strict"]) == 5
    out, _ = capsys.readouterr()
    assert "warning" in out


@pytest.mark.parametrize("text", ["type: integer", "[]"])
def test_a_bad_type_is_refused(tmp_path: Path, text):
    """As a put would refuse it."""
    file = tmp_path / "type.json"
    file.write_text(text)
    assert main(["parameter-type", "validate", str(file)]) == 5
