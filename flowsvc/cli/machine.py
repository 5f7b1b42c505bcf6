"""What ``flowctl up`` runs: etcd, the flow service and a host of processors, each a process.

They end in the opposite order, and with this process, however it ends. Where one of them ends by
itself, all do.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import shlex
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import click

from flowsvc.bootstrap import Seed, bootstrap
from flowsvc.cli.children import ChildFailed
from flowsvc.cli.flow_status import troubles
from flowsvc.cli.folder import Folder, Running, default_folder
from flowsvc.cli.output import printable
from flowsvc.cli.scenario import sample_seed
from flowsvc.cli.seeds import summarise
from flowsvc.cli.settings import actor
from flowsvc.cli.stage import address_of, hosted_by, hosting, serving
from flowsvc.client import Client
from flowsvc.model import Flows
from flowsvc.seed.reading import Source, read_seed, sources
from flowsvc.status import FlowStatus
from kvconfig.config.bulk import Bulk
from kvconfig.devserver import EtcdBinary, EtcdUnavailable, find_etcd, find_etcdctl, show_version
from kvconfig.devserver.finder import DURABLE_FROM
from kvconfig.devserver.process import EtcdProcess
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from kvconfig.owner import until_one_ends

__all__ = ["Machine", "judge"]

HOST = "127.0.0.1"
START_TIMEOUT_S = 30.0
POLL_S = 0.2
LEFT_BEHIND_S = 15.0
"""How long the processes of an ``up`` that was killed may take to end."""
ETCD_FLAGS = ("--auto-compaction-retention=1h",)
"""A folder that is kept for weeks shall stay small."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What is to run. A port of 0 is a free one; etcd's next one is for its peers.

    ``processors`` are arguments of ``processors run``; without any there is no host. ``sample``:
    the blueprint of the sample processors is seeded too, with its files in the folder.
    """

    port: int
    etcd_port: int
    processors: Sequence[str]
    sample: bool
    seeds: Sequence[Path]

    async def run(self, folder: Folder) -> None:
        """Start all, say how to talk to it, then tell of every change. Never returns.

        Ctrl-C and SIGTERM cancel it, and end all in order; a second one, at once. Raises
        ``click.UsageError`` where a port is taken, ``InvalidInput`` for a bad seed,
        ``EtcdUnavailable``, ``EtcdStartFailed``, and :class:`ChildFailed` where something else does
        not start, or ends by itself.
        """
        binary = await asyncio.to_thread(find_etcd)
        judge(binary)
        await self._wait_for_ports(LEFT_BEHIND_S if folder.killed else 0.0)
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            kills = stack.enter_context(_ended_by_signals())
            seed = stack.enter_context(self._seed(folder))
            etcd = await enter(_etcd(binary, folder, self.etcd_port))
            kills.append(etcd.kill)
            endpoint = f"{HOST}:{etcd.client_port}"
            log = folder.log("service")
            service = await enter(serving(endpoint, f"{HOST}:{self.port}", log=log))
            kills.append(service.kill)
            host = None
            if self.processors:
                log = folder.log("processors")
                host = await enter(hosting(endpoint, *self.processors, log=log))
                kills.append(host.kill)
            address = await address_of(service)
            flows = await enter(Client(address))
            await _bootstrap(seed, flows, endpoint)
            hosted = await hosted_by(host) if host else ()

            folder.tell(Running(pid=os.getpid(), etcd=endpoint, server=address))
            _say(f"etcd {show_version(binary.version)}", f"process {etcd.pid} at {endpoint}")
            _say("flow service", f"process {service.pid} at {address}")
            if host:
                _say("processors", f"process {host.pid}: {', '.join(hosted)}")
            _say("data and logs", str(folder.path))
            self._suggest(folder, binary)
            await until_one_ends(
                _tell_changes(flows),
                _ended(etcd),
                service.failed(),
                *([host.failed()] if host else []),
            )

    async def _wait_for_ports(self, patience_s: float) -> None:
        """Until all are free. Says which one is not, and what to do."""
        peers = self.etcd_port and self.etcd_port + 1
        wanted = (self.port, "--port"), (self.etcd_port, "--etcd-port"), (peers, "--etcd-port")
        deadline = time.monotonic() + patience_s
        for port, option in wanted:
            while not _is_free(port):
                if time.monotonic() >= deadline:
                    where = f"port {port} of {HOST} is taken"
                    raise click.UsageError(
                        f"{where}: end what listens there, or give {option} PORT"
                    )
                await asyncio.sleep(POLL_S)

    def _seed(self, folder: Folder) -> Seed:
        found = [source for path in self.seeds for source in sources(path)]
        if self.sample:
            found.insert(0, _sample(folder))
        return read_seed(found, ", ".join(source.name for source in found))

    def _suggest(self, folder: Folder, etcd: EtcdBinary) -> None:
        """How to talk to it."""
        flowctl = _as_typed(Path(sys.executable).with_name("flowctl"))
        data = [] if folder.path == default_folder() else ["--data", str(folder.path)]
        first = 'flow start -n document-index -i docs --param input-path="$PWD"'
        commands = [
            f'eval "$({flowctl} {shlex.join(["up", *data, "--print-env"])})"',
            f"{flowctl} {first if self.sample else 'blueprint list'}",
            f"{flowctl} flow list -o wide",
        ]
        with suppress(EtcdUnavailable):
            commands.append(f"{_as_typed(find_etcdctl(beside=etcd))} get --prefix /active-flow/")
        click.echo("\nIn another terminal:")
        for command in commands:
            click.echo(f"  {command}")
        click.echo("\nCtrl-C ends all of it; the data stay.")


@contextmanager
def _ended_by_signals() -> Iterator[list[Callable[[], None]]]:
    """The first signal cancels this task; from then on, each does what is in the list."""
    kills: list[Callable[[], None]] = []
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def heard() -> None:
        if task.cancelling():
            for kill in kills:
                kill()
        else:
            click.echo("ending, in order; a second Ctrl-C ends it at once", err=True)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, heard)
    yield kills


# -- etcd ----------------------------------------------------------------------------------------


def judge(binary: EtcdBinary) -> None:
    """Warn of an etcd that is not for data that are to last."""
    if binary.version < DURABLE_FROM:
        needed = show_version(DURABLE_FROM)
        text = f"{binary} can lose what was committed, in a crash; {needed} and newer do not"
        click.echo(f"warning: {text}. ETCD_BIN names another", err=True)


@asynccontextmanager
async def _etcd(binary: EtcdBinary, folder: Folder, port: int) -> AsyncIterator[EtcdProcess]:
    """etcd on the data of the folder, written through to the disk."""
    process = EtcdProcess(
        binary,
        data_dir=folder.path / "etcd",
        log_path=folder.log("etcd"),
        durable=True,
        extra_args=ETCD_FLAGS,
        start_timeout_s=START_TIMEOUT_S,
    )
    if port:
        process.client_port, process.peer_port = port, port + 1
    given_up = threading.Event()
    starting = asyncio.create_task(asyncio.to_thread(process.start, given_up))
    try:
        await asyncio.shield(starting)
        yield process
    finally:
        given_up.set()
        await asyncio.wait([starting])
        await asyncio.to_thread(process.stop)


async def _ended(etcd: EtcdProcess) -> NoReturn:
    while etcd.pid is not None:  # noqa: ASYNC110 - a process sends us no event
        await asyncio.sleep(POLL_S)
    raise ChildFailed("etcd", "ended by itself", etcd.log_tail())


def _is_free(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
    except OSError:
        return False
    return True


# -- seeds ---------------------------------------------------------------------------------------


def _sample(folder: Folder) -> Source:
    """The sample's blueprint, whose flows keep index and socket in the folder unless told else."""
    file = sample_seed()
    seed = json.loads(file.read_bytes())
    types = seed["parameter-type"]
    types["index-path"]["default"] = str(folder.path / "index.sqlite")
    types["gateway-socket"]["default"] = str(folder.path / "gateway.sock")
    data = json.dumps(seed).encode()
    return Source(file.name, lambda: io.BytesIO(data), "json", len(data))


