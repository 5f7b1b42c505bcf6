"""aetcd. It knows one endpoint and no TLS; a watch that ends is not opened again by it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aetcd  # type: ignore[import-not-found]  # in .peers only, and without types

from tests.robustness.peers.clients.job import Job
from tests.robustness.peers.clients.user import Event

__all__ = ["open_client"]

TIMEOUT_S = 5


class Client:
    def __init__(self, etcd: Any) -> None:
        self._etcd = etcd

    async def list(self, prefix: str) -> tuple[dict[str, str], int]:
        found = await self._etcd.get_prefix(prefix.encode())
        return {kv.key.decode(): kv.value.decode() for kv in found}, found.header.revision

    async def watch(self, prefix: str, start: int | None) -> AsyncIterator[Event]:
        return _events(await self._etcd.watch_prefix(prefix.encode(), start_revision=start))

    async def create(self, key: str) -> bool:
        make = self._etcd.transactions
        succeeded, _ = await self._etcd.transaction(
            compare=[make.version(key.encode()) == 0],
            success=[make.put(key.encode(), b"created")],
            failure=[],
        )
        return bool(succeeded)


@asynccontextmanager
async def open_client(job: Job) -> AsyncIterator[Client]:
    host, port = job.address
    who = {"username": job.user, "password": job.password} if job.user else {}
    async with aetcd.Client(host=host, port=port, timeout=TIMEOUT_S, **who) as etcd:
        yield Client(etcd)


async def _events(watch: Any) -> AsyncIterator[Event]:
    async for event in watch:
        value = event.kv.value.decode() if event.kind == aetcd.rtypes.EventKind.PUT else None
        yield Event(event.kv.mod_revision, event.kv.key.decode(), value)
