"""The config client: reads are linearizable, a write is one transaction, whatever it takes along.

The types of the flow service are read here and never written, so that nothing goes round its
guards. Where a type has a schema, a value that is not as it demands is not written, also when the
schema changes at the same moment.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from kvconfig.codec import encode, parse_json
from kvconfig.config.following import follow
from kvconfig.config.port import (
    ConfigChanges,
    ConfigItem,
    Configuration,
    Found,
    Removed,
    Unreadable,
)
from kvconfig.config.schema import Schema
from kvconfig.errors import (
    Conflict,
    InvalidName,
    InvalidValue,
    KvError,
    OutcomeUnknown,
    SchemaNotMet,
    SchemaViolated,
    TransactionAborted,
)
from kvconfig.informer import Informer
from kvconfig.keys import Range, one, prefix
from kvconfig.keyspace import ItemName, Keyspace
from kvconfig.model import KeyValue, Revision
from kvconfig.records import AppliedRecord
from kvconfig.store import Store, list_all
from kvconfig.txn import (
    MAX_OPERATIONS,
    Commit,
    Delete,
    DeleteResult,
    Guarded,
    Put,
    Read,
    ReadResult,
    Txn,
    assemble,
    not_newer,
)
from kvconfig.txn import at_revision as at

__all__ = ["Config"]

MAX_TRIES = 16
"""How often a write is planned again because the schema of a type changed meanwhile."""


class _Known(msgspec.Struct, frozen=True):
    """What is known of the schema of a type: at ``mod_revision`` (0: there is none)."""

    mod_revision: Revision = Revision(0)
    schema: Schema | None = None


class _Write(msgspec.Struct, frozen=True):
    """One item to write (``data``) or to remove (``None``), where it is at ``expected``."""

    name: ItemName
    key: bytes
    expected: int | None
    value: Any = None
    data: bytes | None = None

    def guarded(self) -> Guarded:
        """What of the transaction is its part."""
        held = () if self.expected is None else (at(self.key, Revision(self.expected)),)
        return Guarded(held, (Delete(self.key) if self.data is None else Put(self.key, self.data),))

    def stands(self, found: KeyValue | None) -> bool:
        """Whether what was found is what this write would leave."""
        return (
            found is None if self.data is None else found is not None and found.value == self.data
        )


class _Sent(msgspec.Struct):
    """What is known of a write that was sent: ``lost`` where some copy may be, or get, written."""

    lost: bool = False


class _Standing(msgspec.Struct, frozen=True):
    """What stands at some keys as of ``revision``: ``None`` where there is nothing."""

    revision: Revision
    at: Mapping[bytes, KeyValue | None]


class Config(Configuration):
    """:class:`Configuration` in one store, under one root."""

    def __init__(self, store: Store, keyspace: Keyspace) -> None:
        self._store = store
        self._ks = keyspace
        self._schemas: dict[str, _Known] = {}

    # -- reading -----------------------------------------------------------------------------

    async def get(self, type_: str, key: str, *, revision: int = 0) -> ConfigItem | None:
        """See :meth:`Configuration.get`."""
        found = await self._store.read(self._ks.item(type_, key), revision=Revision(revision))
        return None if found is None else self._item(found)

    async def get_many(
        self, names: Iterable[tuple[str, str]], *, revision: int = 0
    ) -> Found[ConfigItem]:
        """See :meth:`Configuration.get_many`."""
        keys = [self._ks.item(*name) for name in dict.fromkeys(names)]
        stands = await self._read(keys, Revision(revision))
        there = [kv for key in keys if (kv := stands.at[key]) is not None]
        return self._found(there, stands.revision)

    async def types(self, *, revision: int = 0) -> Found[str]:
        """See :meth:`Configuration.types`: a read for each, and none of values."""
        found: Found[str] = Found(revision=Revision(revision))
        base = self._ks.everything().start
        for rest in self._ks.all_types():  # other roots are no affair of ours, nor need we be let
            while rest.start < rest.end:
                ask = Read(rest.start, rest.end, limit=1, keys_only=True, revision=found.revision)
                commit = await self._store.commit(Txn(then=(ask,)))
                found.revision = found.revision or commit.revision
                items = _reads(commit)[0].items
                if not items:
                    break
                name, slash, _ = items[0].key.removeprefix(base).partition(b"/")
                type_ = self._ks.type_of(items[0].key)
                found += [type_] if type_ else []  # else it is nobody's
                # What comes next in byte order: "0" follows "/".
                rest = Range(base + name + (b"0" if slash else b"\0"), rest.end)
        return found

    async def keys(self, type_: str, under: str = "", *, revision: int = 0) -> Found[str]:
        """See :meth:`Configuration.keys`."""
        range_ = self._range(type_, under)
        page = await list_all(self._store, range_, revision=Revision(revision), keys_only=True)
        found: Found[str] = Found(revision=page.revision)
        for kv in page.items:
            try:
                found.append(self._ks.parse_item(kv.key).key)
            except InvalidName as error:
                found.unreadable.append(self._no_item(kv, error))
        return found

    def values(
        self, type_: str, under: str = "", *, revision: int = 0
    ) -> AsyncGenerator[Found[ConfigItem], None]:
        """See :meth:`Configuration.values`."""
        return self._pages([self._range(type_, under)], revision)

    def everything(self, *types: str, revision: int = 0) -> AsyncGenerator[Found[ConfigItem], None]:
        """See :meth:`Configuration.everything`."""
        ranges = self._ks.type_ranges(types) if types else self._ks.all_types()
        return self._pages(ranges, revision)

    def changes(self, type_: str, key: str = "") -> AsyncGenerator[ConfigChanges, None]:
        """See :meth:`Configuration.changes`."""
        return follow(self.watch(type_, key), type_, self._ks.type_range(type_).start)

    def watch(self, type_: str, key: str = "") -> Informer[ConfigItem]:
        """A live view of a type, or of one of its keys; enter it to start it."""
        range_ = one(self._ks.item(type_, key)) if key else self._ks.type_range(type_)
        return Informer(self._store, range_, self._item, name=f"{type_}/{key}")

    # -- writing -----------------------------------------------------------------------------

    async def put_many(
        self,
        values: Mapping[tuple[str, str], object],
        *,
        if_revisions: Mapping[tuple[str, str], int] | None = None,
        resent: bool = False,
    ) -> Revision:
        """See :meth:`Configuration.put_many`."""
        expected = if_revisions or {}
        writes = [
            _Write(
                ItemName(*name),
                self._ks.writable_item(*name),
                expected.get(name),
                value,
                encode(value),
            )
            for name, value in values.items()
        ]
        return (await self._write(writes, resent=resent)).revision

    async def delete_many(
        self,
        names: Iterable[tuple[str, str]],
        *,
        if_revisions: Mapping[tuple[str, str], int] | None = None,
        resent: bool = False,
    ) -> Removed:
        """See :meth:`Configuration.delete_many`."""
        expected = if_revisions or {}
        writes = [
            _Write(ItemName(*name), self._ks.writable_item(*name), expected.get(name))
            for name in dict.fromkeys(names)
        ]
        commit = await self._write(writes, resent=resent)
        # After a lost reply there are no results: each was where it was expected then.
        had = list(_deleted(commit)) or [write.expected != 0 for write in writes]
        missing = [write.name for write, there in zip(writes, had, strict=True) if not there]
        return Removed(len(writes) - len(missing), revision=commit.revision, missing=missing)

    async def put_applied(
        self, set_: str, keys: Iterable[str], *, if_revision: int, resent: bool = False
    ) -> Revision:
        """See :meth:`Configuration.put_applied`."""
        record = AppliedRecord(keys=tuple(sorted(set(keys))))
        write = _Write(
            ItemName("applied", set_), self._ks.applied(set_), if_revision, record, encode(record)
        )
        return (await self._write([write], resent=resent)).revision

    # -- schemas -----------------------------------------------------------------------------

    async def put_schema(
        self, type_: str, document: object, *, if_revision: int | None = None, force: bool = False
    ) -> Revision:
        """See :meth:`Configuration.put_schema`."""
        range_, key = self._ks.writable_type(type_), self._ks.schema(type_)
        schema = Schema(type_, document)
        compares = [] if if_revision is None else [at(key, Revision(if_revision))]
        if not force:
            unmet: list[bytes] = []
            seen = Revision(0)
            async for page in self._store.list(range_):
                unmet += [kv.key for kv in page.items if not _meets(schema, kv)]
                seen = page.revision
            if unmet:
                raise SchemaNotMet(type_, unmet)
            compares.append(not_newer(range_, seen))
        put = Put(key, encode(document))
        commit = await self._store.commit(Txn(tuple(compares), (put,), (Read(key),)))
        if commit.succeeded:
            return commit.revision
        stands = _reads(commit)[0].items
        actual = stands[0].mod_revision if stands else 0
        if if_revision is not None and actual != if_revision:
            raise Conflict(key, expected=if_revision, actual=actual)
        raise Conflict(range_.start, expected=None, actual=None)

    async def delete_schema(self, type_: str) -> Removed:
        """See :meth:`Configuration.delete_schema`."""
        commit = await self._store.commit(Txn(then=(Delete(self._ks.schema(type_)),)))
        return Removed(sum(_deleted(commit)), revision=commit.revision)

    # -- inside ------------------------------------------------------------------------------

    def _range(self, type_: str, under: str) -> Range:
        return prefix(self._ks.item(type_, under) + b"/") if under else self._ks.type_range(type_)

    async def _pages(
        self, ranges: Iterable[Range], revision: int
    ) -> AsyncGenerator[Found[ConfigItem], None]:
        """What is in all of ``ranges``, as of one revision."""
        at_one = Revision(revision)
        for range_ in ranges:
            async for page in self._store.list(range_, revision=at_one):
                at_one = page.revision
                yield self._found(page.items, at_one)

    def _found(self, there: Iterable[KeyValue], revision: Revision) -> Found[ConfigItem]:
        """What was read, with what cannot be read set aside."""
        found: Found[ConfigItem] = Found(revision=revision)
        for kv in there:
            try:
                found.append(self._item(kv))
            except InvalidName as error:
                found.unreadable.append(self._no_item(kv, error))
            except InvalidValue as error:
                found.unreadable.append(self._no_value(kv, error))
        return found

    def _no_item(self, kv: KeyValue, error: InvalidName) -> Unreadable:
        return Unreadable(
            type=self._ks.type_of(kv.key),
            key="",
            raw=kv.key,
            reason=str(error),
            mod_revision=kv.mod_revision,
        )

    def _no_value(self, kv: KeyValue, error: InvalidValue) -> Unreadable:
        name = self._ks.parse_item(kv.key)
        return Unreadable(
            type=name.type,
            key=name.key,
            raw=kv.key,
            reason=error.reason,
            path=error.path,
            mod_revision=kv.mod_revision,
        )

    def _item(self, kv: KeyValue) -> ConfigItem:
        name = self._ks.parse_item(kv.key)
        return ConfigItem(
            type=name.type,
            key=name.key,
            value=parse_json(kv.value, key=kv.key),
            mod_revision=kv.mod_revision,
            version=kv.version,
        )

    async def _write(self, writes: Sequence[_Write], *, resent: bool) -> Commit:
        """One transaction for all of ``writes``, or nothing.

        Once a reply was lost, no failure can say any more that nothing was written.
        """
        sent = _Sent()
        try:
            return await self._plan(writes, sent, resent=resent)
        except KvError as error:
            if sent.lost and not isinstance(error, OutcomeUnknown):
                raise OutcomeUnknown(str(error)) from error
            raise

    async def _plan(self, writes: Sequence[_Write], sent: _Sent, *, resent: bool) -> Commit:
        """Plan and send it, and again where the schema of a type is another than was known."""
        demanded = {w.name.type: self._ks.schema(w.name.type) for w in writes if w.data is not None}
        keys = [*demanded.values(), *(write.key for write in writes)]
        again = all(write.expected is not None for write in writes)
        for _ in range(MAX_TRIES):
            known = {type_: self._schemas.get(type_, _Known()) for type_ in demanded}
            try:
                _check(writes, known)
            except SchemaViolated:
                # A refusal is never given from a cache: is this still what is demanded?
                if await self._relearn(demanded):
                    continue
                raise
            held = {demanded[type_]: known[type_].mod_revision for type_ in demanded}
            txn = assemble(
                Guarded(tuple(at(key, revision) for key, revision in held.items()), ()),
                [write.guarded() for write in writes],
                otherwise=tuple(Read(key) for key in keys),
            )
            lost_before = sent.lost
            commit = await self._send(txn, sent, again=again)
            if commit.succeeded:
                return commit
            stands = (
                _Standing(commit.revision, _first_of_each(keys, commit))
                if commit.results
                else await self._read(keys)
            )
            conflict = _conflict(writes, stands)
            if conflict and (resent or sent.lost):
                return _after_all(writes, stands, conflict)
            if conflict:
                raise conflict
            # A schema is another. What was sent is past if it can never be that one again: then a
            # copy that is still on its way is refused as well.
            sent.lost = lost_before or (sent.lost and not _is_past(held, stands))
            self._learn(demanded, stands)
        raise Conflict(keys[0], expected=None, actual=None)

    async def _send(self, txn: Txn, sent: _Sent, *, again: bool) -> Commit:
        """The answer; compares on every item make it safe to send it ``again`` for a lost one."""
        try:
            return await self._answer(txn)
        except OutcomeUnknown:
            if not again:
                raise
        sent.lost = True
        return await self._answer(txn)

    async def _answer(self, txn: Txn) -> Commit:
        try:
            return await self._store.commit(txn)
        except TransactionAborted:
            return Commit(succeeded=False, revision=Revision(0))

    async def _read(self, keys: Sequence[bytes], revision: Revision = Revision(0)) -> _Standing:
        """What stands at ``keys``, as of one revision."""
        found: dict[bytes, KeyValue | None] = {}
        for first in range(0, len(keys), MAX_OPERATIONS):
            some = keys[first : first + MAX_OPERATIONS]
            reads = tuple(Read(key, revision=revision) for key in some)
            commit = await self._store.commit(Txn(then=reads))
            revision = revision or commit.revision
            found |= _first_of_each(some, commit)
        return _Standing(revision, found)

    async def _relearn(self, demanded: Mapping[str, bytes]) -> bool:
        """Read the schemas anew; whether one of them is another."""
        return self._learn(demanded, await self._read(list(demanded.values())))

    def _learn(self, demanded: Mapping[str, bytes], stands: _Standing) -> bool:
        """Compile the schemas that stand there; whether one is another than was known.

        Raises ``InvalidSchema`` where one is none.
        """
        changed = False
        for type_, key in demanded.items():
            found = stands.at[key]
            known = self._schemas.get(type_, _Known()).mod_revision
            if known == (found.mod_revision if found else 0):
                continue
            changed = True
            self._schemas.pop(type_, None)
            if found is not None:
                schema = Schema(type_, parse_json(found.value, key=found.key))
                self._schemas[type_] = _Known(found.mod_revision, schema)
        return changed


def _check(writes: Iterable[_Write], known: Mapping[str, _Known]) -> None:
    for write in writes:
        schema = known[write.name.type].schema if write.data is not None else None
        if schema is not None:
            schema.check(write.value, key=write.key)


def _conflict(writes: Iterable[_Write], stands: _Standing) -> Conflict | None:
    """The first of the writes that finds another revision than it expected."""
    for write in writes:
        found = stands.at[write.key]
        actual = found.mod_revision if found else 0
        if write.expected is not None and actual != write.expected:
            return Conflict(write.key, expected=write.expected, actual=actual)
    return None


def _is_past(held: Mapping[bytes, Revision], stands: _Standing) -> bool:
    """Whether one of the keys can never be at its revision again: they only rise.

    Only 0 can come again: a key that was absent may be removed once more.
    """
    now = {key: kv.mod_revision if (kv := stands.at[key]) else 0 for key in held}
    return any(revision not in (0, now[key]) for key, revision in held.items())


def _after_all(writes: Sequence[_Write], stands: _Standing, conflict: Conflict) -> Commit:
    """After a lost reply: the first one was written, where all stands as of one transaction.

    Otherwise what stands there may have been written after this very write.
    """
    if all(write.stands(stands.at[write.key]) for write in writes):
        found = {kv.mod_revision for w in writes if (kv := stands.at[w.key]) is not None}
        if len(found) <= 1:
            return Commit(succeeded=True, revision=max(found, default=stands.revision))
    raise OutcomeUnknown(f"the reply was lost, then: {conflict}") from conflict


def _first_of_each(keys: Sequence[bytes], commit: Commit) -> dict[bytes, KeyValue | None]:
    """What one read for each of ``keys`` brought; nothing where there were no reads."""
    reads = _reads(commit)
    return {
        key: read.items[0] if read.items else None for key, read in zip(keys, reads, strict=False)
    }


def _reads(commit: Commit) -> list[ReadResult]:
    return [result for result in commit.results if isinstance(result, ReadResult)]


def _deleted(commit: Commit) -> Iterator[int]:
    """How many keys each delete of a transaction removed, in order, nested ones too."""
    for result in commit.results:
        if isinstance(result, Commit):
            yield from _deleted(result)
        elif isinstance(result, DeleteResult):
            yield result.deleted


def _meets(schema: Schema, kv: KeyValue) -> bool:
    try:
        schema.check(parse_json(kv.value, key=kv.key), key=kv.key)
    except KvError:
        return False
    return True
