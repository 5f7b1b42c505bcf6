"""Runs a document: what a Markdown file shows is what happens, or a test fails.

The language of a fenced block says what it is.

``python``, ``toml``, ``json``
    A file. The paragraph above ends with its name: "All of it, in `redact.py`:".

``console``
    What somebody types, ``$ `` before it (``> `` before further lines of the same command), and
    what comes. One bash runs all of a document, so ``cd``, ``export`` and ``%1`` do what they do in
    a terminal. Each command must exit with 0, unless the next one is ``echo $?``. Its output and
    errors must be as shown: ``...`` stands for anything within a line and, alone in its line, for
    any lines; white space at the end of a line does not count.

    ``command &`` runs until the document ends, and gets SIGTERM then, the last one first. What is
    shown below it is how its output begins, within ``PATIENCE_S``.

    ``command  # in a moment`` may need to wait for something: it is repeated until all is as shown,
    for ``PATIENCE_S`` at most. So it should be one that only looks.

Nothing is passed over: a block that is something else is an error, unless
``<!-- not run: the reason -->`` stands above it.
"""

from __future__ import annotations

import difflib
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from markdown_it import MarkdownIt
from markdown_it.token import Token

__all__ = ["Command", "DocumentError", "File", "etcd_at", "parse", "reader", "run"]

PATIENCE_S = 10.0
"""How long the document's "in a moment" may be."""

COMMAND_TIMEOUT_S = 60.0
"""How long one command may take."""

FILES = ("python", "toml", "json")
CONSOLE = "console"

_IN_A_MOMENT = re.compile(r"\s# in a moment\s*$")
_BACKGROUND = re.compile(r"(?<!&)&\s*$")
_NOT_RUN = re.compile(r"<!-- not run: \S.* -->\s*")


class DocumentError(AssertionError):
    """A document and what happens differ, at ``place``: ``docs/guide.md:12``."""

    def __init__(self, place: str, problem: str) -> None:
        self.place = place
        super().__init__(f"{place}: {problem}")


# -- what a document says -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class File:
    """A file that the reader writes, below the folder where he works."""

    place: str
    name: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """One command that the reader types, and what is shown below it."""

    place: str
    text: str
    shown: str

    @property
    def only_looks(self) -> bool:
        """Whether it may be repeated."""
        return bool(_IN_A_MOMENT.search(self.text))

    @property
    def in_background(self) -> bool:
        """Whether it goes on after the next one is typed."""
        return bool(_BACKGROUND.search(self.text))


Step: TypeAlias = File | Command


def parse(markdown: str, name: str) -> list[Step]:
    """What the reader of the document ``name`` does, in order. Raises :class:`DocumentError`."""
    tokens = MarkdownIt().parse(markdown)
    steps: list[Step] = []
    for number, token in enumerate(tokens):
        if token.type not in ("fence", "code_block") or _is_excused(tokens[:number]):
            continue
        assert token.map is not None
        line = token.map[0] + 1
        language = token.info.strip()
        if language in FILES:
            file = _file_name(tokens[:number])
            if not file:
                raise DocumentError(
                    f"{name}:{line}", "the paragraph above should end with the file's name, `name`:"
                )
            steps.append(File(place=f"{name}:{line}", name=file, text=token.content))
        elif language == CONSOLE:
            steps += _commands(token.content, name, line + 1)
        else:
            kind = f"a block of {language}" if language else "a block of no language"
            raise DocumentError(f"{name}:{line}", f"{kind} is neither a file nor a console")
    return steps


def _is_excused(above: list[Token]) -> bool:
    """Whether a reason stands there why the block below is not run."""
    return bool(above) and bool(_NOT_RUN.fullmatch(above[-1].content))


def _file_name(above: list[Token]) -> str:
    """The name of the file that the block below is; ``""`` where there is none."""
    if [token.type for token in above[-3:]] == ["paragraph_open", "inline", "paragraph_close"]:
        match above[-2].children:
            case [*_, Token(type="code_inline", content=name), Token(content=":")]:
                return name
    return ""


