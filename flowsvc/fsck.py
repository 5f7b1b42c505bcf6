"""Hold a store against the invariants of :mod:`flowsvc.audit`, and mend what can be mended.

Safe beside running services: nothing is locked. A repair whose compares do not hold any more does
nothing, and everything is looked at again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import msgspec

from flowsvc.audit import AUDITED_TYPES, Anomaly, audit
from kvconfig.errors import TransactionAborted
from kvconfig.keys import Range
from kvconfig.keyspace import Keyspace
from kvconfig.layout import check_layout
from kvconfig.model import KeyValue, Revision
from kvconfig.store import Store
from kvconfig.txn import Txn

__all__ = ["Repaired", "check", "repair"]


class Repaired(msgspec.Struct, frozen=True, kw_only=True):
    """What a repair has done, in order, and what is ``left`` at ``revision``.

    ``lost`` counts the repairs that did nothing, because somebody else wrote first, or because the
    one before had changed what they rest on.
    """

    revision: Revision
    done: tuple[Anomaly, ...]
    left: tuple[Anomaly, ...]
    lost: int = 0


async def check(
    store: Store, keyspace: Keyspace, *, now_s: Callable[[], float] = time.time
) -> tuple[Revision, list[Anomaly]]:
    """Every anomaly, errors first, all as of the one revision that is given with them.

    Reads only. Raises ``LayoutTooNew``, where a newer version may have other invariants; else a
    :class:`kvconfig.errors.StoreError` (``Compacted``, where reading takes too long: try again).
    """
    await check_layout(store, keyspace)
    revision, items = Revision(0), list[KeyValue]()
    for range_ in _ranges(keyspace):
        async for page in store.list(range_, revision=revision):
            items.extend(page.items)
            revision = revision or page.revision
    at = datetime.fromtimestamp(now_s(), UTC).isoformat(timespec="milliseconds")
    return revision, audit(keyspace, items, at=at.replace("+00:00", "Z"))


async def repair(
    store: Store,
    keyspace: Keyspace,
    *,
    most_rounds: int = 5,
    now_s: Callable[[], float] = time.time,
) -> Repaired:
    """Mend what has a repair, a transaction for each, and look again; until none is left.

    At most ``most_rounds`` times: what others keep writing to is then still among what is left.
    Raises what :func:`check` raises and ``OutcomeUnknown``; what was repaired until then stays so,
    and starting again is safe.
    """
    done, lost = list[Anomaly](), 0
    revision, found = await check(store, keyspace, now_s=now_s)
    for _ in range(most_rounds):
        mendable = [(each, each.repair) for each in found if each.repair is not None]
        if not mendable:
            break
        for anomaly, txn in mendable:
            if await _committed(store, txn):
                done.append(anomaly)
            else:
                lost += 1
        revision, found = await check(store, keyspace, now_s=now_s)
    return Repaired(revision=revision, done=tuple(done), left=tuple(found), lost=lost)


def _ranges(keyspace: Keyspace) -> Iterator[Range]:
    yield from map(keyspace.type_range, AUDITED_TYPES)
    yield keyspace.history_type_range("flow")
    yield keyspace.history_type_range("parameter-type")


async def _committed(store: Store, txn: Txn) -> bool:
    """Whether its compares held; those of a nested one too."""
    try:
        return (await store.commit(txn)).succeeded
    except TransactionAborted:
        return False
