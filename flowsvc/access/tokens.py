"""The file of bearer tokens: a line for each, with its hash, whose it is, and until when.

::

    # anything
    sha256:9f86d081… alice 2026-03-01T12:00:00Z

Times are in UTC and all in that form, so they compare as text. A token is 256 random bits, so a
plain hash of it gives nothing away, and there is nothing to try.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re

import msgspec

from flowsvc.errors import Finding, InvalidInput

__all__ = ["Token", "Tokens", "line_of", "parse_tokens", "token_of"]

_IDENTITY = r"[A-Za-z0-9][A-Za-z0-9._:+/@-]{0,254}"
_TIME = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ"
_LINE = re.compile(rf"sha256:([0-9a-f]{{64}})\s+({_IDENTITY})\s+({_TIME})", re.ASCII)
_PREFIX = "kvc_"
"""What each token begins with, so that a scanner for secrets finds one that got away."""


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a token: until when (such as ``2026-03-01T12:00:00Z``) it lets whom in."""

    digest: bytes
    identity: str
    until: str


class Tokens(msgspec.Struct, frozen=True):
    """All that are known."""

    known: tuple[Token, ...] = ()

    def find(self, text: str) -> Token | None:
        """The token that was sent, if it is one. All are compared, each in constant time."""
        digest = _digest(text)
        found = [token for token in self.known if hmac.compare_digest(token.digest, digest)]
        return found[0] if found else None


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def token_of(secret: bytes) -> str:
    """A token as it is sent, of 32 random bytes."""
    assert len(secret) == 32
    return _PREFIX + base64.urlsafe_b64encode(secret).decode().rstrip("=")


def line_of(text: str, identity: str, until: str) -> str:
    """The line of a token. Raises :class:`InvalidInput` for an identity that is none."""
    line = f"sha256:{_digest(text).hex()} {identity} {until}"
    if _LINE.fullmatch(line) is None:
        raise InvalidInput("token", [Finding("$.identity", "is no name: letters, digits, ._:+/@-")])
    return line


def parse_tokens(content: bytes) -> Tokens:
    """The tokens of a file. Raises :class:`InvalidInput`; it names lines, and nothing in them."""
    known: list[Token] = []
    findings: list[Finding] = []
    for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            findings.append(Finding(f"line {number}", "is not sha256:HASH IDENTITY TIME"))
            continue
        digest = bytes.fromhex(found[1])
        if any(digest == token.digest for token in known):
            findings.append(Finding(f"line {number}", "has a token for the second time"))
        known.append(Token(digest=digest, identity=found[2], until=found[3]))
    if findings:
        raise InvalidInput("tokens", findings)
    return Tokens(tuple(known))
