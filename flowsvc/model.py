"""What is asked of the flow service, and what it answers: plain values, no transport."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeAlias

import msgspec

from flowsvc.errors import Finding
from kvconfig.model import Revision
from kvconfig.records import FlowRecord

__all__ = [
    "NOBODY",
    "Actor",
    "Definition",
    "Done",
    "Flow",
    "Flows",
    "ParameterValue",
    "StartFlow",
    "StopFlow",
]

ParameterValue: TypeAlias = str | int | float | bool
"""What a user may give for a parameter; flows hold it as a string (true, not True)."""


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who does something, and why: goes into the history."""

    by: str = ""
    why: str = ""


NOBODY = Actor()
"""Who acts where nobody says so."""


class StartFlow(msgspec.Struct, frozen=True, kw_only=True):
    """Start ``flow`` from a blueprint. ``op`` makes the request idempotent ("": one is made).

    ``resent``: it was sent before with the same ``op``, and its answer was lost; a refusal then
    makes sure that the lost request is not carried out later.
    """

    flow: str
    blueprint_name: str
    description: str = ""
    parameters: Mapping[str, ParameterValue] = {}
    workspace: str = "default"
    op: str = ""
    resent: bool = False
    actor: Actor = NOBODY


class StopFlow(msgspec.Struct, frozen=True, kw_only=True):
    """Stop ``flow``. ``op`` and ``resent`` as in :class:`StartFlow`."""

    flow: str
    op: str = ""
    resent: bool = False
    actor: Actor = NOBODY


class Flow(msgspec.Struct, frozen=True, kw_only=True):
    """A flow as it stands in etcd at ``mod_revision``; ``version`` counts its writes."""

    id: str
    record: FlowRecord
    mod_revision: Revision
    version: int


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """A blueprint or a parameter type as it stands in etcd."""

    name: str
    definition: dict[str, Any]
    mod_revision: Revision


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """An operation that was committed, at one revision, by one transaction.

    ``round_trips`` to etcd it took: 1 when nobody wrote at the same time. ``findings`` are
    warnings about what was accepted.
    """

    op: str
    revision: Revision
    round_trips: int = 1
    findings: tuple[Finding, ...] = ()


class Flows(Protocol):
    """What the service does in process and the client does over gRPC: the same calls.

    Every method raises :class:`flowsvc.errors.FlowServiceError` or
    :class:`kvconfig.errors.KvError`; each change is one transaction or nothing.
    """

    async def start_flow(self, request: StartFlow) -> Done:
        """Start a flow. ``AlreadyExists``, ``NotFound``, ``VariantTaken``, … where it cannot."""
        ...

    async def stop_flow(self, request: StopFlow) -> Done:
        """Stop a flow; its shared variants stay while another flow needs them."""
        ...

    async def get_flow(self, flow: str) -> Flow:
        """One flow, as a linearizable read gives it."""
        ...

    async def list_flows(self) -> list[Flow]:
        """All flows, by id."""
        ...

    async def put_blueprint(
        self, name: str, definition: bytes, *, op: str = "", actor: Actor = NOBODY
    ) -> Done:
        """Store a blueprint, given as JSON text. ``BlueprintInvalid`` names every finding."""
        ...

    async def get_blueprint(self, name: str) -> Definition:
        """One blueprint."""
        ...

    async def list_blueprints(self) -> list[Definition]:
        """All blueprints, by name."""
        ...

    async def put_parameter_type(
        self, name: str, definition: bytes, *, op: str = "", actor: Actor = NOBODY
    ) -> Done:
        """Store a parameter type, given as JSON text."""
        ...

    async def get_parameter_type(self, name: str) -> Definition:
        """One parameter type."""
        ...

    async def list_parameter_types(self) -> list[Definition]:
        """All parameter types, by name."""
        ...
