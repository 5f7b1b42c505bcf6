"""A dry run: the migration itself, on a copy of what stands, in memory.

So what is shown is what will be done, also where flows share and where something is in the way. The
etcd is only read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from flowsvc.migrate.report import Report
from kvconfig.config import Config
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.model import Revision
from kvconfig.store import Store, list_all
from kvconfig.txn import Put, Txn

__all__ = ["Written", "rehearse"]

_NOT_COPIED = ("history", "processor")
"""No migration depends on them, and the first can be large."""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen to one key: its value before and after, ``None``: absent."""

    key: bytes
    before: bytes | None
    after: bytes | None

    @property
    def sign(self) -> str:
        """Whether it would be added, removed or changed."""
        if self.before is None:
            return "+"
        return "-" if self.after is None else "~"


async def rehearse(
    store: Store, keyspace: Keyspace, act: Callable[[Store], Awaitable[Report]]
) -> tuple[Report, list[Written]]:
    """What ``act`` would do to the store: its report, and every key that it would write."""
    copy = MemoryStore()
    try:
        await _fill(copy, store, keyspace)
        before = await _all(copy, keyspace)
        report = await act(copy)
        after = await _all(copy, keyspace)
    finally:
        await copy.close()
    changed = sorted(key for key, _ in before.items() ^ after.items())
    return report, [
        Written(key=key, before=before.get(key), after=after.get(key))
        for key in dict.fromkeys(changed)
    ]


async def _fill(copy: MemoryStore, store: Store, keyspace: Keyspace) -> None:
    revision = Revision(0)
    for type_ in await Config(store, keyspace).types():
        if type_ in _NOT_COPIED:
            continue
        async for page in store.list(keyspace.type_range(type_), revision=revision):
            revision = revision or page.revision
            for kv in page.items:  # each by itself: some are as large as a request may be
                await copy.commit(Txn(then=(Put(kv.key, kv.value),)))


async def _all(copy: MemoryStore, keyspace: Keyspace) -> dict[bytes, bytes]:
    page = await list_all(copy, keyspace.everything())
    return {kv.key: kv.value for kv in page.items}
