"""``flowctl config``: what is put, shown, watched and refused, on a store in memory."""

from __future__ import annotations

import asyncio
import io
import json
import shlex
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flowsvc.cli import main, settings
from flowsvc.cli.settings import DEFAULT_SERVER, Settings
from kvconfig.config import Config, ConfigChange, ConfigChanges, ConfigItem
from kvconfig.errors import WatchEnded
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.model import Revision
from kvconfig.txn import Delete, Put, Txn
from tests.unit.cli.commands import commands


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


class Watched(Config):
    """Whose watches tell what they are told to, and then end by an error."""

    batches: tuple[ConfigChanges, ...] = ()

    async def changes(self, type_: str, key: str = "") -> AsyncGenerator[ConfigChanges, None]:
        for batch in self.batches:
            yield batch
        raise WatchEnded(f"of {type_}/{key}")


@pytest.fixture
def config(monkeypatch, opened, store) -> Watched:
    """What the commands get as the configuration."""
    made = Watched(store, Keyspace())

    @asynccontextmanager
    async def open_made(where: Settings) -> AsyncIterator[Config]:
        opened.append(where)
        yield made

    monkeypatch.setattr(settings, "open_config", open_made)
    return made


@pytest.fixture
def stands(config) -> None:
    """Some items, at revisions 2 and 3."""

    async def put() -> None:
        await config.put_many(
            {("prompt", "greeting"): {"text": "hellö"}, ("prompt", "a/b"): "Be\nbrief.\n"}
        )
        await config.put("token-cost", "gpt", 5)

    asyncio.run(put())


def run(capsys, *args: str, code: int = 0) -> tuple[str, str]:
    """What a command prints on stdout and on stderr."""
    capsys.readouterr()
    assert main(["config", *args]) == code, capsys.readouterr().err
    out, err = capsys.readouterr()
    return out, err


# -- looking -------------------------------------------------------------------------------------


def test_a_type_is_a_table(config, stands, capsys):
    """One item alone is shown whole; a table shows the beginning of each value."""
    asyncio.run(config.put("prompt", "long", "x" * 100))
    out, err = run(capsys, "get", "prompt")
    assert out.splitlines() == [
        "KEY       REVISION  VERSION  VALUE",
        'a/b              2        1  "Be\\nbrief.\\n"',
        'greeting         2        1  {"text":"hellö"}',
        f'long             4        1  "{"x" * 58}…',
    ]
    assert err == ""
    assert run(capsys, "get", "prompt", "greeting")[0].splitlines() == [
        "type      prompt",
        "key       greeting",
        "revision  2, version 1",
        "value",
        "{",
        '  "text": "hellö"',
        "}",
    ]
    assert run(capsys, "get", "none")[0].splitlines() == ["KEY  REVISION  VERSION  VALUE"]


def test_items_come_as_json_lines_values_and_names(stands, capsys):
    """An object for one, a list for several; a line each; texts as they are; names for xargs."""
    greeting = {
        "type": "prompt",
        "key": "greeting",
        "revision": 2,
        "version": 1,
        "value": {"text": "hellö"},
    }
    assert json.loads(run(capsys, "get", "prompt", "greeting", "-o", "json")[0]) == greeting
    assert json.loads(run(capsys, "get", "prompt", "-o", "json")[0])[1] == greeting
    lines = run(capsys, "get", "prompt", "-o", "jsonl")[0].splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["a/b", "greeting"]
    out, _ = run(capsys, "get", "prompt", "greeting", "a/b", "-o", "value")
    assert out == '{"text":"hellö"}\nBe\nbrief.\n\n'
    assert run(capsys, "get", "prompt", "-o", "name")[0] == "prompt/a/b\nprompt/greeting\n"
    assert run(capsys, "get", "none", "-o", "jsonl")[0] == ""
    assert run(capsys, "get", "prompt", "--under", "a", "-o", "name")[0] == "prompt/a/b\n"


def test_what_is_not_there_is_exit_code_3(stands, capsys):
    """Named on stderr; what is there is shown all the same."""
    out, err = run(capsys, "get", "prompt", "x", "greeting", "y", "-o", "name", code=3)
    assert out == "prompt/greeting\n"
    assert "configuration item 'prompt/x, prompt/y' does not exist" in err
    assert run(capsys, "get", "prompt", "x", code=3)[0] == ""
    assert run(capsys, "get", "prompt", "x", "y", "-o", "json", code=3)[0] == ""


