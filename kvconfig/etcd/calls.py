"""How to ask a channel one thing, by etcd's wire name and with messages of our own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import grpc.aio
from google.protobuf.message import Message

from kvconfig.etcd.auth import Metadata

__all__ = ["Ask", "Response", "unary"]

Response = TypeVar("Response", bound=Message)

Ask: TypeAlias = Callable[[grpc.aio.Channel, Metadata], Awaitable[Response]]


def unary(
    method: str, request: Message, response: type[Response], timeout_s: float
) -> Ask[Response]:
    """One request and one answer, such as of ``KV/Range``."""

    async def ask(channel: grpc.aio.Channel, metadata: Metadata) -> Response:
        stub = channel.unary_unary(
            f"/etcdserverpb.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return await stub(request, timeout=timeout_s, metadata=metadata)

    return ask
