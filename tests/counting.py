"""Many writers, one number: whether an increment is ever lost."""

from __future__ import annotations

import asyncio

from kvconfig.backoff import Backoff
from kvconfig.config import Config
from kvconfig.errors import Conflict

__all__ = ["count_up"]


async def count_up(config: Config, *, writers: int, each: int) -> int:
    """All read one item, add one and put it on condition; how often somebody was in the way.

    Raises AssertionError where an increment is lost or done twice.
    """
    conflicts = 0
    first = await config.put("counter", "n", 0)

    async def count() -> None:
        nonlocal conflicts
        for _ in range(each):
            backoff = Backoff(first_s=0.004, most_s=0.1)
            while True:
                item = await config.get("counter", "n")
                assert item is not None
                try:
                    await config.put("counter", "n", item.value + 1, if_revision=item.mod_revision)
                    break
                except Conflict:
                    conflicts += 1
                    await asyncio.sleep(backoff.next_s())

    await asyncio.gather(*(count() for _ in range(writers)))
    item = await config.get("counter", "n")
    assert item is not None
    assert (item.value, item.version) == (writers * each, writers * each + 1), f"since {first}"
    return conflicts