async def _bootstrap(seed: Seed, flows: Flows, endpoint: str) -> None:
    """What is there already stays as it is."""
    if not seed.types:
        return
    async with connect([endpoint]) as store:
        bulk = Bulk(store, Keyspace())
        report = await bootstrap(seed, flows, bulk, actor=actor(None, f"up with {seed.subject}"))
    for line in summarise(report):
        click.echo(line)


# -- what is told --------------------------------------------------------------------------------


def _say(what: str, text: str) -> None:
    click.echo(f"{what.ljust(14)}  {printable(text)}")


def _as_typed(program: Path) -> str:
    """Its name, where that is enough."""
    return program.name if shutil.which(program.name) else shlex.quote(str(program))


async def _tell_changes(flows: Client) -> None:
    """A line for each flow that is there, and for each change in what one does."""
    told: dict[str, str] = {}
    async with aclosing(flows.watch_flows()) as statuses:
        async for status in statuses:
            line = _line(status)
            if told.get(status.flow) != line:
                told[status.flow] = line
                click.echo(f"{time.strftime('%H:%M:%S')}  {line}")
            if status.state == "stopped":
                del told[status.flow]


def _line(status: FlowStatus) -> str:
    why = troubles(status)
    if status.missing:
        why.append(f"nobody runs processor {', '.join(status.missing)}")
    return printable(f"{status.flow} is {status.state}{': ' if why else ''}{'; '.join(why)}")
