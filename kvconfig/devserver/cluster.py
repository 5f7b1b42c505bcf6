"""``LocalCluster``: several members of one etcd cluster on this machine, each of which may be hurt.

For tests of what clients do when members die, stop or come back. Members are told apart by their
place in ``members``, which is also the order of ``endpoints``.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from kvconfig.devserver.errors import EtcdStartFailed
from kvconfig.devserver.finder import EtcdBinary, find_etcd
from kvconfig.devserver.probe import free_ports, is_healthy
from kvconfig.devserver.spawn import spawn_tied

_LOOPBACK = "127.0.0.1"
_POLL_S = 0.02
_PORT_TRIES = 3
_STOP_TIMEOUT_S = 10.0
_TAIL_LINES = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerTls:
    """Files with which every member serves its clients. A client needs a certificate of ``cacert``.

    etcd reads ``cert`` and ``key`` at every handshake, ``cacert`` when it starts.
    """

    cacert: Path
    cert: Path
    key: Path

    def flags(self) -> list[str]:
        """As etcd is told of them."""
        return [
            f"--trusted-ca-file={self.cacert}",
            f"--cert-file={self.cert}",
            f"--key-file={self.key}",
            "--client-cert-auth",
        ]


class Member:
    """One etcd: where it listens, where its data lie, and its process while it runs.

    Methods return at once, but for ``stop``, which waits for etcd to end in order.
    """

    def __init__(self, name: str, host: str, folder: Path) -> None:
        self.name, self.host = name, host
        self.data_dir = folder / name
        self.log_path = folder / f"{name}.log"
        self.client_port = self.peer_port = self.status_port = 0
        self.paused = False
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """``host:port`` for clients, the same over restarts."""
        return f"{self.host}:{self.client_port}"

    @property
    def peer_url(self) -> str:
        """Where the other members reach it."""
        return f"http://{self.host}:{self.peer_port}"

    @property
    def pid(self) -> int | None:
        """Of the running process; ``None`` while there is none."""
        return self._popen.pid if self._popen and self._popen.poll() is None else None

    @property
    def answers(self) -> bool:
        """Whether it runs and is not paused. It need not have a leader, nor be reachable."""
        return self.pid is not None and not self.paused

    def spawn(self, command: Sequence[str]) -> None:
        """Start it; nothing is awaited."""
        if self.pid is not None:
            raise RuntimeError(f"{self.name} is already running")
        self.paused = False
        self._popen = spawn_tied(
            command,
            env={k: v for k, v in os.environ.items() if not k.startswith("ETCD_")},
            output=self.log_path,
            signal=signal.SIGKILL,  # a paused one would never see another signal
        )

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that does not help."""
        if self._popen is None:
            return
        self._popen.terminate()
        self.resume()
        try:
            self._popen.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def pause(self) -> None:
        """SIGSTOP: its connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)
        self.paused = False

    def is_ready(self) -> bool:
        """Whether it has a leader and serves reads. Blocks for some time where it cannot tell."""
        return self.answers and is_healthy(self.host, self.status_port)

    def is_leader(self) -> bool:
        """Whether it holds itself for the leader. Blocks likewise."""
        return self.answers and _metric(self.host, self.status_port, "etcd_server_is_leader") == 1

    def failed(self, reason: str) -> EtcdStartFailed:
        """The error that says why it is not there."""
        code = self._popen.poll() if self._popen else None
        text = self.log_path.read_text("utf-8", "replace") if self.log_path.exists() else ""
        return EtcdStartFailed(
            reason=f"{self.name}: {reason}",
            exit_code=code,
            log_path=self.log_path,
            log_tail=text.splitlines()[-_TAIL_LINES:],
        )

    def _signal(self, number: signal.Signals) -> None:
        if self._popen is not None:
            self._popen.send_signal(number)


class LocalCluster:
    """``size`` members on free ports, as an async context manager.

    ::

        async with LocalCluster() as cluster:
            (await cluster.leader()).kill()
            ...  # cluster.endpoints

    Promises: when ``start`` returns, every member has a leader and serves. When this process ends,
    however it ends, so do they (on Linux). Places and data stay the same over ``restart``.
    """

    def __init__(
        self,
        size: int = 3,
        *,
        binary: EtcdBinary | None = None,
        tls: ServerTls | None = None,
        durable: bool = True,
        extra_args: Sequence[str] = (),
        hosts: Sequence[str] = (),
        within: Sequence[Sequence[str]] = (),
        start_timeout_s: float = 30.0,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """``hosts``: an address for each member, else loopback. ``within``: for each member the
        start of its command line, such as one that enters a network namespace. ``extra_args``:
        more flags for each. The rest as in ``DevServer``.
        """
        self.size = size
        self.members: tuple[Member, ...] = ()
        self._binary, self._tls, self._durable = binary, tls, durable
        self._extra_args = tuple(extra_args)
        self._hosts = tuple(hosts) or (_LOOPBACK,) * size
        self._within = tuple(within) or ((),) * size
        self._start_timeout_s = start_timeout_s
        self._environ = dict(os.environ if environ is None else environ)
        self._folder: Path | None = None

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Of all members, whether they run or not."""
        return tuple(member.endpoint for member in self.members)

    @property
    def folder(self) -> Path:
        """Holds data and logs; removed by ``close``."""
        if self._folder is None:
            raise RuntimeError("the cluster was never started")
        return self._folder

    async def start(self) -> None:
        """Start all members and wait until they serve. Raises as ``DevServer.start`` does."""
        if self._binary is None:
            self._binary = await asyncio.to_thread(find_etcd, self._environ)
        for attempt in range(1, _PORT_TRIES + 1):
            self._place()
            try:
                for member in self.members:
                    self.spawn(member)
                await self.wait_ready()
            except BaseException as error:
                await self.close()
                taken = isinstance(error, EtcdStartFailed) and any(
                    "address already in use" in line for line in error.log_tail
                )
                if not taken or attempt == _PORT_TRIES:
                    raise
            else:
                return

    def spawn(self, member: Member) -> None:
        """Start one member, without waiting for it."""
        member.spawn(self._command(member))

    async def restart(self, member: Member) -> None:
        """End a member in order, if it runs, and start it; return when it serves."""
        await asyncio.to_thread(member.stop)
        self.spawn(member)
        await self.wait_ready(member)

    async def wait_ready(self, *members: Member) -> None:
        """Until these (else all that are running) have a leader and serve.

        Raises EtcdStartFailed where one of them ends, or does not within the time for a start.
        """
        for member in members or [member for member in self.members if member.answers]:
            await self._poll(
                partial(asyncio.to_thread, member.is_ready), member, "it does not serve"
            )

    async def leader(self) -> Member:
        """The one member that leads, once there is exactly one."""
        found: list[Member] = []

        async def one() -> bool:
            said = await _each(self.members, Member.is_leader)
            found[:] = [member for member, leads in zip(self.members, said, strict=True) if leads]
            return len(found) == 1

        await self._poll(one, None, "no leader")
        return found[0]

    async def followers(self) -> tuple[Member, ...]:
        """All but the leader."""
        leader = await self.leader()
        return tuple(member for member in self.members if member is not leader)

    async def close(self) -> None:
        """Kill all members and remove their data. May be called again."""
        for member in self.members:
            member.kill()
        if self._folder is not None:
            folder, self._folder = self._folder, None
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _place(self) -> None:
        """A folder and ports for each member."""
        self._folder = Path(tempfile.mkdtemp(prefix="kvconfig-cluster-"))
        ports = iter(free_ports(3 * self.size))
        self.members = tuple(
            Member(f"m{index}", host, self._folder) for index, host in enumerate(self._hosts)
        )
        for member in self.members:
            member.client_port, member.peer_port = next(ports), next(ports)
            member.status_port = next(ports)

    def _command(self, member: Member) -> list[str]:
        assert self._binary is not None
        client = f"{'https' if self._tls else 'http'}://{member.endpoint}"
        return [
            *self._within[self.members.index(member)],
            str(self._binary.path.absolute()),
            f"--name={member.name}",
            f"--data-dir={member.data_dir}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={member.peer_url}",
            f"--initial-advertise-peer-urls={member.peer_url}",
            f"--initial-cluster={self.initial_cluster}",
            # Health and leadership in plain HTTP, whatever clients have to show.
            f"--listen-metrics-urls=http://{member.host}:{member.status_port}",
            *(self._tls.flags() if self._tls else []),
            *([] if self._durable else ["--unsafe-no-fsync"]),
            *self._extra_args,
        ]

    @property
    def initial_cluster(self) -> str:
        """The members as etcd is told of them; a snapshot is restored with the same words."""
        return ",".join(f"{member.name}={member.peer_url}" for member in self.members)

    async def _poll(
        self, holds: Callable[[], Awaitable[bool]], member: Member | None, reason: str
    ) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while not await holds():
            if member is not None and member.pid is None:
                raise member.failed("it ended")
            if time.monotonic() > deadline:
                blamed = member or self.members[0]
                raise blamed.failed(f"{reason} within {self._start_timeout_s:g} s")
            await asyncio.sleep(_POLL_S)


async def _each(members: Iterable[Member], ask: Callable[[Member], bool]) -> list[bool]:
    return await asyncio.gather(*(asyncio.to_thread(ask, member) for member in members))


def _metric(host: str, port: int, name: str) -> float | None:
    """One number of those that etcd publishes; ``None`` where it does not come."""
    connection = http.client.HTTPConnection(host, port, timeout=2.0)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    match = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(match[1]) if match else None
