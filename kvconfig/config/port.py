"""The port: all that can be asked of the configuration, and what is answered.

:class:`kvconfig.config.Config` does it in process, on a store. Whoever offers it in another way
(over gRPC, say) gives the same answers and raises the same errors, so that callers cannot tell.

An answer is what one expects, a list or a number, and says as of which ``revision`` of the store it
is true.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Self, TypeVar

import msgspec

from kvconfig.codec import encode
from kvconfig.errors import InvalidValue, show_key
from kvconfig.keys import check_name
from kvconfig.model import Revision
from kvconfig.records import AppliedRecord, decode_applied

__all__ = [
    "ConfigChange",
    "ConfigChanges",
    "ConfigItem",
    "Configuration",
    "Found",
    "Removed",
    "Unreadable",
]

T = TypeVar("T")


class ConfigItem(msgspec.Struct, frozen=True, kw_only=True):
    """One item as it stands at ``mod_revision``; ``version`` counts its writes."""

    type: str
    key: str
    value: Any
    mod_revision: Revision
    version: int


class Unreadable(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at ``raw``, a whole key, and is no item that can be read.

    ``reason`` says why, ``path`` where in the value, which itself is not told. ``type`` and ``key``
    are an item's: it can be put anew, and deleted. Where ``raw`` is the key of none, ``key`` is
    empty, and ``type`` too where it tells none: only the store's own tools remove that.
    """

    type: str
    key: str
    raw: bytes
    reason: str
    mod_revision: Revision
    path: str = "$"

    def __str__(self) -> str:
        place = "" if self.path == "$" else f"at {self.path}: "
        return f"{show_key(self.raw)}: {place}{self.reason}"

    def error(self) -> InvalidValue:
        """What a read of this alone raises."""
        return InvalidValue(self.reason, path=self.path, key=self.raw)


class Found(list[T]):
    """What was found, in order, as of ``revision`` (0: nothing was looked for).

    ``unreadable`` is what stands there too and cannot be read, in order: it is not in the list.
    """

    def __init__(
        self,
        found: Iterable[T] = (),
        *,
        revision: Revision = Revision(0),
        unreadable: Iterable[Unreadable] = (),
    ) -> None:
        super().__init__(found)
        self.revision = revision
        self.unreadable = list(unreadable)

    @classmethod
    async def together(cls, pages: AsyncGenerator[Found[T], None]) -> Found[T]:
        """All pages as one. They are closed after that."""
        found: Found[T] = Found()
        async with aclosing(pages):
            async for page in pages:
                found += page
                found.unreadable += page.unreadable
                found.revision = page.revision
        return found

    def whole(self) -> Self:
        """The same, for who needs all of it. Raises ``InvalidValue`` where some is unreadable."""
        if self.unreadable:
            raise self.unreadable[0].error()
        return self

    def all_in_order(self) -> Iterator[T | Unreadable]:
        """The list and what is unreadable, together in the order of keys where each is."""
        return heapq.merge(self, self.unreadable, key=_place) if self.unreadable else iter(self)


def _place(part: object) -> bytes:
    """What the order of keys goes by. What has no key comes early, and so is in nobody's way."""
    if isinstance(part, ConfigItem | Unreadable):
        return f"{part.type}/{part.key}".encode()
    return str(part).encode()


class Removed(int):
    """How many were removed; none of those that were to go is there as of ``revision``.

    ``missing`` are the names of :meth:`Configuration.delete_many` that were not there, in order.
    """

    revision: Revision
    missing: tuple[tuple[str, str], ...]

    def __new__(
        cls, count: int, *, revision: Revision, missing: Iterable[tuple[str, str]] = ()
    ) -> Self:
        """See the class."""
        removed = super().__new__(cls, count)
        removed.revision, removed.missing = revision, tuple(missing)
        return removed


class ConfigChange(msgspec.Struct, frozen=True, kw_only=True):
    """One item that is another than before: ``item`` as it is now, ``None`` where it is gone.

    Where its value cannot be read, ``error`` says why, and ``item`` is ``None`` as well.
    """

    type: str
    key: str
    item: ConfigItem | None = None
    error: str = ""


class ConfigChanges(msgspec.Struct, frozen=True, kw_only=True):
    """All that changed with ``revision``, each item once.

    ``resync``: it stands for several revisions. The first one of a watch is all that stands then.
    """

    revision: Revision
    changes: tuple[ConfigChange, ...]
    resync: bool = False


