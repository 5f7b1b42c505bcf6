"""The same shape as ``DevServer``, in a Docker container: for machines that may install nothing.

testcontainers is imported when a container is started, not before. Its reaper removes the container
when this process is gone, however it went. Our CI has no Docker: it tests the selection only.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kvconfig.devserver.errors import EtcdStartFailed, EtcdUnavailable
from kvconfig.devserver.finder import Version, required_version, show_version
from kvconfig.devserver.probe import free_ports, is_healthy, server_version

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

_CLIENT_PORT = 2379
_POLL_S = 0.05
_TAIL_LINES = 15


class ContainerServer:
    """One etcd in a container, its client port on loopback. Data live as long as the container.

    Promises and non-promises as ``DevServer``, except: there is no ``pid``, and no log file.
    """

    pid: int | None = None
    log_path: Path | None = None

    def __init__(
        self,
        image: str | None = None,
        *,
        durable: bool = False,
        extra_args: Sequence[str] = (),
        start_timeout_s: float = 120.0,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """``image``: else ``$ETCD_IMAGE``; one of the two is needed.

        ``start_timeout_s`` is for etcd to answer; the time to pull the image comes before.
        """
        self._environ = dict(os.environ if environ is None else environ)
        self.image = image or self._environ.get("ETCD_IMAGE", "")
        self._durable, self._extra_args = durable, tuple(extra_args)
        self._start_timeout_s = start_timeout_s
        self._container: DockerContainer | None = None
        self._host, self._port = "127.0.0.1", 0
        self._version: Version | None = None

    @property
    def endpoint(self) -> str:
        """``host:port`` for clients, the same over restarts."""
        if not self._port:
            raise RuntimeError("the server was never started")
        return f"{self._host}:{self._port}"

    @property
    def version(self) -> Version:
        """As the running server says it."""
        if self._version is None:
            raise RuntimeError("the server was never started")
        return self._version

    async def start(self) -> None:
        """Start it, or start it again after ``stop`` or ``kill``; return when etcd answers.

        Raises EtcdUnavailable (no testcontainers, no Docker, too old an image) or EtcdStartFailed.
        """
        try:
            await asyncio.to_thread(self._start)
        except BaseException:
            await self.close()
            raise

    async def stop(self) -> None:
        """Stop etcd in order. The container, and with it the data, stay for ``restart``."""
        await self._with_container(lambda c: c.get_wrapped_container().stop())

    async def kill(self) -> None:
        """End etcd by SIGKILL."""
        await self._with_container(lambda c: c.get_wrapped_container().kill())

    async def restart(self) -> None:
        """Stop etcd, and start it again on the same port and data."""
        await self.stop()
        await self.start()

    async def close(self) -> None:
        """Remove the container. May be called again."""
        await self._with_container(lambda c: c.stop())
        self._container = None

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

    async def _with_container(self, work: Callable[[DockerContainer], object]) -> None:
        if self._container is not None:
            await asyncio.to_thread(work, self._container)

    def _start(self) -> None:
        if self._container is not None:
            self._container.get_wrapped_container().start()
        else:
            self._create()
        self._wait_ready()
        required = required_version(self._environ)
        if required and self.version < required:
            raise EtcdUnavailable(
                needed=f"etcd {show_version(required)} or newer",
                found=f"etcd {show_version(self.version)} ({self.image})",
                tried=[self.image],
                cure="name a newer image in ETCD_IMAGE",
            )

    def _create(self) -> None:
        if not self.image:
            raise EtcdUnavailable(
                needed="ETCD=container: an image of etcd",
                found=None,
                tried=["$ETCD_IMAGE"],
                cure="name one in ETCD_IMAGE, such as the etcd project's own, or leave ETCD unset",
            )
        try:
            from testcontainers.core.container import DockerContainer
        except ImportError as error:
            raise EtcdUnavailable(
                needed="ETCD=container: testcontainers",
                found=None,
                tried=["import testcontainers"],
                cure="pip install testcontainers, or leave ETCD unset",
            ) from error
        # A port of our choice: Docker would give another one at each restart.
        (port,) = free_ports(1)
        try:
            container = DockerContainer(self.image)
            container.with_bind_ports(_CLIENT_PORT, port).with_command(self._command(port))
            self._container = container.start()
            self._host, self._port = container.get_container_host_ip(), port
        except Exception as error:  # docker's and testcontainers' errors have no common root
            raise EtcdUnavailable(
                needed="ETCD=container: Docker",
                found=None,
                tried=[self.image],
                cure="start Docker, or leave ETCD unset",
            ) from error

    def _command(self, port: int) -> list[str]:
        return [
            "etcd",
            "--name=dev",
            "--data-dir=/etcd-data",
            f"--listen-client-urls=http://0.0.0.0:{_CLIENT_PORT}",
            f"--advertise-client-urls=http://127.0.0.1:{port}",
            *([] if self._durable else ["--unsafe-no-fsync"]),
            *self._extra_args,
        ]

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        while not is_healthy(self._host, self._port):
            if time.monotonic() > deadline:
                raise self._failed(f"no answer within {self._start_timeout_s:g} s")
            time.sleep(_POLL_S)
        self._version = server_version(self._host, self._port)
        if self._version is None:
            raise self._failed("it does not tell its version")

    def _failed(self, reason: str) -> EtcdStartFailed:
        output = b"\n".join(self._container.get_logs()) if self._container else b""
        tail = output.decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]
        return EtcdStartFailed(reason=reason, exit_code=None, log_path=None, log_tail=tail)
