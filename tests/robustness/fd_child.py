"""Run as a program: clients in a process that runs out of file descriptors. Prints JSON.

``python -m tests.robustness.fd_child ENDPOINT``
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from kvconfig.errors import KvError, Unavailable
from kvconfig.etcd import connect
from kvconfig.informer import Informer
from kvconfig.keys import prefix
from kvconfig.model import KeyValue
from kvconfig.store import Store
from kvconfig.txn import Put, Txn
from tests.robustness.waiting import eventually, shows

LIMIT = 64
CLIENTS = 80
TIMEOUT_S = 2.0
AGAIN_S = 5.0
"""How long it may take until a new connection works again."""


def in_use() -> int:
    """How many file descriptors are taken."""
    try:
        return len(list(Path("/proc/self/fd").iterdir()))
    except OSError:
        return LIMIT


def hog() -> list[int]:
    """Every file descriptor there is."""
    taken: list[int] = []
    try:
        while True:
            taken.append(os.dup(0))
    except OSError:
        return taken


async def timed(work: object) -> tuple[str, float]:
    """How a call ended, and after how many seconds."""
    assert asyncio.iscoroutine(work)
    began_s = time.monotonic()
    try:
        await work
        said = "ok"
    except KvError as error:
        said = type(error).__name__
    except OSError as error:
        said = f"OSError {error.errno}"
    return said, time.monotonic() - began_s


async def answered(store: Store) -> None:
    """Read until there is an answer: gRPC waits a second before it connects once more.

    Raises the last error after :data:`AGAIN_S`.
    """
    deadline_s = time.monotonic() + AGAIN_S
    while True:
        try:
            await store.read(b"/r/k")
            return
        except Unavailable:
            if time.monotonic() > deadline_s:
                raise
            await asyncio.sleep(0.05)


def value(kv: KeyValue) -> bytes:
    """As it is."""
    return kv.value


async def main(endpoint: str) -> dict[str, object]:
    """One client at work before, during and after; many that come during."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(connect([endpoint], timeout_s=TIMEOUT_S))
        informer = Informer(first, prefix(b"/r/"), value)
        await stack.enter_async_context(informer)
        await informer.synced()

        before = in_use()
        many = [
            await stack.enter_async_context(connect([endpoint], timeout_s=TIMEOUT_S))
            for _ in range(CLIENTS)
        ]
        crowd = await asyncio.gather(*(timed(store.read(b"/r/k")) for store in many))
        for store in many:
            await store.close()
        # They are given back by gRPC's own threads.
        await eventually(lambda: in_use() <= before)

        taken = hog()
        fresh = await stack.enter_async_context(connect([endpoint], timeout_s=TIMEOUT_S))
        starved = await timed(fresh.read(b"/r/k"))
        write = await timed(fresh.commit(Txn(then=(Put(b"/r/never", b"1"),))))
        old = await timed(first.commit(Txn(then=(Put(b"/r/during", b"1"),))))
        for number in taken:
            os.close(number)
        again = await timed(answered(fresh))
        await first.commit(Txn(then=(Put(b"/r/after", b"1"),)))
        await shows(informer, b"/r/after", b"1")
        return {
            "crowd": crowd,
            "starved": starved,
            "write": write,
            "old": old,
            "again": again,
            "keys": sorted(key.decode() for key in informer.items),
        }


if __name__ == "__main__":
    json.dump(asyncio.run(main(sys.argv[1])), sys.stdout)
