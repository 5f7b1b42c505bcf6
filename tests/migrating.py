"""What the tests of migrations share: stand-ins for processors of all ages, and key spaces."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias

from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue
from kvconfig.store import Store, list_all
from kvconfig.txn import Put, Txn

__all__ = ["Seen", "acted_on", "everything", "put_document", "settled", "with_flows"]

Seen: TypeAlias = dict[str, dict[tuple[str, str], Any]]
"""What each generation of processors runs, by (processor, variant)."""


def acted_on(keyspace: Keyspace, keys: Mapping[bytes, bytes]) -> Seen:
    """What every generation would run, going by ``keys`` alone.

    ``blob``: a processor reads the one key ``/active-flow/<id>`` (or ``/flows-active/<id>``).
    ``interim``: it takes all keys ``/active-flow/<id>:…`` (or its own type ``processor:<id>``).
    ``new``: it takes all keys ``/active-flow/<id>/…``.
    """
    seen: Seen = {"blob": {}, "interim": {}, "new": {}}
    base = keyspace.everything().start.decode()
    for key, value in keys.items():
        type_, _, name = key.decode().removeprefix(base).partition("/")
        if type_.startswith("processor:"):
            seen["interim"][type_.removeprefix("processor:"), name] = json.loads(value)
        elif type_ not in ("active-flow", "flows-active"):
            continue
        elif "/" in name:
            processor, _, variant = name.partition("/")
            seen["new"][processor, variant] = json.loads(value)
        elif ":" in name:
            processor, _, variant = name.partition(":")
            seen["interim"][processor, variant] = json.loads(value)
        else:
            seen["blob"] |= {(name, v): entry for v, entry in json.loads(value).items()}
    return seen


def settled(keys: Mapping[bytes, bytes]) -> dict[str, Any]:
    """All keys, without what differs from run to run: the ids of operations, and their time."""
    found: dict[str, Any] = {}
    for key, value in keys.items():
        name, said = key.decode(), json.loads(value)
        if "/history/" in name:
            name = name.rpartition("/")[0]
            said["at"] = ""
            (said["after"] or {}).get("record", {}).pop("op", None)
        elif "/flow/" in name:
            said.pop("op", None)
        assert name not in found, f"two history entries of one thing: {name}"
        found[name] = said
    return found


async def everything(store: Store, keyspace: Keyspace) -> dict[bytes, KeyValue]:
    """All keys below the root."""
    return {kv.key: kv for kv in (await list_all(store, keyspace.everything())).items}


async def put_document(
    store: Store, keyspace: Keyspace, document: Mapping[str, Mapping[str, Any]]
) -> None:
    """The keys of an old system whose configuration is ``document``."""
    base = keyspace.everything().start
    puts = [
        Put(base + f"{type_}/{key}".encode(), json.dumps(value).encode())
        for type_, section in document.items()
        for key, value in section.items()
    ]
    for start in range(0, len(puts), 100):
        await store.commit(Txn(then=tuple(puts[start : start + 100])))


def with_flows(document: dict[str, Any], ids: list[str]) -> dict[str, Any]:
    """A real document in which flows like its only one, ``default``, run under each of ``ids``."""
    made = json.loads(json.dumps(document))
    flows = made.get("flow", made.get("flows"))
    active = [
        section
        for type_ in made
        for section in (
            made[type_].values()
            if type_ in ("active-flow", "flows-active")
            else [made[type_]]
            if type_.startswith("processor:")
            else []
        )
    ]
    for section in (flows, *active):
        if (entry := section.pop("default", None)) is None:
            continue
        for id_ in ids:
            text = json.dumps(entry).replace(":default", f":{id_}")
            section[id_] = json.loads(text)
    return made  # type: ignore[no-any-return]
