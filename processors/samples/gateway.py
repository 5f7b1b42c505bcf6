"""Lets other processes on this machine talk to the topics of this one: JSON lines on a Unix socket.

A client sends ``{"op": "publish", "topic": T, "message": {…}}`` or ``{"op": "subscribe", "topic":
T}``, and gets ``{"topic": T, "message": {…}}``, or ``{"error": "…"}``. All subscribers of a topic
get all of its messages, and at first the last one that went through here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from processors import InvalidVariant, Parameter, Spec, Tasks, Variant
from processors.samples.sample import Sample
from processors.samples.topics import Topics

__all__ = ["Gateway"]

MAX_LINE = 2**20
MAX_UNSENT = 4 * 2**20
MAX_PATH = 100

logger = logging.getLogger(__name__)


class Order(msgspec.Struct, frozen=True):
    """What a client wants."""

    op: Literal["publish", "subscribe"]
    topic: str
    message: Any = None


class Gateway(Sample):
    """Listens at the path ``socket``, which only its own user may use."""

    id = "gateway"
    spec = Spec(parameters={"socket": Parameter(str)})

    def check(self, variant: Variant) -> None:
        """The system's limit for such paths is short."""
        if len(variant.parameter("socket", str).encode()) > MAX_PATH:
            raise InvalidVariant("$.parameters.socket", f"expected at most {MAX_PATH} bytes")

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        """Entered: clients can connect. Left: the socket is gone."""
        path = Path(variant.parameter("socket", str))
        switch = _Switch(self.bus, tasks)
        listener = await asyncio.to_thread(_listen, path)
        server = await asyncio.start_unix_server(switch.accept, sock=listener, limit=MAX_LINE)
        try:
            yield
        finally:
            server.close()
            await asyncio.to_thread(path.unlink, missing_ok=True)


class _Switch:
    """Who has subscribed to what."""

    def __init__(self, bus: Topics, tasks: Tasks) -> None:
        self._bus = bus
        self._tasks = tasks
        self._subscribers: dict[str, set[asyncio.StreamWriter]] = {}
        self._pumps: dict[str, asyncio.Task[None]] = {}
        self._last: dict[str, bytes] = {}

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client has connected."""
        try:
            self._tasks.spawn(self._serve(reader, writer), name="gateway client")
        except RuntimeError:  # the variant is stopping
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                await self._obey(line, writer)
        except (OSError, ValueError) as error:  # gone, or a line over the limit
            logger.info("client dropped", extra={"reason": type(error).__name__})
        finally:
            self._leave(writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _obey(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            order = msgspec.json.decode(line, type=Order)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            _send(writer, {"error": str(error)})
            return
        if order.op == "publish":
            await self._bus.publish(order.topic, msgspec.json.encode(order.message))
            return
        if last := self._last.get(order.topic):
            _send(writer, {"topic": order.topic, "message": msgspec.Raw(last)})
        self._subscribers.setdefault(order.topic, set()).add(writer)
        if order.topic not in self._pumps:
            pump = self._pump(order.topic)
            self._pumps[order.topic] = self._tasks.spawn(pump, name=f"gateway {order.topic}")

    def _leave(self, writer: asyncio.StreamWriter) -> None:
        for topic, writers in list(self._subscribers.items()):
            writers.discard(writer)
            if not writers:  # messages stay in the topic until somebody comes
                del self._subscribers[topic]
                self._pumps.pop(topic).cancel()

    async def _pump(self, topic: str) -> None:
        while True:
            async with self._bus.take(topic) as message:
                self._last[topic] = message
                for writer in self._subscribers.get(topic, ()):
                    _send(writer, {"topic": topic, "message": msgspec.Raw(message)})


def _listen(path: Path) -> socket.socket:
    """A socket there, for its owner only. One that a killed process left is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_socket():
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)  # before anybody can connect: it does not listen yet
    except OSError:
        listener.close()
        raise
    return listener


def _send(writer: asyncio.StreamWriter, message: object) -> None:
    """Without waiting; a client that does not read is cut off, so that it can't stop others."""
    if writer.transport.get_write_buffer_size() > MAX_UNSENT:
        writer.transport.abort()
        return
    writer.write(msgspec.json.encode(message) + b"\n")
