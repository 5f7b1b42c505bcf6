"""What the tests of flows share: a small blueprint, and a look at all that stands in a store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from flowsvc.model import StartFlow
from flowsvc.service import FlowService
from kvconfig.keyspace import Keyspace
from kvconfig.store import Store, list_all

BLUEPRINT: dict[str, Any] = {
    "description": "a small one",
    "blueprint": {
        "query:{blueprint}": {
            "topics": {"request": "request:query:{blueprint}"},
            "parameters": {"limit": "{limit}"},
        },
    },
    "flow": {
        "chunker:{id}": {
            "topics": {"input": "flow:load:{id}", "output": "flow:chunks:{id}"},
            "parameters": {"size": "{size}"},
        },
        "indexer:{id}": {"topics": {"input": "flow:chunks:{id}"}, "parameters": {}},
    },
    "interfaces": {"query": {"request": "request:query:{blueprint}"}},
    "parameters": {"size": {"type": "size"}, "limit": {"type": "limit"}},
}
TYPES: dict[str, dict[str, Any]] = {
    "size": {"type": "integer", "default": 2000},
    "limit": {"type": "integer", "default": 10},
}


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


@asynccontextmanager
async def a_service(
    store: Store, keyspace: Keyspace, blueprint: Mapping[str, Any] | None = BLUEPRINT
) -> AsyncIterator[FlowService]:
    """A flow service; with ``blueprint`` stored as ``small`` and its parameter types."""
    async with FlowService(store, keyspace) as service:
        if blueprint is not None:
            for name, definition in TYPES.items():
                await service.put_parameter_type(name, as_json(definition))
            await service.put_blueprint("small", as_json(blueprint))
        yield service


def start(flow: str, *, op: str = "", **parameters: str | int) -> StartFlow:
    """A request to start ``flow`` from the small blueprint."""
    return StartFlow(flow=flow, blueprint_name="small", parameters=parameters, op=op)


async def state(store: Store, keyspace: Keyspace) -> dict[str, Any]:
    """All that stands below the root, decoded, history and definitions left out."""
    page = await list_all(store, keyspace.everything())
    left_out = ("history/", "flow-blueprint/", "parameter-type/", "kvconfig/")
    base = len(keyspace.everything().start)
    found = {kv.key[base:].decode(): json.loads(kv.value) for kv in page.items}
    return {key: value for key, value in found.items() if not key.startswith(left_out)}


async def revisions(store: Store, keyspace: Keyspace, type_: str) -> dict[str, int]:
    """The mod_revision of every key of one type."""
    page = await list_all(store, keyspace.type_range(type_))
    base = len(keyspace.type_range(type_).start)
    return {kv.key[base:].decode(): kv.mod_revision for kv in page.items}
