"""The version of the layout of keys, at ``/kvconfig/layout``.

The first service writes it; whoever comes later refuses to touch keys that a newer version laid
out.
"""

from __future__ import annotations

import tenacity

from kvconfig.codec import encode
from kvconfig.errors import LayoutTooNew, OutcomeUnknown, Unavailable
from kvconfig.keyspace import Keyspace
from kvconfig.records import LAYOUT_VERSION, LayoutRecord, decode_layout
from kvconfig.store import Store
from kvconfig.txn import Commit, Put, Read, ReadResult, Txn, absent

__all__ = ["check_layout", "claim_layout"]


async def claim_layout(store: Store, keyspace: Keyspace) -> None:
    """Check the layout version; write ours where there is none. Raises :class:`LayoutTooNew`.

    Sent again where no answer comes, for 5 s and 4 times at least: twice does no harm, and a member
    may just be gone.
    """
    key = keyspace.layout()
    ours = encode(LayoutRecord(version=LAYOUT_VERSION))
    commit: Commit = await _SEND_AGAIN(
        store.commit, Txn((absent(key),), (Put(key, ours),), (Read(key),))
    )
    for result in commit.results:
        if isinstance(result, ReadResult):
            _refuse_newer(result.items[0].value, key)


async def check_layout(store: Store, keyspace: Keyspace) -> None:
    """Check the layout version, where one is written. Raises :class:`LayoutTooNew`."""
    found = await store.read(keyspace.layout())
    if found is not None:
        _refuse_newer(found.value, found.key)


_SEND_AGAIN = tenacity.AsyncRetrying(
    retry=tenacity.retry_if_exception_type((OutcomeUnknown, Unavailable)),
    # An election takes one to two seconds, and one request that runs into it may take seven.
    stop=tenacity.stop_all(tenacity.stop_after_attempt(4), tenacity.stop_after_delay(5.0)),
    wait=tenacity.wait_random_exponential(multiplier=0.1, max=1.0),
    reraise=True,
)


def _refuse_newer(value: bytes, key: bytes) -> None:
    found = decode_layout(value, key=key).version
    if found > LAYOUT_VERSION:
        raise LayoutTooNew(found=found, supported=LAYOUT_VERSION)
