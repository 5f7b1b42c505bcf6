"""The screens of ``flowctl`` that the documents show, as SVG: ``make screenshots``.

Real commands, on a flow service in this process and a store in memory. No machine, no clock and no
chance has a part in it: the same code gives the same bytes, and a test holds that those in
``docs/screenshots`` are of this code.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import re
import shlex
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from rich.console import Console
from rich.text import Text

import flowsvc.cli.fsck
from flowsvc.cli import main as flowctl
from flowsvc.cli import settings
from flowsvc.ids import new_op
from flowsvc.model import Actor, Change, StartFlow, UpdateFlow
from flowsvc.service import FlowService
from kvconfig.codec import encode
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.memory import MemoryStore
from kvconfig.model import Revision
from kvconfig.records import InstanceStatus, VariantFailure
from kvconfig.txn import Delete, Put, Txn

__all__ = ["SCREENS", "draw"]

SCREENS: Mapping[str, str] = {
    "flow-list": "flowctl flow list -o wide",
    "flow-describe": "flowctl flow describe tickets",
    "processor-list": "flowctl processor list -o wide",
    "flow-history": "flowctl flow history handbook",
    "flow-diff": "flowctl flow diff handbook",
    "flow-update": "flowctl flow update handbook --param chunk-size=500 --dry-run",
    "fsck": "flowctl fsck",
}
"""What is typed, by the name of the picture; ``fsck`` is the last, because it needs damage."""

COLUMNS = 116
SEED = Path(__file__).parents[1] / "processors" / "samples" / "document-index.json"
KEYSPACE = Keyspace()


def draw(folder: Path) -> None:
    """Write a picture of each screen into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    store, clock = MemoryStore(), Clock()
    with asyncio.Runner() as runner:
        runner.run(live(store, clock))
        with going_to(store, clock, runner):
            for name, command in SCREENS.items():
                if name == "fsck":
                    runner.run(slip(store))
                svg = picture(name, command, said(command))
                (folder / f"{name}.svg").write_text(svg, encoding="utf-8")


# -- what there is to see ------------------------------------------------------------------------


class Clock:
    """Stands still unless it is set; makes the ids of operations too."""

    def __init__(self) -> None:
        self.now_s = 1_767_603_600.0  # 2026-01-05T09:00:00Z
        self._random = random.Random(7)

    def __call__(self) -> float:
        return self.now_s

    def new_op(self) -> str:
        """An id, another one each time."""
        now_ns = int(self.now_s) * 10**9
        return new_op(time_ns=lambda: now_ns, random_bits=self._random.getrandbits)


def changes() -> Iterator[tuple[int, Change]]:
    """What was done to two flows, each with the minutes since the one before."""

    def start(flow: str, by: str, why: str) -> StartFlow:
        parameters = {
            "input-path": flow,
            "index-path": "documents.db",
            "gateway-socket": "gateway.sock",
        }
        return StartFlow(
            flow=flow,
            blueprint_name="document-index",
            description=f"search in the {flow}",
            parameters=parameters,
            actor=Actor(by=by, why=why),
        )

    def update(chunk_size: int, by: str, why: str) -> UpdateFlow:
        parameters = {"chunk-size": chunk_size}
        return UpdateFlow(flow="handbook", parameters=parameters, actor=Actor(by=by, why=why))

    yield 0, start("handbook", "ada", "everybody asks for it")
    yield 40, start("tickets", "grace", "what did we answer last time?")
    yield 75, update(1200, "ada", "passages are too long")
    yield 180, update(800, "grace", "still too long")


async def live(store: MemoryStore, clock: Clock) -> None:
    """Do all that, and have instances report on it."""
    seed = json.loads(SEED.read_bytes())
    async with a_service(store, clock) as service:
        for name, definition in seed["parameter-type"].items():
            await service.put_parameter_type(name, encode(definition))
        for name, definition in seed["flow-blueprint"].items():
            await service.put_blueprint(name, encode(definition))
        revision = Revision(0)
        for minutes, change in changes():
            clock.now_s += 60 * minutes
            revision = (await service.change(change)).revision
    for processor in ("loader", "chunker", "indexer", "query", "gateway"):
        await report(store, processor, "worker-1", revision)
    failure = VariantFailure(error="no folder tickets", attempts=3, since="2026-01-05T09:40:02Z")
    await report(store, "loader", "worker-2", revision, tickets=failure)


