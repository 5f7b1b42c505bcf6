"""Flows and definitions as they stand in the store: a read each, and nothing cached.

What only looks something up needs no more than this, and is not kept waiting for the caches of
:mod:`flowsvc.service`; but nothing here knows which values are secret.
"""

from __future__ import annotations

import logging

from flowsvc.errors import NotFound
from flowsvc.model import KIND_WORDS, Definition, DefinitionKind, Flow, Reader
from kvconfig.errors import InvalidName, InvalidValue
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue
from kvconfig.records import decode_flow, decode_json_object
from kvconfig.store import Store, list_all

__all__ = ["StoreReader"]

logger = logging.getLogger(__name__)


class StoreReader(Reader):
    """:class:`flowsvc.model.Reader` on a store. It does not look at the version of the layout."""

    def __init__(self, store: Store, keyspace: Keyspace) -> None:
        self._store = store
        self._ks = keyspace

    async def get_flow(self, flow: str) -> Flow:
        """A linearizable read. Raises ``NotFound``, and ``InvalidValue`` for a broken record."""
        found = await self._read("flow", self._ks.flow(flow), flow)
        return _flow(flow, found)

    async def list_flows(self) -> list[Flow]:
        """A linearizable list. A record that cannot be read is logged and left out."""
        flows = []
        for name, kv in await self._list("flow"):
            try:
                flows.append(_flow(name, kv))
            except InvalidValue as error:
                logger.warning("flow record left out", extra={"reason": str(error)})
        return flows

    async def get_definition(self, kind: DefinitionKind, name: str) -> Definition:
        """A linearizable read. Raises ``NotFound``."""
        key = self._ks.flow_blueprint if kind == "flow-blueprint" else self._ks.parameter_type
        return _definition(name, await self._read(KIND_WORDS[kind], key(name), name))

    async def list_definitions(self, kind: DefinitionKind) -> list[Definition]:
        """A linearizable list. A value that cannot be read is logged and left out."""
        definitions = []
        for name, kv in await self._list(kind):
            try:
                definitions.append(_definition(name, kv))
            except InvalidValue as error:
                logger.warning("definition left out", extra={"reason": str(error)})
        return definitions

    async def keeps_secrets(self) -> bool:
        """Whether any parameter type is marked secret, or cannot be read and so may be."""
        types = await list_all(self._store, self._ks.type_range("parameter-type"))
        return any(map(_may_be_secret, types.items))

    async def _read(self, kind: str, key: bytes, name: str) -> KeyValue:
        found = await self._store.read(key)
        if found is None:
            raise NotFound(kind, name)
        return found

    async def _list(self, type_: str) -> list[tuple[str, KeyValue]]:
        listed = await list_all(self._store, self._ks.type_range(type_))
        named = []
        for kv in listed.items:
            try:
                named.append((self._ks.parse_named(kv.key, type_), kv))
            except InvalidName as error:
                logger.warning("key left out", extra={"reason": str(error)})
        return named


def _flow(name: str, kv: KeyValue) -> Flow:
    record = decode_flow(kv.value, key=kv.key)
    return Flow(id=name, record=record, mod_revision=kv.mod_revision, version=kv.version)


def _may_be_secret(kv: KeyValue) -> bool:
    try:
        return bool(decode_json_object(kv.value).get("secret", False))
    except InvalidValue:
        return True


def _definition(name: str, kv: KeyValue) -> Definition:
    value = decode_json_object(kv.value, key=kv.key)
    return Definition(name=name, definition=value, mod_revision=kv.mod_revision)