class Configuration(ABC):
    """The configuration of one system. A name is a type and a key.

    Every method raises ``InvalidName`` for what cannot be one, and a ``StoreError`` as the store
    says. Reads are linearizable, or, given a ``revision``, of what stood then: ``Compacted`` where
    that is forgotten. Every write is one transaction.

    Anybody may have written to the store. A read of many passes over what cannot be read and tells
    it beside the rest, as :attr:`Found.unreadable`. No write looks at what it replaces or removes,
    so either is the cure.
    """

    # -- reading -----------------------------------------------------------------------------

    @abstractmethod
    async def get_many(
        self, names: Iterable[tuple[str, str]], *, revision: int = 0
    ) -> Found[ConfigItem]:
        """Those of ``names`` that are there, in their order, as of one revision."""

    @abstractmethod
    async def types(self, *, revision: int = 0) -> Found[str]:
        """Which types there are, reserved ones too, as of one revision."""

    @abstractmethod
    async def keys(self, type_: str, under: str = "", *, revision: int = 0) -> Found[str]:
        """The keys that there are items at, without reading the values.

        So it has those of values that cannot be read; only what is no key of an item is unreadable.
        """

    @abstractmethod
    def values(
        self, type_: str, under: str = "", *, revision: int = 0
    ) -> AsyncGenerator[Found[ConfigItem], None]:
        """What :meth:`list` gives, page by page: however much there is, memory holds a page.

        At least one page comes. Who stops early closes it (``contextlib.aclosing``).
        """

    @abstractmethod
    def everything(self, *types: str, revision: int = 0) -> AsyncGenerator[Found[ConfigItem], None]:
        """All items of all types, or of ``types``: page by page, in the order of keys.

        As of one revision, and otherwise as :meth:`values`. Other roots are not looked at.
        """

    @abstractmethod
    def changes(self, type_: str, key: str = "") -> AsyncGenerator[ConfigChanges, None]:
        """What stands of a type, or of one of its keys; then what changes, revision by revision.

        It never ends by itself. While the store does not answer it waits; what was missed then
        comes as one ``resync``: the difference, deletes included, without items whose value did not
        change. So it is for a reader that is too slow: what is kept for it is bounded by the number
        of items. Raises ``PermissionDenied`` or ``AuthenticationFailed`` where it cannot be read.
        Who stops closes it (``contextlib.aclosing``).
        """

    async def get(self, type_: str, key: str, *, revision: int = 0) -> ConfigItem | None:
        """One item, or ``None``. Raises ``InvalidValue`` where it is not JSON."""
        found = (await self.get_many([(type_, key)], revision=revision)).whole()
        return found[0] if found else None

    async def list(self, type_: str, under: str = "", *, revision: int = 0) -> Found[ConfigItem]:
        """All items of a type, by key, at one revision; those below ``under/`` where given."""
        return await Found.together(self.values(type_, under, revision=revision))

    # -- writing -----------------------------------------------------------------------------

    @abstractmethod
    async def put_many(
        self,
        values: Mapping[tuple[str, str], object],
        *,
        if_revisions: Mapping[tuple[str, str], int] | None = None,
        resent: bool = False,
    ) -> Revision:
        """Write all of ``values`` in one transaction, or none; their new mod_revision.

        ``if_revisions`` has, for some of them, the mod_revision at which they must be still (0:
        absent), else ``Conflict``. Where it has it for all, the write survives a lost reply, unless
        somebody else writes another value meanwhile (equal ones count as these: count with values
        of one's own). Otherwise a lost reply that leaves open whether it was written raises
        ``OutcomeUnknown``; the last writer wins.

        ``resent``: the very same was asked before, with a revision for each, and the reply was
        lost. If it was done then, that is the answer, and not a ``Conflict``.

        Raises ``ReservedType``, ``InvalidValue``, ``SchemaViolated`` and ``InvalidSchema`` before
        anything is written, and ``TooManyOperations`` for more than one transaction can hold.
        """

    @abstractmethod
    async def delete_many(
        self,
        names: Iterable[tuple[str, str]],
        *,
        if_revisions: Mapping[tuple[str, str], int] | None = None,
        resent: bool = False,
    ) -> Removed:
        """Remove all of ``names`` in one transaction, or none; how many there were.

        ``if_revisions``, ``resent`` and errors as in :meth:`put_many`.
        """

    async def put(
        self, type_: str, key: str, value: object, *, if_revision: int | None = None
    ) -> Revision:
        """Write one item; its new mod_revision. See :meth:`put_many`."""
        name = (type_, key)
        given = {} if if_revision is None else {name: if_revision}
        return await self.put_many({name: value}, if_revisions=given)

    async def delete(self, type_: str, key: str, *, if_revision: int | None = None) -> bool:
        """Remove one item; whether there was one. ``if_revision`` and errors as in :meth:`put`."""
        name = (type_, key)
        given = {} if if_revision is None else {name: if_revision}
        return await self.delete_many([name], if_revisions=given) > 0

    # -- what apply made ---------------------------------------------------------------------

    async def get_applied(self, set_: str) -> tuple[AppliedRecord, Revision]:
        """What ``apply`` made of a set of files, and the mod_revision of that record (0: none).

        Raises ``InvalidValue`` where somebody else wrote there.
        """
        found = await self.get("applied", check_name(set_, "set"))
        if found is None:
            return AppliedRecord(), Revision(0)
        return decode_applied(encode(found.value)), found.mod_revision

    @abstractmethod
    async def put_applied(
        self, set_: str, keys: Iterable[str], *, if_revision: int, resent: bool = False
    ) -> Revision:
        """Write that record, which must be at ``if_revision`` still (0: absent); its new one.

        It is the one write to a reserved type. ``resent``, lost replies and errors as in
        :meth:`put_many`.
        """

    # -- schemas -----------------------------------------------------------------------------

    @abstractmethod
    async def put_schema(
        self, type_: str, document: object, *, if_revision: int | None = None, force: bool = False
    ) -> Revision:
        """Demand ``document``, a JSON Schema, of all that is put as ``type_`` from now on.

        Raises ``ReservedType``; ``InvalidSchema`` where it is none, and ``SchemaNotMet`` where
        something stands there that is not so (unless ``force``); ``Conflict`` as in
        :meth:`put_many`, also for a type that is written at the same moment.
        """

    @abstractmethod
    async def delete_schema(self, type_: str) -> Removed:
        """Demand nothing of that type any more; 1 where something was demanded, else 0."""
