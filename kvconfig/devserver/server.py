"""``DevServer``: one etcd on this machine, as an async context manager.

Thin: the work is done by ``EtcdProcess`` in worker threads, so the event loop never waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from kvconfig.devserver.finder import DURABLE_FROM, EtcdBinary, Version, find_etcd, show_version
from kvconfig.devserver.process import EtcdProcess

_log = logging.getLogger(__name__)


class DevServer:
    """One etcd on free loopback ports.

    ::

        async with DevServer() as server:
            ...  # server.endpoint == "127.0.0.1:23456"

    Promises: when ``start`` returns, etcd serves reads and writes. When this process ends, however
    it ends, etcd ends (on Linux; elsewhere not if this process is killed by SIGKILL). The ports
    stay the same over ``restart``. A temporary ``data_dir`` is removed by ``close``.

    Does not promise: TLS, more than one member, or, unless ``durable``, anything about data when
    the *machine* goes down (it runs with ``--unsafe-no-fsync``; a killed etcd keeps its data).
    The temporary folder of a process that was killed stays behind.

    Not bound to an event loop: it may be started under one and stopped under another. Its methods
    must not run at the same time.
    """

    def __init__(
        self,
        binary: EtcdBinary | None = None,
        *,
        data_dir: Path | None = None,
        log_path: Path | None = None,
        durable: bool = False,
        extra_args: Sequence[str] = (),
        start_timeout_s: float = 30.0,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Nothing is looked for, made or started before ``start``.

        ``binary``: which etcd, else ``find_etcd(environ)`` decides. ``data_dir``: kept; ``None``
        makes a temporary one. ``log_path``: else beside the data. ``durable``: write through to
        the disk. ``extra_args``: more flags for etcd.
        """
        self._environ = dict(os.environ if environ is None else environ)
        self._binary = binary
        self._data_dir, self._log_path = data_dir, log_path
        self._durable = durable
        self._extra_args = tuple(extra_args)
        self._start_timeout_s = start_timeout_s
        self._temporary: Path | None = None
        self._process: EtcdProcess | None = None

    @property
    def endpoint(self) -> str:
        """``host:port`` for clients. Known after the first ``start``, and fixed from then on."""
        return f"127.0.0.1:{self._started().client_port}"

    @property
    def pid(self) -> int | None:
        """etcd's own process id; ``None`` while it does not run."""
        return self._process.pid if self._process else None

    @property
    def version(self) -> Version:
        """Of the binary that runs, as in ``(3, 5, 30)``."""
        return self._started().binary.version

    @property
    def binary(self) -> EtcdBinary:
        """The program that runs, and where it was found."""
        return self._started().binary

    @property
    def log_path(self) -> Path:
        """etcd's own log, JSON lines, appended to over restarts."""
        return self._started().log_path

    @property
    def data_dir(self) -> Path:
        """Where etcd keeps its data."""
        return self._started().data_dir

    async def start(self) -> None:
        """Start etcd and wait until it answers.

        Raises EtcdUnavailable (nothing to run) or EtcdStartFailed (with the last lines of the log);
        then, as after a cancellation, nothing is left running.
        """
        if self.pid is not None:
            raise RuntimeError("already running")
        first = self._process is None
        given_up = threading.Event()
        try:
            if self._process is None:
                await self._in_thread(self._prepare)
            process = self._started()
            await self._in_thread(lambda: process.start(given_up), given_up)
        except BaseException:
            if first:  # a restart that failed may be tried again: the data stay until ``close``
                self._process = None
                await self._remove_temporary()
            raise

    async def stop(self) -> None:
        """Stop etcd in order, and wait for its end. Ports and data stay for ``restart``."""
        if self._process is not None:
            await self._in_thread(self._process.stop)

    async def kill(self) -> None:
        """End etcd by SIGKILL, as a crash would. Ports and data stay for ``restart``.

        Not for data that matter on etcd 3.5.0 to 3.5.2, which can lose committed writes so.
        """
        if self._process is not None:
            await self._in_thread(self._process.kill)

    async def restart(self) -> None:
        """Stop etcd if it runs, and start it again on the same ports and data."""
        await self.stop()
        await self.start()

    async def close(self) -> None:
        """Stop etcd and remove what was temporary. May be called again."""
        await self.stop()
        await self._remove_temporary()

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

    def _started(self) -> EtcdProcess:
        if self._process is None:
            raise RuntimeError("the server was never started")
        return self._process

    def _prepare(self) -> None:
        """Find etcd and make its folders. In a thread: it starts a process and touches disks."""
        binary = self._binary or find_etcd(self._environ)
        if self._durable and binary.version < DURABLE_FROM:
            _log.warning(
                "this etcd can lose committed data in a crash; take a newer one for what must last",
                extra={
                    "etcd": str(binary.path),
                    "version": show_version(binary.version),
                    "needed": show_version(DURABLE_FROM),
                },
            )
        if self._data_dir is None:
            self._temporary = Path(tempfile.mkdtemp(prefix="kvconfig-etcd-"))
            data_dir, log_path = self._temporary / "data", self._temporary / "etcd.log"
        else:
            data_dir = self._data_dir.absolute()
            data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)  # etcd warns about wider ones
            log_path = data_dir.with_name(f"{data_dir.name}.log")
        self._process = EtcdProcess(
            binary,
            data_dir=data_dir,
            log_path=self._log_path or log_path,
            durable=self._durable,
            extra_args=self._extra_args,
            start_timeout_s=self._start_timeout_s,
        )

    async def _in_thread(
        self, work: Callable[[], None], given_up: threading.Event | None = None
    ) -> None:
        """Run ``work`` beside the loop, to its end even when cancelled: it moves a process.

        A cancellation sets ``given_up``, so that work that would take long ends soon.
        """
        task = asyncio.create_task(asyncio.to_thread(work))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if given_up is not None:
                given_up.set()
            await asyncio.wait([task])
            if not task.cancelled():
                task.exception()  # marked as seen: the caller gets the cancellation
            raise

    async def _remove_temporary(self) -> None:
        if self._temporary is not None:
            folder, self._temporary = self._temporary, None
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
