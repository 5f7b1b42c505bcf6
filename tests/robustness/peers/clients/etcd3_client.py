"""etcd3 or python3-etcd3, whichever is on the path: both call their module ``etcd3``.

etcd3 knows one endpoint. python3-etcd3 takes several, and goes to another for the next call after
one has failed (``failover``); a watch that ends is opened again by neither. Both send a password
over TLS only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import etcd3  # type: ignore[import-not-found]  # in .peers only, and without types

from tests.robustness.peers.clients.job import Job
from tests.robustness.peers.clients.user import Event

__all__ = ["open_client"]

TIMEOUT_S = 5


class Client:
    def __init__(self, etcd: Any) -> None:
        self._etcd = etcd

    async def list(self, prefix: str) -> tuple[dict[str, str], int]:
        found = await asyncio.to_thread(self._etcd.get_prefix_response, prefix)
        return {kv.key.decode(): kv.value.decode() for kv in found.kvs}, found.header.revision

    async def watch(self, prefix: str, start: int | None) -> AsyncIterator[Event]:
        watch = partial(self._etcd.watch_prefix, prefix, start_revision=start)
        events, _ = await asyncio.to_thread(watch)
        return _events(events)

    async def create(self, key: str) -> bool:
        make = self._etcd.transactions
        transaction = partial(
            self._etcd.transaction,
            compare=[make.version(key) == 0],
            success=[make.put(key, "created")],
            failure=[],
        )
        succeeded, _ = await asyncio.to_thread(transaction)
        return bool(succeeded)


@asynccontextmanager
async def open_client(job: Job) -> AsyncIterator[Client]:
    # Never closed: its watch thread would then fail aloud. It ends with the process.
    several = hasattr(etcd3, "MultiEndpointEtcd3Client")
    yield Client(await asyncio.to_thread(_several if several else _one, job))


def _one(job: Job) -> Any:
    host, port = _split(job.tls_endpoint) if job.user else job.address
    who = {"user": job.user, "password": job.password, "ca_cert": job.cacert} if job.user else {}
    return etcd3.client(host=host, port=port, timeout=TIMEOUT_S, **who)


def _several(job: Job) -> Any:
    kind, endpoint = etcd3.MultiEndpointEtcd3Client, etcd3.Endpoint
    if job.user:
        host, port = _split(job.tls_endpoint)
        secrets = kind.get_secure_creds(job.cacert)
        endpoints = [endpoint(host, port, creds=secrets)]
        who = {"user": job.user, "password": job.password}
    else:
        endpoints = [endpoint(*_split(name), secure=False) for name in job.endpoints]
        who = {}
    while True:  # it begins with any of them; all clients are to begin with the first
        etcd = kind(endpoints=endpoints, timeout=TIMEOUT_S, failover=True, **who)
        if etcd.endpoint_in_use is endpoints[0]:
            return etcd


def _split(endpoint: str) -> tuple[str, int]:
    host, _, port = endpoint.rpartition(":")
    return host, int(port)


async def _events(events: Iterator[Any]) -> AsyncIterator[Event]:
    while (event := await asyncio.to_thread(next, events, None)) is not None:
        value = event.value.decode() if isinstance(event, etcd3.events.PutEvent) else None
        yield Event(event.mod_revision, event.key.decode(), value)
