"""The values that a store gives and takes: keys with their revisions, and changes of them.

Keys and values are bytes here, as etcd has them; :mod:`kvconfig.keyspace` and
:mod:`kvconfig.records` give them meaning. Structs are frozen, compare by value, and are kept out of
the garbage collector's books (``gc=False``): caches hold many of them.
"""

from __future__ import annotations

from typing import NewType

import msgspec

__all__ = ["Event", "KeyValue", "LeaseId", "Page", "Revision", "WatchBatch"]

Revision = NewType("Revision", int)
"""A revision of the whole store; 0 stands for "none", 1 for the empty store."""

LeaseId = NewType("LeaseId", int)
"""The id of a lease; 0 stands for "none"."""


class KeyValue(msgspec.Struct, frozen=True, gc=False):
    """One key as it stood at some revision.

    ``create_revision`` is that of the put which made the key, ``mod_revision`` that of the last
    put, ``version`` counts puts since creation (1 after the first).
    """

    key: bytes
    value: bytes
    create_revision: Revision
    mod_revision: Revision
    version: int
    lease: LeaseId = LeaseId(0)


class Event(msgspec.Struct, frozen=True, gc=False):
    """One change: ``kv`` is the key after a put; ``None`` after a delete."""

    key: bytes
    kv: KeyValue | None


class WatchBatch(msgspec.Struct, frozen=True):
    """All that a watch saw of one revision, whole: a transaction is never split over two.

    Without events it is a sign of life: the watch has seen everything up to ``revision``.
    """

    revision: Revision
    events: tuple[Event, ...] = ()


class Page(msgspec.Struct, frozen=True):
    """A part of a list. ``revision`` is the same in every page of one list."""

    items: tuple[KeyValue, ...]
    revision: Revision
