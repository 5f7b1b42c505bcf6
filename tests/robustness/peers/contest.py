"""All clients watch the same prefix of the same etcd when the same fault strikes; then a verdict.

What is written during and after a fault goes through a connection that it does not touch, and what
has become of it is read by etcdctl, which is asked anew.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

from kvconfig.errors import StoreError
from kvconfig.etcd import Access, EtcdStore, connect
from kvconfig.model import Revision
from kvconfig.txn import Delete, Put, Txn
from tests.robustness.peers import table
from tests.robustness.peers.clients.job import Job
from tests.robustness.peers.columns import COLUMNS, OURS, Column
from tests.robustness.peers.follower import Follower, started
from tests.robustness.waiting import eventually

__all__ = ["START_S", "Contest", "contest", "everybody", "in_time", "report"]

START_S = 20.0
WRITE_S = 15.0
PATIENCE_S = 12.0
"""After the fault is over: more than a client's backoff, and than ours."""
LATE_S = 3.0
"""An error that is not older than this is still the last word: a new watch would fail likewise."""
KEYS = 20

Read = Callable[[], Awaitable[dict[str, str]]]


class Contest:
    """One row of the table while it is made; by :func:`contest`."""

    def __init__(
        self, name: str, prefix: str, followers: Sequence[Follower], store: EtcdStore, read: Read
    ) -> None:
        self.name, self.prefix = name, prefix
        self.followers = followers
        self.store = store
        self.touched: set[str] = set()
        self._read = read
        self._turn = count()
        self._absent: dict[str, str] = {}
        self._over_s = 0.0
        self._right_s: dict[str, float] = {}

    # -- before ----------------------------------------------------------------------------------

    async def ready(self) -> None:
        """Until every client watches, and shows what is written then.

        One that cannot, or was told so, has lost already; ours must not.
        """
        await self.all_settled()
        await self.write(f"{self.prefix}ready", "1")
        await self.all_right(START_S)
        wanted = await self._read()
        for each in self.followers:
            if each.errors or each.items != wanted:
                reason = each.errors[-1][1] if each.errors else each.call or "silent"
                self._absent[each.name] = f"does not start: {reason}"
        assert OURS.name not in self._absent, self._absent[OURS.name]

    async def all_settled(self) -> None:
        """Until every client says that it watches, or was told that it cannot."""
        await in_time(lambda: all(each.settled for each in self.followers), START_S)

    # -- during and after --------------------------------------------------------------------------

    async def change(self) -> Revision:
        """Three more: a new key, an old one's new value, an old one's end; the last revision."""
        turn = next(self._turn)
        await self.write(f"{self.prefix}new{turn}", f"new {turn}")
        await self.write(f"{self.prefix}k{2 * turn:02}", f"changed {turn}")
        return await self.write(f"{self.prefix}k{2 * turn + 1:02}", None)

    async def write(self, key: str, value: str | None) -> Revision:
        """Until it is acknowledged: a write may meet the same fault as the clients do."""
        op = Delete(key.encode()) if value is None else Put(key.encode(), value.encode())
        self.touched.add(key)
        async with asyncio.timeout(WRITE_S):
            while True:
                try:
                    return (await self.store.commit(Txn(then=(op,)))).revision
                except StoreError:
                    await asyncio.sleep(0.05)

    def begins(self) -> None:
        """What was written so far is not what this is about."""
        self.touched.clear()

    async def behind(self) -> set[str]:
        """Those whose copy is not what etcd has now, and who were not told."""
        wanted = await self._read()
        return {each.name for each in self.followers if each.items != wanted and not each.errors}

    async def all_right(self, within_s: float = PATIENCE_S) -> None:
        """Until every client that was told of no error shows what etcd has, or time is over."""
        wanted = await self._read()
        await in_time(
            lambda: all(each.errors or each.items == wanted for each in self.followers), within_s
        )

    # -- the verdict -----------------------------------------------------------------------------

    async def judge(
        self, *, again: bool = False, stalled: Collection[str] = (), within_s: float = PATIENCE_S
    ) -> str:
        """A row of the table; our cell. Call when the fault is over and all has been written.

        ``again``: whether users watch again. ``stalled``: who knew nothing while it lasted.
        """
        self._over_s = time.monotonic()
        wanted = await self._read()
        await in_time(lambda: self._all_said(wanted, again=again), within_s)
        cells = {each.name: self._cell(each, wanted, again=again) for each in self.followers}
        for name in stalled:
            cells[name] = f"stalls; then {cells[name]}"
        report(self.name, self.followers, cells)
        return cells[OURS.name]

    def _all_said(self, wanted: dict[str, str], *, again: bool) -> bool:
        """Whether more patience can change nothing. Notes who has got it right, and when."""
        now_s = time.monotonic() - self._over_s
        for each in self.followers:
            if each.items == wanted:
                self._right_s.setdefault(each.name, now_s)
        return all(
            each.items == wanted or each.name in self._absent or (each.errors and not again)
            for each in self.followers
        )

    def _cell(self, each: Follower, wanted: dict[str, str], *, again: bool) -> str:
        if each.name in self._absent:
            return self._absent[each.name]
        told = bool(each.errors)
        if told and not again:
            return "ends, says so"
        if each.items == wanted:
            right = f"recovers, {self._right_s.get(each.name, PATIENCE_S):.1f} s"
            return f"ends; again: {right}" if told else right
        if told and not each.watching and time.monotonic() - each.errors[-1][0] < LATE_S:
            return "ends, says so"
        if each.call:
            return f"hangs ({each.call})"
        wrong = sum(each.items.get(key) != wanted.get(key) for key in self.touched)
        return f"silent, misses {wrong} of {len(self.touched)}"


