"""The frame of every scenario: clients at work before, during and after a fault, and the verdict.

Informers share one client, whose endpoints a test may lead through proxies. Writers have a client
each and direct connections. A reader uses the informers' client all the time. ``verdict`` stops
them and compares: caches with etcd, what handlers were given with the caches and with etcd's
history, what writers were told with that history.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from kvconfig.errors import StoreError
from kvconfig.etcd import Access, EtcdStore, connect
from kvconfig.informer import Informer
from kvconfig.keys import prefix
from kvconfig.store import list_all
from kvconfig.txn import Put, Txn
from tests.robustness.history import History
from tests.robustness.recorder import Recorder, raw
from tests.robustness.report import Row, report
from tests.robustness.waiting import eventually, is_exactly, shows
from tests.robustness.writers import Writer, check_writes

CALL_BOUND_S = 40.0
"""No call may take longer: six tries of 5 s, and the waits between them."""
SETTLE_S = 30.0
WRITES_S = 60.0
READ_PACE_S = 0.05


class Scenario:
    """One run; made by :func:`scenario`."""

    def __init__(
        self,
        name: str,
        *,
        store: EtcdStore,
        direct: EtcdStore,
        history: History,
        informers: Sequence[Informer[bytes]],
        writers: Sequence[Writer],
        reads: bool,
    ) -> None:
        self.name = name
        self._reads = reads
        self.store, self.direct, self.history = store, direct, history
        self.informers, self.writers = tuple(informers), tuple(writers)
        self.recorders = tuple(map(Recorder, informers))
        self.slowest_read_s = 0.0
        self.read_errors: Counter[str] = Counter()
        self._began_s = time.monotonic()
        self._since = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._writing: list[asyncio.Task[None]] = []

    # -- before the fault ----------------------------------------------------------------------

    async def warm_up(self, *, writes: int = 20) -> None:
        """Until informers are synced and every writer has had some writes acknowledged."""
        async with asyncio.timeout(SETTLE_S):
            for informer in self.informers:
                await informer.synced()
            for writer in self.writers:
                self._writing.append(asyncio.create_task(writer.run(), name=writer.name))
            if self._reads:
                self._tasks.append(asyncio.create_task(self._read_on(), name="reader"))
            await self.more_writes(writes)

    async def more_writes(self, count: int) -> None:
        """Until every writer has had ``count`` more writes acknowledged."""
        goals = [(writer, writer.outcomes["done"] + count) for writer in self.writers]
        await eventually(
            lambda: all(writer.outcomes["done"] >= goal for writer, goal in goals),
            within_s=WRITES_S,
        )

    def began(self, since: str = "fault") -> None:
        """From now on the time to recovery counts. ``since`` says in the table what happens now."""
        self._began_s, self._since = time.monotonic(), since

    # -- after it --------------------------------------------------------------------------------

    async def recovered(self, *, within_s: float) -> float:
        """Seconds from ``began`` until every informer shows a write that is made now, or later.

        Writes until one is acknowledged; fails where all of it takes too long.
        """
        mark = secrets.token_hex(4).encode()
        keys = [informer.range.start + b"mark" for informer in self.informers]
        txn = Txn(then=tuple(Put(key, mark) for key in keys))
        left_s = within_s - (time.monotonic() - self._began_s)
        async with asyncio.timeout(left_s):
            await eventually(partial(self._try, txn), within_s=left_s)
            write_s = time.monotonic() - self._began_s
            for informer, key in zip(self.informers, keys, strict=True):
                await shows(informer, key, mark, within_s=within_s)
        cache_s = time.monotonic() - self._began_s
        self.report(cache_s=cache_s, write_s=write_s)
        return cache_s

    def report(self, *, cache_s: float | None = None, write_s: float | None = None) -> None:
        """A row of the table."""
        total = sum((Counter(writer.outcomes) for writer in self.writers), Counter())
        report(
            Row(
                scenario=self.name,
                since=self._since,
                cache_s=cache_s,
                write_s=write_s,
                slowest_read_s=self.slowest_read_s,
                done=total["done"],
                refused=total["refused"],
                unknown=total["unknown"],
                lists=max((informer.stats.lists for informer in self.informers), default=0),
            )
        )

    async def verdict(self, *, history: bool = True) -> None:
        """All clients stop; then everything must fit together.

        ``history``: whether etcd's can be had from the first revision on.
        """
        for writer in self.writers:
            writer.stopped = True
        if self._writing:
            await asyncio.wait(self._writing, timeout=CALL_BOUND_S)
        await self.stop()
        await self.settled()
        for recorder in self.recorders:
            recorder.check_end()
        if history:
            await self.history.collect()
            for recorder in self.recorders:
                recorder.check_against(self.history.within(recorder.informer.range))
            check_writes([write for w in self.writers for write in w.writes], self.history)

    async def settled(self) -> None:
        """Until every cache is what etcd has, at one revision; fails where that does not come."""
        for informer in self.informers:
            await eventually(partial(self._equal, informer), within_s=SETTLE_S)

    async def stop(self) -> None:
        """End writers and reader, whatever they have under way."""
        tasks, self._tasks, self._writing = [*self._tasks, *self._writing], [], []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled():
                task.result()

    # -- inside ----------------------------------------------------------------------------------

    async def _equal(self, informer: Informer[bytes]) -> bool:
        """A write that was not answered may be done after the list; then another is made."""
        page = await list_all(self.direct, informer.range)
        try:
            await is_exactly(informer, {kv.key: kv for kv in page.items}, within_s=2)
        except TimeoutError:
            return False
        return True

    async def _try(self, txn: Txn) -> bool:
        try:
            return (await self.direct.commit(txn)).succeeded
        except StoreError:
            return False

    async def _read_on(self) -> None:
        """Reads through the informers' client: each ends, well or badly, within the bound."""
        while True:
            sent_s = time.monotonic()
            try:
                await self.store.read(self.informers[0].range.start + b"any")
            except StoreError as error:
                self.read_errors[type(error).__name__] += 1
            took_s = time.monotonic() - sent_s
            self.slowest_read_s = max(self.slowest_read_s, took_s)
            assert took_s < CALL_BOUND_S, f"a read took {took_s:.1f} s"
            await asyncio.sleep(READ_PACE_S)


