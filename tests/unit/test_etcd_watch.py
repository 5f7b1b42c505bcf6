"""A watch of etcd, as its stream feeds it."""

from __future__ import annotations

import asyncio

import pytest

from kvconfig.etcd import rpc_pb2 as pb
from kvconfig.etcd.watch import _Watcher
from kvconfig.keys import prefix
from kvconfig.model import Revision, WatchBatch


def response(*revisions: int) -> pb.WatchResponse:
    """One that tells of a put at each of them."""
    events = [pb.Event(kv=pb.KeyValue(key=b"/t/k", mod_revision=at)) for at in revisions]
    return pb.WatchResponse(events=events)


async def test_each_batch_is_handed_over_as_it_is_read() -> None:
    """Who asked for each has it when the stream goes on; who did not finds it waiting."""
    seen: list[Revision] = []
    watcher = _Watcher(prefix(b"/t/"))
    watcher.take(response(1))
    work = asyncio.create_task(watcher.each(lambda batch: seen.append(batch.revision)))
    await asyncio.sleep(0)
    assert seen == [1]
    watcher.take(response(2, 3))
    watcher.alive(Revision(4))
    assert seen == [1, 2, 3, 4]
    work.cancel()
    await asyncio.wait([work])
    watcher.take(response(5))
    assert (await anext(watcher)).revision == 5
    assert seen == [1, 2, 3, 4]


async def test_who_could_not_take_a_batch_gets_no_more() -> None:
    """Not those of the same response either: they were built upon it."""
    seen: list[Revision] = []

    def take(batch: WatchBatch) -> None:
        seen.append(batch.revision)
        raise LookupError

    watcher = _Watcher(prefix(b"/t/"))
    work = asyncio.create_task(watcher.each(take))
    await asyncio.sleep(0)
    watcher.take(response(1, 2))
    with pytest.raises(LookupError):
        await work
    with pytest.raises(LookupError):
        await watcher.each(take)
    assert seen == [1]