def _commands(block: str, name: str, line: int) -> Iterator[Command]:
    """Each command of a console that begins at ``line``, with all that is shown below it."""
    place, typed, shown = "", "", ""
    for number, text in enumerate(block.splitlines(), line):
        if text.startswith("$ "):
            if typed:
                yield Command(place=place, text=typed, shown=shown)
            place, typed, shown = f"{name}:{number}", text[2:], ""
        elif not typed:
            break
        elif text.startswith("> ") and not shown:
            typed += f"\n{text[2:]}"
        else:
            shown += f"{text}\n"
    if not typed:
        raise DocumentError(f"{name}:{line}", "a console begins with what is typed: $ command")
    yield Command(place=place, text=typed, shown=shown)


# -- what is shown, and what came -----------------------------------------------------------------


def agrees(shown: str, came: str, *, begins: bool = False) -> bool:
    """Whether ``came`` is as ``shown``; with ``begins``, whether it begins so."""
    pattern = re.compile("".join(map(_pattern, _lines(shown))))
    text = "".join(f"{line}\n" for line in _lines(came))
    return bool(pattern.match(text) if begins else pattern.fullmatch(text))


def difference(shown: str, came: str) -> str:
    """The two, compared by lines: ``-`` is shown and did not come, ``+`` came and is not shown."""
    left = _lines(came)
    expected = [
        next((line for line in left if re.fullmatch(_pattern(pattern), f"{line}\n")), pattern)
        for pattern in _lines(shown)
    ]
    lines = difflib.unified_diff(expected, left, "shown", "came", lineterm="", n=99)
    return "\n".join(lines)


def _pattern(line: str) -> str:
    if line.strip() == "...":
        return r"(?:.*\n)*?"
    return ".*?".join(map(re.escape, line.split("..."))) + r"\n"


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


# -- the terminal ---------------------------------------------------------------------------------

_SETUP = """\
_end() {  # what runs in the background, the last first
    local pids=($(jobs -pr)) i
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do kill "${pids[i]}"; wait "${pids[i]}"; done
}
trap _end EXIT
_tell() { local status=$?; echo $status >&%(tell)d; return $status; }
"""


