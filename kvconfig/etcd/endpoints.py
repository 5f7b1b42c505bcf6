"""One channel to each endpoint; calls go to the current one and move on when it fails.

A single gRPC target cannot hold several DNS names, and its own balancing hides which member
answered; so there is a channel each, and rotation is ours.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import grpc.aio

from kvconfig.etcd.access import Access

__all__ = ["MAX_RESPONSE_BYTES", "Endpoints"]

MAX_RESPONSE_BYTES = 64 * 2**20
"""Receive limit. gRPC's default of 4 MiB is less than one page of large values."""

_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
    # Pings find a dead peer. etcd ends connections that ping more often than every 5 s; without
    # ping_timeout_ms a stopped server was noticed after 62 s, with it after 4.5 s (measured).
    ("grpc.keepalive_time_ms", 6_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Channels to one address would share a connection, and with it old certificates.
    ("grpc.use_local_subchannel_pool", 1),
]

_Files = tuple[bytes | None, bytes | None, bytes | None]


class Endpoints:
    """The members of one etcd cluster."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self.names = tuple(map(_host_and_port, access.endpoints))
        self._channels: dict[int, grpc.aio.Channel] = {}
        self._files: _Files | None = None
        self._current = 0
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def name(self) -> str:
        """The endpoint that calls go to."""
        return self.names[self._current]

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel to the current endpoint, opened when first used."""
        return self.channel_to(self._current)

    def channel_to(self, index: int) -> grpc.aio.Channel:
        """The channel to one endpoint."""
        if index not in self._channels:
            self._channels[index] = self._open(index)
        return self._channels[index]

    def failed(self, name: str) -> None:
        """``name`` did not answer: go on with the next one, unless somebody has moved already.

        Where certificates on disk have changed meanwhile, all connections are made anew.
        """
        if name == self.name:
            self._current = (self._current + 1) % len(self.names)
        if self._files is not None and self._files != self._read_files():
            self._files = None
            old, self._channels = self._channels, {}
            for channel in old.values():
                self._close_soon(channel)

    async def close(self) -> None:
        """Close all channels; calls under way end."""
        for channel in self._channels.values():
            await channel.close()
        if self._closing:
            await asyncio.wait(self._closing)

    def _open(self, index: int) -> grpc.aio.Channel:
        name = self.names[index]
        if not self._access.secure(self._access.endpoints[index]):
            return grpc.aio.insecure_channel(name, options=_OPTIONS)
        if self._files is None:
            self._files = self._read_files()
        root, key, cert = self._files
        credentials = grpc.ssl_channel_credentials(root, key, cert)
        return grpc.aio.secure_channel(name, credentials, options=_OPTIONS)

    def _read_files(self) -> _Files:
        return (
            _content(self._access.cacert),
            _content(self._access.key),
            _content(self._access.cert),
        )

    def _close_soon(self, channel: grpc.aio.Channel) -> None:
        """Calls under way on it get a little time to end by themselves."""
        task = asyncio.get_running_loop().create_task(channel.close(grace=5.0))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _host_and_port(endpoint: str) -> str:
    return endpoint.removeprefix("http://").removeprefix("https://").rstrip("/")


def _content(path: Path | None) -> bytes | None:
    return path.read_bytes() if path is not None else None
