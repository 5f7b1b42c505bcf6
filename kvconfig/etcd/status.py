"""The one table that turns what gRPC and etcd say into errors of ours.

etcd tells different things with one code, so its text decides (verbatim from 3.4 to 3.5). What
matters most is whether a write *may* have been committed: only where the text proves that nothing
was proposed is it ``Unavailable``; every other broken write is ``OutcomeUnknown``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import grpc
import grpc.aio

from kvconfig.errors import (
    AuthenticationFailed,
    Compacted,
    DuplicateKey,
    FutureRevision,
    LeaseNotFound,
    NoSpace,
    OutcomeUnknown,
    PermissionDenied,
    RequestRefused,
    RequestTooLarge,
    ResponseTooLarge,
    StoreError,
    TooManyOperations,
    TransactionAborted,
    Unavailable,
)
from kvconfig.model import LeaseId

__all__ = ["Call", "RightsChanged", "from_cancel_reason", "from_status"]

_OUTDATED = "auth store is old"
_NOTHING_WAS_PROPOSED = ("failed to connect", "no leader", "too many requests", "not capable")


@dataclass(frozen=True, kw_only=True)
class Call:
    """What was asked, as far as an error needs it. ``writes``: may it have changed anything?"""

    writes: bool = False
    transaction: bool = False
    key: bytes = b""
    lease: LeaseId = LeaseId(0)


class RightsChanged(Unavailable):
    """Users or roles were changed while etcd looked whether this was allowed: it did nothing.

    Of a user with a password it may be said of every call with the token that he has.
    """


_TABLE: list[tuple[grpc.StatusCode, str, Callable[[Call, str], StoreError]]] = [
    (grpc.StatusCode.INVALID_ARGUMENT, "too many operations", lambda c, t: TooManyOperations()),
    (grpc.StatusCode.INVALID_ARGUMENT, "request is too large", lambda c, t: RequestTooLarge()),
    (grpc.StatusCode.INVALID_ARGUMENT, "duplicate key", lambda c, t: DuplicateKey()),
    (grpc.StatusCode.INVALID_ARGUMENT, "user name is empty", lambda c, t: AuthenticationFailed(t)),
    (grpc.StatusCode.INVALID_ARGUMENT, "authentication", lambda c, t: AuthenticationFailed(t)),
    (grpc.StatusCode.INVALID_ARGUMENT, _OUTDATED, lambda c, t: RightsChanged(t)),
    (grpc.StatusCode.INVALID_ARGUMENT, "", lambda c, t: RequestRefused(t)),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "space exceeded", lambda c, t: NoSpace()),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "grpc: received message", lambda c, t: RequestTooLarge()),
    (grpc.StatusCode.OUT_OF_RANGE, "compacted", lambda c, t: Compacted()),
    (
        grpc.StatusCode.OUT_OF_RANGE,
        "future revision",
        lambda c, t: TransactionAborted() if c.transaction else FutureRevision(),
    ),
    (grpc.StatusCode.UNAUTHENTICATED, "", lambda c, t: AuthenticationFailed(t)),
    (grpc.StatusCode.PERMISSION_DENIED, "", lambda c, t: PermissionDenied(c.key)),
    (grpc.StatusCode.NOT_FOUND, "lease not found", lambda c, t: LeaseNotFound(c.lease)),
    (grpc.StatusCode.UNIMPLEMENTED, "", lambda c, t: RequestRefused(t)),
]


def from_status(error: grpc.aio.AioRpcError, call: Call, endpoint: str) -> StoreError:
    """The error of ours for a call that ended badly; the caller chains the cause."""
    code, text = error.code(), error.details() or ""
    for known, words, make in _TABLE:
        if code == known and words in text:
            return make(call, text)
    reason = f"{text or 'no details'} ({code.name})"
    if call.writes and not any(words in text for words in _NOTHING_WAS_PROPOSED):
        return OutcomeUnknown(reason)
    if "CLIENT: Received message larger" in text:
        return ResponseTooLarge()
    return Unavailable(reason, endpoints=(endpoint,))


def from_cancel_reason(reason: str, key: bytes) -> StoreError | None:
    """Why the server refused a watch, where its words are known."""
    if "permission denied" in reason:
        return PermissionDenied(key)
    if _OUTDATED in reason:
        return RightsChanged(reason)
    if "auth" in reason or "user name is empty" in reason:  # the latter of those without a token
        return AuthenticationFailed(reason)
    return None
