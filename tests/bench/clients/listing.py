"""A process that lists once, bare or into the cache of an informer, and says what that took.

    python -m tests.bench.clients.listing bare|informer ENDPOINT PREFIX

Memory is counted above that of a process that has connected and holds nothing yet.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterable, Mapping

import msgspec

from kvconfig.etcd import connect
from kvconfig.informer import Informer, Item
from kvconfig.keys import Range, prefix
from kvconfig.records import VariantRecord
from tests.bench.bare import bare_channel, bare_list, rss_mb
from tests.bench.clients.kvconfig_client import variant
from tests.bench.places import resident_mb


async def _bare(endpoint: str, range_: Range) -> dict[str, float]:
    async with bare_channel(endpoint) as channel:
        await bare_list(channel, prefix(b"/nothing/"))
        before_mb, begun = resident_mb(os.getpid()), time.perf_counter()
        listed = await bare_list(channel, range_)
        seconds = time.perf_counter() - begun
    return {"keys": len(listed), "seconds": seconds, "peak_mb": rss_mb() - before_mb}


async def _informer(endpoint: str, range_: Range) -> dict[str, float]:
    async with connect([endpoint], timeout_s=30) as store:
        await store.read(b"/nothing")
        before_mb, begun = resident_mb(os.getpid()), time.perf_counter()
        async with Informer(store, range_, variant) as informer:
            await informer.synced()
            return {
                "keys": len(informer.items),
                "seconds": time.perf_counter() - begun,
                "peak_mb": rss_mb() - before_mb,
                "cache_mb": _size(informer.items) / 2**20,
            }


def _size(items: Mapping[bytes, Item[VariantRecord]]) -> int:
    """The bytes of all objects in a cache, those that several share counted once."""
    seen: dict[int, int] = {}

    def add(values: Iterable[object]) -> None:
        for value in values:
            if id(value) in seen or value is None:
                continue
            seen[id(value)] = sys.getsizeof(value)
            if isinstance(value, dict):
                add(value.keys())
                add(value.values())
            elif isinstance(value, msgspec.Struct):
                add(getattr(value, name) for name in value.__struct_fields__)

    add([dict(items)])
    return sum(seen.values())


async def _main(kind: str, endpoint: str, start: str) -> None:
    work = {"bare": _bare, "informer": _informer}[kind]
    print(json.dumps(await work(endpoint, prefix(start.encode()))), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