def test_types_and_keys_are_listed(config, stands, capsys):
    """With who writes a type; of one type its keys."""
    asyncio.run(config.put_schema("prompt", {}))
    assert run(capsys, "list")[0].splitlines() == [
        "TYPE        WRITTEN BY",
        "prompt      operators",
        "schema      flowctl config schema",
        "token-cost  operators",
    ]
    assert run(capsys, "list", "prompt")[0].splitlines() == ["KEY", "a/b", "greeting"]
    assert run(capsys, "list", "prompt", "--under", "a", "-o", "name")[0] == "a/b\n"
    assert json.loads(run(capsys, "list", "-o", "json")[0]) == ["prompt", "schema", "token-cost"]


def test_everything_is_one_document(config, stands, capsys):
    """Types in order, a line for each item; the number and the revision are told on stderr."""
    out, err = run(capsys, "dump")
    assert out.splitlines() == [
        "{",
        ' "prompt": {',
        '  "a/b": "Be\\nbrief.\\n",',
        '  "greeting": {"text":"hellö"}',
        " },",
        ' "token-cost": {',
        '  "gpt": 5',
        " }",
        "}",
    ]
    assert json.loads(out)["token-cost"] == {"gpt": 5}
    assert err == "3 items at revision 3\n"
    assert json.loads(run(capsys, "dump", "token-cost")[0]) == {"token-cost": {"gpt": 5}}
    out, err = run(capsys, "dump", "none")
    assert (json.loads(out), err) == ({}, "0 items at revision 3\n")
    lines = run(capsys, "dump", "-o", "jsonl")[0].splitlines()
    assert [json.loads(line)["revision"] for line in lines] == [2, 2, 3]


def test_a_revision_of_before_can_be_asked_for(config, stands, capsys):
    """By every command that looks."""
    asyncio.run(config.put("prompt", "greeting", "later"))
    asyncio.run(config.delete("token-cost", "gpt"))
    at = ("--revision", "3")
    out, _ = run(capsys, "get", "prompt", "greeting", "-o", "value", *at)
    assert json.loads(out) == {"text": "hellö"}
    assert run(capsys, "list", "token-cost", "-o", "name", *at)[0] == "gpt\n"
    assert run(capsys, "list", "-o", "name", *at)[0].split() == ["prompt", "token-cost"]
    assert json.loads(run(capsys, "dump", *at)[0])["token-cost"] == {"gpt": 5}
    assert json.loads(run(capsys, "dump")[0])["prompt"]["greeting"] == "later"


def item(key: str, value: Any, revision: int) -> ConfigChange:
    made = ConfigItem(
        type="t", key=key, value=value, mod_revision=Revision(revision), version=revision
    )
    return ConfigChange(type="t", key=key, item=made)


def test_a_watch_is_a_line_for_each_change(config, capsys):
    """What stands, then what changes; values, deletes, and values that cannot be read."""
    config.batches = (
        ConfigChanges(revision=Revision(9), changes=(item("a", {"x": 1}, 7), item("b", "ü", 8))),
        ConfigChanges(revision=Revision(10), changes=(ConfigChange(type="t", key="a"),)),
        ConfigChanges(
            revision=Revision(11),
            changes=(ConfigChange(type="t", key="b", error="not \x1b JSON"), item("c", None, 11)),
        ),
    )
    out, err = run(capsys, "watch", "t", "k", code=1)
    assert out.splitlines() == [
        '7  t/a  {"x":1}',
        '8  t/b  "ü"',
        "10  t/a  (deleted)",
        "11  t/b  (cannot be read: not \\x1b JSON)",
        "11  t/c  null",
    ]
    assert err.splitlines() == [
        "2 items at revision 9; changes follow",
        "error: the watch ended: of t/k",
    ]
    out, _ = run(capsys, "watch", "t", "-o", "jsonl", code=1)
    assert [json.loads(line) for line in out.splitlines()] == [
        {"type": "t", "key": "a", "revision": 7, "version": 7, "value": {"x": 1}},
        {"type": "t", "key": "b", "revision": 8, "version": 8, "value": "ü"},
        {"type": "t", "key": "a", "revision": 10, "deleted": True},
        {"type": "t", "key": "b", "revision": 11, "error": "not \x1b JSON"},
        {"type": "t", "key": "c", "revision": 11, "version": 11, "value": None},
    ]


