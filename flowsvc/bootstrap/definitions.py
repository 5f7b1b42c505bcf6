"""Parameter types and blueprints, by way of the flow service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flowsvc.bootstrap.work import ABSENT, Part, Work, compared
from flowsvc.errors import AlreadyExists, Finding, InUse, NotFound
from flowsvc.model import Definition, DefinitionKind, DeleteDefinition, PutDefinition
from flowsvc.plan.made import compiled_blueprint, compiled_type
from flowsvc.seed.shape import BLUEPRINT, FLOW
from flowsvc.seed.watching import Outcome
from kvconfig.codec import encode

__all__ = ["Definitions"]


class Definitions(Part):
    """Those of one kind. ``known`` is what will stand there, once it was compared."""

    def __init__(self, work: Work, kind: DefinitionKind, wanted: Mapping[str, Any]) -> None:
        super().__init__(work)
        self._kind: DefinitionKind = kind
        self._wanted = wanted
        self._outcomes: dict[str, Outcome] = {}
        self.known: dict[str, bytes] = {}

    async def compare(self) -> None:
        """See :class:`Part`. Raises what the flow service would say about a definition."""
        seed = self._seed
        if self._kind not in seed.types and FLOW not in seed.types:
            return
        definitions = await self._work.flows.list_definitions(self._kind)
        standing = {found.name: found for found in definitions}
        self.known = {name: encode(found.definition) for name, found in standing.items()}
        for name, definition in self._wanted.items():
            found = standing.get(name)
            outcome = compared(self._work, definition, found.definition if found else ABSENT)
            self._note(name, outcome, found, after=encode(definition))
            if outcome in ("created", "replaced"):
                self.known[name] = encode(definition)
                judge = compiled_blueprint if self._kind == BLUEPRINT else compiled_type
                judge(name, self.known[name])
        for name in sorted(standing.keys() - self._wanted.keys()):
            if beside := self._work.beside(self._kind, name):
                self._note(name, beside, standing[name])

    async def write(self) -> None:
        """See :class:`Part`."""
        for name, outcome in self._outcomes.items():
            if outcome == "created":
                await self._create(name)
            elif outcome == "replaced":
                await self._put(name, force=True)

    async def _create(self, name: str) -> None:
        try:
            await self._put(name, only_new=True)
        except AlreadyExists:  # somebody else was quicker, with another one
            outcome = self._work.when_there(equal=False)
            self._report.correct(self._kind, name, "created", outcome)
            if outcome == "replaced":
                await self._put(name, force=True)

    async def _put(self, name: str, *, force: bool = False, only_new: bool = False) -> None:
        request = PutDefinition(
            kind=self._kind,
            name=name,
            definition=self.known[name],
            force=force,
            only_new=only_new,
            actor=self._work.actor,
        )
        done = await self._work.flows.change(request)
        findings = [found for found in done.findings if not self._is_moot(found)]
        self._report.warn(f"{self._kind}/{name}", findings)
        self._report.wrote(self._kind)

    def _is_moot(self, finding: Finding) -> bool:
        """Whether it warns of a flow that stays as it is (``flow/f1 …``), and it will not."""
        type_, _, flow = finding.message.partition(" ")[0].partition("/")
        return self._work.policy.change_flows and type_ == FLOW and flow in self._seed.flows

    async def remove(self) -> None:
        """Delete what is to go; what others still rest on is left, and reported so."""
        for name in sorted(n for n, outcome in self._outcomes.items() if outcome == "deleted"):
            request = DeleteDefinition(kind=self._kind, name=name, actor=self._work.actor)
            try:
                await self._work.flows.change(request)
            except InUse:
                self._report.correct(self._kind, name, "deleted", "left")
                continue
            except NotFound:  # somebody else was quicker
                pass
            self._report.wrote(self._kind)

    def _note(
        self, name: str, outcome: Outcome, found: Definition | None, *, after: bytes | None = None
    ) -> None:
        self._outcomes[name] = outcome
        self._report.note(
            self._kind,
            name,
            outcome,
            before=self.known[name] if found else None,
            after=after,
            revision=found.mod_revision if found else 0,
        )
