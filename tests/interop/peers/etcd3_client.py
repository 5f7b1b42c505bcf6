"""etcd3 or python3-etcd3, whichever is on the path, as :mod:`tests.interop.peers.serve` drives it.

Both call their module ``etcd3`` and have the same calls, which block; they watch in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import etcd3  # type: ignore[import-not-found]  # in .peers only, and without types

from tests.interop.peers.log import Log, Seen

__all__ = ["open_client"]

TIMEOUT_S = 10


class Client:
    def __init__(self, etcd: Any) -> None:
        self._etcd = etcd

    async def watch(self, prefix: str, log: Log) -> None:
        def heard(answer: Any) -> None:
            if isinstance(answer, Exception):
                log.fail_from_thread(answer)
            else:
                log.add_from_thread([_seen(event) for event in answer.events])

        await asyncio.to_thread(self._etcd.add_watch_prefix_callback, prefix, heard)

    async def create(self, values: Mapping[str, str]) -> bool:
        make = self._etcd.transactions
        transaction = partial(
            self._etcd.transaction,
            compare=[make.version(key) == 0 for key in values],
            success=[make.put(key, value) for key, value in values.items()],
            failure=[],
        )
        succeeded, _ = await asyncio.to_thread(transaction)
        return bool(succeeded)


@asynccontextmanager
async def open_client(endpoint: str) -> AsyncIterator[Client]:
    host, _, port = endpoint.rpartition(":")
    # Never closed: its watch thread would then fail aloud. It ends with the process.
    yield Client(etcd3.client(host=host, port=int(port), timeout=TIMEOUT_S))


def _seen(event: Any) -> Seen:
    value = event.value.decode() if isinstance(event, etcd3.events.PutEvent) else None
    return event.mod_revision, event.key.decode(), value
