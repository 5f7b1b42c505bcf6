"""Carry a migration out, and tell what became of each thing: the shell around the pure rest.

The order is such that it can be broken off anywhere and run again. First come definitions and
configuration, each written only where it is not there; among them what the way back needs. Then the
flows, each in one transaction, which is all that processors ever see. Where the old state stands in
the same etcd, a flow that is adopted leaves the old keys at the same revision, so that another run
starts where this one has ended. What is there already with another value is left, and told.

Somebody who still writes the old keys (the flow service of the old system) is noticed: each
transaction compares the mod_revision of every old key that it takes something from. That ends the
run (:class:`OldKeysWritten`), and another one goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from flowsvc.definition import child
from flowsvc.errors import AlreadyExists, Finding, FlowServiceError, PlanStale
from flowsvc.migrate import look
from flowsvc.migrate.blueprints import modernised
from flowsvc.migrate.conversion import Migration, convert
from flowsvc.migrate.document import Document, Place
from flowsvc.migrate.inverse import after, written
from flowsvc.migrate.kept import STYLE, keep
from flowsvc.migrate.reading import as_object, read
from flowsvc.migrate.report import OldKeysStand, OldKeysWritten, Outcome, Report
from flowsvc.migrate.standing import Standing
from flowsvc.migrate.words import meaning
from flowsvc.model import NOBODY, Actor, AdoptFlow, DefinitionKind, OldKey, PutDefinition
from flowsvc.service import FlowService
from kvconfig.codec import canonical, encode
from kvconfig.config import Config
from kvconfig.errors import (
    Conflict,
    InvalidSchema,
    InvalidValue,
    RequestTooLarge,
    SchemaViolated,
)
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue, Revision
from kvconfig.records import (
    DEFAULT_WORKSPACE,
    LAYOUT_VERSION,
    LayoutRecord,
    VariantRecord,
    decode_layout,
)
from kvconfig.store import Store
from kvconfig.txn import Delete, Put, Txn, at_revision

__all__ = ["migrate"]

_CARRIED = ("created", "converted", "equal")

_BATCH_ITEMS, _BATCH_BYTES = 100, 512 * 1024
BLUEPRINT: Final = "flow-blueprint"
PARAMETER_TYPE: Final = "parameter-type"


def _ignored(_line: str) -> None:
    """What is told while it goes on."""


async def migrate(
    store: Store,
    keyspace: Keyspace,
    *,
    document: Document | None = None,
    workspace: str = DEFAULT_WORKSPACE,
    actor: Actor = NOBODY,
    tell: Callable[[str], None] = _ignored,
) -> Report:
    """Migrate a document; without one, what older layouts have under the root of ``keyspace``.

    ``workspace`` is what ``{workspace}`` stands for in blueprints. ``tell`` gets a line for each
    thing that was written.

    Raises :class:`OldKeysStand`, :class:`OldKeysWritten`, and what the store says; whatever else
    goes wrong with one thing is a finding, and the others are done.
    """
    stands = await look.standing(store, keyspace)
    if document is not None and stands.old:
        raise OldKeysStand(stands.old.all())
    in_place = document is None
    old = read(stands.document if document is None else document)
    migration = convert(old, workspace=workspace, standing=stands.shared if in_place else {})
    await _renew_layout(store, keyspace)
    async with FlowService(store, keyspace) as service:
        carrier = _Carrier(
            store, keyspace, service, stands=stands, migration=migration, actor=actor, tell=tell
        )
        await carrier.carry(old.parts, in_place=in_place)
        return carrier.report


async def _renew_layout(store: Store, keyspace: Keyspace) -> None:
    """An older version becomes ours: what follows is what has to be done for that."""
    found = await store.read(keyspace.layout())
    if found is None or decode_layout(found.value, key=found.key).version >= LAYOUT_VERSION:
        return
    ours = Put(found.key, encode(LayoutRecord(version=LAYOUT_VERSION)))
    await store.commit(Txn((at_revision(found.key, found.mod_revision),), (ours,)))


class _Carrier:
    """One run. ``stands`` is what was there before it."""

    def __init__(
        self,
        store: Store,
        keyspace: Keyspace,
        service: FlowService,
        *,
        stands: Standing,
        migration: Migration,
        actor: Actor,
        tell: Callable[[str], None],
    ) -> None:
        self._store, self._ks, self._service = store, keyspace, service
        self._config = Config(store, keyspace)
        self._stands, self._migration = stands, migration
        self._actor, self._tell = actor, tell
        self.report = Report(
            style=migration.style, findings=[*stands.findings, *migration.findings]
        )

    async def carry(self, document: Mapping[Place, Any], *, in_place: bool) -> None:
        """All of it, in the order of the module."""
        migration = self._migration
        if not in_place or (self._is_old() and await self._config.get(*STYLE) is None):
            await self._keep(document)
        await self._definitions(PARAMETER_TYPE, migration.parameter_types, in_place=in_place)
        await self._definitions(BLUEPRINT, migration.blueprints, in_place=in_place)
        if in_place:
            await self._look_at_items()
        else:
            await self._put_missing(migration.items)
        for request in migration.flows.values():
            await self._adopt(request)
        if in_place:
            await self._tidy()

    # -- definitions and configuration ---------------------------------------------------------

    async def _keep(self, document: Mapping[Place, Any]) -> None:
        """What the way back needs; the style last: then all of it is there.

        In place only once: what another run reads is less than what there was.
        """
        back, _ = written(after(self._migration), self._migration.style)
        kept = keep(document, back, self._migration.style)
        style = {STYLE: kept.pop(STYLE)}
        await self._put_missing(kept)
        await self._put_missing(style)

    def _is_old(self) -> bool:
        """Whether anything stands in the form of an older layout, or under its words."""
        made = {
            PARAMETER_TYPE: self._migration.parameter_types,
            BLUEPRINT: self._migration.blueprints,
        }
        return bool(self._stands.old) or any(
            type_ not in made
            or (name in made[type_] and _compared(encode(made[type_][name]), kv) != "equal")
            for (type_, name), kv in self._stands.definitions.items()
        )

    async def _definitions(
        self, kind: DefinitionKind, definitions: Mapping[str, Any], *, in_place: bool
    ) -> None:
        """What is read from its own key may be replaced; what is there otherwise stays."""
        for name, definition in definitions.items():
            what, wanted = f"{kind}/{name}", encode(definition)
            outcome = _compared(wanted, self._stands.definitions.get((kind, name)))
            if outcome == "different" and in_place:
                outcome = "converted"
            if outcome in ("created", "converted"):
                outcome = await self._put(kind, name, wanted, outcome)
            self._note(what, outcome)

    async def _put(
        self, kind: DefinitionKind, name: str, wanted: bytes, outcome: Outcome
    ) -> Outcome:
        request = PutDefinition(
            kind=kind,
            name=name,
            definition=wanted,
            force=outcome == "converted",
            actor=self._actor,
        )
        path = child(child("$", kind), name)
        try:
            done = await self._service.change(request)
        except (FlowServiceError, RequestTooLarge) as error:
            return self._failed(path, error)
        self.report.findings += [
            msgspec.structs.replace(found, path=f"{path}{found.path.removeprefix('$')}")
            for found in done.findings
        ]
        self._tell(f"{kind}/{name} {outcome} at revision {done.revision}")
        return outcome

    async def _look_at_items(self) -> None:
        """Those stand where they belong already."""
        async for (type_, key), _ in look.items(self._store, self._ks, self.report.findings):
            self.report.outcomes.setdefault(f"{type_}/{key}", "equal")

    async def _put_missing(self, items: Mapping[tuple[str, str], Any]) -> None:
        there = await self._config.get_many(items)
        found = {(item.type, item.key): encode(item.value) for item in there}
        unreadable = {(each.type, each.key): each for each in there.unreadable}
        missing = {}
        for name, value in items.items():
            if name in unreadable:
                path = child(child("$", name[0]), name[1])
                self._note("/".join(name), self._failed(path, unreadable[name].error()))
            elif name not in found:
                missing[name] = value
            else:
                same = encode(value) == found[name]
                self._note("/".join(name), "equal" if same else "different")
        for batch in _batches(missing):
            await self._put_batch(batch)

    async def _put_batch(self, batch: dict[tuple[str, str], Any]) -> None:
        """In one transaction; one by one where that is refused, to find which are."""
        try:
            revision = await self._config.put_many(batch, if_revisions=dict.fromkeys(batch, 0))
        except Conflict:  # somebody has put one of them meanwhile: it is there now
            await self._put_missing(batch)
        except (SchemaViolated, InvalidSchema, InvalidValue, RequestTooLarge) as error:
            if len(batch) > 1:
                for name, value in batch.items():
                    await self._put_batch({name: value})
                return
            (((type_, key), _),) = batch.items()
            self._note(f"{type_}/{key}", self._failed(child(child("$", type_), key), error))
        else:
            for name in batch:
                self._note("/".join(name), "created")
            self._tell(f"{_counted(len(batch), 'item')} created at revision {revision}")

    # -- flows ---------------------------------------------------------------------------------

    async def _adopt(self, request: AdoptFlow) -> None:
        id_ = request.flow
        path = child("$.flow", id_)
        if id_ in self._stands.flows:
            self._note(f"flow/{id_}", self._compare_flow(request))
            return
        try:
            revision = await self._take_over(request)
        except PlanStale as error:
            raise OldKeysWritten(error) from error
        except AlreadyExists as error:  # somebody was faster; another run of this, perhaps
            self._stands = await look.standing(self._store, self._ks)
            known = id_ in self._stands.flows
            outcome = self._compare_flow(request) if known else self._failed(path, error)
        except RequestTooLarge as error:
            cure = "raise etcd's --max-request-bytes until all is migrated"
            outcome = self._failed(path, f"{error}; {cure}")
        except FlowServiceError as error:
            outcome = self._failed(path, error)
        else:
            outcome = "created"
            self._tell(f"flow/{id_} adopted at revision {revision}")
        self._note(f"flow/{id_}", outcome)

    async def _take_over(self, request: AdoptFlow) -> Revision:
        """The one transaction; and what is left of the old keys after it."""
        id_, old, key = request.flow, self._stands.old, self._ks.flow(request.flow)
        names = () if request.paused else (*request.own, *request.shared)
        request = msgspec.structs.replace(
            request,
            actor=self._actor,
            replaces=old.record_at(id_, key),
            instead_of=old.instead_of(id_, names, but=key),
        )
        done = await self._service.change(request)
        old.adopted(id_, names, done.revision)
        return done.revision

    def _compare_flow(self, request: AdoptFlow) -> Outcome:
        record = self._stands.flows[request.flow]
        wanted = {str(name): value for name, value in {**request.own, **request.shared}.items()}
        stands: Mapping[str, VariantRecord | None] = record.paused or {
            str(name): self._stands.active.get(name)
            for name in (*record.variants.own_names(), *record.variants.shared_names())
        }
        fields = ("blueprint_name", "description", "interfaces", "parameters")
        same = all(getattr(record, field) == getattr(request, field) for field in fields)
        return "equal" if same and stands == wanted else "different"

    # -- the end -------------------------------------------------------------------------------

    async def _tidy(self) -> None:
        """Old keys go that hold nothing, or only what stands under today's words by now."""
        going = [*self._stands.old.empty(), *self._reworded()]
        for start in range(0, len(going), _BATCH_ITEMS):
            some = going[start : start + _BATCH_ITEMS]
            unchanged = tuple(at_revision(old.key, old.mod_revision) for old in some)
            gone = Txn(unchanged, tuple(Delete(old.key) for old in some))
            commit = await self._store.commit(gone)
            if commit.succeeded:
                counted = _counted(len(some), "old key")
                self._tell(f"{counted} removed at revision {commit.revision}")
            else:
                said = "old keys that hold nothing were written meanwhile: run it again"
                self.report.findings.append(Finding("$", said, "warning"))

    def _reworded(self) -> Iterator[OldKey]:
        """Definitions under older words, whose value stands under today's."""
        for (type_, name), kv in self._stands.definitions.items():
            value = as_object(self._stands.document[type_][name])
            if type_ in (BLUEPRINT, PARAMETER_TYPE) or value is None:
                continue
            if meaning(type_) == "blueprint":
                kind, wanted, made = BLUEPRINT, modernised(value), self._migration.blueprints
            else:
                kind, wanted, made = PARAMETER_TYPE, value, self._migration.parameter_types
            carried = self.report.outcomes.get(f"{kind}/{name}") in _CARRIED
            if carried and encode(made[name]) == encode(wanted):
                yield OldKey(key=kv.key, mod_revision=kv.mod_revision)

    # -- telling -------------------------------------------------------------------------------

    def _note(self, what: str, outcome: Outcome) -> None:
        self.report.outcomes[what] = outcome
        if outcome == "different":
            type_, _, name = what.partition("/")
            path = child(child("$", type_), name)
            said = "is there with another value, which is left as it is"
            self.report.findings.append(Finding(path, said, "warning"))

    def _failed(self, path: str, error: Exception | str) -> Outcome:
        self.report.findings.append(Finding(path, f"not carried over: {error}"))
        return "failed"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _compared(wanted: bytes, stands: KeyValue | None) -> Outcome:
    if stands is None:
        return "created"
    try:
        return "equal" if canonical(stands.value) == wanted else "different"
    except InvalidValue:
        return "different"


def _batches(items: Mapping[tuple[str, str], Any]) -> Iterator[dict[tuple[str, str], Any]]:
    """In order, each of a size that one transaction takes."""
    batch: dict[tuple[str, str], Any] = {}
    size = 0
    for name, value in items.items():
        size += len(encode(value))
        if batch and (len(batch) == _BATCH_ITEMS or size > _BATCH_BYTES):
            yield batch
            batch, size = {}, len(encode(value))
        batch[name] = value
    if batch:
        yield batch
