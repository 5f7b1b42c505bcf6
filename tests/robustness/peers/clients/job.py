"""What a client is asked to do, and the lines in which it says what it sees.

A :class:`Job` goes to the process as one argument, in JSON. The process answers in lines of JSON on
its standard output, one for each thing that its user would notice:

``{"call": "watch"}``            it asks its client for something; ``""``: that has returned
``{"state": {key: value}}``      what stands below the prefix, by a list
``{"watching": true}``           the client says that it watches
``{"change": [key, value]}``     an event; ``null`` for a value: deleted
``{"error": "Type: text"}``      it was told of an error, or that nothing more will come
``{"ready": true}``              connected; waiting for a line on its standard input
``{"answer": true}``             whether its transaction was done
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["Job", "calling", "say", "say_error"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """``follow``: keep a copy of all below ``prefix``. ``create``: put ``key`` in one
    transaction, if it does not exist.

    ``tls_endpoint`` leads to the first of ``endpoints`` over TLS, for clients that send a password
    in no other way. ``lists``: begin with a list. ``again``: watch again, with the same client,
    when a watch has ended.
    """

    do: Literal["follow", "create"] = "follow"
    endpoints: tuple[str, ...]
    prefix: str
    key: str = ""
    user: str = ""
    password: str = ""
    token_ttl_s: float = 300.0
    tls_endpoint: str = ""
    cacert: str = ""
    lists: bool = True
    again: bool = False
    etcdctl: str = ""

    @property
    def address(self) -> tuple[str, int]:
        """Of the first endpoint, for clients that know one only."""
        host, _, port = self.endpoints[0].rpartition(":")
        return host, int(port)

    def encode(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def decode(cls, text: str) -> Job:
        fields = json.loads(text)
        return cls(**{**fields, "endpoints": tuple(fields["endpoints"])})


def say(what: str, value: str | bool | Mapping[str, str] | tuple[str, str | None]) -> None:
    print(json.dumps({what: value}), flush=True)


def say_error(error: Exception) -> None:
    say("error", f"{type(error).__name__}: {error}")


@contextmanager
def calling(what: str) -> Iterator[None]:
    """Around a call that may never return."""
    say("call", what)
    try:
        yield
    finally:
        say("call", "")
