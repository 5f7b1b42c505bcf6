"""References to secrets: the text that stands in etcd in place of a value that never may.

``env:NAME`` is a variable of the processor's environment, ``file:/path`` a file on its machine.
Other schemes are those of resolver plug-ins, and count only where they were declared: a password
with a colon in it would pass for a reference otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

__all__ = ["allowed", "is_reference", "is_scheme"]

_BUILT_IN = {
    "env": re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}"),
    "file": re.compile(r"/[^\x00-\x1f\x7f]{1,1023}"),
}
_SCHEME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_PLACE = re.compile(r"[!-~]{1,1023}")
"""What may follow another scheme: visible ASCII; the plug-in knows more."""


def is_scheme(name: str) -> bool:
    """Whether a plug-in may have this scheme; ``env`` and ``file`` are taken."""
    return _SCHEME.fullmatch(name) is not None and name not in _BUILT_IN


def is_reference(text: str, schemes: Collection[str] = ()) -> bool:
    """Whether ``text`` refers to a secret; ``schemes`` are those of plug-ins that count."""
    scheme, colon, place = text.partition(":")
    if not colon or not (scheme in _BUILT_IN or scheme in schemes):
        return False
    return _BUILT_IN.get(scheme, _PLACE).fullmatch(place) is not None


def allowed(schemes: Iterable[str] = ()) -> str:
    """What :func:`is_reference` takes, in words."""
    ways = ["env:NAME", "file:/path", *(f"{scheme}:..." for scheme in schemes)]
    return f"{', '.join(ways[:-1])} or {ways[-1]}"
