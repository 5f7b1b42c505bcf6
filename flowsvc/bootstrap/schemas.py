"""Schemas: they come first, since what is put after them must meet them."""

from __future__ import annotations

import msgspec

from flowsvc.bootstrap.work import ABSENT, MAX_TRIES, Part, Work, compared
from flowsvc.errors import TooMuchContention
from flowsvc.seed.shape import SCHEMA
from flowsvc.seed.watching import Outcome
from kvconfig.codec import encode
from kvconfig.config import ConfigItem, Schema
from kvconfig.errors import Conflict

__all__ = ["Schemas"]


class Demand(msgspec.Struct, kw_only=True):
    """What a type shall demand: ``schema``, if anything.

    ``outcome`` is what is done for that, ``revision`` the mod_revision of the schema that stands.
    ``unmet``: something stands there that does not meet it, and is about to go.
    """

    schema: Schema | None
    outcome: Outcome
    revision: int = 0
    unmet: bool = False

    @property
    def is_new(self) -> bool:
        """Whether what stands there was ever checked against it."""
        return self.outcome in ("created", "replaced")


class Schemas(Part):
    """``demands`` is by type, complete once it was compared."""

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.demands: dict[str, Demand] = {}

    @property
    def revisions(self) -> dict[str, int]:
        """The mod_revision of each schema that stands."""
        return {type_: demand.revision for type_, demand in self.demands.items()}

    async def compare(self) -> None:
        """See :class:`Part`."""
        if not self._seed.item_types and SCHEMA not in self._seed.types:
            return
        schemas = (await self._work.items.config.list(SCHEMA)).whole()
        standing = {item.key: item for item in schemas}
        for type_, schema in self._seed.schemas.items():
            found = standing.pop(type_, None)
            outcome = compared(self._work, schema.document, found.value if found else ABSENT)
            if found is not None and outcome == "different":
                schema = Schema(type_, found.value)
            self._demand(type_, schema, outcome, found)
        for type_, found in standing.items():
            beside = self._work.beside(SCHEMA, type_)
            if beside == "deleted":
                self._demand(type_, None, beside, found)
            elif beside is not None:
                self._demand(type_, Schema(type_, found.value), beside, found)
            elif type_ in self._seed.item_types:
                self.demands[type_] = Demand(
                    schema=Schema(type_, found.value), outcome="equal", revision=found.mod_revision
                )

    def _demand(
        self, type_: str, schema: Schema | None, outcome: Outcome, found: ConfigItem | None
    ) -> None:
        revision = found.mod_revision if found else 0
        self.demands[type_] = Demand(schema=schema, outcome=outcome, revision=revision)
        self._report.note(
            SCHEMA,
            type_,
            outcome,
            before=encode(found.value) if found else None,
            after=encode(schema.document) if schema else None,
            revision=revision,
        )

    async def write(self) -> None:
        """See :class:`Part`."""
        for type_, demand in self.demands.items():
            if demand.outcome == "deleted":
                await self._work.items.config.delete_schema(type_)
                demand.revision = 0
            elif not demand.is_new or not await self._put(type_, demand):
                continue
            self._report.wrote(SCHEMA)

    async def _put(self, type_: str, demand: Demand) -> bool:
        """Put one. False where somebody else has just put the same."""
        config = self._work.items.config
        assert demand.schema is not None
        document = demand.schema.document
        for _ in range(MAX_TRIES):
            try:
                demand.revision = await config.put_schema(
                    type_, document, if_revision=demand.revision, force=demand.unmet
                )
                return True
            except Conflict:
                found = await config.get(SCHEMA, type_)
                outcome = compared(self._work, document, found.value if found else ABSENT)
                if outcome == "different":
                    raise
                demand.revision = found.mod_revision if found else 0
                if outcome == "equal":
                    self._report.correct(SCHEMA, type_, demand.outcome, outcome)
                    return False
        raise TooMuchContention(f"schema of {type_}", attempts=MAX_TRIES)
