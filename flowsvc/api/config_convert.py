"""Items and their changes to the messages of ``kvconfig.config.v1``, and back.

Values travel as JSON text in the canonical form; ``mod_revision`` is ``revision`` on the wire.
"""

from __future__ import annotations

from typing import Any

from flowsvc.api.v1 import config_pb2 as pb
from kvconfig.codec import encode, parse_json
from kvconfig.config import ConfigChange, ConfigItem, Unreadable
from kvconfig.model import Revision

__all__ = [
    "change_from",
    "change_to",
    "item_from",
    "item_to",
    "json_from",
    "json_to",
    "unreadable_from",
    "unreadable_to",
]


def json_to(value: object) -> str:
    """A value as JSON text. Raises :class:`kvconfig.errors.InvalidValue` for what JSON lacks."""
    return encode(value).decode()


def json_from(text: str, *, of: str) -> Any:
    """The inverse; ``of`` says in the error whose value it is."""
    return parse_json(text.encode(), key=of.encode())


def item_to(item: ConfigItem) -> pb.Item:
    """An item as it stands."""
    return pb.Item(
        type=item.type,
        key=item.key,
        value=json_to(item.value),
        revision=item.mod_revision,
        version=item.version,
    )


def item_from(message: pb.Item) -> ConfigItem:
    """The inverse of :func:`item_to`."""
    return ConfigItem(
        type=message.type,
        key=message.key,
        value=json_from(message.value, of=f"/{message.type}/{message.key}"),
        mod_revision=Revision(message.revision),
        version=message.version,
    )


def unreadable_to(unreadable: Unreadable) -> pb.Unreadable:
    """What cannot be read, and why."""
    return pb.Unreadable(
        type=unreadable.type,
        key=unreadable.key,
        raw=unreadable.raw,
        reason=unreadable.reason,
        path=unreadable.path,
        revision=unreadable.mod_revision,
    )


def unreadable_from(message: pb.Unreadable) -> Unreadable:
    """The inverse of :func:`unreadable_to`."""
    return Unreadable(
        type=message.type,
        key=message.key,
        raw=message.raw,
        reason=message.reason,
        path=message.path,
        mod_revision=Revision(message.revision),
    )


def change_to(change: ConfigChange) -> pb.Change:
    """A change of one item; whose type it is, the watch says."""
    item = None if change.item is None else item_to(change.item)
    return pb.Change(key=change.key, item=item, error=change.error)


def change_from(message: pb.Change, type_: str) -> ConfigChange:
    """The inverse of :func:`change_to`."""
    return ConfigChange(
        type=type_,
        key=message.key,
        item=item_from(message.item) if message.HasField("item") else None,
        error=message.error,
    )
