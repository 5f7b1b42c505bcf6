"""TLS in front of something that has none, for clients that send a password in no other way."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import trustme

from kvconfig.devserver.probe import free_ports

__all__ = ["Front", "tls_front"]

_CHUNK = 65_536
_HOST = "127.0.0.1"


class Front:
    """``endpoint`` takes TLS with a certificate of ``cacert``; ``target`` gets what is in it."""

    def __init__(self, target: str, cacert: Path, port: int) -> None:
        self.cacert = cacert
        self.endpoint = f"{_HOST}:{port}"
        self._target = target
        self._tasks: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection; a side that ends, ends both."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        host, _, port = self._target.rpartition(":")
        with contextlib.suppress(OSError, asyncio.CancelledError):
            try:
                behind, ahead = await asyncio.open_connection(host, int(port))
                try:
                    await _first_of(_pump(reader, ahead), _pump(behind, writer))
                finally:
                    ahead.transport.abort()
            finally:
                writer.transport.abort()
                self._tasks.discard(task)

    async def close(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


async def _first_of(*both: Coroutine[object, object, None]) -> None:
    tasks = [asyncio.create_task(each) for each in both]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def tls_front(target: str, folder: Path) -> AsyncIterator[Front]:
    """Serves for as long as the block lasts; its CA is written to the folder."""
    authority = trustme.CA()
    cacert = folder / "front-ca.pem"
    authority.cert_pem.write_to_path(cacert)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["h2"])
    authority.issue_cert(_HOST).configure_cert(context)
    (port,) = free_ports(1)
    front = Front(target, cacert, port)
    server = await asyncio.start_server(front.accept, _HOST, port, ssl=context)
    try:
        yield front
    finally:
        server.close()
        await front.close()
