"""Who may do what, and to which flows, blueprints, parameter types and configuration: one file.

::

    revoked-certificates = ["3f5a…"]         # SHA-256, as `openssl x509 -fingerprint -sha256` says

    [[allow]]
    who = ["alice@example.org", "spiffe://prod/ci/*"]
    role = "operator"
    flows = ["team-a-*"]
    blueprints = ["document-*"]

An ``operator`` may do what a ``viewer`` may, an ``admin`` what both may. Where an entry limits
nothing, the role holds everywhere; where it does, it holds for what is named and for nothing else.
One entry has to cover all that a request names together: whoever may start ``a-*`` from ``x`` by
one and ``b-*`` from ``y`` by another may not start ``a-1`` from ``y``. What no entry allows is
refused; none takes away what another one gives.

In a pattern ``*`` stands for any characters, and everything else for itself.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Literal

import msgspec

from flowsvc.access.identity import LOCAL, Identity
from flowsvc.errors import Finding, InvalidInput

__all__ = ["ROLES", "Grant", "Policy", "Rights", "Role", "Touch", "parse_policy"]

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
"""Each may do what those before it may."""

_Who = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
_Pattern = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:+*-]{1,128}$")]
_Patterns = Annotated[tuple[_Pattern, ...], msgspec.Meta(min_length=1)]


class Touch(msgspec.Struct, frozen=True, kw_only=True):
    """What a request names together; ``*``: all there are, which only the pattern ``*`` matches.

    Of a touch that names nothing, any entry will do.
    """

    flow: str | None = None
    blueprint: str | None = None
    parameter_type: str | None = None
    config: str | None = None

    def __str__(self) -> str:
        named = [
            f"{field.replace('_', ' ')} {name!r}"
            for field in self.__struct_fields__
            if (name := getattr(self, field)) is not None
        ]
        return ", ".join(named)


class _Strict(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"
):
    pass


class Grant(_Strict, frozen=True, kw_only=True):
    """A role for some, everywhere or for what is named."""

    who: Annotated[tuple[_Who, ...], msgspec.Meta(min_length=1)]
    role: Role
    flows: _Patterns | None = None
    blueprints: _Patterns | None = None
    parameter_types: _Patterns | None = None
    config: _Patterns | None = None

    def is_for(self, identity: Identity) -> bool:
        """Whether it speaks of this caller. Who has shown nothing has to be named as it is."""
        if identity == LOCAL:
            return LOCAL.name in self.who
        return _any(self.who, identity.name)

    def covers(self, role: Role, touch: Touch) -> bool:
        """Whether it allows what takes ``role`` to be done to this."""
        if ROLES.index(self.role) < ROLES.index(role):
            return False
        limits = (self.flows, self.blueprints, self.parameter_types, self.config)
        if limits == (None, None, None, None):
            return True
        names = (touch.flow, touch.blueprint, touch.parameter_type, touch.config)
        return all(
            name is None or _any(limit or (), name)
            for name, limit in zip(names, limits, strict=True)
        )


class Rights(msgspec.Struct, frozen=True):
    """What one caller may do: the entries that speak of it."""

    grants: tuple[Grant, ...]

    def permit(self, role: Role, touch: Touch) -> bool:
        """Whether one entry allows it."""
        return any(grant.covers(role, touch) for grant in self.grants)


class Policy(_Strict, frozen=True, kw_only=True):
    """All that is allowed."""

    allow: tuple[Grant, ...] = ()
    revoked_certificates: tuple[
        Annotated[str, msgspec.Meta(pattern=r"^([0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}$")], ...
    ] = ()

    def rights_of(self, identity: Identity) -> Rights:
        """What one caller may do."""
        return Rights(tuple(grant for grant in self.allow if grant.is_for(identity)))

    @property
    def revoked(self) -> frozenset[str]:
        """The fingerprints of certificates that do not count any more, in lower case."""
        return _fingerprints(self.revoked_certificates)


def parse_policy(content: bytes) -> Policy:
    """The policy of a file. Raises :class:`InvalidInput`, which names the place."""
    try:
        return msgspec.convert(tomllib.loads(content.decode()), Policy)
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `")
        finding = Finding(place.removesuffix("`") or "$", said)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        finding = Finding("$", f"not TOML: {error}")
    raise InvalidInput("policy", [finding])


def _any(patterns: Iterable[str], name: str) -> bool:
    return any(_compiled(pattern).fullmatch(name) for pattern in patterns)


@lru_cache(maxsize=10_000)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, re.split(r"\*+", pattern))), re.DOTALL)


@lru_cache(maxsize=4)
def _fingerprints(texts: tuple[str, ...]) -> frozenset[str]:
    return frozenset(text.replace(":", "").lower() for text in texts)
