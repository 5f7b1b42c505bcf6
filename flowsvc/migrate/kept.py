"""What the new layout has no place for, kept as it was, so that the way back is exact.

Most of a document follows from what stands after its migration. The rest (an entry that no flow
has, a number where flows hold text, JSON in a string, a key that is none here) would be gone. So
each part of the document that the way back would not give is kept in an item of type ``migration``,
together with a digest of what the way back would give in its place. While that is what it gives,
nobody has changed the part since, and the kept one is right; after that it is not used any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from flowsvc.migrate.document import Document, Place, assembled, units
from flowsvc.migrate.reading import Style
from flowsvc.migrate.words import KEPT_TYPE, meaning
from kvconfig.codec import encode

__all__ = ["STYLE", "keep", "put_back", "style_of"]

STYLE = (KEPT_TYPE, "style")
"""The item that says how the document was written. It comes last: with it, all that is kept is."""


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a document: what it ``was`` (unset: not there), and a digest of what says it now.

    ``key`` as in :data:`flowsvc.migrate.document.Place`.
    """

    type: str
    key: str | None
    was: Any | UnsetType = UNSET
    now: str


def keep(document: Mapping[Place, Any], back: Document, style: Style) -> dict[tuple[str, str], Any]:
    """The items to keep for a document, given as units, whose way back gives ``back``."""
    given = dict(units(back))
    items: dict[tuple[str, str], Any] = {}
    for place in dict.fromkeys((*document, *given)):
        was, now = document.get(place, UNSET), given.get(place, UNSET)
        if _digest(was) != _digest(now):
            part = _Kept(type=place[0], key=place[1], was=was, now=_digest(now))
            name = hashlib.sha256(encode(place)).hexdigest()[:32]
            items[KEPT_TYPE, f"kept/{name}"] = msgspec.to_builtins(part)
    items[STYLE] = msgspec.to_builtins(style)
    return items


def put_back(
    back: Document, items: Mapping[tuple[str, str], Any], *, items_only: bool = False
) -> tuple[dict[str, Any], list[Place]]:
    """The document as it was, where nothing has changed since; and where something has.

    ``items`` are those of our type. ``items_only``: ``back`` has another shape, so only what is
    configuration in all of them can be put back.
    """
    parts = dict(units(back))
    left_out = []
    for name, value in items.items():
        if name == STYLE:
            continue
        try:
            part = msgspec.convert(value, _Kept)
        except msgspec.ValidationError:  # somebody else's
            continue
        place = (part.type, part.key)
        unfit = items_only and meaning(part.type) is not None
        if unfit or _digest(parts.get(place, UNSET)) != part.now:
            left_out.append(place)
        elif part.was is UNSET:
            parts.pop(place, None)
        else:
            parts[place] = part.was
    return assembled(parts), left_out


def style_of(items: Mapping[tuple[str, str], Any]) -> Style | None:
    """How the document was written that the items were kept for; ``None`` where none says it."""
    try:
        return msgspec.convert(items.get(STYLE), Style)
    except msgspec.ValidationError:
        return None


def _digest(part: Any) -> str:
    return "" if part is UNSET else hashlib.sha256(encode(part)).hexdigest()
