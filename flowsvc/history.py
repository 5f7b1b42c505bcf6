"""What was done to a flow or a definition: read, kept short, pruned by age.

The entries are written by each operation, in its transaction (:mod:`flowsvc.plan`). They are also
what makes a request recognisable when it comes again, so none goes before it is ``MIN_AGE_S`` old.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime

from flowsvc.ids import made_at_s
from flowsvc.model import HistoryEntry, HistoryKind, Pruned
from flowsvc.plan import ABANDONED
from kvconfig.errors import InvalidName, InvalidValue
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue
from kvconfig.records import decode_flow, decode_history
from kvconfig.store import Store, list_all
from kvconfig.txn import MAX_OPERATIONS, Delete, Txn

__all__ = ["KEEP", "MIN_AGE_S", "entries", "prune", "trim"]

KEEP = 20
"""How many of the newest entries of each flow or definition stay."""

SLACK = 5
"""As many more may gather: what is too old goes in one transaction, not one with each operation."""

MIN_AGE_S = 3600.0
"""A request can be repeated for an hour at least, and gets the same answer."""

logger = logging.getLogger(__name__)


async def entries(
    store: Store, keyspace: Keyspace, kind: HistoryKind, name: str
) -> list[HistoryEntry]:
    """All entries, the newest first. One that cannot be read is logged and left out."""
    page = await list_all(store, keyspace.history_range(kind, name))
    found = [_entry(kv, keyspace) for kv in reversed(_by_age(page.items))]
    return [entry for entry in found if entry is not None and entry.action != ABANDONED]


async def trim(
    store: Store, keyspace: Keyspace, kind: HistoryKind, name: str, *, now_s: float
) -> int:
    """Remove all but the newest ``KEEP`` entries, those too young, and the one that the flow's
    record names; how many went.

    Deletes what is old, whoever else does the same: there is nothing to guard.
    """
    page = await list_all(store, keyspace.history_range(kind, name), keys_only=True)
    record = await store.read(keyspace.flow(name)) if kind == "flow" else None
    last_op = _last_op(record, kind) if record is not None else ""
    named = keyspace.history(kind, name, last_op) if last_op else b""
    surplus = [kv.key for kv in _by_age(page.items)[:-KEEP] if kv.key != named]
    before_s = now_s - MIN_AGE_S
    old = [key for key in surplus if await _done_at_s(store, keyspace, key) < before_s]
    await _remove(store, old)
    return len(old)


async def prune(
    store: Store,
    keyspace: Keyspace,
    kind: HistoryKind,
    *,
    before_s: float,
    name: str = "",
    dry_run: bool = False,
) -> Pruned:
    """Remove what was done before a time (seconds since 1970).

    Of what still exists the newest entry stays, and the one that its record names.
    """
    standing = await _standing(store, keyspace, kind)
    range_ = keyspace.history_range(kind, name) if name else keyspace.history_type_range(kind)
    found, old = 0, []
    by_name: dict[str, list[KeyValue]] = {}
    async for page in store.list(range_, keys_only=True):
        for kv in page.items:
            found += 1
            try:
                by_name.setdefault(keyspace.parse_history(kv.key)[1], []).append(kv)
            except InvalidName as error:
                logger.warning("history key left out", extra={"reason": str(error)})
    for named, kvs in by_name.items():
        keep = set()
        if named in standing:
            keep = {keyspace.history(kind, named, standing[named])} if standing[named] else set()
            keep.add(_by_age(kvs)[-1].key)
        going = [kv.key for kv in kvs if kv.key not in keep]
        old += [k for k in going if await _done_at_s(store, keyspace, k) < before_s]
    if not dry_run:
        await _remove(store, old)
    return Pruned(removed=len(old), found=found)


def _by_age(items: Iterable[KeyValue]) -> list[KeyValue]:
    """The oldest first: etcd's order of creation, not that of the ids, which callers may choose."""
    return sorted(items, key=lambda kv: kv.create_revision)


def _entry(kv: KeyValue, keyspace: Keyspace) -> HistoryEntry | None:
    try:
        _, _, op = keyspace.parse_history(kv.key)
        record = decode_history(kv.value, key=kv.key)
    except (InvalidName, InvalidValue) as error:
        logger.warning("history entry left out", extra={"reason": str(error)})
        return None
    return HistoryEntry(
        op=op,
        revision=kv.create_revision,
        action=record.action,
        by=record.by,
        at=record.at,
        why=record.why,
        after=record.after,
    )


async def _standing(store: Store, keyspace: Keyspace, kind: HistoryKind) -> dict[str, str]:
    """What exists of a type, by name; and the operation that wrote it last, where that is known."""
    standing = {}
    async for page in store.list(keyspace.type_range(kind), keys_only=kind != "flow"):
        for kv in page.items:
            with suppress(InvalidName):
                standing[keyspace.parse_named(kv.key, kind)] = _last_op(kv, kind)
    return standing


def _last_op(kv: KeyValue, kind: HistoryKind) -> str:
    try:
        return decode_flow(kv.value, key=kv.key).op if kind == "flow" else ""
    except InvalidValue:
        return ""


async def _done_at_s(store: Store, keyspace: Keyspace, key: bytes) -> float:
    """When an entry was written, as its id or else its value says; what says neither is old."""
    try:
        if (made_s := made_at_s(keyspace.parse_history(key)[2])) is not None:
            return made_s
        found = await store.read(key)
        if found is None:
            return 0.0
        return datetime.fromisoformat(decode_history(found.value, key=key).at).timestamp()
    except (InvalidName, InvalidValue, ValueError):
        return 0.0


async def _remove(store: Store, keys: Sequence[bytes]) -> None:
    for start in range(0, len(keys), MAX_OPERATIONS):
        deletes = tuple(Delete(key) for key in keys[start : start + MAX_OPERATIONS])
        await store.commit(Txn(then=deletes))