@asynccontextmanager
async def scenario(
    name: str,
    endpoints: Sequence[str],
    *,
    direct: Sequence[str] = (),
    access: Access | None = None,
    history: History | None = None,
    writers: int = 3,
    informers: int = 3,
    page_size: int = 5_000,
    seed: int | None = None,
    reads: bool = True,
) -> AsyncIterator[Scenario]:
    """Informers and writers, running, on the cluster at ``endpoints``.

    The informers' client begins with the first endpoint. ``direct``: where writers and the judge
    connect, if not there. ``access``: who everybody is. ``reads``: whether the informers' client is
    used for reads, too; a connection without any traffic takes longest to be found dead.
    """
    direct = tuple(direct or endpoints)
    seed = secrets.randbits(32) if seed is None else seed
    print(f"{name}: seed {seed}")
    rng = random.Random(seed)
    base = f"/r-{secrets.token_hex(4)}/".encode()
    who = access or Access()
    async with AsyncExitStack() as stack:

        async def client(places: Sequence[str], **settings: float) -> EtcdStore:
            there = Access(
                endpoints=tuple(places),
                cacert=who.cacert,
                cert=who.cert,
                key=who.key,
                user=who.user,
                password=who.password,
            )
            return await stack.enter_async_context(connect(there, page_size=page_size, **settings))

        store = await client(endpoints)
        bases = [base + b"p%d/" % index for index in range(informers)]
        watched = [Informer(store, prefix(b), raw, name=f"p{i}") for i, b in enumerate(bases)]
        writing = [
            Writer(
                store=await client(direct[index % len(direct) :] + direct[: index % len(direct)]),
                name=f"w{index}",
                bases=bases,
                log=bases[0] + b"log/",
                random=random.Random(rng.random()),
            )
            for index in range(writers)
        ]
        run = Scenario(
            name,
            store=store,
            direct=await client(direct, timeout_s=0.5),
            history=history or History(direct[0]),
            informers=watched,
            writers=writing,
            reads=reads,
        )
        for informer in watched:
            await stack.enter_async_context(informer)
        try:
            yield run
        finally:
            await run.stop()