class Terminal:
    """One bash in a folder. Leave it, and all that it runs in the background is ended."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="terminal-")
        self._count = 0
        self._told, tell = os.pipe()
        self._tell = tell
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
            pass_fds=(tell,),
            start_new_session=True,  # Ctrl-C is ours; we end it, and what it started
        )
        os.close(tell)
        self._type(_SETUP % {"tell": tell})

    def run(self, command: str) -> tuple[int, Path]:
        """Type a command: its exit code, and the file of its output, which may still grow.

        Raises TimeoutError, and EOFError where it ended the shell.
        """
        self._count += 1
        script = Path(self._scratch.name, f"{self._count}.sh")
        output = script.with_suffix(".out")
        script.write_text(f"{command}\n")
        self._type(f". {script} </dev/null >{output} 2>&1 {self._tell}>&-; _tell\n")
        ready, _, _ = select.select([self._told], [], [], COMMAND_TIMEOUT_S)
        if not ready:
            raise TimeoutError
        code = os.read(self._told, 16)
        if not code:
            raise EOFError
        return int(code), output

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.close()
        try:
            self._bash.wait(PATIENCE_S)
        except subprocess.TimeoutExpired as late:
            if error is None:
                raise AssertionError(f"in the background, not ended by SIGTERM: {late}") from late
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self._bash.pid, signal.SIGKILL)  # whatever did not end by itself
            self._bash.wait()
            os.close(self._told)
            self._scratch.cleanup()

    def _type(self, text: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(text)
        self._bash.stdin.flush()


# -- both together --------------------------------------------------------------------------------


def run(
    document: Path,
    folder: Path,
    environ: Mapping[str, str],
    *,
    ports: Mapping[int, int],
    tell: Callable[[str], None] = lambda _: None,
) -> list[Step]:
    """Do what a document says, in ``folder``; what was done.

    ``ports`` has those that the document names, each with a free one to be taken instead: the only
    difference between what is written and what is done. ``tell`` gets what is typed and what comes.
    Raises :class:`DocumentError`.
    """
    taken = _Ports(ports)
    steps = parse(document.read_text("utf-8"), str(document))
    with Terminal(folder, environ) as terminal:
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            if isinstance(step, File):
                tell(f"# {step.name}\n{step.text}")
                (folder / step.name).write_text(taken.real(step.text), "utf-8")
            else:
                tell(f"$ {step.text}\n")
                tell(_perform(step, following, terminal, taken))
    return steps


class _Ports:
    """Those of a document, and those that are used in their place."""

    def __init__(self, ports: Mapping[int, int]) -> None:
        self._real = {str(shown): str(real) for shown, real in ports.items()}
        self._shown = {real: shown for shown, real in self._real.items()}

    def real(self, text: str) -> str:
        return self._replace(text, self._real)

    def shown(self, text: str) -> str:
        return self._replace(text, self._shown)

    @staticmethod
    def _replace(text: str, by: Mapping[str, str]) -> str:
        return re.sub(r"\b\d+\b", lambda found: by.get(found[0], found[0]), text)


def _perform(command: Command, following: Step | None, terminal: Terminal, ports: _Ports) -> str:
    """Run one command until all is as shown, or it is clear that it will not be; what came."""
    may_fail = isinstance(following, Command) and following.text == "echo $?"
    patient = command.in_background or command.only_looks
    deadline = time.monotonic() + (PATIENCE_S if patient else 0)
    code, output = _type(command, terminal, ports)
    while problem := _problem(command, 0 if may_fail else code, output, ports):
        if time.monotonic() > deadline:
            waited = f", after {PATIENCE_S:g} s" if patient else ""
            raise DocumentError(command.place, f"{command.text}{waited}: {problem}")
        time.sleep(0.05)
        if command.only_looks:
            code, output = _type(command, terminal, ports)
    return ports.shown(output.read_text("utf-8", "replace"))


def _problem(command: Command, code: int, output: Path, ports: _Ports) -> str:
    """What is not as it should be, so far; ``""`` where all is."""
    came = ports.shown(output.read_text("utf-8", "replace"))
    if not agrees(command.shown, came, begins=command.in_background):
        return f"not as shown\n{difference(command.shown, came)}"
    return f"exit code {code}\n{came}" if code else ""


def _type(command: Command, terminal: Terminal, ports: _Ports) -> tuple[int, Path]:
    try:
        return terminal.run(ports.real(command.text))
    except TimeoutError:
        problem = f"not done after {COMMAND_TIMEOUT_S:g} s"
    except EOFError:
        problem = "it ended the shell"
    raise DocumentError(command.place, f"{command.text}: {problem}")


def reader(programs: Path, **more: Path) -> dict[str, str]:
    """The environment of somebody who installed this project, and ``more`` programs by name.

    ``programs`` is an empty folder, to put them in.
    """
    for name, path in more.items():
        (programs / name).symlink_to(path)
    ours = Path(sys.executable).parent
    return {
        "PATH": os.pathsep.join([str(programs), str(ours), os.environ.get("PATH", os.defpath)]),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",  # as in a terminal, where lines come at once
    }


def etcd_at(port: int, peer_port: int) -> dict[str, str]:
    """What makes an ``etcd`` without arguments listen there, as it does at 2379 and 2380."""
    for_clients, for_peers = (f"http://127.0.0.1:{number}" for number in (port, peer_port))
    return {
        "ETCD_LISTEN_CLIENT_URLS": for_clients,
        "ETCD_ADVERTISE_CLIENT_URLS": for_clients,
        "ETCD_LISTEN_PEER_URLS": for_peers,
        "ETCD_INITIAL_ADVERTISE_PEER_URLS": for_peers,
        "ETCD_INITIAL_CLUSTER": f"default={for_peers}",
    }
