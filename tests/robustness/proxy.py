"""A TCP proxy in front of one etcd member, which breaks what goes through it in a chosen way.

It listens on a port of its own on loopback and knows nothing of what it carries. All faults act on
connections as they stand; ``heal`` undoes them for connections to come, while a connection that was
broken stays broken, as with a firewall that has forgotten it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kvconfig.devserver.probe import free_ports

_CHUNK = 65_536
_BACKLOG = 128


class Link:
    """One connection through the proxy, both ways."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.swallows_requests = self.swallows_replies = False

    def abort(self) -> None:
        """End it so that both sides see a reset."""
        for writer in (self.client, self.server):
            if writer is not None:
                _reset(writer)


class Proxy:
    """Carries connections to ``target`` (``host:port``) until told otherwise."""

    def __init__(self, target: str) -> None:
        self.target = target
        (self.port,) = free_ports(1)  # not from the range that may be given away while we refuse
        self.delay_s = 0.0
        self.connections = 0
        self.passed = 0
        self._swallows = False
        self._replies_left: int | None = None
        self._links: set[Link] = set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def endpoint(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    # -- faults --------------------------------------------------------------------------------

    def reset(self) -> None:
        """RST on all connections; new ones are welcome."""
        for link in tuple(self._links):
            link.abort()

    async def refuse(self) -> None:
        """RST on all connections, and nobody listens any more."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    def black_hole(self) -> None:
        """Half open: all connections, and new ones, stay open, and nothing gets through them."""
        self._swallows = True
        for link in self._links:
            link.swallows_requests = link.swallows_replies = True

    def half_open(self) -> None:
        """As ``black_hole`` for the connections there are; new ones work."""
        self.black_hole()
        self._swallows = False

    def lose_replies(self) -> None:
        """Requests on the connections there are get through, replies do not."""
        for link in self._links:
            link.swallows_replies = True

    def cut_after(self, replied: int) -> None:
        """RST on all connections once so many more bytes of replies have been passed."""
        self._replies_left = replied

    async def heal(self) -> None:
        """New connections work again. Those that have lost something stay as they are."""
        self._swallows = False
        self.delay_s = 0.0
        self._replies_left = None
        if self._server is None:
            await self._listen()

    # -- its life --------------------------------------------------------------------------------

    async def __aenter__(self) -> Proxy:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self._server = await asyncio.start_server(self._accept, sock=listener, backlog=_BACKLOG)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        link = Link(writer)
        link.swallows_requests = link.swallows_replies = self._swallows
        self._links.add(link)
        try:
            await self._carry(link, reader)
        except asyncio.CancelledError:
            pass  # asyncio's own callback would log it as an error
        finally:
            link.abort()
            self._links.discard(link)
            self._tasks.discard(task)

    async def _carry(self, link: Link, requests: asyncio.StreamReader) -> None:
        host, _, port = self.target.rpartition(":")
        try:
            replies, link.server = await asyncio.open_connection(host, int(port))
        except OSError:
            return  # the client sees a reset, as if it had come from the target
        both = [
            asyncio.create_task(self._pump(link, requests, link.server, replies=False)),
            asyncio.create_task(self._pump(link, replies, link.client, replies=True)),
        ]
        try:
            # A side that closes ends the link; what is under way on the other goes with it.
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)

    async def _pump(
        self,
        link: Link,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        replies: bool,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if link.swallows_replies if replies else link.swallows_requests:
                    continue
                if replies and not self._spend(len(data)):
                    self.reset()
                    return
                writer.write(data)
                self.passed += len(data)
                await writer.drain()
            # A black hole does not pass on that one side has closed, either.
            while link.swallows_replies and link.swallows_requests:
                await asyncio.Event().wait()

    def _spend(self, count: int) -> bool:
        """Whether these bytes of a reply may pass."""
        if self._replies_left is None:
            return True
        self._replies_left -= count
        if self._replies_left >= 0:
            return True
        self._replies_left = None
        return False


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):  # closed already
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def proxies(targets: tuple[str, ...]) -> AsyncIterator[tuple[Proxy, ...]]:
    """One in front of each target."""
    async with contextlib.AsyncExitStack() as stack:
        yield tuple([await stack.enter_async_context(Proxy(target)) for target in targets])
