"""The door of the API: who calls, whether they may, what they are shown, and the record of it.

The server opens a :class:`Visit` for each call. Files are read again when they change, so whoever
is taken out of one is refused at the next call; a watch looks every :data:`LOOK_EVERY_S` seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol

from google.protobuf.message import Message

from flowsvc.access.audit_log import AUDIT_LOG
from flowsvc.access.identity import Auth, Identity, attributed, identify
from flowsvc.access.needs import check, need_of
from flowsvc.access.policy import Policy
from flowsvc.access.tokens import Tokens
from flowsvc.api.methods import Method
from flowsvc.api.v1 import flow_pb2 as pb
from flowsvc.errors import Forbidden, Unauthenticated

__all__ = ["Guard", "Visit"]

LOOK_EVERY_S = 1.0

# Of a line of the record: a request may name 4 MiB of nonsense.
_NAMES_LIMIT = 20
_TEXT_LIMIT = 300


class Call(Protocol):
    """What gRPC tells of a call; its context has it."""

    def auth_context(self) -> Auth: ...
    def invocation_metadata(self) -> Any: ...
    def peer(self) -> str: ...


class Guard:
    """``policy`` and ``tokens`` are asked for what counts now.

    Without a policy, whoever is known may do everything. Without TLS everybody is
    :data:`flowsvc.access.identity.LOCAL`. ``clock`` gives seconds since 1970.
    """

    def __init__(
        self,
        *,
        policy: Callable[[], Policy] | None = None,
        tokens: Callable[[], Tokens] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._policy, self._tokens, self._clock = policy, tokens, clock

    @property
    def takes_tokens(self) -> bool:
        """Whether a caller may be known by a token."""
        return self._tokens is not None

    def policy(self) -> Policy | None:
        """What counts now."""
        return self._policy() if self._policy is not None else None

    def who(self, call: Call) -> Identity:
        """Who calls. Raises :class:`Unauthenticated`."""
        metadata = dict(call.invocation_metadata() or ())
        policy = self.policy()
        return identify(
            call.auth_context(),
            _text(metadata.get("authorization")),
            tokens=self._tokens() if self._tokens is not None else None,
            revoked=policy.revoked if policy is not None else frozenset(),
            now=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._clock())),
        )

    @contextmanager
    def visit(self, method: Method[Any, Any], request: Message, call: Call) -> Iterator[Visit]:
        """A call, from its request to its end. Raises :class:`Unauthenticated`, ``Forbidden``.

        The request says from then on who it is by.
        """
        visit = Visit(self, method, request, call)
        try:
            visit.enter()
            yield visit
        except (asyncio.CancelledError, GeneratorExit):
            visit.ended("cancelled")
            raise
        except Exception as error:
            visit.ended(type(error).__name__)
            raise
        visit.ended("ok")


class Visit:
    """One call."""

    def __init__(
        self, guard: Guard, method: Method[Any, Any], request: Message, call: Call
    ) -> None:
        self._guard, self._method, self._request, self._call = guard, method, request, call
        self._need = need_of(method)
        self._claimed = self._op = ""
        self._identity: Identity | None = None
        self._revision = 0

    def enter(self) -> None:
        """Find out who it is, refuse what they may not, and write down who it is by."""
        change = self._request
        if isinstance(change, pb.PreviewRequest) and (field := change.WhichOneof("change")):
            change = getattr(change, field)
        self._claimed, self._op = getattr(change, "by", ""), getattr(change, "op", "")
        identity = self._check()
        if "by" in change.DESCRIPTOR.fields_by_name:
            by = attributed(identity, self._claimed)
            setattr(change, "by", by)  # noqa: B010 - of those messages that have it

    def _check(self) -> Identity:
        self._identity = identity = self._guard.who(self._call)
        policy = self._guard.policy()
        if policy is not None:
            check(policy, identity, self._method, self._request)
        return identity

    async def until_refused(self) -> None:
        """Wait until the caller may not do this any more, and raise that."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self._check()

    def shown(self, answer: Message) -> Message:
        """The answer, or a piece of one, without the items that the caller may not look at."""
        if self._method.changes:
            self._revision = getattr(answer, "revision", 0)
            self._op = getattr(answer, "op", self._op)
        if (see := self._sight()) is not None:
            for field in self._method.parts:
                parts = getattr(answer, field)
                kept = [part for part in parts if see(part)]
                del parts[:]
                parts.extend(kept)
        return answer

    def shows(self, item: Message) -> bool:
        """Whether the caller may look at an item that is a message of its own."""
        see = self._sight()
        return see is None or see(item)

    def _sight(self) -> Callable[[Any], bool] | None:
        """What tells which items the caller may look at; ``None``: all of them."""
        need, policy = self._need, self._guard.policy()
        about = need.shows
        if about is None or policy is None:
            return None
        assert self._identity is not None, "nothing is shown to those who did not get in"
        rights = policy.rights_of(self._identity)
        return lambda item: rights.permit(need.role, about(item))

    def began(self) -> None:
        """Write down that a watch has begun."""
        self._record("began", logging.DEBUG)

    def ended(self, result: str) -> None:
        """Write down how it has ended."""
        notable = self._method.changes or result in _REFUSALS
        self._record(result, logging.INFO if notable else logging.DEBUG)

    def _record(self, result: str, level: int) -> None:
        if not AUDIT_LOG.isEnabledFor(level):
            return
        about: dict[str, object] = {
            "identity": self._identity.name if self._identity else "",
            "shown": self._identity.shown if self._identity else "",
            "peer": self._call.peer(),
            "method": self._method.name,
            "names": self._names(),
            "op": self._op[:_TEXT_LIMIT],
            "claimed": self._claimed[:_TEXT_LIMIT],
            "result": result,
            "revision": self._revision,
        }
        AUDIT_LOG.log(level, "call", extra={k: v for k, v in about.items() if v})

    def _names(self) -> list[str]:
        touches = islice(self._need.touches(self._request), _NAMES_LIMIT)
        return [name[:_TEXT_LIMIT] for touch in touches if (name := str(touch))]


_REFUSALS = {error.__name__ for error in (Unauthenticated, Forbidden)}


def _text(value: str | bytes | None) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
