"""Reads what stands under a root, all of it as of one revision."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from flowsvc.definition import child
from flowsvc.errors import Finding
from flowsvc.migrate.inverse import NewState
from flowsvc.migrate.standing import Standing, sorted_out
from flowsvc.migrate.words import KEPT_TYPE, meaning
from kvconfig.codec import parse_json
from kvconfig.config import Config
from kvconfig.errors import InvalidName, InvalidValue, KvError
from kvconfig.keyspace import RESERVED_TYPES, Keyspace
from kvconfig.model import KeyValue, Revision
from kvconfig.store import Store

__all__ = ["items", "new_state", "standing"]


async def standing(store: Store, keyspace: Keyspace) -> Standing:
    """Definitions, flows and variants, in the layouts of all versions."""
    revision = Revision(0)
    keys: dict[str, list[KeyValue]] = {}
    for type_ in await Config(store, keyspace).types():
        if meaning(type_) is not None:
            async for page in store.list(keyspace.type_range(type_), revision=revision):
                keys.setdefault(type_, []).extend(page.items)
                revision = revision or page.revision
    return sorted_out(keyspace, keys)


async def items(
    store: Store, keyspace: Keyspace, findings: list[Finding]
) -> AsyncIterator[tuple[tuple[str, str], Any]]:
    """Every item of configuration with its value, also those that a migration has kept.

    What cannot be read becomes a finding.
    """
    revision = Revision(0)
    for type_ in await Config(store, keyspace).types():
        if meaning(type_) is not None or type_ in RESERVED_TYPES:
            continue
        async for page in store.list(keyspace.type_range(type_), revision=revision):
            revision = revision or page.revision
            for kv in page.items:
                try:
                    name = keyspace.parse_item(kv.key)
                    value = parse_json(kv.value, key=kv.key)
                except (InvalidName, InvalidValue) as error:
                    findings.append(_unreadable(type_, kv, keyspace, error))
                else:
                    yield (name.type, name.key), value


async def new_state(
    store: Store, keyspace: Keyspace
) -> tuple[NewState, dict[tuple[str, str], Any], list[Finding]]:
    """What the new layout says, what a migration has kept, and remarks on both."""
    stands = await standing(store, keyspace)
    paused = [id_ for id_, record in stands.flows.items() if record.paused is not None]
    newer = {"schema", "applied"}.intersection(await Config(store, keyspace).types())
    findings = [
        *stands.findings,
        *(_remark("flow", id_, "is paused: nothing of it is active") for id_ in paused),
        *(_remark(type_, "", "no older version has this: left out") for type_ in sorted(newer)),
    ]
    found = {name: value async for name, value in items(store, keyspace, findings)}
    kept = {name: found.pop(name) for name in list(found) if name[0] == KEPT_TYPE}
    new = NewState(
        parameter_types=stands.document.get("parameter-type", {}),
        blueprints=stands.document.get("flow-blueprint", {}),
        flows=stands.flows,
        active=stands.active,
        items=found,
    )
    return new, kept, findings


def _remark(type_: str, key: str, message: str) -> Finding:
    path = child("$", type_)
    return Finding(child(path, key) if key else path, message, "warning")


def _unreadable(type_: str, kv: KeyValue, keyspace: Keyspace, error: KvError) -> Finding:
    key = kv.key[len(keyspace.type_range(type_).start) :].decode("utf-8", "backslashreplace")
    return Finding(child(child("$", type_), key), f"cannot be read: {error}")
