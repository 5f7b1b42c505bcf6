"""Items by the thousand, as they stand: what it takes to export, to compare and to import them.

Values are in canonical form, so that two are equal exactly when their bytes are. What cannot be
read is in its place among the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import NamedTuple

import msgspec

from kvconfig.codec import canonical, encode, parse_json
from kvconfig.config.client import Config
from kvconfig.config.port import ConfigItem, Configuration, Unreadable
from kvconfig.errors import Conflict, InvalidName, InvalidValue, TooManyOperations
from kvconfig.keys import Range, check_item_key, one
from kvconfig.keyspace import ItemName, Keyspace
from kvconfig.model import KeyValue, Revision
from kvconfig.store import Store, ahead
from kvconfig.txn import MAX_OPERATIONS, Delete, Put, Read, ReadResult, Txn, at_revision, empty

__all__ = ["AskedBulk", "Bulk", "ItemPort", "Standing", "Write"]


class Standing(msgspec.Struct, frozen=True, gc=False):
    """A key as it stands: an item with its value, or why it is none that can be read.

    ``name`` is ``None`` where the key is no item's, ``value`` also where it is not JSON; then
    ``problem`` says why.
    """

    raw: bytes
    name: ItemName | None
    value: bytes | None
    mod_revision: Revision
    problem: str = ""


class Write(NamedTuple):
    """One item to put (``value``, in canonical form) or to delete (``None``).

    ``expected`` is the mod_revision at which it must stand then (0: absent).
    """

    type: str
    key: str
    value: bytes | None
    expected: int


class ItemPort(ABC):
    """The items of one system, many at a time: what an import needs.

    ``config`` is the same system, one call at a time. Every method raises ``StoreError`` as the
    store says: ``Compacted`` where a revision is gone.
    """

    config: Configuration

    @abstractmethod
    def ranges(self, types: Iterable[str]) -> list[Range]:
        """See :meth:`kvconfig.keyspace.Keyspace.type_ranges`."""

    @abstractmethod
    async def count(self, ranges: Sequence[Range]) -> tuple[Revision, int]:
        """The store's revision, and how many keys stand there then. Their values are not read."""

    @abstractmethod
    def pages(self, range_: Range, *, revision: Revision) -> AsyncGenerator[list[Standing], None]:
        """What stood in a range at ``revision``, in order, page by page.

        Who stops early closes it.
        """

    @abstractmethod
    async def look_up(self, names: Sequence[ItemName]) -> list[Standing | None]:
        """What stands at each of ``names`` now."""

    @abstractmethod
    async def write(
        self, writes: Sequence[Write], schemas: Mapping[str, int], *, fresh: bool = False
    ) -> bool:
        """Write all; ``False`` where somebody else wrote first. See :meth:`Bulk.write`."""


