"""A client's way to a server: a channel, made anew when its certificates are, and a token."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc

from flowsvc.api.tls import Credentials, Pems
from flowsvc.errors import InvalidInput
from flowsvc.reread import Reread

__all__ = ["Way"]

# Channels to one address would share a connection, and with it old certificates.
_OWN_CONNECTION = ("grpc.use_local_subchannel_pool", 1)


class Way:
    """To ``target``; over TLS where there are ``credentials``.

    ``grace_s``: how long calls may go on on a channel that another one has replaced.
    """

    def __init__(
        self,
        target: str,
        credentials: Credentials | None,
        options: Sequence[tuple[str, int]],
        *,
        grace_s: float,
    ) -> None:
        self._target, self._credentials, self._grace_s = target, credentials, grace_s
        self._options = [*options]
        self._channel: grpc.aio.Channel | None = None
        self._pems: Pems | None = None
        self._token: Reread[str] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def open(self) -> grpc.aio.Channel:
        """The channel. Raises :class:`InvalidInput` for a file that cannot be read."""
        known = self._credentials
        if known is None:
            self._channel = grpc.aio.insecure_channel(self._target, options=self._options)
            return self._channel
        if known.token_file is not None:
            self._token = Reread("token", [known.token_file], known.token)
        return self._over_tls(known.pems())

    def _over_tls(self, pems: Pems) -> grpc.aio.Channel:
        self._pems = pems
        self._channel = grpc.aio.secure_channel(
            self._target,
            grpc.ssl_channel_credentials(*pems),
            options=[*self._options, _OWN_CONNECTION],
        )
        return self._channel

    def renewed(self) -> grpc.aio.Channel | None:
        """Another channel, where certificates have changed since this one was opened."""
        if self._credentials is None or self._channel is None:
            return None
        try:
            pems = self._credentials.pems()
        except InvalidInput:  # about to be replaced: the next failure looks again
            return None
        if pems == self._pems:
            return None
        closing = asyncio.create_task(self._channel.close(grace=self._grace_s))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        return self._over_tls(pems)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What goes with a call: the token as it stands now."""
        return (("authorization", f"Bearer {self._token()}"),) if self._token is not None else ()

    async def close(self) -> None:
        """Close everything; calls under way end."""
        channel, self._channel = self._channel, None
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        if channel is not None:
            await channel.close()
