"""How to ask a channel one thing, by etcd's wire name and with messages of our own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import grpc.aio
from google.protobuf.message import Message

from kvconfig.etcd.auth import Metadata

__all__ = ["Ask", "Response", "unary"]

Response = TypeVar("Response", bound=Message)

Ask: TypeAlias = Callable[[grpc.aio.Channel, Metadata], Awaitable[Response]]


def unary(
    method: str, request: Message | bytes, response: type[Response], timeout_s: float
) -> Ask[Response]:
    """One request, a message or the bytes of one, and one answer, such as of ``KV/Range``."""
    serializer = None if isinstance(request, bytes) else type(request).SerializeToString

    async def ask(channel: grpc.aio.Channel, metadata: Metadata) -> Response:
        stub: grpc.aio.UnaryUnaryMultiCallable[Any, Response] = channel.unary_unary(
            f"/etcdserverpb.{method}",
            request_serializer=serializer,
            response_deserializer=response.FromString,
        )
        return await stub(request, timeout=timeout_s, metadata=metadata)

    return ask
