"""One channel to each endpoint; calls go to the current one and move on when it fails.

A single gRPC target cannot hold several DNS names, and its own balancing hides which member
answered; so there is a channel each, and rotation is ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import grpc
import grpc.aio

__all__ = ["MAX_RESPONSE_BYTES", "Endpoints"]

MAX_RESPONSE_BYTES = 64 * 2**20
"""Receive limit. gRPC's default of 4 MiB is less than one page of large values."""

_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_RESPONSE_BYTES),
    # Pings find a dead peer. etcd ends connections that ping more often than every 5 s; without
    # ping_timeout_ms a stopped server was noticed after 62 s, with it after 4.5 s (measured).
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.ping_timeout_ms", 2_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]


class Endpoints:
    """The members of one etcd cluster, as ``host:port`` or ``http://host:port``."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        if not endpoints:
            raise ValueError("no endpoint given")
        self.names = tuple(endpoint.removeprefix("http://").rstrip("/") for endpoint in endpoints)
        self._channels: dict[int, grpc.aio.Channel] = {}
        self._current = 0

    @property
    def name(self) -> str:
        """The endpoint that calls go to."""
        return self.names[self._current]

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel to the current endpoint, opened when first used."""
        if self._current not in self._channels:
            self._channels[self._current] = grpc.aio.insecure_channel(self.name, options=_OPTIONS)
        return self._channels[self._current]

    def failed(self, name: str) -> None:
        """``name`` did not answer: go on with the next one, unless somebody has moved already."""
        if name == self.name:
            self._current = (self._current + 1) % len(self.names)

    async def close(self) -> None:
        """Close all channels; calls under way end."""
        for channel in self._channels.values():
            await channel.close()
