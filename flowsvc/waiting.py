"""Wait until a flow runs, in process or over gRPC: by its status and the watch of all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Protocol

from flowsvc.status import FlowStatus, lacking, settled
from kvconfig.errors import WatchEnded
from kvconfig.model import Revision

__all__ = ["Statuses", "wait"]


class Statuses(Protocol):
    """The part of :class:`flowsvc.model.Flows` that a wait needs."""

    async def get_status(self, flow: str) -> FlowStatus:
        """See :meth:`flowsvc.model.Flows.get_status`."""
        ...

    def watch_flows(self) -> AsyncIterator[FlowStatus]:
        """See :meth:`flowsvc.model.Flows.watch_flows`."""
        ...


async def wait(
    flows: Statuses,
    flow: str,
    *,
    revision: Revision = Revision(0),
    everywhere: bool = False,
    timeout_s: float,
) -> FlowStatus:
    """Wait until ``flow`` runs, or does not for a reason: its status then, ``state`` says which.

    After a start, each variant must run on one instance (``degraded``, where others failed it);
    after an update ask for ``everywhere``: all live instances. ``revision`` is that of the
    operation waited for; what was before it does not count. See :func:`flowsvc.status.settled`.

    Raises ``TimeoutError``, which names what still lacks, after ``timeout_s``; ``NotFound`` for a
    flow that never was; what the two calls raise, unchanged (``WatchEnded`` where the watch ends
    by itself).
    """
    status: FlowStatus | None = None
    try:
        async with asyncio.timeout(timeout_s):
            status = await flows.get_status(flow)
            if settled(status, revision=revision, everywhere=everywhere):
                return status
            watch = flows.watch_flows()
            try:
                async for news in watch:
                    if news.flow != flow:
                        continue
                    # A cache may be behind, and tell of a stop that was before our start.
                    gone = news.state == "stopped"
                    status = await flows.get_status(flow) if gone else news
                    if settled(status, revision=revision, everywhere=everywhere):
                        return status
            finally:
                # Generators end their own ways only when closed; other iterators need nothing.
                close = getattr(watch, "aclose", None)
                if close is not None:
                    await close()
    except TimeoutError as error:
        what = "its status did not come"
        if status is not None:
            lacks = lacking(status, revision=revision, everywhere=everywhere)
            what = f"it is {status.state}; {lacks}"
        raise TimeoutError(f"flow {flow!r} does not run after {timeout_s:g} s: {what}") from error
    raise WatchEnded("the watch of flows ended")
