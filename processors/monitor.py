"""Metrics and health of this process over HTTP: ``/metrics``, ``/livez`` and ``/readyz``.

It is served from a thread of its own, because what lives in the event loop cannot tell that the
loop hangs. Whatever belongs to the loop is read in the loop, so that nothing changes meanwhile;
where the loop does not answer in time, that is the answer. 200 is good and 503 is bad; the text
says what is wrong, a line each.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import socketserver
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from processors.health import FRESH_S, Heartbeat, unready
from processors.instance import Instance
from processors.metrics import families

__all__ = ["Monitor", "monitored"]

T = TypeVar("T")
logger = logging.getLogger(__name__)


class _Answer(NamedTuple):
    status: HTTPStatus
    content_type: str
    body: bytes


class _NoAnswer(Exception):
    """The event loop does not answer."""


class Monitor(Collector):
    """What can be asked about this process. :func:`monitored` makes one, and serves it.

    Live: the loop turned within ``alive_s``. Ready: etcd gave each cache a sign of life within
    ``fresh_s``. The loop has ``answer_s`` to answer.
    """

    def __init__(
        self, heartbeat: Heartbeat, *, fresh_s: float, alive_s: float, answer_s: float
    ) -> None:
        self.url = ""
        """Where it is served: ``http://127.0.0.1:9100``."""
        self._heartbeat = heartbeat
        self._fresh_s = fresh_s
        self._alive_s = alive_s
        self._answer_s = answer_s
        self._loop = asyncio.get_running_loop()
        self._instances: Sequence[Instance] = ()
        self._phase = "starting"

    @contextmanager
    def observe(self, instances: Sequence[Instance]) -> Iterator[None]:
        """Speak of ``instances`` from now on; leave it when they are about to end: not ready."""
        self._instances, self._phase = instances, ""
        try:
            yield
        finally:
            self._phase = "draining"

    # -- asked by the threads of the server ---------------------------------------------------

    def get(self, path: str, accept: str = "") -> _Answer:
        """The answer to one request, for a client that wants the content type ``accept``."""
        try:
            match path:
                case "/livez":
                    return _report(self._not_live())
                case "/readyz":
                    return _report(self._ask(self._unready))
                case "/metrics":
                    encode, content_type = choose_encoder(accept)
                    return _Answer(HTTPStatus.OK, content_type, encode(self))
        except _NoAnswer as error:
            return _report([f"event loop: {error}"])
        except Exception:
            logger.exception("request failed", extra={"path": path})
            return _text(HTTPStatus.INTERNAL_SERVER_ERROR, ["a defect: the log has more"])
        return _text(HTTPStatus.NOT_FOUND, ["here are /livez, /metrics and /readyz"])

    def collect(self) -> Iterable[Metric]:
        """All metrics as of now."""
        return self._ask(lambda: families(self._instances))

    def _not_live(self) -> list[str]:
        age_s = self._heartbeat.age_s
        return [f"event loop: has not turned for {age_s:.0f} s"] if age_s > self._alive_s else []

    def _unready(self) -> list[str]:
        if self._phase:
            return [self._phase]
        return unready(self._instances, fresh_s=self._fresh_s)

    def _ask(self, question: Callable[[], T]) -> T:
        """What ``question`` gives in the event loop."""
        answer: Future[T] = Future()

        def ask() -> None:
            if not answer.set_running_or_notify_cancel():
                return  # nobody waits any more
            try:
                answer.set_result(question())
            except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
                answer.set_exception(error)

        try:
            self._loop.call_soon_threadsafe(ask)
        except RuntimeError as error:
            raise _NoAnswer("has ended") from error
        try:
            return answer.result(self._answer_s)
        except TimeoutError as error:
            answer.cancel()
            raise _NoAnswer(f"no answer within {self._answer_s:g} s") from error


@asynccontextmanager
async def monitored(
    port: int,
    address: str = "127.0.0.1",
    *,
    fresh_s: float = FRESH_S,
    alive_s: float = 10.0,
    answer_s: float = 2.0,
    beat_s: float = 1.0,
) -> AsyncIterator[Monitor]:
    """A monitor of this event loop, served at ``port`` (0: a free one) until the block is left.

    Raises OSError where nothing can listen there.
    """
    async with Heartbeat(every_s=beat_s) as heartbeat:
        monitor = Monitor(heartbeat, fresh_s=fresh_s, alive_s=alive_s, answer_s=answer_s)
        with _Server(monitor, address, port) as server:
            monitor.url = server.url
            thread = threading.Thread(target=server.serve_forever, name="monitor", daemon=True)
            thread.start()
            try:
                yield monitor
            finally:
                await asyncio.to_thread(server.shutdown)


class _Server(socketserver.ThreadingTCPServer):
    """Not the one of http.server, which looks up the name of its own address."""

    allow_reuse_address = True
    daemon_threads = True  # a client that hangs keeps no process from ending

    def __init__(self, monitor: Monitor, address: str, port: int) -> None:
        self.address_family = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][0]
        self.monitor = monitor
        super().__init__((address, port), _Handler)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """The client has gone, or never was one: its own affair."""
        logger.debug("request broken off", extra={"error": repr(sys.exception())})


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10.0

    def do_GET(self) -> None:
        accept = self.headers.get("Accept", "")
        answer = self.server.monitor.get(urlsplit(self.path).path, accept)
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Not a line for each scrape."""


def _report(troubles: Sequence[str]) -> _Answer:
    if not troubles:
        return _text(HTTPStatus.OK, ["ok"])
    return _text(HTTPStatus.SERVICE_UNAVAILABLE, troubles)


def _text(status: HTTPStatus, lines: Sequence[str]) -> _Answer:
    body = "".join(f"{line}\n" for line in lines)
    return _Answer(status, "text/plain; charset=utf-8", body.encode())
