"""What is asked of the flow service, and what it answers: plain values, no transport."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from flowsvc.errors import Finding
from flowsvc.status import FlowStatus, ProcessorStatus
from kvconfig.keyspace import VariantName
from kvconfig.model import Revision
from kvconfig.records import DEFAULT_WORKSPACE, FlowRecord, Interfaces, VariantRecord

__all__ = [
    "KIND_WORDS",
    "NOBODY",
    "Actor",
    "AdoptFlow",
    "Change",
    "Definition",
    "DefinitionKind",
    "DeleteDefinition",
    "Done",
    "Flow",
    "Flows",
    "HistoryEntry",
    "HistoryKind",
    "OldKey",
    "ParameterValue",
    "PauseFlow",
    "Preview",
    "Pruned",
    "PutDefinition",
    "Reader",
    "ResumeFlow",
    "RollBackDefinition",
    "RollBackFlow",
    "RollOut",
    "StartFlow",
    "StopFlow",
    "UpdateFlow",
    "VariantChange",
]

ParameterValue: TypeAlias = str | int | float | bool
"""What a user may give for a parameter; flows hold it as a string (true, not True)."""

DefinitionKind: TypeAlias = Literal["flow-blueprint", "parameter-type"]
HistoryKind: TypeAlias = Literal["flow", "flow-blueprint", "parameter-type"]
"""The types (of keys) that have a history."""

KIND_WORDS: dict[DefinitionKind, str] = {
    "flow-blueprint": "blueprint",
    "parameter-type": "parameter type",
}
"""What people call them."""


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """Who does something, and why: goes into the history."""

    by: str = ""
    why: str = ""


NOBODY = Actor()
"""Who acts where nobody says so."""


# -- what can be asked for -----------------------------------------------------------------------


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    """What every change carries.

    ``op`` makes the request idempotent ("": one is made). ``resent``: it was sent before with the
    same ``op``, and its answer was lost; a refusal then makes sure that the lost request is not
    carried out later. ``check_revision``: refuse (:class:`flowsvc.errors.PlanStale`) if anything
    the plan rests on was written after this revision, which a :class:`Preview` has given; 0: do
    not check. ``strict``: what would be a warning is an error.
    """

    op: str = ""
    resent: bool = False
    actor: Actor = NOBODY
    check_revision: Revision = Revision(0)
    strict: bool = False


class StartFlow(_Request, frozen=True, kw_only=True):
    """Start ``flow`` from a blueprint."""

    flow: str
    blueprint_name: str
    description: str = ""
    parameters: Mapping[str, ParameterValue] = {}
    workspace: str = DEFAULT_WORKSPACE


class StopFlow(_Request, frozen=True, kw_only=True):
    """Stop ``flow``: its variants go, shared ones stay while another flow needs them."""

    flow: str


class UpdateFlow(_Request, frozen=True, kw_only=True):
    """Make ``flow`` anew, in place, from what its blueprint and parameter types say now.

    ``parameters`` are set, those in ``reset`` go back to what they are where nobody gives them;
    the other given ones stay. ``blueprint_name`` "": the same; ``description`` ``None``: the same.
    """

    flow: str
    parameters: Mapping[str, ParameterValue] = {}
    reset: tuple[str, ...] = ()
    blueprint_name: str = ""
    description: str | None = None


class PauseFlow(_Request, frozen=True, kw_only=True):
    """Take away the variants of ``flow``, and keep its record."""

    flow: str


class ResumeFlow(_Request, frozen=True, kw_only=True):
    """Put back the variants of a flow that is paused."""

    flow: str


class RollBackFlow(_Request, frozen=True, kw_only=True):
    """Make ``flow`` what it was after operation ``to`` of its history, stopped since or not."""

    flow: str
    to: str


class RollOut(_Request, frozen=True, kw_only=True):
    """Update every flow of a blueprint at once, and who shares what that changes.

    ``parameters`` and ``reset`` as in :class:`UpdateFlow`, for the flows of the blueprint.
    """

    blueprint_name: str
    parameters: Mapping[str, ParameterValue] = {}
    reset: tuple[str, ...] = ()


class PutDefinition(_Request, frozen=True, kw_only=True):
    """Store a blueprint or a parameter type, given as JSON text.

    ``force``: replace it though flows were made from it; they stay as they are until updated.
    ``only_new``: replace nothing at all; ``AlreadyExists`` where another definition stands.
    """

    kind: DefinitionKind
    name: str
    definition: bytes
    force: bool = False
    only_new: bool = False


class DeleteDefinition(_Request, frozen=True, kw_only=True):
    """Remove a blueprint or a parameter type.

    ``force``: though others rest on it; flows that do can only be stopped then.
    """

    kind: DefinitionKind
    name: str
    force: bool = False


class RollBackDefinition(_Request, frozen=True, kw_only=True):
    """Store again what operation ``to`` of its history has stored. ``force`` as for a put."""

    kind: DefinitionKind
    name: str
    to: str
    force: bool = False


Change: TypeAlias = (
    StartFlow
    | StopFlow
    | UpdateFlow
    | PauseFlow
    | ResumeFlow
    | RollBackFlow
    | RollOut
    | PutDefinition
    | DeleteDefinition
    | RollBackDefinition
)
"""Each is one transaction, or nothing."""


class OldKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of an older layout as it was read, and what it shall hold: ``None``, it shall go."""

    key: bytes
    mod_revision: Revision
    value: bytes | None = None