# -- changing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (['{"text": "hello"}'], {"text": "hello"}),
        (["5"], 5),
        (['"5"'], "5"),
        (["null"], None),
        (["--", "-5"], -5),
        (["5", "--text"], "5"),
        (["", "--text"], ""),
        (["--text", "--", "-x"], "-x"),
    ],
    ids=repr,
)
def test_a_value_is_json_unless_it_is_said_to_be_text(config, capsys, given, value):
    """It is never guessed: 5 is a number, and "5" a text."""
    assert run(capsys, "put", "t", "k", *given)[0] == "t/k put at revision 2\n"
    found = asyncio.run(config.get("t", "k"))
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize("value", ["hello", '{"text": "hello"', "", "NaN", "'x'", "5 6"])
def test_what_is_no_json_is_refused(config, capsys, value):
    """With the way to store a text; nothing is written."""
    _, err = run(capsys, "put", "t", "k", value, code=2)
    assert "Invalid value for VALUE: not JSON" in err
    assert "--text stores it as text" in err
    assert asyncio.run(config.types()) == []


def test_many_come_from_a_file_or_standard_input(config, store, capsys, tmp_path, monkeypatch):
    """Of one key, of one type, or of several types: all at one revision."""
    file = tmp_path / "f"
    file.write_text('{"a": 1, "b/c": {"d": [2]}}')
    assert run(capsys, "put", "t", "-f", str(file))[0] == "2 items put at revision 2\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"u": {"k": 1}, "v": {}}')))
    assert run(capsys, "put", "--file", "-", "-o", "name")[0] == "u/k\n"
    done = json.loads(run(capsys, "put", "t", "whole", "--file", str(file), "-o", "json")[0])
    assert done == {"items": ["t/whole"], "revision": 4}
    file.write_text("a text\nof two lines\n")
    run(capsys, "put", "t", "text", "--file", str(file), "--text")

    async def everything() -> dict[str, Any]:
        pages = [page async for page in config.everything()]
        return {f"{i.type}/{i.key}": (i.value, i.mod_revision) for page in pages for i in page}

    assert asyncio.run(everything()) == {
        "t/a": (1, 2),
        "t/b/c": ({"d": [2]}, 2),
        "t/text": ("a text\nof two lines\n", 5),
        "t/whole": ({"a": 1, "b/c": {"d": [2]}}, 4),
        "u/k": (1, 3),
    }
    assert store.revision == 5


def test_a_dump_can_be_put_again(config, stands, capsys, tmp_path):
    """It is in the form that put reads."""
    out, _ = run(capsys, "dump")
    (tmp_path / "all.json").write_text(out)
    run(capsys, "delete", "prompt", "greeting", "a/b")
    run(capsys, "put", "--file", str(tmp_path / "all.json"))
    assert run(capsys, "dump")[0] == out


def test_a_condition_that_does_not_hold_is_exit_code_4(stands, capsys, tmp_path):
    """Of a put, of many, and of a delete: nothing is done, and the revision that stands is told."""
    file = tmp_path / "f"
    file.write_text('{"gpt": 1, "new": 2}')
    for args in (
        ("put", "token-cost", "gpt", "6", "--if-revision", "0"),
        ("put", "token-cost", "--file", str(file), "--if-revision", "0"),
        ("delete", "token-cost", "gpt", "--if-revision", "2"),
    ):
        out, err = run(capsys, *args, code=4)
        assert out == ""
        assert "/token-cost/gpt is at mod_revision 3, expected" in err
    assert run(capsys, "put", "token-cost", "gpt", "6", "--if-revision", "3")[0]
    assert run(capsys, "put", "token-cost", "new", "6", "--if-revision", "0")[0]
    assert run(capsys, "delete", "token-cost", "gpt", "--if-revision", "4")[0]


def test_a_delete_says_what_was_not_there(store, stands, capsys):
    """With exit code 3, unless that is no error; what was there is gone all the same.

    It is one round trip: what the store says of its keys is what was not there.
    """
    before = store.calls.total()
    out, err = run(capsys, "delete", "prompt", "x", "greeting", "y", "x", code=3)
    assert store.calls.total() == before + 1
    assert out == ""
    assert err.splitlines()[0] == "1 of 3 items deleted at revision 4"
    assert "'prompt/x, prompt/y' does not exist" in err
    _, err = run(capsys, "delete", "prompt", "greeting", code=3)
    assert "'prompt/greeting' does not exist" in err
    gone = ("delete", "prompt", "greeting", "a/b", "--ignore-not-found")
    assert run(capsys, *gone) == ("2 items gone at revision 5\n", "")
    out, _ = run(capsys, "delete", "token-cost", "gpt", "-o", "json")
    assert json.loads(out) == {"items": ["token-cost/gpt"], "revision": 6}
    assert run(capsys, "list")[0].splitlines() == ["TYPE  WRITTEN BY"]


