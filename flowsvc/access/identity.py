"""Who a caller is: what its certificate, or its token, says.

A certificate speaks by its subject alternative names, and by one of them only: its first URI (a
workload, as SPIFFE names it), else its first email address (a person), else its first DNS name (a
machine). Its common name and its IP addresses say nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from flowsvc.access.tokens import Tokens
from flowsvc.errors import Unauthenticated

__all__ = ["LOCAL", "Identity", "attributed", "identify"]

Auth = Mapping[str, Iterable[bytes]]
"""What gRPC knows of a connection (``auth_context``)."""

_NAMES = ("peer_uri", "peer_email", "peer_dns")
_SCHEME = "bearer "


class Identity(msgspec.Struct, frozen=True):
    """A caller's ``name``, and what it has shown for it."""

    name: str
    shown: Literal["nothing", "certificate", "token"]


LOCAL = Identity("@local", "nothing")
"""Who comes without TLS, and so from this machine. No certificate and no token has this name."""


def identify(
    auth: Auth,
    authorization: str | None,
    *,
    tokens: Tokens | None,
    revoked: frozenset[str],
    now: str,
) -> Identity:
    """Who calls. ``authorization`` is the metadata of that name, ``now`` is in UTC,
    such as ``2026-03-01T12:00:00Z``.

    A token that is sent says who it is, whatever certificate is shown, which makes a bad one no
    better. ``revoked`` are certificates, by the SHA-256 of their DER in hexadecimal digits.

    Raises :class:`flowsvc.errors.Unauthenticated`, the same one whatever the reason.
    """
    if b"ssl" not in auth.get("transport_security_type", ()):
        return LOCAL
    if revoked and any(_fingerprint(pem) in revoked for pem in auth.get("x509_pem_cert", ())):
        raise Unauthenticated
    if authorization is not None and tokens is not None:
        if not authorization.lower().startswith(_SCHEME):
            raise Unauthenticated
        token = tokens.find(authorization[len(_SCHEME) :])
        if token is None or now >= token.until:
            raise Unauthenticated
        return Identity(token.identity, "token")
    for kind in _NAMES:
        for name in auth.get(kind, ()):
            if not name.startswith(LOCAL.name.encode()):
                return Identity(name.decode(errors="backslashreplace"), "certificate")
    raise Unauthenticated


def _fingerprint(pem: bytes) -> str:
    body = b"".join(line for line in pem.splitlines() if not line.startswith(b"-----"))
    return hashlib.sha256(base64.b64decode(body)).hexdigest()


def attributed(identity: Identity, claim: str) -> str:
    """Who did it, for the history: who it is counts, and then who it says to be.

    Who has shown nothing is who it says to be: it has an account on this machine.
    """
    if identity.shown == "nothing":
        return claim
    return identity.name if claim in ("", identity.name) else f"{identity.name} (as {claim})"
