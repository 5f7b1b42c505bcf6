"""The way back, carried out: read what stands, and say it as the document of an old version."""

from __future__ import annotations

from typing import Any

import msgspec

from flowsvc.definition import child
from flowsvc.errors import Finding
from flowsvc.migrate.inverse import written
from flowsvc.migrate.kept import put_back, style_of
from flowsvc.migrate.look import new_state
from flowsvc.migrate.reading import Style
from flowsvc.migrate.words import Shape
from kvconfig.keyspace import Keyspace
from kvconfig.store import Store

__all__ = ["as_document", "style_for"]


async def as_document(
    store: Store, keyspace: Keyspace, shape: Shape, *, flat: bool | None = None
) -> tuple[dict[str, Any], list[Finding]]:
    """The document in that shape, and what is not in it as it stands.

    In the shape that was migrated it is, as long as nobody has changed anything, exactly the
    document that was. ``flat``: whether entries are; ``None``: as they were.
    """
    new, kept, findings = await new_state(store, keyspace)
    was = style_of(kept)
    document, unsaid = written(new, style_for(shape, was, flat=flat))
    same = was is not None and was.shape == shape
    document, left_out = put_back(document, kept, items_only=not same)
    for type_, key in left_out:
        path = child(child("$", type_), key or "")
        said = "is not as it was: it has changed since, or has no place in this shape"
        unsaid.append(Finding(path, said, "warning"))
    return document, [*findings, *unsaid]


def style_for(shape: Shape, was: Style | None, *, flat: bool | None = None) -> Style:
    """How to write a shape. ``was``: how the document was written that was migrated."""
    if was is not None and was.shape == shape:
        style = was
    elif shape in ("blob", "interim"):  # both forms of entries have been seen there
        style = Style(shape=shape, flat=was is not None and was.flat)
    else:
        style = Style(shape=shape, flat=shape == "class", sparse=shape == "class")
    return style if flat is None else msgspec.structs.replace(style, flat=flat)
