"""Configuration by type and key, without a service in between: ``/<type>/<key>`` → a JSON value.

Reads are linearizable. A write is one transaction. The types of the flow service are read here
and never written, so that nothing goes round its guards.
"""

from __future__ import annotations

from typing import Any

import msgspec

from kvconfig.codec import encode, parse_json
from kvconfig.errors import Conflict, KvError, OutcomeUnknown, StoreError
from kvconfig.informer import Informer
from kvconfig.keys import Range, one, prefix
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue, Revision
from kvconfig.store import Store, list_all
from kvconfig.txn import Commit, Compare, Delete, DeleteResult, Put, Read, ReadResult, Txn
from kvconfig.txn import at_revision as at

__all__ = ["Config", "ConfigItem"]


class ConfigItem(msgspec.Struct, frozen=True, kw_only=True):
    """One item as it stands at ``mod_revision``; ``version`` counts its writes."""

    type: str
    key: str
    value: Any
    mod_revision: Revision
    version: int


class Config:
    """The configuration in one store, under one root.

    Every method raises ``InvalidName`` for a type or key that cannot be one, and a ``StoreError``
    as the store says.
    """

    def __init__(self, store: Store, keyspace: Keyspace) -> None:
        self._store = store
        self._ks = keyspace

    async def get(self, type_: str, key: str) -> ConfigItem | None:
        """One item, or ``None``. Raises ``InvalidValue`` where it is not JSON."""
        found = await self._store.read(self._ks.item(type_, key))
        return None if found is None else self._item(found)

    async def list(self, type_: str, under: str = "") -> list[ConfigItem]:
        """All items of a type, by key, at one revision; those below ``under/`` where given.

        Raises ``InvalidValue`` or ``InvalidName`` for what somebody else wrote there.
        """
        page = await list_all(self._store, self._range(type_, under))
        return [self._item(kv) for kv in page.items]

    async def put(
        self, type_: str, key: str, value: object, *, if_revision: int | None = None
    ) -> Revision:
        """Write one item; its new mod_revision.

        With ``if_revision`` only where the item is at that mod_revision still (0: absent), else
        :class:`Conflict`; such a write survives a lost reply, unless somebody else writes
        another value meanwhile (an equal one counts as this: count with a value of one's own).
        Without it the last writer wins. Raises :class:`OutcomeUnknown` where a lost reply leaves
        open whether it was written, ``ReservedType`` and ``InvalidValue``.
        """
        name, data = self._ks.writable_item(type_, key), encode(value)
        txn = Txn(_expected(name, if_revision), (Put(name, data),), (Read(name),))
        commit, repeated = await self._commit(txn)
        if commit.succeeded:
            return commit.revision
        stands = _stands(commit)
        if repeated and stands is not None and stands.value == data:
            return stands.mod_revision
        raise _refused(name, if_revision, stands, repeated=repeated)

    async def delete(self, type_: str, key: str, *, if_revision: int | None = None) -> bool:
        """Remove one item; whether there was one. ``if_revision`` and errors as in :meth:`put`."""
        name = self._ks.writable_item(type_, key)
        txn = Txn(_expected(name, if_revision), (Delete(name),), (Read(name),))
        commit, repeated = await self._commit(txn)
        if commit.succeeded:
            return any(isinstance(r, DeleteResult) and r.deleted for r in commit.results)
        stands = _stands(commit)
        if repeated and stands is None:
            return True
        raise _refused(name, if_revision, stands, repeated=repeated)

    def watch(self, type_: str, key: str = "") -> Informer[ConfigItem]:
        """A live view of a type, or of one of its keys; enter it to start it."""
        range_ = one(self._ks.item(type_, key)) if key else self._ks.type_range(type_)
        return Informer(self._store, range_, self._item, name=f"{type_}/{key}")

    # -- inside ------------------------------------------------------------------------------

    def _range(self, type_: str, under: str) -> Range:
        return prefix(self._ks.item(type_, under) + b"/") if under else self._ks.type_range(type_)

    def _item(self, kv: KeyValue) -> ConfigItem:
        name = self._ks.parse_item(kv.key)
        return ConfigItem(
            type=name.type,
            key=name.key,
            value=parse_json(kv.value, key=kv.key),
            mod_revision=kv.mod_revision,
            version=kv.version,
        )

    async def _commit(self, txn: Txn) -> tuple[Commit, bool]:
        """The answer, and whether it was sent twice: a compare makes that safe.

        Once a reply was lost, no failure can say any more that nothing was written.
        """
        try:
            return await self._store.commit(txn), False
        except OutcomeUnknown:
            if not txn.compares:
                raise
        try:
            return await self._store.commit(txn), True
        except StoreError as error:
            raise OutcomeUnknown(str(error)) from error


def _expected(key: bytes, if_revision: int | None) -> tuple[Compare, ...]:
    return () if if_revision is None else (at(key, Revision(if_revision)),)


def _refused(
    key: bytes, expected: int | None, stands: KeyValue | None, *, repeated: bool
) -> KvError:
    """After a lost reply, what stands there may have been written after this very write."""
    actual = stands.mod_revision if stands else 0
    conflict = Conflict(key, expected=expected, actual=actual)
    return OutcomeUnknown(f"the reply was lost, then: {conflict}") if repeated else conflict


def _stands(commit: Commit) -> KeyValue | None:
    for result in commit.results:
        if isinstance(result, ReadResult) and result.items:
            return result.items[0]
    return None
