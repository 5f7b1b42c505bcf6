"""The version of the layout of keys, at ``/kvconfig/layout``.

The first service writes it. Whoever finds a newer one refuses to touch keys whose layout it does
not know; an older one is said to need ``flowctl migrate``. Where none is written there is nothing
to refuse yet.
"""

from __future__ import annotations

from typing import Any, NoReturn

import tenacity

from kvconfig.codec import encode
from kvconfig.errors import InvalidValue, LayoutTooNew, LayoutTooOld, OutcomeUnknown, Unavailable
from kvconfig.informer import Informer
from kvconfig.keys import one
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue
from kvconfig.records import LAYOUT_VERSION, LayoutRecord, decode_layout
from kvconfig.store import Store
from kvconfig.txn import Commit, Put, Read, ReadResult, Txn, absent

__all__ = ["check_layout", "claim_layout", "known_layout", "unknown_layout", "watched_layout"]


async def claim_layout(store: Store, keyspace: Keyspace) -> None:
    """Check the layout version; write ours where there is none.

    Raises :class:`LayoutTooNew` or :class:`LayoutTooOld`. Asked again where no answer comes, and
    what writes it, 4 times at least: twice does no harm, and a member may just be gone.
    """
    key = keyspace.layout()
    ours = encode(LayoutRecord(version=LAYOUT_VERSION))
    found: KeyValue | None = await _ASK_AGAIN(store.read, key)
    if found is None:  # looked at first: out of space, etcd refuses a put even where it is not done
        commit: Commit = await _SEND_AGAIN(
            store.commit, Txn((absent(key),), (Put(key, ours),), (Read(key),))
        )
        found = next((r.items[0] for r in commit.results if isinstance(r, ReadResult)), None)
    if found is not None:
        _refuse_another(_decode(found))


async def check_layout(store: Store, keyspace: Keyspace) -> None:
    """Check the layout version, where one is written. Raises as :func:`claim_layout`."""
    found = await store.read(keyspace.layout())
    if found is not None:
        _refuse_another(_decode(found))


def watched_layout(store: Store, keyspace: Keyspace) -> Informer[LayoutRecord]:
    """A live view of it, for those who must not fail when etcd is away; enter it to start it."""
    return Informer(store, one(keyspace.layout()), _decode, name="layout")


async def known_layout(view: Informer[LayoutRecord]) -> None:
    """Return once it is known to be ours, or not written. Raises as :func:`claim_layout`."""
    await view.filled()
    _refuse(view)


async def unknown_layout(view: Informer[LayoutRecord]) -> NoReturn:
    """Raise as :func:`claim_layout`, when it becomes another. Never returns."""

    def refused(_: Any) -> bool:
        _refuse(view)
        return False

    await view.until(refused)
    raise AssertionError("unreachable")


_SEND_AGAIN = tenacity.AsyncRetrying(
    retry=tenacity.retry_if_exception_type((OutcomeUnknown, Unavailable)),
    # An election takes one to two seconds, and one request that runs into it may take seven.
    stop=tenacity.stop_all(tenacity.stop_after_attempt(4), tenacity.stop_after_delay(5.0)),
    wait=tenacity.wait_random_exponential(multiplier=0.1, max=1.0),
    reraise=True,
)
# What is only read, the store itself tries again; longer where it is refused at once.
_ASK_AGAIN = _SEND_AGAIN.copy(stop=tenacity.stop_after_delay(3.0))


def _decode(kv: KeyValue) -> LayoutRecord:
    return decode_layout(kv.value, key=kv.key)


def _refuse(view: Informer[LayoutRecord]) -> None:
    for item in view.items.values():
        if item.value is None:
            raise item.error or InvalidValue("no layout", key=item.key)
        _refuse_another(item.value)


def _refuse_another(found: LayoutRecord) -> None:
    if found.version > LAYOUT_VERSION:
        raise LayoutTooNew(found=found.version, supported=LAYOUT_VERSION)
    if found.version < LAYOUT_VERSION:
        raise LayoutTooOld(found=found.version, supported=LAYOUT_VERSION)
