"""Waits of ``flowctl``: until a flow runs, or nothing of it does; what lacks is told meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from flowsvc.cli.progress import latest

if TYPE_CHECKING:
    from flowsvc.model import Done, Flows
    from flowsvc.status import FlowStatus
    from kvconfig.keyspace import VariantName

__all__ = ["close", "until_it_has_left", "until_it_runs"]


async def until_it_runs(
    flows: Flows, flow: str, revision: int, *, everywhere: bool, wait_s: float
) -> FlowStatus:
    """Wait until a flow runs, or does not for a reason. See :func:`flowsvc.waiting.wait`."""
    from flowsvc import waiting
    from flowsvc.status import lacking, settled
    from kvconfig.model import Revision

    at = Revision(revision)

    def lacks(status: FlowStatus) -> str:
        if settled(status, revision=at, everywhere=everywhere):
            return ""
        what = lacking(status, revision=at, everywhere=everywhere)
        return f"{status.flow} is {status.state}: {what}"

    with latest() as tell:
        return await waiting.wait(
            _Told(flows, flow, lambda status: tell(lacks(status))),
            flow,
            revision=at,
            everywhere=everywhere,
            timeout_s=wait_s,
        )


async def until_it_has_left(flows: Flows, flow: str, done: Done, *, wait_s: float) -> None:
    """Wait until no live instance runs what the operation ``done`` has taken away of a flow.

    See :func:`flowsvc.waiting.wait_until_left`; which variants it took the history knows.
    """
    from flowsvc import waiting
    from kvconfig.model import Revision

    names = await _taken_by(flows, flow, done.op)
    with latest() as tell:
        await waiting.wait_until_left(
            flows,
            names,
            Revision(done.revision),
            timeout_s=wait_s,
            tell=lambda lacks: tell(f"{flow}: {lacks}"),
        )


async def _taken_by(flows: Flows, flow: str, op: str) -> list[VariantName]:
    """The variants that the flow had before an operation: those of the entry before its own.

    A stop that etcd took though it is out of space has no entry; then it is the newest one. Raises
    ``NotFound`` where it was removed.
    """
    from flowsvc.errors import NotFound
    from kvconfig.keyspace import VariantName

    entries = await flows.history("flow", flow)
    at = next((n for n, entry in enumerate(entries) if entry.op == op), -1)
    if at + 1 == len(entries):
        raise NotFound("history entry", f"before {op} of flow {flow}, which has its variants")
    before = entries[at + 1].after or {}
    return [VariantName.parse(name) for name in before.get("variants", {})]


class _Told:
    """What a wait asks of ``Flows``; tells of each status of its flow that comes."""

    def __init__(self, flows: Flows, flow: str, tell: Callable[[FlowStatus], None]) -> None:
        self._flows, self._flow, self._tell = flows, flow, tell

    async def get_status(self, flow: str) -> FlowStatus:
        """See :meth:`flowsvc.model.Flows.get_status`."""
        status = await self._flows.get_status(flow)
        self._tell(status)
        return status

    async def watch_flows(self) -> AsyncIterator[FlowStatus]:
        """See :meth:`flowsvc.model.Flows.watch_flows`."""
        statuses = self._flows.watch_flows()
        try:
            async for status in statuses:
                if status.flow == self._flow:
                    self._tell(status)
                yield status
        finally:
            await close(statuses)


async def close(statuses: AsyncIterator[Any]) -> None:
    """Generators end their own ways only when closed; other iterators need nothing."""
    end = getattr(statuses, "aclose", None)
    if end is not None:
        await end()
