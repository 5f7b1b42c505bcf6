"""A store and a config client whose requests are written down, and an informer that is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import count
from random import Random
from typing import Any

from kvconfig.codec import encode
from kvconfig.config import Config, ConfigItem
from kvconfig.errors import KvError, OutcomeUnknown
from kvconfig.informer import Batch, Informer, Item
from kvconfig.keys import Range, one
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue, Revision
from kvconfig.store import Store, list_all
from kvconfig.txn import Put, Txn, at_revision
from tests.history.record import History, Looked, Read, Watcher, Write, seen, told

__all__ = ["Recorder", "settles", "watching"]


class Recorder:
    """One client's way to the store. Every value that it puts is ``{"by": <id of the write>, …}``,
    so that a revision names its cause."""

    def __init__(
        self,
        name: str,
        store: Store,
        keyspace: Keyspace,
        history: History,
        *,
        restores: Callable[[], int] = lambda: 0,
    ) -> None:
        """``restores`` counts those of the store."""
        self.store = store
        self.restores = restores
        self._ks = keyspace
        self._config = Config(store, keyspace)
        self._history = history
        self._ids = (f"{name}-{number}" for number in count(1))

    # -- writes: what becomes of them is in the record ------------------------------------------

    async def commit(self, make: Callable[[str], Txn]) -> Write:
        """Commit what ``make`` makes of a new id."""
        id_ = next(self._ids)
        write = Write(id=id_, txn=make(id_), sent=self._history.now())

        async def commit() -> Revision:
            write.commit = await self.store.commit(write.txn)
            return write.commit.revision

        return await self._written(write, commit())

    async def put(
        self, key: bytes, at: Revision | None = None, *, era: int = 0, **more: int
    ) -> Write:
        """Put through the config layer; written down as the transaction that it stands for."""
        id_ = next(self._ids)
        value = {"by": id_, **more}
        compares = () if at is None else (at_revision(key, at),)
        txn = Txn(compares, (Put(key, encode(value)),))
        write = Write(id=id_, txn=txn, sent=self._history.now(), era=era)
        name = self._ks.parse_item(key)
        answer = self._config.put(name.type, name.key, value, if_revision=at)
        return await self._written(write, answer)

    async def _written(self, write: Write, answer: Awaitable[Revision]) -> Write:
        self._history.writes.append(write)
        try:
            write.revision = await answer
            write.outcome = "acked"
        except OutcomeUnknown as error:
            write.error = str(error)
        except KvError as error:
            write.outcome, write.error = "refused", f"{type(error).__name__}: {error}"
        write.done = self._history.now()
        return write

    # -- reads: those that fail are not written down --------------------------------------------

    async def read(self, key: bytes) -> KeyValue | None:
        """One key."""
        sent = self._history.now()
        found = await self.store.read(key)
        self._found(one(key), sent, *([found] if found else []))
        return found

    async def get(self, key: bytes) -> ConfigItem | None:
        """One item, through the config layer."""
        sent = self._history.now()
        name = self._ks.parse_item(key)
        item = await self._config.get(name.type, name.key)
        found = []
        if item is not None:
            value = encode(item.value)
            found = [KeyValue(key, value, Revision(0), item.mod_revision, item.version)]
        self._found(one(key), sent, *found)
        return item

    async def list(self, range_: Range) -> tuple[KeyValue, ...]:
        """A range; not written down where the store was restored between two of its pages."""
        sent, restores = self._history.now(), self.restores()
        page = await list_all(self.store, range_)
        if self.restores() == restores:
            self._found(range_, sent, *page.items, revision=page.revision)
        return page.items

    def _found(
        self, range_: Range, sent: int, *items: KeyValue, revision: Revision = Revision(0)
    ) -> None:
        self._history.reads.append(
            Read(
                id=next(self._ids),
                range=range_,
                sent=sent,
                done=self._history.now(),
                found=tuple(map(seen, items)),
                revision=revision,
            )
        )


@asynccontextmanager
async def watching(
    informer: Informer[Any], rng: Random, history: History, *, look_every_s: float
) -> AsyncIterator[Watcher]:
    """Run an informer and write down all that it says, and what its cache holds now and then."""
    watcher = Watcher(name=informer.name, range=informer.range)
    history.watchers.append(watcher)

    def cache() -> dict[bytes, KeyValue]:
        return {key: item.kv for key, item in informer.items.items()}

    async def look() -> None:
        while True:
            await asyncio.sleep(rng.uniform(0, 2 * look_every_s))
            watcher.log.append(Looked(cache=cache()))

    def handle(batch: Batch[Any]) -> None:
        watcher.log.append(told(batch, cache()))

    informer.subscribe(handle)
    looking = asyncio.create_task(look(), name=f"looking at {informer.name}")
    running = await informer.__aenter__()
    try:
        yield watcher
    finally:
        looking.cancel()
        await asyncio.wait([looking])
        watcher.differences = informer.stats.differences
        try:
            await running.__aexit__(None, None, None)
        except Exception as error:  # noqa: BLE001 - a defect is what is looked for
            watcher.died = repr(error)


async def settles(informer: Informer[Any], key: bytes, last: Write, patience_s: float) -> bool:
    """Whether the informer comes to know the ``last`` write, to ``key`` among others, in time."""
    by = encode({"by": last.id})

    def is_there(items: Mapping[bytes, Item[Any]]) -> bool:
        return key in items and items[key].kv.value == by

    try:
        async with asyncio.timeout(patience_s):
            await informer.until(is_there)
    except Exception:  # noqa: BLE001 - why, its record says
        return False
    return True
