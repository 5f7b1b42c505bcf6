"""A small model of the design that this one replaces, on the same etcd.

One blob for each processor holds all that it runs. A start reads the blob of each processor
concerned, merges its entry into it and writes it back. Every write is announced to every
processor, and each of them then reads all there is again: with N processors, P of them concerned,
that is P writes and N times P reads of everything.

It is kind to that design where one can be: blobs hold nothing but the variants, a blob is read
and written by key, the announcement is a watch of etcd rather than a message broker, and all
processors share one connection and parse nothing but their own blob.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from kvconfig.keys import prefix
from kvconfig.model import Revision
from kvconfig.store import Store, Watch, list_all
from kvconfig.txn import Put, Txn

__all__ = ["Replaced", "replaced"]

BLOBS = prefix(b"/blobs/active-flow/")
Entry = Mapping[str, object]


class Replaced:
    """The flow service and the processors of that design; made by :func:`replaced`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._processors: list[_Processor] = []

    async def start(self, flow: str, entries: Mapping[str, Entry]) -> None:
        """Start ``flow``: an entry for each processor. Returns once all processors know of it."""
        last = Revision(0)
        for processor, entry in entries.items():
            key = BLOBS.start + processor.encode()
            stands = await self._store.read(key)
            blob = json.loads(stands.value) if stands is not None else {}
            blob[flow] = entry
            put = Put(key, json.dumps(blob).encode())
            last = (await self._store.commit(Txn(then=(put,)))).revision
        await asyncio.gather(*(processor.read(last) for processor in self._processors))

    def host(self, name: str) -> _Processor:
        """One more processor."""
        processor = _Processor(self._store, name)
        self._processors.append(processor)
        return processor

    async def announce(self, watch: Watch) -> None:
        """Tell every processor of every write."""
        async for batch in watch:
            if batch.events:
                for processor in self._processors:
                    processor.announced.put_nowait(batch.revision)


class _Processor:
    """Reads everything after each announcement, one after the other, and looks for its own."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._key = BLOBS.start + name.encode()
        self._seen = Revision(0)
        self._moved = asyncio.Event()
        self.announced: asyncio.Queue[Revision] = asyncio.Queue()
        self.flows: Mapping[str, Entry] = {}

    async def run(self) -> None:
        while True:
            revision = await self.announced.get()
            page = await list_all(self._store, BLOBS)
            own = [kv.value for kv in page.items if kv.key == self._key]
            self.flows = json.loads(own[0]) if own else {}
            self._seen = revision
            self._moved.set()

    async def read(self, revision: Revision) -> None:
        """Return once it has read what stood at ``revision``."""
        while self._seen < revision:
            self._moved.clear()
            await self._moved.wait()


@asynccontextmanager
async def replaced(store: Store, processors: int) -> AsyncIterator[Replaced]:
    """That design at work, with ``processors`` named ``p0``, ``p1``, …."""
    async with AsyncExitStack() as stack:
        watch = await stack.enter_async_context(store.watch(BLOBS, start=Revision(0)))
        system = Replaced(store)
        tasks = [asyncio.create_task(system.host(f"p{n}").run()) for n in range(processors)]
        tasks.append(asyncio.create_task(system.announce(watch)))
        try:
            yield system
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
