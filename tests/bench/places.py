"""Where measuring is done: an etcd on disk, processes that are asked, what etcd has counted."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from kvconfig.devserver import LocalServer, dev_server
from kvconfig.keys import Range
from kvconfig.keyspace import Keyspace
from kvconfig.store import Store
from kvconfig.txn import Delete, Txn
from tests.bench.bare import PUTS, bare_channel, bare_transact, puts
from tests.scraping import get, samples

__all__ = [
    "Child",
    "at_once",
    "child",
    "counted",
    "etcd",
    "filled",
    "percentile",
    "resident_mb",
    "spent_cpu_s",
    "wiped",
]

REPOSITORY = Path(__file__).resolve().parents[2]


@asynccontextmanager
async def etcd() -> AsyncIterator[LocalServer]:
    """An etcd that nobody else uses, writing through to the disk."""
    async with dev_server(durable=True) as server:
        yield server


async def counted(endpoint: str) -> Mapping[str, float]:
    """What etcd has counted. It is asked over HTTP, which no count of gRPC holds."""
    return samples((await asyncio.to_thread(get, f"http://{endpoint}/metrics")).text)


async def wiped(store: Store, keyspace: Keyspace) -> None:
    """No flow is left, nor the history of one. Definitions stay."""
    ranges = [
        *map(keyspace.type_range, ("flow", "active-flow", "flow-ref", "blueprint-use")),
        keyspace.history_type_range("flow"),
    ]
    await store.commit(Txn(then=tuple(Delete(range_.start, range_.end) for range_ in ranges)))


async def at_once(
    work: Callable[[int], Awaitable[object]], numbers: Iterable[int], workers: int
) -> None:
    """Do it for each number, by so many workers."""
    ahead = iter(numbers)

    async def some() -> None:
        for number in ahead:
            await work(number)

    await asyncio.gather(*(some() for _ in range(workers)))


async def filled(endpoint: str, range_: Range, keys: int) -> None:
    """Put many keys, in transactions of ``PUTS``, several at once: their events come in bulk."""
    async with bare_channel(endpoint) as channel:
        transact = bare_transact(channel)

        async def put(txn: int) -> None:
            await transact(puts(range_, range(txn * PUTS, min((txn + 1) * PUTS, keys))))

        await at_once(put, range(-(-keys // PUTS)), workers=16)


def percentile(values: Iterable[float], percent: int) -> float:
    """The value that ``percent`` of all do not exceed."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


# -- processes -----------------------------------------------------------------------------------


class Child:
    """A process that gets lines and answers each with one of JSON."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.pid = process.pid

    async def ask(self, *words: object) -> Any:
        """Its answer; with no words, what it says next by itself."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if words:
            self._process.stdin.write(" ".join(map(str, words)).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a child process ended with {await self._process.wait()}")
        return json.loads(line)


@asynccontextmanager
async def child(
    module: str, *args: object, path: Sequence[Path] = (), **environ: str
) -> AsyncIterator[Child]:
    """``python -m module args``, with ``path`` before everything else; it ends on leaving."""
    folders = os.pathsep.join(map(str, [*path, REPOSITORY]))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *map(str, args)),
        env={**os.environ, "PYTHONPATH": folders, **environ},
        stdin=PIPE,
        stdout=PIPE,
        limit=2**24,
    )
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.communicate()


def resident_mb(pid: int) -> float:
    """What a process has in memory now. Linux only."""
    status = Path(f"/proc/{pid}/status").read_text("ascii")
    (kb,) = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
    return int(kb) / 1024


def spent_cpu_s(pid: int) -> float:
    """The CPU that a process has spent, to 10 ms. Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