async def report(
    store: MemoryStore,
    processor: str,
    instance: str,
    revision: Revision,
    **failed: VariantFailure,
) -> None:
    """An instance says what runs; with no lease, so it never goes away."""
    status = InstanceStatus(
        observed_revision=revision,
        failed=failed,
        host=instance,
        started="2026-01-05T08:59:00Z",
        version="1",
    )
    await store.commit(Txn(then=(Put(KEYSPACE.processor(processor, instance), encode(status)),)))


async def slip(store: MemoryStore) -> None:
    """What a hand at etcdctl can do: one variant gone, and one there that belongs to no flow."""
    gone = Delete(KEYSPACE.active_flow(VariantName("chunker", "tickets")))
    stray = Put(KEYSPACE.active_flow(VariantName("chunker", "old")), b'{"topics":{}}')
    await store.commit(Txn(then=(gone, stray)))


# -- what flowctl says ---------------------------------------------------------------------------


def a_service(store: MemoryStore, clock: Clock) -> FlowService:
    """The flow service that everything here goes through."""
    return FlowService(store, KEYSPACE, now=clock, new_op=clock.new_op)


@contextmanager
def going_to(store: MemoryStore, clock: Clock, runner: asyncio.Runner) -> Iterator[None]:
    """Within it, commands find our service and our store, wherever they are told to go."""

    @asynccontextmanager
    async def open_flows(_: settings.Settings) -> AsyncIterator[FlowService]:
        async with a_service(store, clock) as service:
            yield service

    @asynccontextmanager
    async def open_store(_: settings.Settings) -> AsyncIterator[MemoryStore]:
        yield store

    environment = {"ETCDCTL_ENDPOINTS": "127.0.0.1:2379", "FLOWCTL_BY": "ada"}
    with (
        patch.dict("os.environ", environment, clear=True),
        patch.object(settings, "run", runner.run),
        patch.object(settings, "open_flows", open_flows),
        patch.object(flowsvc.cli.fsck, "run", runner.run),
        patch.object(flowsvc.cli.fsck, "open_store", open_store),
    ):
        yield


class Terminal(io.StringIO):
    """What a command takes for one, so that it decorates what it says."""

    def isatty(self) -> bool:
        """See :class:`io.IOBase`."""
        return True


def said(command: str) -> str:
    """All that a command writes, to stdout and to stderr, as a terminal shows it."""
    terminal = Terminal()
    with redirect_stdout(terminal), redirect_stderr(terminal):
        code = flowctl(shlex.split(command)[1:])
    if code > 1:  # 1: fsck found something
        raise RuntimeError(f"{command!r} ended with {code}: {terminal.getvalue()}")
    return terminal.getvalue().rstrip("\n")


# -- and how it looks ----------------------------------------------------------------------------


def picture(name: str, command: str, text: str) -> str:
    """A terminal with a command and what it said."""
    console = Console(
        record=True,
        file=io.StringIO(),
        width=COLUMNS,
        color_system="truecolor",
        force_terminal=True,
        no_color=False,
        legacy_windows=False,
    )
    for line in Text.from_ansi(f"$ {command}\n{text}").split():
        for part in line.divide(range(COLUMNS, len(line), COLUMNS)):  # as a terminal does
            console.print(part, highlight=False, no_wrap=True)
    svg = console.export_svg(title="flowctl", unique_id=name)
    # Who reads a document shall not have to fetch fonts from elsewhere for it.
    return re.sub(r"@font-face {.*?}\s*", "", svg, flags=re.DOTALL) + "\n"


if __name__ == "__main__":
    draw(Path(sys.argv[1]))
