"""From a command line to processors: what is refused, and how it is said."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from click.testing import CliRunner

import processors
from kvconfig import jsonlog
from processors import CannotHost, FlowProcessor
from processors.cli import main
from processors.loading import load, load_all

GENERIC = "processors.samples.generic:Generic"


class NeedsArguments(FlowProcessor):
    """Cannot be made by a host."""

    id = "needs"

    def __init__(self, what: str) -> None:
        self.what = what


class Outer:
    """Holds a processor."""

    class Inner(FlowProcessor):
        """Reached through a dot."""

        id = "inner"


def test_load_finds_classes() -> None:
    """A class by its path, with its own id or another."""
    assert load("processors.samples.chunker:Chunker").id == "chunker"
    assert load("processors.samples.chunker:Chunker=other").id == "other"
    assert load(f"{__name__}:Outer.Inner").id == "inner"
    assert [one.id for one in load_all([f"{GENERIC}=a", f"{GENERIC}=b"])] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chunker", "'chunker' is not module:Class or module:Class=id"),
        (":Chunker", "is not module:Class"),
        ("no.such.module:C", "cannot import no.such.module: No module named 'no'"),
        ("processors.samples.chunker:Nope", "processors.samples.chunker has no Nope"),
        ("processors.samples.chunker:split", "is no subclass of FlowProcessor"),
        ("processors.spec:Parameter", "is no subclass of FlowProcessor"),
        (GENERIC, f"give it one: {GENERIC}=ID"),
        (f"{GENERIC}=a/b", "processor id 'a/b' is not allowed"),
        (f"{__name__}:NeedsArguments", "cannot be made without arguments"),
    ],
)
def test_what_cannot_be_hosted(text: str, said: str) -> None:
    """Each mistake says what is wrong with which argument."""
    with pytest.raises(CannotHost) as caught:
        load(text)
    assert said in str(caught.value)
    result = CliRunner().invoke(main, ["run", text])
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


def test_two_processors_with_one_id() -> None:
    """They would hear the same keys and hold the same status: refused, with both named."""
    with pytest.raises(CannotHost) as caught:
        load_all([f"{GENERIC}=a", "processors.samples.chunker:Chunker=a"])
    assert f"{GENERIC}=a and processors.samples.chunker:Chunker=a both have" in str(caught.value)


@pytest.mark.parametrize("args", [["--root", "staging"], ["--instance", "a/b"]])
def test_bad_options_are_usage_errors(args: list[str]) -> None:
    """Names are checked before anything starts."""
    result = CliRunner().invoke(main, ["run", f"{GENERIC}=a", *args])
    assert result.exit_code == 2
    assert "is not allowed" in result.output


def test_help_teaches() -> None:
    """Examples that can be copied."""
    result = CliRunner().invoke(main, ["run", "--help"])
    assert result.exit_code == 0
    assert "etcdctl put /active-flow/hello/f1" in result.output


def test_the_public_api_is_what_it_was() -> None:
    """Outsiders build on these names: a change of this list is a change of the API."""
    assert processors.__all__ == [
        "CannotHost",
        "Finding",
        "FlowProcessor",
        "Instance",
        "InvalidVariant",
        "Parameter",
        "Permanent",
        "ProcessorError",
        "Spec",
        "StartTimeout",
        "StopTimeout",
        "Tasks",
        "Value",
        "Variant",
        "run",
        "running",
    ]
    for name in processors.__all__:
        assert hasattr(processors, name)


@pytest.fixture
def root_logger() -> Iterator[None]:
    """Puts the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.mark.usefixtures("root_logger")
def test_json_lines() -> None:
    """One object a line, with the time of logging, the extra fields and the traceback."""
    out = io.StringIO()
    jsonlog.configure("json", out)
    log = logging.getLogger("some.module")
    log.debug("not shown")
    log.info("thing changed", extra={"revision": 7, "path": object, "text": "é\n"})
    try:
        raise ValueError("x")
    except ValueError:
        log.exception("thing failed")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert list(first)[:4] == ["time", "level", "event", "logger"]
    assert isinstance(first.pop("time"), float)
    assert first.pop("path") == str(object)
    assert first == {
        "level": "info",
        "event": "thing changed",
        "logger": "some.module",
        "revision": 7,
        "text": "é\n",
    }
    assert "ValueError: x" in second["exception"]
    assert second["level"] == "error"


@pytest.mark.usefixtures("root_logger")
def test_text_lines() -> None:
    """For people: no colours where nobody would see them."""
    out = io.StringIO()
    jsonlog.configure("text", out, "WARNING")
    logging.getLogger("a").info("not shown")
    logging.getLogger("a").warning("thing changed", extra={"revision": 7})
    (line,) = out.getvalue().splitlines()
    assert "thing changed" in line
    assert line.endswith("revision=7")
    assert "\x1b" not in line