def test_a_schema_is_put_shown_and_taken_away(stands, capsys, tmp_path):
    """What it forbids is refused with the place; what stands there is named."""
    file = tmp_path / "schema.json"
    file.write_text('{"type": "integer", "maximum": 9}')
    out, err = run(capsys, "schema", "get", "token-cost", code=3)
    assert out == ""
    assert err.startswith("error: schema 'token-cost' does not exist\nhint: `flowctl config list")
    assert run(capsys, "schema", "put", "token-cost", str(file))[0] == (
        "schema/token-cost put at revision 4\n"
    )
    out, err = run(capsys, "schema", "get", "token-cost")
    assert (json.loads(out), err) == ({"type": "integer", "maximum": 9}, "at revision 4\n")
    _, err = run(capsys, "put", "token-cost", "gpt", "10", code=5)
    assert "is not as /schema/token-cost demands" in err
    assert "$: " in err
    _, err = run(capsys, "schema", "put", "prompt", str(file), code=4)
    assert "/prompt/a/b, /prompt/greeting" in err
    assert "schema/prompt put" in run(capsys, "schema", "put", "prompt", str(file), "--force")[0]
    run(capsys, "schema", "put", "prompt", str(file), "--force", "--if-revision", "1", code=4)
    assert run(capsys, "schema", "delete", "prompt", "-o", "name")[0] == "schema/prompt\n"
    run(capsys, "schema", "delete", "prompt", code=3)
    assert run(capsys, "schema", "delete", "prompt", "--ignore-not-found") == ("", "")
    for text in ('{"type": "objekt"}', "{"):
        file.write_text(text)
        _, err = run(capsys, "schema", "put", "tool", str(file), code=5)
        assert "/schema/tool at $" in err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["put", "flow", "f1", "{}"], "written by the flow service only"),
        (["delete", "schema", "prompt"], "written by flowctl config schema only"),
        (["put", "a/b", "k", "1"], "type 'a/b' is not allowed"),
        (["get", "t", "/"], "key '/' is not allowed"),
        (["list", "@x"], "type '@x' is not allowed"),
    ],
    ids=repr,
)
def test_what_can_never_work_is_exit_code_5(config, capsys, args, said):
    """With the rule, or the way that is meant for it."""
    assert said in run(capsys, *args, code=5)[1]


def test_what_cannot_be_read_is_left_out_and_told_with_its_cure(stands, store, capsys):
    """Exit code 1, and the rest is shown; what was mended as it says is told no more.

    One alone that cannot be read is an error, with exit code 5.
    """
    bad = {b"/prompt/a bad": b"{", b"/schema/x": b"", b"/flow/f1": b"1e999", b"/prompt/-": b"1"}
    asyncio.run(store.commit(Txn(then=tuple(Put(key, value) for key, value in bad.items()))))
    put = "`flowctl config put prompt 'a bad' VALUE`"
    delete = "`flowctl config delete prompt 'a bad'`"
    by_hand = "somebody wrote it by hand: read it, and delete it with etcdctl"
    of_prompt = [
        ("left out: /prompt/-: key '-' is not allowed: ", by_hand),
        ("left out: /prompt/a bad: not JSON: ", f"{put} replaces it, {delete} removes it"),
    ]
    of_all = [
        ("left out: /flow/f1: ", "the flow service should have written it: see `flowctl fsck`"),
        *of_prompt,
        ("left out: /schema/x: not JSON: ", "`flowctl config schema put x FILE` replaces it"),
    ]

    def check(expected: list[tuple[str, str]], lines: list[str]) -> None:
        for (begins, ends), line in zip(expected, lines, strict=True):
            assert (line[: len(begins)], line[-len(ends) - 2 :]) == (begins, f"; {ends}")

    out, err = run(capsys, "get", "prompt", "-o", "name", code=1)
    assert out == "prompt/a/b\nprompt/greeting\n"
    check(of_prompt, err.splitlines())
    out, err = run(capsys, "get", "prompt", "greeting", "a bad", "-o", "name", code=1)
    assert out == "prompt/greeting\n"
    check(of_prompt[1:], err.splitlines())
    _, err = run(capsys, "get", "prompt", "none", "a bad", code=3)
    assert "'prompt/none' does not exist" in err
    out, err = run(capsys, "list", "prompt", "-o", "name", code=1)
    assert out == "a bad\na/b\ngreeting\n"
    check(of_prompt[:1], err.splitlines())
    for output, read in (("json", json.loads), ("jsonl", str.splitlines)):
        out, err = run(capsys, "dump", "-o", output, code=1)
        assert len(read(out)) == {"json": 2, "jsonl": 3}[output]
        *told, last = err.splitlines()
        check(of_all, told)
        assert last == "3 items at revision 4; not complete: 4 left out"
    out, err = run(capsys, "get", "prompt", "a bad", code=5)
    assert (out, err.startswith("error: /prompt/a bad at $: not JSON: ")) == ("", True)

    run(capsys, "put", "prompt", "a bad", "1")
    _, err = run(capsys, "get", "prompt", code=1)
    check(of_prompt[:1], err.splitlines())
    asyncio.run(store.commit(Txn(then=(Delete(b"/prompt/-"), Put(b"/prompt/a bad", b"{")))))
    run(capsys, "delete", "prompt", "a bad")
    assert run(capsys, "get", "prompt")[1] == ""


