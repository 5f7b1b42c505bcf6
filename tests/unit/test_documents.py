"""What runs documents: all is done as it stands, and whatever is not as shown is found."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests import documents
from tests.documents import Command, DocumentError, File, agrees, parse, reader, run

FILE = "In `hello.py`:\n\n```python\nprint('hello')\n```\n"


def console(*lines: str) -> str:
    return "\n".join(["```console", *lines, "```", ""])


@pytest.fixture
def perform(tmp_path: Path, monkeypatch):
    """Run a document in a folder of its own."""

    def perform(*parts: str, ports: dict[int, int] | None = None, patience_s: float = 10.0) -> Path:
        monkeypatch.setattr(documents, "PATIENCE_S", patience_s)
        folder, programs = tmp_path / "folder", tmp_path / "programs"
        folder.mkdir()
        programs.mkdir()
        document = tmp_path / "guide.md"
        document.write_text("\n".join(parts))
        run(document, folder, reader(programs), ports=ports or {})
        return folder

    return perform


# -- what a document says -------------------------------------------------------------------------


def test_files_and_commands_in_order():
    """Each with its place; a command with its further lines, and with what is shown below it."""
    text = FILE + console("$ cat <<END", "> one", "> END", "one", "> two", "$ ls")
    assert parse(text, "guide.md") == [
        File(place="guide.md:3", name="hello.py", text="print('hello')\n"),
        Command(place="guide.md:7", text="cat <<END\none\nEND", shown="one\n> two\n"),
        Command(place="guide.md:12", text="ls", shown=""),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```rust\nfn main() {}\n```", "guide.md:1: a block of rust is neither"),
        ("- in a list:\n\n  ```\n  ls\n  ```", "guide.md:3: a block of no language is neither"),
        ("Indented:\n\n    ls\n", "guide.md:3: a block of no language is neither"),
        ("```json\n{}\n```", "guide.md:1: the paragraph above"),
        ("In `a.json`.\n```json\n{}\n```", "guide.md:2: the paragraph above"),
        ("```console\nls\n```", "guide.md:2: a console begins"),
        ("```console\n```", "guide.md:2: a console begins"),
        ("<!-- not run: -->\n```rust\n```", "guide.md:2: a block of rust is neither"),
    ],
)
def test_no_block_is_passed_over(text: str, problem: str):
    """One that is neither written nor run is an error, wherever it stands."""
    with pytest.raises(DocumentError) as caught:
        parse(text, "guide.md")
    assert str(caught.value).startswith(problem)


def test_a_reason_excuses_a_block():
    """What is not run says why, to whoever reads the source."""
    assert parse("<!-- not run: needs a cluster -->\n\n```rust\n```\n", "guide.md") == []


# -- what is shown, and what came -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        ("", ""),
        ("a  b\n", "a  b  \n\n"),
        ("at revision ...\n", "at revision 12\n"),
        ("{...} at ... s\n", "{} at 0.1 s\n"),
        ("a\n...\nz\n", "a\nz\n"),
        ("a\n...\nz\n", "a\nb\nc\nz\n"),
        ("...\n", ""),
    ],
)
def test_as_shown(shown: str, came: str):
    """Dots stand for what varies, white space at the end does not count."""
    assert agrees(shown, came)


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        ("", "a\n"),
        ("a\n", ""),
        ("a\n", "a\nb\n"),
        ("a b\n", "a  b\n"),
        ("a...z\n", "a\nz\n"),
        ("a.c\n", "abc\n"),
        ("a\n...\nz\n", "a\nb\n"),
    ],
)
def test_not_as_shown(shown: str, came: str):
    """Whatever is more, less or other."""
    assert not agrees(shown, came)


# -- running it -----------------------------------------------------------------------------------


def test_a_document_is_done_as_it_stands(perform):
    """Files are written, and one shell runs all commands, as a terminal does."""
    folder = perform(
        FILE,
        console("$ python hello.py", "hello", "$ export WHO=me", "$ mkdir sub && cd sub"),
        console("$ echo $WHO > who", "$ cat nowhere", "cat: nowhere: ...", "$ echo $?", "1"),
    )
    assert (folder / "sub" / "who").read_text() == "me\n"


def test_what_does_not_come_is_shown_with_its_place(perform):
    """The difference; a line whose dots stand for what came is none."""
    with pytest.raises(DocumentError) as caught:
        perform(FILE, console("$ seq 3", "1", "...2", "4"))
    place, problem, *difference = str(caught.value).splitlines()
    assert place.endswith("guide.md:8: seq 3: not as shown")
    assert problem == "--- shown"
    assert difference == ["+++ came", "@@ -1,3 +1,3 @@", " 1", " 2", "-4", "+3"]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["$ false"], "false: exit code 1"),
        (["$ (exit 3)", "$ echo $?", "0"], "echo $?: not as shown"),
        (["$ exit 0"], "exit 0: it ended the shell"),
        (["$ echo 'one"], "echo 'one: not as shown"),
        (["$ echo one", "two", "$ touch never"], "echo one: not as shown"),
        (
            ["$ echo one  # in a moment", "two"],
            "echo one  # in a moment, after 0.2 s: not as shown",
        ),
        (["$ false  # in a moment"], "false  # in a moment, after 0.2 s: exit code 1"),
        (["$ echo one &", "two"], "echo one &, after 0.2 s: not as shown"),
    ],
)
def test_what_goes_wrong_ends_the_run(perform, tmp_path: Path, lines: list[str], problem: str):
    """A wrong output, a wrong exit code, a shell that is gone; nothing after it is done."""
    with pytest.raises(DocumentError) as caught:
        perform(console(*lines), patience_s=0.2)
    assert f": {problem}" in str(caught.value)
    assert not (tmp_path / "folder" / "never").exists()


def test_a_command_that_hangs(perform, monkeypatch):
    """It has a limit, and is ended."""
    monkeypatch.setattr(documents, "COMMAND_TIMEOUT_S", 0.2)
    began = time.monotonic()
    with pytest.raises(DocumentError, match=r"sleep 60: not done after 0\.2 s"):
        perform(console("$ sleep 60"), patience_s=0.2)
    assert time.monotonic() - began < 30


def test_in_a_moment(perform):
    """A command that only looks is repeated until all is as shown; any other runs once."""
    perform(
        console(
            "$ (sleep 0.3; echo ready > state) &",
            "$ cat state  # in a moment",
            "ready",
            "$ (echo one; sleep 0.3; echo two; echo three) &",
            "one",
            "two",
            "$ echo once >> count",
            "$ cat count",
            "once",
        )
    )


def test_the_background_ends_with_the_document(perform, tmp_path: Path):
    """By SIGTERM, the last one first; also where something fails."""
    wait = (
        "trap 'echo {0} >> ../ended; exit' TERM; echo $$ >> ../pids; while :; do sleep 0.01; done"
    )
    one, two = (f'$ bash -c "{wait.format(name)}" &'.replace("$$", r"\$\$") for name in "ab")
    with pytest.raises(DocumentError, match="false"):
        perform(console(one, two, "$ wc -l < ../pids  # in a moment", "2", "$ false"))
    assert (tmp_path / "ended").read_text().split() == ["b", "a"]
    for pid in (tmp_path / "pids").read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), signal.SIGCONT)


def test_what_does_not_end_fails_the_document(perform, tmp_path: Path):
    """And is ended all the same."""
    stubborn = r"""$ bash -c "trap '' TERM; echo \$\$ > ../pid; while :; do sleep 0.01; done" &"""
    with pytest.raises(AssertionError, match="not ended by SIGTERM"):
        perform(console(stubborn, "$ until test -s ../pid; do sleep 0.01; done"), patience_s=0.2)
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/cmdline").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{pid}/cmdline").exists()


def test_ports_are_exchanged_both_ways(perform):
    """In files, commands and outputs: whole numbers only."""
    folder = perform(
        "In `port.toml`:\n\n```toml\nport = 2379\n```\n",
        console(
            "$ cat port.toml", "port = 2379", "$ echo 2379 23790 > said", "$ cat said", "2379 23790"
        ),
        ports={2379: 4001},
    )
    assert (folder / "port.toml").read_text() == "port = 4001\n"
    assert (folder / "said").read_text() == "4001 23790\n"
