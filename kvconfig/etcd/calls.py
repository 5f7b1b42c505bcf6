"""How to ask a channel one thing, by etcd's wire name and with messages of our own."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import grpc.aio
import tenacity
from google.protobuf.message import Message

from kvconfig.etcd.auth import Metadata

__all__ = ["Ask", "Response", "again", "unary"]

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


def again(refused: type[Exception], *, within_s: float = math.inf) -> tenacity.AsyncRetrying:
    """How etcd is asked again where it has ``refused`` and done nothing: five times at the most,
    and only as long as the next time begins ``within_s``."""
    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception_type(refused),
        stop=tenacity.stop_after_attempt(5) | tenacity.stop_before_delay(within_s),
        wait=tenacity.wait_random_exponential(multiplier=0.05, max=1.0),
        reraise=True,
    )
