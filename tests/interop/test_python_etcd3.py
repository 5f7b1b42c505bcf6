"""python3-etcd3 beside our client in one process: gRPC in threads beside gRPC in a loop."""

from __future__ import annotations

import pytest

from kvconfig.keyspace import Keyspace
from kvconfig.store import Store
from tests.interop.support import OpenPeer, PeerFailed, as_stored, write_and_watch_at_once


@pytest.mark.parametrize("order", [("kvconfig", "etcd3"), ("etcd3", "kvconfig")], ids="-".join)
async def test_beside_ours(
    peer: OpenPeer, store: Store, ks: Keyspace, base: str, order: tuple[str, str]
) -> None:
    """Both write and watch at the same time and see the same, whichever is imported first."""
    async with peer("python3-etcd3") as both:
        await both.open(*order)
        seen = await write_and_watch_at_once(both, order, base)
        assert await both.defined_in("mvccpb.KeyValue") == "kv.proto"
        assert await both.defined_in("kvconfig.etcd.KeyValue") == "kvconfig/etcd/rpc.proto"
    assert [each for each in await as_stored(store, ks) if each[1] != f"{base}end"] == seen


async def test_two_others_clash(peer: OpenPeer) -> None:
    """What ours avoids: two packages that both bring etcd's own messages cannot share a process."""
    async with peer("python3-etcd3", "aetcd") as others:
        await others.open("aetcd")
        with pytest.raises(PeerFailed, match="duplicate"):
            await others.open("etcd3")