@pytest.mark.parametrize(
    "args",
    [
        ["get"],
        ["get", "t", "k", "--under", "a"],
        ["get", "t", "--revision", "0"],
        ["list", "--under", "a"],
        ["put"],
        ["put", "t"],
        ["put", "t", "k"],
        ["put", "t", "k", "1", "2"],
        ["put", "t", "k", "1", "--file", __file__],
        ["put", "t", "--file", __file__],
        ["put", "t", "k", "--file", __file__],
        ["put", "t", "k", "1", "--if-revision", "-1"],
        ["put", "t", "k", "-5"],
        ["put", "--file", "no-such-file.json"],
        ["delete", "t"],
        ["watch"],
        ["watch", "t", "k", "l"],
        ["dump", "-o", "table"],
        ["schema", "put", "t"],
    ],
    ids=lambda args: " ".join(args).replace(__file__, "F"),
)
def test_wrong_usage_is_exit_code_2(config, opened, capsys, args):
    """It asks nobody, and prints nothing on stdout."""
    out, err = run(capsys, *args, code=2)
    assert out == ""
    assert "Usage: flowctl config" in err
    assert opened == []


def test_a_text_is_of_one_item(config, capsys):
    """Without a KEY it is refused for that, and not for being no JSON."""
    assert "--text needs a KEY" in run(capsys, "put", "t", "--text", "--file", __file__, code=2)[1]


@pytest.mark.parametrize("text", ["[1]", '"x"', '{"t": 1}', '{"t": [1]}'])
def test_many_must_come_as_objects(config, capsys, tmp_path, text):
    """Types of keys of values; anything else is wrong usage, with the shape."""
    file = tmp_path / "f"
    file.write_text(text)
    assert '{"type": {"key": value}}' in run(capsys, "put", "--file", str(file), code=2)[1]


@pytest.mark.parametrize(
    ("args", "server", "endpoints"),
    [
        ([], DEFAULT_SERVER, ()),
        (["--server", "a:1"], "a:1", ()),
        (["--endpoints", "c:3"], None, ("c:3",)),
        (["--server", "a:1", "--endpoints", "c:3"], "a:1", ("c:3",)),
    ],
)
def test_it_goes_where_all_of_flowctl_goes(  # noqa: PLR0917 - fixtures
    config, opened, capsys, args, server, endpoints
):
    """To a server, or with endpoints alone to etcd."""
    run(capsys, "list", *args, "--root", "@staging", "--timeout", "2.5")
    assert opened == [Settings(server=server, endpoints=endpoints, root="@staging", timeout_s=2.5)]


# -- examples ------------------------------------------------------------------------------------


def examples() -> Iterator[tuple[str, ...]]:
    for path, command in commands():
        if path[:1] == ("config",):
            lines = [line.partition(">")[0] for line in (command.help or "").splitlines()]
            yield from (
                tuple(shlex.split(line)[1:])
                for line in lines
                if line.strip().startswith("flowctl config ")
            )


@pytest.mark.parametrize("args", sorted(set(examples())), ids=" ".join)
def test_every_example_works(config, store, tmp_path: Path, monkeypatch, args):
    """What --help shows can be typed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prompts.json").write_text('{"greeting": "hello"}')
    (tmp_path / "prompt.schema.json").write_text("{}")
    (tmp_path / "system.txt").write_text("Be brief.")

    async def prepare() -> None:
        await config.put_many({("prompt", "greeting"): 1, ("tool", "search/web"): 1})
        await config.put_schema("prompt", {})
        while store.revision < 41:
            await config.put("t", "k", 1)
        assert await config.put("token-cost", "gpt", 1) == 42

    asyncio.run(prepare())
    assert main(list(args)) == (1 if "watch" in args else 0)
