"""etcd3aio. It takes several endpoints, opens a watch that fails again by itself, and refreshes its
token in the background.

What its documentation shows is a loop over the events of each response; a response may also say
that the watch was cancelled, which nobody would look for who has read no more than that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from etcd3aio import Etcd3Client  # type: ignore[import-not-found]  # in .peers only
from etcd3aio.kv import prefix_range_end  # type: ignore[import-not-found]

from tests.robustness.peers.clients.job import Job
from tests.robustness.peers.clients.user import Event

__all__ = ["open_client"]

TIMEOUT_S = 5
REFRESH = 0.8
"""Of a token's life: as 240 s are of the 300 s that etcd gives by default."""


class Client:
    def __init__(self, etcd: Any) -> None:
        self._etcd = etcd

    async def list(self, prefix: str) -> tuple[dict[str, str], int]:
        end = prefix_range_end(prefix)
        found = await self._etcd.kv.get(prefix, range_end=end, timeout=TIMEOUT_S)
        return {kv.key.decode(): kv.value.decode() for kv in found.kvs}, found.header.revision

    async def watch(self, prefix: str, start: int | None) -> AsyncIterator[Event]:
        end = prefix_range_end(prefix)
        return _events(self._etcd.watch.watch(prefix, range_end=end, start_revision=start or 0))

    async def create(self, key: str) -> bool:
        kv = self._etcd.kv
        response = await kv.txn(
            compare=[kv.txn_compare_create_revision(key, 0)],
            success=[kv.txn_op_put(key, "created")],
            failure=[],
            timeout=TIMEOUT_S,
        )
        return bool(response.succeeded)


@asynccontextmanager
async def open_client(job: Job) -> AsyncIterator[Client]:
    async with AsyncExitStack() as stack:
        etcd = await stack.enter_async_context(Etcd3Client(list(job.endpoints)))
        if job.user:
            every_s = REFRESH * job.token_ttl_s
            refresher = etcd.token_refresher(job.user, job.password, interval=every_s)
            await stack.enter_async_context(refresher)
        yield Client(etcd)


async def _events(responses: AsyncIterator[Any]) -> AsyncIterator[Event]:
    async for response in responses:
        for event in response.events:
            value = event.kv.value.decode() if event.type == 0 else None
            yield Event(event.kv.mod_revision, event.kv.key.decode(), value)
