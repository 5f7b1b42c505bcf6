"""A processor whose variants do not stop soon."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from processors import FlowProcessor, Tasks, Variant


class Slow(FlowProcessor):
    """Takes an hour to stop."""

    id = "slow"
    stop_timeout_s = 3600.0

    @asynccontextmanager
    async def variant(self, variant: Variant, tasks: Tasks) -> AsyncIterator[None]:
        yield
        await asyncio.sleep(3600)
