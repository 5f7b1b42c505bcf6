"""Flows: started like any other; one that is there is left alone, unless it is said otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from flowsvc.bootstrap.definitions import Definitions
from flowsvc.bootstrap.work import Part, Work
from flowsvc.definition import Findings, child
from flowsvc.errors import (
    AlreadyExists,
    Finding,
    FlowServiceError,
    InvalidInput,
    NotFound,
    ParametersInvalid,
    SharedVariantDiffers,
    WrongState,
)
from flowsvc.ids import new_op
from flowsvc.model import Flow, PauseFlow, ResumeFlow, RollOut, StartFlow, StopFlow, UpdateFlow
from flowsvc.plan.core import Operation
from flowsvc.plan.made import Made, make
from flowsvc.seed.shape import FLOW, SeedFlow
from flowsvc.seed.watching import Outcome
from flowsvc.view import Holders, View
from kvconfig.codec import encode
from kvconfig.keys import Range
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue, Revision
from kvconfig.records import FlowRecord

__all__ = ["FlowsPart"]

TO_BE_PAUSED: Final = ".to-be-paused"
"""The end of the op of a start that a pause shall follow: so a flow shows that it did not."""


class FlowsPart(Part):
    """The flows of the seed; they rest on what the other parts make."""

    def __init__(self, work: Work, parameter_types: Definitions, blueprints: Definitions) -> None:
        super().__init__(work)
        self._types, self._blueprints = parameter_types, blueprints
        self._outcomes: dict[str, Outcome] = {}
        self._coming: dict[str, SeedFlow] = {}  # the flows of the seed, as their records will be
        self._made: dict[str, Made] = {}  # the same, with their variants
        self._found: dict[str, Flow] = {}
        self._standing: dict[str, FlowRecord] = {}

    # -- comparing ---------------------------------------------------------------------------

    async def compare(self) -> None:
        """See :class:`Part`. Raises what is wrong with parameters, and for a missing blueprint."""
        if FLOW not in self._seed.types:
            return
        self._found = {found.id: found for found in await self._work.flows.list_flows()}
        self._standing = {name: found.record for name, found in self._found.items()}
        self._foresee()
        for name, flow in self._seed.flows.items():
            await self._compare(name, flow)
        for name in sorted(self._standing.keys() - self._seed.flows.keys()):
            if beside := self._work.beside(FLOW, name):
                outcome = beside if self._work.policy.change_flows else "left"
                self._note(name, outcome, before=encode(SeedFlow.of(self._standing[name])))

    async def _compare(self, name: str, flow: SeedFlow) -> None:
        """One that is in the seed. How it runs is looked at where it may be changed for that."""
        record = self._standing.get(name)
        outcome = self._outcome(name, flow, record)
        made = self._made.get(name)
        after = None if made is None else _as_it_runs(made.record, made.variants.raw())
        before = None
        if record is not None and self._work.policy.change_flows:
            before = _as_it_runs(record, await self._variants(name, record))
            if outcome == "equal" and before != after:
                outcome = "replaced"
        self._note(name, outcome, before=before, after=after)

    async def _variants(self, name: str, record: FlowRecord) -> Mapping[str, Any] | None:
        """What its variants were given by the operation that its record names, as that noted it."""
        if record.paused is not None:
            return record.paused
        with suppress(NotFound):
            for entry in await self._work.flows.history(FLOW, name):
                if entry.op == record.op and isinstance(entry.after, dict):
                    found = entry.after.get("variants")
                    return found if isinstance(found, dict) else None
        return None

    def _foresee(self) -> None:
        """Make every flow as it will be made, so that none is found wrong half-way.

        One that will be left alone may have become impossible since: then it differs.
        """
        keyspace = Keyspace()
        view = View(
            keyspace,
            _Coming(keyspace, self._types.known, self._blueprints.known),
            Holders(),
            {},
        )
        findings = Findings()
        for name, flow in self._seed.flows.items():
            try:
                made = _as_made(name, flow, view)
                self._made[name], self._coming[name] = made, SeedFlow.of(made.record)
            except FlowServiceError as error:
                if name in self._standing and not self._work.policy.change_flows:
                    continue
                if not isinstance(error, ParametersInvalid):
                    raise
                path = child(child("$", FLOW), name)
                for found in error.findings:
                    findings.add(msgspec.structs.replace(found, path=path + found.path[1:]))
        if findings.has_errors:
            raise InvalidInput(self._seed.subject, findings.all())

    def _outcome(self, name: str, flow: SeedFlow, record: FlowRecord | None) -> Outcome:
        coming = self._coming.get(name)
        if record is None or _is_half_started(record, coming):
            return "created"
        if SeedFlow.of(record) == coming:
            return "equal"
        if flow.workspace != record.workspace:
            message = f"runs in workspace {record.workspace!r}: stop it to start it in another"
            self._report.warn(f"{FLOW}/{name}", [Finding("$.workspace", message, "warning")])
            return "different"
        return "replaced" if self._work.policy.change_flows else "different"

    def _note(
        self,
        name: str,
        outcome: Outcome,
        *,
        before: bytes | None = None,
        after: bytes | None = None,
    ) -> None:
        self._outcomes[name] = outcome
        found = self._found.get(name)
        revision = found.mod_revision if found else 0
        self._report.note(FLOW, name, outcome, before=before, after=after, revision=revision)

    # -- writing -----------------------------------------------------------------------------

    async def write(self) -> None:
        """See :class:`Part`. What stops makes way for what starts, so it goes first."""
        for name, outcome in sorted(self._outcomes.items()):
            if outcome == "deleted":
                await self._stop(name)
        for name, flow in self._seed.flows.items():
            if self._outcomes[name] == "replaced":
                await self._update(name, flow)
        for name, flow in self._seed.flows.items():
            if self._outcomes[name] == "created":
                await self._start(name, flow)

    async def _stop(self, name: str) -> None:
        with suppress(NotFound):  # somebody else was quicker
            await self._work.flows.stop_flow(StopFlow(flow=name, actor=self._work.actor))
        self._report.wrote(FLOW)

    async def _update(self, name: str, flow: SeedFlow) -> None:
        flows, actor, record = self._work.flows, self._work.actor, self._standing[name]
        request = UpdateFlow(
            flow=name,
            parameters=flow.parameters,
            reset=tuple(sorted(SeedFlow.of(record).parameters.keys() - flow.parameters.keys())),
            blueprint_name=flow.blueprint_name,
            description=flow.description,
            actor=actor,
        )
        try:
            done = await flows.change(request)
        except SharedVariantDiffers:
            if not self._may_roll_out(flow.blueprint_name):
                raise
            # A new value of a shared variant: for all of them at once.
            await flows.change(RollOut(blueprint_name=flow.blueprint_name, actor=actor))
            done = await flows.change(request)
        self._report.warn(f"{FLOW}/{name}", done.findings)
        with suppress(WrongState):  # somebody else was quicker
            if flow.paused and record.paused is None:
                await flows.change(PauseFlow(flow=name, actor=actor))
            elif record.paused is not None and not flow.paused:
                await flows.change(ResumeFlow(flow=name, actor=actor))
        self._report.wrote(FLOW)

    def _may_roll_out(self, blueprint: str) -> bool:
        """Whether all flows of a blueprint are of the seed."""
        users = {name for name, r in self._standing.items() if r.blueprint_name == blueprint}
        return users <= self._seed.flows.keys()

    async def _start(self, name: str, flow: SeedFlow) -> None:
        flows, actor = self._work.flows, self._work.actor
        if name not in self._standing:
            request = StartFlow(
                flow=name,
                blueprint_name=flow.blueprint_name,
                description=flow.description,
                parameters=flow.parameters,
                workspace=flow.workspace,
                op=new_op() + TO_BE_PAUSED if flow.paused else "",
                actor=actor,
            )
            try:
                done = await flows.start_flow(request)
            except AlreadyExists:  # somebody else was quicker: another bootstrap, perhaps
                record = (await flows.get_flow(name)).record
                equal = SeedFlow.of(record) == self._coming[name]
                self._report.correct(FLOW, name, "created", "equal" if equal else "different")
                return
            self._report.warn(f"{FLOW}/{name}", done.findings)
        if flow.paused:
            with suppress(WrongState):  # somebody else was quicker
                await flows.change(PauseFlow(flow=name, actor=actor))
        self._report.wrote(FLOW)


def _as_made(name: str, flow: SeedFlow, view: View) -> Made:
    """The flow as it will be. Raises what a start raises."""
    made = make(
        name,
        flow.blueprint_name,
        given=flow.parameters,
        description=flow.description,
        workspace=flow.workspace,
        operation=Operation(op="", at=""),
        view=view,
    )
    record = msgspec.structs.replace(made.record, paused={} if flow.paused else None)
    return msgspec.structs.replace(made, record=record)


def _as_it_runs(record: FlowRecord, variants: Mapping[str, Any] | None) -> bytes:
    """What a flow is for those who use it, and by which two are compared."""
    return encode(
        {
            "blueprint-name": record.blueprint_name,
            "description": record.description,
            "workspace": record.workspace,
            "paused": record.paused is not None,
            "given": SeedFlow.of(record).parameters,
            "parameters": record.parameters,
            "interfaces": record.interfaces,
            "variants": variants,
        }
    )


def _is_half_started(record: FlowRecord, coming: SeedFlow | None) -> bool:
    """Whether all that it lacks is the pause that was to follow its start: that broke off."""
    to_be_paused = record.paused is None and record.op.endswith(TO_BE_PAUSED)
    return to_be_paused and msgspec.structs.replace(SeedFlow.of(record), paused=True) == coming


class _Coming:
    """:class:`flowsvc.view.Cache`: definitions as they will stand, and nothing else."""

    def __init__(
        self,
        keyspace: Keyspace,
        parameter_types: Mapping[str, bytes],
        blueprints: Mapping[str, bytes],
    ) -> None:
        values = {keyspace.parameter_type(name): value for name, value in parameter_types.items()}
        values |= {keyspace.flow_blueprint(name): value for name, value in blueprints.items()}
        one = Revision(1)
        self._known = {key: KeyValue(key, value, one, one, 1) for key, value in values.items()}

    def key(self, key: bytes) -> KeyValue | None:
        """See :class:`flowsvc.view.Cache`."""
        return self._known.get(key)

    def range(self, range_: Range) -> tuple[KeyValue, ...]:
        """See :class:`flowsvc.view.Cache`."""
        return tuple(kv for key, kv in sorted(self._known.items()) if key in range_)
