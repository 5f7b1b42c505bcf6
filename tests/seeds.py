"""What the tests of seeds share: a system to seed, and all that stands in it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

from flowsvc.bootstrap import Policy, Report, bootstrap
from flowsvc.seed.export import Exported, export
from flowsvc.seed.reading import Source, read_seed
from flowsvc.seed.shape import Format
from flowsvc.seed.watching import Step, Watcher
from flowsvc.seed.writing import writer
from flowsvc.service import FlowService
from kvconfig.config.bulk import Bulk
from kvconfig.keyspace import Keyspace
from kvconfig.store import Store, list_all

__all__ = ["MERGE", "REPLACE", "SEED", "Noted", "System", "as_seed", "likeness", "system_on"]

MERGE = Policy(when_different="replace")
REPLACE = Policy(when_different="replace", prune=True)

SEED: dict[str, Any] = {
    "schema": {"token-cost": {"type": "object", "required": ["input"]}},
    "parameter-type": {"size": {"type": "integer", "default": 500}},
    "flow-blueprint": {
        "index": {
            "description": "An index",
            "parameters": {"size": {"type": "size"}},
            "interfaces": {"query": {"request": "request:query:{blueprint}"}},
            "flow": {
                "chunker:{id}": {"topics": {"input": "t:{id}"}, "parameters": {"size": "{size}"}}
            },
            "blueprint": {
                "query:{blueprint}": {"topics": {"request": "request:query:{blueprint}"}}
            },
        }
    },
    "flow": {
        "f1": {"blueprint-name": "index", "description": "first"},
        "f2": {"blueprint-name": "index", "parameters": {"size": 900}},
    },
    "prompt": {"system": "Be brief.", "template/a": {"text": "…", "n": 1.0}},
    "token-cost": {"gpt-4o": {"input": 0.1}},
}


def as_seed(seed: dict[str, Any], **changed: Any) -> bytes:
    """The seed as a file has it."""
    return json.dumps({**seed, **changed}).encode()


class Noted(Watcher):
    """Who remembers what was to be written, as ``created prompt/system``."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def noted(self, step: Step) -> None:
        if step.writes:
            self.all.append(f"{step.outcome} {step.name}")


class System:
    """A store with what seeding needs on it."""

    def __init__(self, store: Store, keyspace: Keyspace, service: FlowService) -> None:
        self.store, self.ks, self.service = store, keyspace, service
        self.bulk = Bulk(store, keyspace)
        self.config = self.bulk.config

    async def seed(
        self, seed: dict[str, Any] | bytes, format_: Format = "json", **options: Any
    ) -> Report:
        """Make what the seed says."""
        data = seed if isinstance(seed, bytes) else as_seed(seed)
        source = Source("the seed", lambda: BytesIO(data), format_)
        with read_seed([source], "the seed") as parsed:
            return await bootstrap(parsed, self.service, self.bulk, **options)

    async def exported(self, *types: str, format_: Format = "json") -> tuple[bytes, Exported]:
        """The document, and what is said of it."""
        out = BytesIO()
        exported = await export(self.bulk, writer(format_, out), types=types)
        return out.getvalue(), exported

    async def document(self) -> Any:
        """What an export says."""
        return json.loads((await self.exported())[0])

    async def everything(self) -> dict[str, tuple[bytes, int]]:
        """All keys of the system with value and mod_revision."""
        page = await list_all(self.store, self.ks.everything())
        return {kv.key.decode(): (kv.value, kv.mod_revision) for kv in page.items}

    async def revision(self) -> int:
        """The store's own."""
        return (await list_all(self.store, self.ks.everything())).revision


@asynccontextmanager
async def system_on(store: Store, root: str = "") -> AsyncIterator[System]:
    """A system of its own below ``root``."""
    keyspace = Keyspace(root)
    async with FlowService(store, keyspace) as service:
        yield System(store, keyspace, service)


_OP = re.compile(rb'"op":"[^"]*"')


async def likeness(store: Store, keyspace: Keyspace) -> list[tuple[str, bytes]]:
    """All that stands, apart from what no two runs share: ids of operations, names, times."""
    page = await list_all(store, keyspace.everything())
    base = len(keyspace.everything().start)
    found = []
    for kv in page.items:
        key, value = kv.key[base:].decode(), kv.value
        if key.startswith("history/"):
            key, value = key.rpartition("/")[0], json.loads(value)["action"].encode()
        found.append((key, _OP.sub(b'"op":""', value)))
    return sorted(found)
