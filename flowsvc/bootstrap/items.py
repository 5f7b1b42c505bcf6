"""Configuration: compared with what stands page by page, written batch by batch."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Final

from flowsvc.bootstrap.schemas import Demand, Schemas
from flowsvc.bootstrap.work import MAX_TRIES, Part, Work
from flowsvc.definition import Findings, child
from flowsvc.errors import Finding, InvalidInput, TooMuchContention
from flowsvc.seed.shape import SCHEMA
from flowsvc.seed.watching import Outcome, Watcher
from kvconfig.codec import parse_json
from kvconfig.config.bulk import Standing, Write
from kvconfig.errors import (
    Conflict,
    InvalidValue,
    OutcomeUnknown,
    SchemaNotMet,
    SchemaViolated,
    show_key,
)
from kvconfig.keyspace import ItemName

__all__ = ["Items"]

BATCH_ITEMS: Final = 120
BATCH_TYPES: Final = 8
BATCH_BYTES: Final = 512 * 1024
"""What one transaction writes at the most (but one item at least): etcd takes 128 compares, and
1.5 MiB of it all."""

AT_ONCE: Final = 4
"""Batches on their way at the same time: while etcd writes one, the next is made ready."""

MOST_UNMET: Final = 1000
"""So many keys of what does not meet a new schema are told."""


class Items(Part):
    """All types that are configuration."""

    def __init__(self, work: Work, schemas: Schemas) -> None:
        super().__init__(work)
        self._schemas = schemas
        self._fresh: set[str] = set()  # types of which nothing stood

    # -- comparing ---------------------------------------------------------------------------

    async def compare(self) -> None:
        """See :class:`Part`.

        Raises :class:`InvalidInput` for items that are not as their schema demands, and
        ``SchemaNotMet`` where what stays there is not as a new one does.
        """
        new = (type_ for type_, demand in self._schemas.demands.items() if demand.is_new)
        types = sorted({*self._seed.item_types, *new})
        if not types:
            return
        bulk, watcher = self._work.items, self._work.watcher
        revision, count = await bulk.count(bulk.ranges(types))
        watcher.begin("comparing", count)
        for type_ in types:
            compared = _Compared(self._work, type_, self._schemas.demands.get(type_))
            (range_,) = bulk.ranges([type_])
            async with aclosing(bulk.pages(range_, revision=revision)) as pages:
                async for item, standing in _along(self._seed.items.items(type_), pages, watcher):
                    compared.look_at(item, standing)
            compared.finish()
            if compared.nothing_stands:
                self._fresh.add(type_)

    # -- writing -----------------------------------------------------------------------------

    async def write(self) -> None:
        """See :class:`Part`; deletes too, since nothing rests on configuration."""
        batches = _batches(self._seed.items.items())
        schemas = self._schemas.revisions

        async def work() -> None:
            for batch in batches:
                await self._write(batch, schemas)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _write(self, batch: list[Write], schemas: Mapping[str, int]) -> None:
        """One batch; made anew where somebody else has written meanwhile."""
        bulk, tries, lost = self._work.items, 0, False
        fresh = batch[0].type in self._fresh and batch[-1].type == batch[0].type
        while batch:
            tries += 1
            try:
                if await bulk.write(batch, schemas, fresh=fresh and tries == 1):
                    break
            except OutcomeUnknown:
                if lost:
                    raise
                lost = True  # once more: if it was done, that shows
                continue
            if tries == MAX_TRIES:
                raise TooMuchContention(f"import of {batch[0].type}", attempts=tries)
            batch = await self._again(batch, schemas, lost=lost)
        for type_, count in Counter(item.type for item in batch).items():
            self._report.wrote(type_, count)

    async def _again(
        self, batch: list[Write], schemas: Mapping[str, int], *, lost: bool
    ) -> list[Write]:
        """What is left to do of it, as things stand now.

        ``lost``: it may be that it was done. What stands as it shall then counts as ours.

        Raises ``Conflict`` where one of ``schemas`` is another by now: what is left was not checked
        against that one.
        """
        types = list(dict.fromkeys(each.type for each in batch))
        names = [ItemName(SCHEMA, type_) for type_ in types]
        names += [ItemName(each.type, each.key) for each in batch]
        found = await self._work.items.look_up(names)
        left = []
        for item, standing in zip(batch, found[len(types) :], strict=True):
            was, now = _outcome(item), self._outcome(item, standing)
            if now == "equal" and lost:
                self._report.wrote(item.type)
            elif now != was:
                self._report.correct(item.type, item.key, was, now)
            if now in ("created", "replaced") or (now == "deleted" and standing is not None):
                left.append(item._replace(expected=standing.mod_revision if standing else 0))
        demanding = {item.type for item in left if item.value is not None}
        for type_, schema in zip(types, found, strict=False):
            expected, actual = schemas.get(type_, 0), schema.mod_revision if schema else 0
            if type_ in demanding and actual != expected:
                (all_schemas,) = self._work.items.ranges([SCHEMA])
                key = all_schemas.start + type_.encode()
                raise Conflict(key, expected=expected, actual=actual)
        return left

    def _outcome(self, item: Write, standing: Standing | None) -> Outcome:
        """What becomes of it now."""
        if item.value is None:
            return "deleted"
        if standing is None:
            return "created"
        if standing.mod_revision == item.expected:
            return "replaced"
        return self._work.when_there(equal=standing.value == item.value)


class _Compared:
    """What is found out about the items of one type, one after the other."""

    def __init__(self, work: Work, type_: str, demand: Demand | None) -> None:
        self._work, self._type, self._demand = work, type_, demand
        self._items = work.seed.items
        policy = work.policy
        self._prunes_all = policy.prune and policy.owned is None and type_ in work.seed.types
        self._findings = Findings()
        self._unmet: list[bytes] = []
        self.nothing_stands = True

    def look_at(self, item: Write | None, standing: Standing | None) -> None:
        """The next key: in the seed, in the store, or in both."""
        if standing is not None:
            self.nothing_stands = False
        if item is None:
            assert standing is not None
            self._beside(standing)
        elif standing is None:
            self._check(item)
            self._note(item.key, "created", None, item.value)
        else:
            self._there(item, standing)

    def _there(self, item: Write, standing: Standing) -> None:
        outcome = self._work.when_there(equal=standing.value == item.value)
        self._note(item.key, outcome, standing, item.value)
        if outcome == "replaced":
            self._check(item)
            self._items.expect(self._type, item.key, standing.mod_revision)
        else:
            self._items.settle(self._type, item.key)
        self._must_meet(standing, stays=outcome != "replaced")

    def _beside(self, standing: Standing) -> None:
        """It stands there, and the seed does not have it."""
        if standing.name is None:
            if self._prunes_all:
                message = f"is no item, and stays: {standing.problem}"
                finding = Finding(show_key(standing.raw), message, "warning")
                self._work.report.warn(self._type, [finding])
            return
        outcome = self._work.beside(self._type, standing.name.key)
        if outcome == "deleted":
            self._items.delete(self._type, standing.name.key, standing.mod_revision)
        if outcome is not None:
            self._note(standing.name.key, outcome, standing, None)
        self._must_meet(standing, stays=outcome != "deleted")

    def finish(self) -> None:
        """Raise what was found to be wrong."""
        if self._findings.has_errors:
            raise InvalidInput(self._work.seed.subject, self._findings.all())
        if self._unmet:
            raise SchemaNotMet(self._type, self._unmet)

    def _note(
        self, key: str, outcome: Outcome, standing: Standing | None, after: bytes | None
    ) -> None:
        self._work.report.note(
            self._type,
            key,
            outcome,
            before=standing.value if standing else None,
            after=after,
            revision=standing.mod_revision if standing else 0,
        )

    def _check(self, item: Write) -> None:
        """What is put must be as the schema demands that will be there then."""
        if self._demand is None or self._demand.schema is None or item.value is None:
            return
        path = child(child("$", self._type), item.key)
        try:
            self._demand.schema.check(parse_json(item.value), key=item.key.encode())
        except SchemaViolated as error:
            for found in error.findings:
                self._findings.error(path + found.path[1:], found.message)
        except InvalidValue as error:
            self._findings.error(path, error.reason)

    def _must_meet(self, standing: Standing, *, stays: bool) -> None:
        """What stands there must be as a new schema demands, unless it goes."""
        if self._demand is None or self._demand.schema is None or not self._demand.is_new:
            return
        try:
            self._demand.schema.check(parse_json(standing.value or b""), key=standing.raw)
        except (SchemaViolated, InvalidValue):
            if not stays:
                self._demand.unmet = True
            elif len(self._unmet) < MOST_UNMET:
                self._unmet.append(standing.raw)


async def _along(
    items: Iterator[Write], pages: AsyncIterator[list[Standing]], watcher: Watcher
) -> AsyncIterator[tuple[Write | None, Standing | None]]:
    """Both in the order of keys, what has the same key together; ``watcher`` hears of each page."""
    item = next(items, None)
    async for page in pages:
        for standing in page:
            if standing.name is None:
                yield None, standing
                continue
            while item is not None and item.key < standing.name.key:
                yield item, None
                item = next(items, None)
            if item is not None and item.key == standing.name.key:
                yield item, standing
                item = next(items, None)
            else:
                yield None, standing
        watcher.advance(len(page))
    while item is not None:
        yield item, None
        item = next(items, None)


def _batches(items: Iterator[Write]) -> Iterator[list[Write]]:
    """In order, each as much as one transaction takes."""
    batch: list[Write] = []
    size, types = 0, 0
    for item in items:
        added = len(item.value or b"")
        types += not batch or item.type != batch[-1].type
        if batch and (
            len(batch) == BATCH_ITEMS or size + added > BATCH_BYTES or types > BATCH_TYPES
        ):
            yield batch
            batch, size, types = [], 0, 1
        batch.append(item)
        size += added
    if batch:
        yield batch


def _outcome(item: Write) -> Outcome:
    """What was going to be done."""
    if item.value is None:
        return "deleted"
    return "replaced" if item.expected else "created"
