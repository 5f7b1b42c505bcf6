"""Waiting for what is to come, never for time to pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from kvconfig.informer import Informer
from kvconfig.model import KeyValue

POLL_S = 0.01


async def eventually(
    holds: Callable[[], bool] | Callable[[], Awaitable[bool]], *, within_s: float = 20
) -> None:
    """Until it holds; TimeoutError where that takes too long."""
    async with asyncio.timeout(within_s):
        while True:
            answer = holds()
            if answer is True or (not isinstance(answer, bool) and await answer):
                return
            await asyncio.sleep(POLL_S)


async def shows(
    informer: Informer[bytes], key: bytes, value: bytes, *, within_s: float = 10
) -> None:
    """Until an informer shows that key with that value."""
    async with asyncio.timeout(within_s):
        await informer.until(lambda items: key in items and items[key].value == value)


async def is_exactly(
    informer: Informer[bytes], wanted: Mapping[bytes, KeyValue], *, within_s: float = 20
) -> None:
    """Until an informer's cache is just that, revisions and all."""
    async with asyncio.timeout(within_s):
        await informer.until(lambda items: wanted == {key: item.kv for key, item in items.items()})
