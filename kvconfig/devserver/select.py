"""Which kind of local etcd: a binary of this machine, or a container."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from kvconfig.devserver.container import ContainerServer
from kvconfig.devserver.finder import Version, server_kind
from kvconfig.devserver.server import DevServer


class LocalServer(Protocol):
    """What ``DevServer`` and ``ContainerServer`` have in common; see there for the promises."""

    @property
    def endpoint(self) -> str: ...
    @property
    def version(self) -> Version: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def log_path(self) -> Path | None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def kill(self) -> None: ...
    async def restart(self) -> None: ...
    async def close(self) -> None: ...
    async def __aenter__(self) -> Self: ...
    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def dev_server(
    environ: Mapping[str, str] | None = None,
    *,
    durable: bool = False,
    extra_args: Sequence[str] = (),
) -> LocalServer:
    """A local etcd as the environment asks for it, not started yet.

    To be used as ``async with dev_server() as server``. ValueError if ``ETCD`` means nothing.
    """
    if server_kind(environ) == "container":
        return ContainerServer(environ=environ, durable=durable, extra_args=extra_args)
    return DevServer(environ=environ, durable=durable, extra_args=extra_args)
