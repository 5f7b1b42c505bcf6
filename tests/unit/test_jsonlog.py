"""Log lines, for machines and for people, and what a task says of all of its own."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kvconfig import jsonlog

pytestmark = pytest.mark.usefixtures("root_logger")
log = logging.getLogger("some.module")


@pytest.fixture
def root_logger() -> Iterator[None]:
    """Puts the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_json_lines() -> None:
    """One object a line, with the time of logging, the extra fields and the traceback."""
    out = io.StringIO()
    jsonlog.configure("json", out)
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


@pytest.fixture
def lines() -> Callable[[], list[dict[str, Any]]]:
    """What was logged so far as JSON, without what every line has."""
    out = io.StringIO()
    jsonlog.configure("json", out)

    def read() -> list[dict[str, Any]]:
        found = [json.loads(line) for line in out.getvalue().splitlines()]
        return [
            {k: v for k, v in line.items() if k not in ("time", "level", "logger")}
            for line in found
        ]

    return read


async def test_what_a_task_is_about_is_in_its_lines_and_in_those_of_its_tasks(lines) -> None:
    """Also in a task that it starts; not before, nor in whoever started it."""

    async def inner() -> None:
        log.info("deep")

    async def outer() -> None:
        log.info("before")
        jsonlog.about(processor="p", revision=3)
        log.info("in it")
        await asyncio.create_task(inner())

    await asyncio.create_task(outer())
    log.info("outside")
    about = {"processor": "p", "revision": 3}
    assert lines() == [
        {"event": "before"},
        {"event": "in it", **about},
        {"event": "deep", **about},
        {"event": "outside"},
    ]


async def test_a_task_adds_to_what_it_was_started_with(lines) -> None:
    """What it says later counts for itself, and for the tasks that it starts from then on."""

    async def inner(started: asyncio.Event) -> None:
        await started.wait()
        jsonlog.about(variant="inner")
        log.info("inner")

    async def outer() -> None:
        started = asyncio.Event()
        jsonlog.about(processor="p", revision=3)
        early = asyncio.create_task(inner(started))
        await asyncio.sleep(0)
        jsonlog.about(revision=4)
        started.set()
        await early
        log.info("outer")

    await asyncio.create_task(outer())
    assert lines() == [
        {"event": "inner", "processor": "p", "revision": 3, "variant": "inner"},
        {"event": "outer", "processor": "p", "revision": 4},
    ]


async def test_the_fields_of_a_line_count_more(lines) -> None:
    """A line that is about something else says so; the next one is as before."""

    async def task() -> None:
        jsonlog.about(processor="p", revision=3)
        log.info("other", extra={"revision": 7})
        log.info("own")

    await asyncio.create_task(task())
    assert lines() == [
        {"event": "other", "processor": "p", "revision": 7},
        {"event": "own", "processor": "p", "revision": 3},
    ]


async def test_people_are_told_too() -> None:
    """A line of text has the same fields."""
    out = io.StringIO()

    async def task() -> None:
        jsonlog.about(processor="p")
        log.info("thing changed")

    jsonlog.configure("text", out)
    await asyncio.create_task(task())
    assert out.getvalue().rstrip().endswith("processor=p")
