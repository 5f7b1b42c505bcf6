"""The async client: :class:`flowsvc.model.Flows` over gRPC, with the errors of the service itself.

Every call ends within ``timeout_s`` (a restart, which waits for processors, within 30 s more); a
watch does not. It is sent again only where that is safe: after UNAVAILABLE, and for changes because
each carries an operation id, under which it is done once.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import msgspec

from flowsvc.api import convert, methods
from flowsvc.api.calls import Caller, ServerUnavailable, message_of
from flowsvc.api.methods import Method
from flowsvc.api.tls import Credentials
from flowsvc.api.v1 import flow_pb2 as pb
from flowsvc.errors import NotFound, TooMuchContention
from flowsvc.ids import new_op
from flowsvc.model import (
    Change,
    Definition,
    DefinitionKind,
    Done,
    Flow,
    Flows,
    HistoryEntry,
    HistoryKind,
    PauseFlow,
    Preview,
    Pruned,
)
from flowsvc.status import FlowStatus, ProcessorStatus
from kvconfig.errors import InvalidValue
from kvconfig.model import Revision

__all__ = ["Client", "Credentials", "ServerUnavailable"]

_DEFINITIONS: dict[DefinitionKind, tuple[Method[Any, Any], Method[Any, Any]]] = {
    "flow-blueprint": (methods.GET_BLUEPRINT, methods.LIST_BLUEPRINTS),
    "parameter-type": (methods.GET_PARAMETER_TYPE, methods.LIST_PARAMETER_TYPES),
}
"""How to get one, and how to list them."""


class Client(Caller, Flows):
    """A flow service at ``target`` (``host:port``, ``unix:path``, or any gRPC name).

    Over TLS where ``credentials`` are given.

    ::

        async with Client("127.0.0.1:7480") as flows:
            await flows.start_flow(StartFlow(flow="f1", blueprint_name="document-index"))

    Raises what the service raises, with the same fields. Beside that: ``ServerUnavailable`` (a
    ``kvconfig.errors.Unavailable``) where nothing was done, ``OutcomeUnknown`` where a change may
    have been; asking again with the same ``op`` is safe then. Nothing connects before the first
    call. To be used in one event loop.
    """

    def __init__(
        self,
        target: str,
        *,
        timeout_s: float = 10.0,
        credentials: Credentials | None = None,
        make_op: Callable[[], str] = new_op,
    ) -> None:
        super().__init__(target, methods.METHODS, timeout_s=timeout_s, credentials=credentials)
        self._make_op = make_op

    # -- changes ---------------------------------------------------------------------------------

    async def change(self, request: Change) -> Done:
        """See :meth:`flowsvc.model.Flows.change`."""
        request = msgspec.structs.replace(request, op=request.op or self._make_op())
        message = message_of(lambda: convert.change_to(request))
        answer = await self._one(methods.change_method(request), message)
        return convert.answer_from(answer, Done)

    async def preview(self, request: Change) -> Preview:
        """See :meth:`flowsvc.model.Flows.preview`."""
        message = message_of(lambda: convert.preview_to(request))
        answer = await self._one(methods.PREVIEW, message)
        return convert.answer_from(answer, Preview)

    async def restart_flow(self, request: PauseFlow) -> Done:
        """See :meth:`flowsvc.model.Flows.restart_flow`.

        As it is two transactions, a refusal after a lost answer comes as ``OutcomeUnknown``.
        """
        request = msgspec.structs.replace(request, op=request.op or self._make_op())
        message = message_of(lambda: convert.restart_to(request))
        answer = await self._one(methods.RESTART_FLOW, message)
        return convert.answer_from(answer, Done)

    # -- reads -----------------------------------------------------------------------------------

    async def get_flow(self, flow: str) -> Flow:
        """See :meth:`flowsvc.model.Flows.get_flow`."""
        message = message_of(lambda: pb.GetFlowRequest(flow=flow))
        return convert.flow_from(await self._one(methods.GET_FLOW, message))

    async def list_flows(self) -> list[Flow]:
        """See :meth:`flowsvc.model.Flows.list_flows`."""
        found = await self._all(methods.LIST_FLOWS, pb.ListFlowsRequest())
        return [convert.flow_from(flow) for flow in found]

    async def get_definition(self, kind: DefinitionKind, name: str) -> Definition:
        """See :meth:`flowsvc.model.Flows.get_definition`."""
        get, _ = _DEFINITIONS[kind]
        return convert.definition_from(
            await self._one(get, message_of(lambda: get.request(name=name)))
        )

    async def list_definitions(self, kind: DefinitionKind) -> list[Definition]:
        """See :meth:`flowsvc.model.Flows.list_definitions`."""
        _, list_ = _DEFINITIONS[kind]
        return [convert.definition_from(found) for found in await self._all(list_, list_.request())]

    # -- history ---------------------------------------------------------------------------------

    async def history(self, kind: HistoryKind, name: str) -> list[HistoryEntry]:
        """See :meth:`flowsvc.model.Flows.history`."""
        message = message_of(
            lambda: pb.GetHistoryRequest(kind=convert.history_kind_to(kind), name=name)
        )
        return [
            convert.answer_from(entry, HistoryEntry)
            for entry in await self._all(methods.GET_HISTORY, message)
        ]

    async def prune_history(
        self, kind: HistoryKind, *, older_than_s: float, name: str = "", dry_run: bool = False
    ) -> Pruned:
        """See :meth:`flowsvc.model.Flows.prune_history`.

        Where an answer was lost, it counts what the call that was answered has found.
        """
        message = message_of(
            lambda: pb.PruneHistoryRequest(
                kind=convert.history_kind_to(kind),
                older_than_s=older_than_s,
                name=name,
                dry_run=dry_run,
            )
        )
        answer = await self._one(methods.PRUNE_HISTORY, message)
        return convert.answer_from(answer, Pruned)

    # -- status ----------------------------------------------------------------------------------

    async def get_status(self, flow: str) -> FlowStatus:
        """See :meth:`flowsvc.model.Flows.get_status`."""
        message = message_of(lambda: pb.GetFlowStatusRequest(flow=flow))
        answer = await self._one(methods.GET_FLOW_STATUS, message)
        return convert.answer_from(answer, FlowStatus)

    async def list_statuses(self) -> list[FlowStatus]:
        """See :meth:`flowsvc.model.Flows.list_statuses`."""
        found = await self._all(methods.LIST_FLOW_STATUSES, pb.ListFlowStatusesRequest())
        return [convert.answer_from(status, FlowStatus) for status in found]

    async def get_processor(self, processor: str) -> ProcessorStatus:
        """See :meth:`flowsvc.model.Flows.get_processor`."""
        message = message_of(lambda: pb.GetProcessorRequest(processor=processor))
        answer = await self._one(methods.GET_PROCESSOR, message)
        return convert.answer_from(answer, ProcessorStatus)

    async def list_processors(self) -> list[ProcessorStatus]:
        """See :meth:`flowsvc.model.Flows.list_processors`."""
        found = await self._all(methods.LIST_PROCESSORS, pb.ListProcessorsRequest())
        return [convert.answer_from(status, ProcessorStatus) for status in found]

    def watch_flows(self) -> AsyncGenerator[FlowStatus, None]:
        """See :meth:`flowsvc.model.Flows.watch_flows`. Connects again, for ever, when it is cut.

        The first connection has the attempts that any call has, then ``ServerUnavailable`` is
        raised. After a cut every flow's status comes again, and flows that are gone meanwhile come
        as "stopped". An error other than ``Unavailable`` is raised. Whoever stops early closes it
        (``contextlib.aclosing``).
        """
        return self._watch(methods.WATCH_FLOWS, pb.WatchFlowsRequest(), _Statuses(self))


class _Statuses:
    """What a watch has told of flows."""

    def __init__(self, flows: Flows) -> None:
        self._flows = flows
        self._known: set[str] = set()

    def take(self, message: pb.FlowStatus) -> list[FlowStatus]:
        """One status."""
        status = convert.answer_from(message, FlowStatus)
        (self._known.discard if status.state == "stopped" else self._known.add)(status.flow)
        return [status]

    async def again(self) -> list[FlowStatus]:
        """Those of the flows that are not there any more. One that cannot be read still is."""
        there = {status.flow for status in await self._flows.list_statuses()}
        gone = []
        for flow in sorted(self._known - there):
            try:
                status = await self._flows.get_status(flow)
            except NotFound:
                status = FlowStatus(flow=flow, state="stopped", mod_revision=Revision(0))
            except (InvalidValue, TooMuchContention):
                continue
            if status.state == "stopped":  # else it was started again, and the watch tells of it
                gone.append(status)
        self._known.difference_update(status.flow for status in gone)
        return gone
