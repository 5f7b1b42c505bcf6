"""The row that is about writes: all clients put a key each, and no reply comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from contextlib import AsyncExitStack
from pathlib import Path

from kvconfig.etcd import EtcdStore, connect
from kvconfig.keys import prefix
from kvconfig.store import list_all
from tests.robustness.peers.clients.job import Job
from tests.robustness.peers.columns import COLUMNS, OURS, Column
from tests.robustness.peers.contest import START_S, everybody, in_time, report
from tests.robustness.peers.follower import Follower
from tests.robustness.proxy import Proxy
from tests.robustness.waiting import POLL_S

__all__ = ["lose_replies"]

WRITTEN_S = 10.0
ANSWER_S = 15.0
QUIET_S = 0.5


async def lose_replies(name: str, endpoint: str, base: str, *, etcdctl: Path, folder: Path) -> str:
    """A row of the table; our cell: what we were told, and what was done.

    Each client has a proxy of its own, so that it can be seen when all are connected. Replies are
    swallowed; once all is written, connections are reset, and new ones work.
    """
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(connect([endpoint]))
        links = {
            column.name: await stack.enter_async_context(Proxy(endpoint))
            for column in COLUMNS
            if column.installed
        }

        def job(column: Column) -> Job:
            return Job(
                do="create",
                endpoints=(links[column.name].endpoint,),
                prefix=base,
                key=base + column.name,
                etcdctl=str(etcdctl),
            )

        clients = await stack.enter_async_context(everybody(job, folder))
        await in_time(lambda: all(each.ready or each.errors for each in clients), START_S)
        ready = [each for each in clients if each.ready]
        keys = {base + each.name for each in ready}
        await _quiet([links[each.name] for each in ready])
        for link in links.values():
            link.lose_replies()
        for each in ready:
            each.go()
        written = await _written(store, base, keys)
        for link in links.values():
            link.reset()
        await in_time(lambda: all(map(_told, ready)), ANSWER_S)
        # What has been written late, by a second try, counts too.
        written |= await _written(store, base, keys, within_s=0)
        cells = {each.name: _cell(each, base + each.name in written) for each in clients}
        report(name, clients, cells)
    return cells[OURS.name]


def _told(each: Follower) -> bool:
    return each.answer is not None or bool(each.errors)


def _cell(each: Follower, written: bool) -> str:
    if not each.ready:
        return f"does not start: {each.errors[0][1] if each.errors else 'silent'}"
    if each.answer is not None:
        said = "says done" if each.answer else "says failed"
    elif each.errors:
        said = each.errors[0][1].partition(":")[0]  # its type
    else:
        said = "hangs"
    return f"{said}; {'written' if written else 'not written'}"


async def _written(
    store: EtcdStore, base: str, keys: set[str], *, within_s: float = WRITTEN_S
) -> set[str]:
    """Those of the keys that come into being."""
    ends_s = time.monotonic() + within_s
    while True:
        page = await list_all(store, prefix(base.encode()))
        found = {kv.key.decode() for kv in page.items}
        if found >= keys or time.monotonic() > ends_s:
            return found
        await asyncio.sleep(POLL_S)


async def _quiet(links: Collection[Proxy]) -> None:
    """Until each is connected, and has said all that belongs to that."""
    passed: list[int] = []
    async with asyncio.timeout(START_S):
        while passed != [link.passed for link in links] or not all(passed):
            passed = [link.passed for link in links]
            await asyncio.sleep(QUIET_S)
