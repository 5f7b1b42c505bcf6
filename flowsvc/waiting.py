"""Wait until a flow runs, or until nothing runs of it any more, in process or over gRPC.

The first by its status and the watch of all of them; the second by asking again and again, because
no watch tells how far instances are with what is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

from flowsvc.errors import NotFound
from flowsvc.status import FlowStatus, ProcessorStatus, lacking, not_left, settled
from kvconfig.errors import WatchEnded
from kvconfig.keyspace import VariantName
from kvconfig.model import Revision

__all__ = ["Processors", "Statuses", "wait", "wait_until_left"]

ASK_EVERY_S = 0.25
"""How often processors are asked whether they have left what was taken away."""

MOST_NAMED = 10
"""How many places the text about a wait names."""


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


class Processors(Protocol):
    """The part of :class:`flowsvc.model.Flows` that a wait for the end needs."""

    async def get_processor(self, processor: str) -> ProcessorStatus:
        """See :meth:`flowsvc.model.Flows.get_processor`."""
        ...


async def wait_until_left(
    flows: Processors,
    names: Iterable[VariantName],
    revision: Revision,
    *,
    timeout_s: float,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Wait until no live instance runs those of ``names`` any more that are not in etcd.

    ``revision`` is that of the operation which took them away. Variants that other flows keep are
    not waited for. ``tell`` gets what is still missing, in words, each time that it was asked.

    Raises ``TimeoutError``, which names what is missing, after ``timeout_s``; what the call raises,
    unchanged.
    """
    by_processor: dict[str, list[VariantName]] = {}
    for name in sorted(names):
        by_processor.setdefault(name.processor, []).append(name)
    lacks = "processors did not answer"
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                left = {p: await _not_left(flows, p, v, revision) for p, v in by_processor.items()}
                by_processor = {p: by_processor[p] for p, places in left.items() if places}
                if not by_processor:
                    return
                lacks = _still_running([place for places in left.values() for place in places])
                tell(lacks)
                await asyncio.sleep(ASK_EVERY_S)
    except TimeoutError as error:
        raise TimeoutError(f"not gone after {timeout_s:g} s: {lacks}") from error


async def _not_left(
    flows: Processors, processor: str, names: list[VariantName], revision: Revision
) -> list[str]:
    try:
        return not_left(await flows.get_processor(processor), names, revision)
    except NotFound:  # neither a variant nor an instance of it is left
        return []


def _still_running(places: list[str]) -> str:
    more = f" and {len(places) - MOST_NAMED} more" if len(places) > MOST_NAMED else ""
    return f"not seen to have ended: {', '.join(places[:MOST_NAMED])}{more}"