def report(name: str, clients: Sequence[Follower], cells: Mapping[str, str]) -> None:
    """Keep a row of the table, and print what its users were told in so many words."""
    table.add(name, cells)
    for each in clients:
        print(f"{each.name}: {cells[each.name]}", *(text for _, text in each.errors), sep="\n    ")


async def in_time(holds: Callable[[], bool], within_s: float) -> bool:
    """Wait until it holds; whether it did before the time was over."""
    try:
        await eventually(holds, within_s=within_s)
    except TimeoutError:
        return False
    return True


@asynccontextmanager
async def everybody(
    job: Callable[[Column], Job], folder: Path
) -> AsyncIterator[tuple[Follower, ...]]:
    """Every client that is installed, each in a process, with its job."""
    async with AsyncExitStack() as stack:
        followers = []
        for column in COLUMNS:
            if column.installed:
                at_work = started(column, job(column), folder / f"{column.name}.stderr")
                followers.append(await stack.enter_async_context(at_work))
        try:
            yield tuple(followers)
        finally:
            for each in followers:  # all at once, before each is waited for
                each.dismiss()


@asynccontextmanager
async def contest(
    name: str,
    job: Job,
    *,
    direct: Access,
    etcdctl: Callable[..., Awaitable[str]],
    folder: Path,
) -> AsyncIterator[Contest]:
    """Some keys are there already when the clients start. ``direct``: who writes, and where."""

    async def read() -> dict[str, str]:
        who = (f"--user={direct.user}:{direct.password}",) if direct.user else ()
        args = (*who, "get", "--prefix", job.prefix, "--write-out=json")
        found = json.loads(await etcdctl(direct.endpoints[0], *args))
        return {
            base64.b64decode(kv["key"]).decode(): base64.b64decode(kv["value"]).decode()
            for kv in found.get("kvs", [])
        }

    async with connect(direct, timeout_s=1.0) as store:
        seeds = tuple(Put(f"{job.prefix}k{n:02}".encode(), b"seed") for n in range(KEYS))
        await store.commit(Txn(then=seeds))
        async with everybody(lambda _: job, folder) as followers:
            yield Contest(name, job.prefix, followers, store, read)