class Bulk(ItemPort):
    """:class:`ItemPort` on a store: what an export needs too."""

    def __init__(self, store: Store, keyspace: Keyspace) -> None:
        self.config = Config(store, keyspace)
        self._store, self._ks = store, keyspace
        self._bases: dict[str, bytes] = {}  # by type

    def ranges(self, types: Iterable[str]) -> list[Range]:
        """See :class:`ItemPort`."""
        return self._ks.type_ranges(types)

    def all_ranges(self, *, but: Iterable[str] = ()) -> list[Range]:
        """See :meth:`kvconfig.keyspace.Keyspace.all_types`."""
        return self._ks.all_types(but=but)

    async def count(self, ranges: Sequence[Range]) -> tuple[Revision, int]:
        """See :class:`ItemPort`."""
        revision, keys = Revision(0), 0
        for first in range(0, len(ranges), MAX_OPERATIONS):
            asked = tuple(
                Read(each.start, each.end, limit=1, keys_only=True, revision=revision)
                for each in ranges[first : first + MAX_OPERATIONS]
            )
            commit = await self._store.commit(Txn(then=asked))
            revision = revision or commit.revision
            keys += sum(found.count for found in commit.results if isinstance(found, ReadResult))
        return revision, keys

    async def pages(
        self, range_: Range, *, revision: Revision
    ) -> AsyncGenerator[list[Standing], None]:
        """See :class:`ItemPort`. While one page is worked on, the next is on its way."""
        async with aclosing(ahead(self._store.list(range_, revision=revision))) as pages:
            async for page in pages:
                yield [self._standing(kv) for kv in page.items]

    async def look_up(self, names: Sequence[ItemName]) -> list[Standing | None]:
        """See :class:`ItemPort`."""
        found: list[Standing | None] = []
        for first in range(0, len(names), MAX_OPERATIONS):
            reads = tuple(
                Read(self._ks.item(*name)) for name in names[first : first + MAX_OPERATIONS]
            )
            commit = await self._store.commit(Txn(then=reads))
            found += [
                self._standing(result.items[0]) if result.items else None
                for result in commit.results
                if isinstance(result, ReadResult)
            ]
        return found

    async def write(
        self, writes: Sequence[Write], schemas: Mapping[str, int], *, fresh: bool = False
    ) -> bool:
        """All of it in one transaction, or nothing: then ``False``, and somebody else wrote first.

        Values are not checked here: ``schemas`` has, for types that demand something, the
        mod_revision of the schema that they were checked against, and it must still be that one.
        ``fresh``: nothing at all may stand from the first to the last, which are of one type and in
        the order of keys. It says the same of new items as ``expected`` does, and costs less.

        Raises ``ReservedType``, and ``TooManyOperations``: items and types are 128 at the most.
        After ``OutcomeUnknown`` it may be asked once more: what was done is not done twice.
        """
        types = dict.fromkeys(write.type for write in writes if write.value is not None)
        guards = [
            at_revision(self._ks.schema(type_), Revision(schemas.get(type_, 0))) for type_ in types
        ]
        keys = [self._writable(write.type) + check_item_key(write.key).encode() for write in writes]
        if fresh:
            guards.append(empty(Range(keys[0], one(keys[-1]).end)))
        else:
            guards += [
                at_revision(key, Revision(write.expected))
                for key, write in zip(keys, writes, strict=True)
            ]
        operations = tuple(
            Delete(key) if write.value is None else Put(key, write.value)
            for key, write in zip(keys, writes, strict=True)
        )
        if len(writes) + len(types) > MAX_OPERATIONS:
            raise TooManyOperations(count=len(writes) + len(types), limit=MAX_OPERATIONS)
        return (await self._store.commit(Txn(tuple(guards), operations))).succeeded

    def _writable(self, type_: str) -> bytes:
        """How the keys of a type begin. Raises ``ReservedType``. Looked up once for each type."""
        if type_ not in self._bases:
            self._bases[type_] = self._ks.writable_type(type_).start
        return self._bases[type_]

    def _standing(self, kv: KeyValue) -> Standing:
        name = None
        try:
            name = self._ks.parse_item(kv.key)
            return Standing(kv.key, name, canonical(kv.value), kv.mod_revision)
        except InvalidName as error:
            return Standing(kv.key, None, None, kv.mod_revision, str(error))
        except InvalidValue as error:
            return Standing(kv.key, name, None, kv.mod_revision, error.reason)


class AskedBulk(ItemPort):
    """:class:`ItemPort` by way of the calls that everybody has: where the store is out of reach."""

    _KEYS = Keyspace()  # its root is the affair of who answers

    def __init__(self, config: Configuration) -> None:
        self.config = config

    def ranges(self, types: Iterable[str]) -> list[Range]:
        """See :class:`ItemPort`. They stand for types, whatever the root."""
        return self._KEYS.type_ranges(types)

    async def count(self, ranges: Sequence[Range]) -> tuple[Revision, int]:
        """See :class:`ItemPort`. Nobody counts for us: 0."""
        return (await self.config.types()).revision, 0

    async def pages(
        self, range_: Range, *, revision: Revision
    ) -> AsyncGenerator[list[Standing], None]:
        """See :class:`ItemPort`."""
        async with aclosing(self.config.everything(self._type(range_), revision=revision)) as pages:
            async for page in pages:
                yield [self._as_standing(each) for each in page.all_in_order()]

    async def look_up(self, names: Sequence[ItemName]) -> list[Standing | None]:
        """See :class:`ItemPort`."""
        there = (await self.config.get_many(names)).all_in_order()
        found = {(each.type, each.key): self._as_standing(each) for each in there}
        return [found.get(name) for name in names]

    async def write(
        self, writes: Sequence[Write], schemas: Mapping[str, int], *, fresh: bool = False
    ) -> bool:
        """See :class:`ItemPort`. Deletes are one transaction, then puts are another.

        Values are checked by who answers, so neither ``schemas`` nor ``fresh`` matters. Raises
        ``SchemaViolated`` too.
        """
        expected = {(write.type, write.key): write.expected for write in writes}
        gone = [(write.type, write.key) for write in writes if write.value is None]
        puts = {
            (write.type, write.key): parse_json(write.value)
            for write in writes
            if write.value is not None
        }
        try:
            if gone:
                await self.config.delete_many(gone, if_revisions=expected)
            if puts:
                await self.config.put_many(puts, if_revisions=expected)
        except Conflict:
            return False
        return True

    def _type(self, range_: Range) -> str:
        return range_.start.decode().strip("/")

    def _as_standing(self, each: ConfigItem | Unreadable) -> Standing:
        name = ItemName(each.type, each.key) if each.key else None
        if isinstance(each, Unreadable):
            return Standing(each.raw, name, None, each.mod_revision, each.reason)
        raw = self._KEYS.item(each.type, each.key)
        return Standing(raw, name, encode(each.value), each.mod_revision)
