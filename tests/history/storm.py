"""One run on a real etcd: each client behind a proxy of its own that breaks at random."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

from kvconfig.backoff import Backoff
from kvconfig.etcd import connect
from kvconfig.informer import Informer
from kvconfig.keyspace import Keyspace
from kvconfig.store import Store
from tests.history.journal import EtcdJournal
from tests.history.record import History, Watcher
from tests.history.recorder import Recorder, settles, watching
from tests.history.workload import Client, last_write
from tests.robustness.proxy import Proxy

__all__ = ["storm"]

CLIENTS = 4
PATIENCE_S = 30.0
"""For what is certain to come once the faults are over."""
TIMEOUT_S = 0.6
SILENCE_S = 1.5


async def storm(endpoint: str, root: str, *, seed: int, seconds: float) -> History:
    """``seconds`` of faults and requests, then calm. The seed gives the faults and the requests;
    what meets what is up to the machine."""
    rng = Random(f"{seed}")
    keyspace = Keyspace(root)
    faults: Counter[str] = Counter()
    deadline_s = asyncio.get_running_loop().time() + seconds

    def going_on() -> bool:
        return asyncio.get_running_loop().time() < deadline_s

    async with AsyncExitStack() as stack:
        journal = await stack.enter_async_context(EtcdJournal(endpoint, keyspace.everything()))
        history = History(name=f"etcd, seed {seed}", first=journal.first)
        informers: list[tuple[Informer[str], Watcher]] = []
        links = [await stack.enter_async_context(_link(endpoint)) for _ in range(CLIENTS + 1)]
        for name in ("", "t"):
            one = _informer(links[-1][1], keyspace, name, verify_every_s=rng.choice([0.5, 300.0]))
            seen = watching(one, rng, history, look_every_s=0.05)
            informers.append((one, await stack.enter_async_context(seen)))
        async with asyncio.TaskGroup() as group:
            for proxy, _ in links:
                group.create_task(_break(proxy, Random(f"{rng.random()}"), going_on, faults))
            group.create_task(_compact(journal, Random(f"{rng.random()}"), going_on, faults))
            for number, (_, store) in enumerate(links[:-1]):
                recorder = Recorder(f"c{number}", store, keyspace, history)
                client = Client(recorder, keyspace, Random(f"{rng.random()}"))
                group.create_task(client.work(going_on, pause_s=0.01))
        async with connect([endpoint]) as direct:
            end = await last_write(Recorder("end", direct, keyspace, history), keyspace)
        for one, watcher in informers:
            watcher.settled = await settles(one, keyspace.item("t", "end"), end, PATIENCE_S)
        history.journal = list(await journal.upto(end.revision))
    history.faults = dict(faults)
    return history


@asynccontextmanager
async def _link(endpoint: str) -> AsyncIterator[tuple[Proxy, Store]]:
    """A client, and what lies between it and etcd. Its pages are small, so that lists are long."""
    async with (
        Proxy(endpoint) as proxy,
        connect([proxy.endpoint], timeout_s=TIMEOUT_S, silence_s=SILENCE_S, page_size=4) as store,
    ):
        yield proxy, store


def _informer(
    store: Store, keyspace: Keyspace, type_: str, *, verify_every_s: float
) -> Informer[str]:
    return Informer(
        store,
        keyspace.type_range(type_) if type_ else keyspace.everything(),
        lambda kv: kv.value.decode(),
        name=type_ or "everything",
        backoff=Backoff(first_s=0.02, most_s=0.2),
        verify_every_s=verify_every_s,
    )


async def _break(
    proxy: Proxy, rng: Random, going_on: Callable[[], bool], faults: Counter[str]
) -> None:
    """One fault after another; each ends with working connections."""

    async def reset(pause_s: float) -> None:
        await asyncio.sleep(pause_s)

    async def lose_replies(pause_s: float) -> None:
        proxy.lose_replies()
        await asyncio.sleep(pause_s)

    async def refuse(pause_s: float) -> None:
        await proxy.refuse()
        await asyncio.sleep(pause_s)

    async def black_hole(pause_s: float) -> None:
        proxy.black_hole()
        await asyncio.sleep(2 * pause_s)

    async def delay(pause_s: float) -> None:
        proxy.delay_s = pause_s / 10
        await asyncio.sleep(2 * pause_s)

    async def cut_in_a_reply(pause_s: float) -> None:
        proxy.cut_after(rng.randrange(2_000))
        await asyncio.sleep(pause_s)

    while going_on():
        await asyncio.sleep(rng.uniform(0, 0.8))
        kinds = [reset, lose_replies, lose_replies, refuse, black_hole, delay, cut_in_a_reply]
        fault = rng.choice(kinds)
        faults[fault.__name__] += 1
        await fault(rng.uniform(0, 0.5))
        await proxy.heal()
        proxy.reset()


async def _compact(
    journal: EtcdJournal, rng: Random, going_on: Callable[[], bool], faults: Counter[str]
) -> None:
    while going_on():
        await asyncio.sleep(rng.uniform(0, 1.0))
        await journal.compact()
        faults["compact"] += 1