class AdoptFlow(_Request, frozen=True, kw_only=True):
    """Take over ``flow``, which another system has started, just as it runs there.

    Nothing is rendered: its variants get just the values that are given. ``paused``: none of them
    stands until the flow is resumed. ``parameters`` and ``given`` are as in
    :class:`kvconfig.records.FlowRecord`.

    ``replaces`` is the mod_revision of a record of an older layout at the flow's own key (0: there
    is none), ``instead_of`` what else of that layout goes at the same revision.

    Not in :data:`Change`, so not over gRPC: who adopts works on etcd itself.
    """

    flow: str
    blueprint_name: str
    description: str = ""
    interfaces: Interfaces = {}
    parameters: dict[str, str] = {}
    given: dict[str, str] | None = None
    workspace: str = DEFAULT_WORKSPACE
    own: Mapping[VariantName, VariantRecord] = {}
    shared: Mapping[VariantName, VariantRecord] = {}
    paused: bool = False
    replaces: Revision = Revision(0)
    instead_of: tuple[OldKey, ...] = ()


# -- what is answered ----------------------------------------------------------------------------


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

    ``round_trips`` to etcd it took: 1 for a start or a stop when nobody wrote at the same time.
    ``conflicts``: how many transactions were sent before it, and found something written by others.
    ``findings`` are warnings about what was accepted.
    """

    op: str
    revision: Revision
    round_trips: int = 1
    conflicts: int = 0
    findings: tuple[Finding, ...] = ()


class VariantChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a processor would see of one variant: its value before and after, ``None``: absent."""

    processor: str
    variant: str
    before: Any = None
    after: Any = None


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What a change would do. Nothing was written.

    ``text`` and ``txn`` are the exact transaction, for people and as JSON. ``changes`` is what
    processors would see of it. ``check_revision``: give it with the request, and it is refused if
    the plan could be another one by then.
    """

    text: str
    txn: Any
    changes: tuple[VariantChange, ...]
    check_revision: Revision
    findings: tuple[Finding, ...] = ()


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One operation on a flow or a definition, done at ``revision``: who, when and why.

    ``after`` as in :class:`kvconfig.records.HistoryRecord`; the entry before it has the "before".
    """

    op: str
    revision: Revision
    action: str
    by: str
    at: str
    why: str
    after: Any = None


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """How many history entries are gone (or would be, in a dry run), and how many there were."""

    removed: int
    found: int


class Reader(ABC):
    """What one linearizable read answers: flows and definitions as they stand.

    Every method raises :class:`flowsvc.errors.FlowServiceError` or
    :class:`kvconfig.errors.KvError`.
    """

    @abstractmethod
    async def get_flow(self, flow: str) -> Flow:
        """One flow."""

    @abstractmethod
    async def list_flows(self) -> list[Flow]:
        """All flows, by id."""

    @abstractmethod
    async def get_definition(self, kind: DefinitionKind, name: str) -> Definition:
        """One blueprint or parameter type."""

    @abstractmethod
    async def list_definitions(self, kind: DefinitionKind) -> list[Definition]:
        """All blueprints or all parameter types, by name."""


class Flows(Reader):
    """What the service does in process and the client does over gRPC: the same calls.

    Every method raises :class:`flowsvc.errors.FlowServiceError` or
    :class:`kvconfig.errors.KvError`; each change is one transaction or nothing.
    """

    @abstractmethod
    async def change(self, request: Change) -> Done:
        """Carry out one change."""

    @abstractmethod
    async def preview(self, request: Change) -> Preview:
        """What the change would do; raises what it would raise. Writes nothing."""

    @abstractmethod
    async def restart_flow(self, request: PauseFlow) -> Done:
        """Pause a flow, wait until its processors have seen it (30 s at most), and resume it.

        Two transactions; a crash between them leaves the flow paused, and the same request with
        the same ``op`` goes on from there.
        """

    @abstractmethod
    async def history(self, kind: HistoryKind, name: str) -> list[HistoryEntry]:
        """What was done to one flow or definition, the newest first; also once it is gone."""

    @abstractmethod
    async def prune_history(
        self, kind: HistoryKind, *, older_than_s: float, name: str = "", dry_run: bool = False
    ) -> Pruned:
        """Remove history entries that are older; of what still exists the newest one stays."""

    @abstractmethod
    async def get_status(self, flow: str) -> FlowStatus:
        """Whether the flow's variants run, folded from what instances report."""

    @abstractmethod
    async def list_statuses(self) -> list[FlowStatus]:
        """The same for all flows, by id."""

    @abstractmethod
    async def get_processor(self, processor: str) -> ProcessorStatus:
        """What one processor shall run, and what its instances say of each variant."""

    @abstractmethod
    async def list_processors(self) -> list[ProcessorStatus]:
        """The same for all processors, by name, without their variants."""

    @abstractmethod
    def watch_flows(self) -> AsyncIterator[FlowStatus]:
        """The status of every flow, and then each that changes; "stopped" once it is gone."""

    # -- in other words ------------------------------------------------------------------------

    async def start_flow(self, request: StartFlow) -> Done:
        """Start a flow. ``AlreadyExists``, ``NotFound``, ``VariantTaken``, … where it cannot."""
        return await self.change(request)

    async def stop_flow(self, request: StopFlow) -> Done:
        """Stop a flow; its shared variants stay while another flow needs them."""
        return await self.change(request)

    async def put_blueprint(
        self, name: str, definition: bytes, *, force: bool = False, actor: Actor = NOBODY
    ) -> Done:
        """Store a blueprint, given as JSON text. ``BlueprintInvalid`` names every finding."""
        return await self.change(
            PutDefinition(
                kind="flow-blueprint", name=name, definition=definition, force=force, actor=actor
            )
        )

    async def put_parameter_type(
        self, name: str, definition: bytes, *, force: bool = False, actor: Actor = NOBODY
    ) -> Done:
        """Store a parameter type, given as JSON text."""
        return await self.change(
            PutDefinition(
                kind="parameter-type", name=name, definition=definition, force=force, actor=actor
            )
        )
