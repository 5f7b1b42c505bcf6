"""One whole run in memory: clients and informers under random faults, all of it from one seed."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import AsyncExitStack
from random import Random

from kvconfig.backoff import Backoff
from kvconfig.informer import Informer
from kvconfig.keyspace import Keyspace
from kvconfig.memory import MemoryStore
from kvconfig.memory.faults import FaultyStore, Rates
from tests.history import virtual_time
from tests.history.record import History, Watcher
from tests.history.recorder import Recorder, settles, watching
from tests.history.workload import Client, last_write

__all__ = ["SEEDS", "simulate"]

SEEDS = range(int(os.environ.get("HISTORY_RUNS", "400")))
"""The runs that our code has to pass, and that no mutant may."""

CLIENTS = 4
REQUESTS = 60
"""All clients together."""
PATIENCE_S = 120.0
"""Of virtual time: for what is certain to come."""


def simulate(seed: int, rates: Rates | None = None) -> History:
    """The run of this seed, the same each time. ``rates``: these faults instead of drawn ones."""
    state = random.getstate()
    random.seed(seed)  # informers throw dice of their own: jitter
    try:
        return virtual_time.run(_run(Random(f"{seed}"), seed, rates))
    finally:
        random.setstate(state)


async def _run(rng: Random, seed: int, rates: Rates | None) -> History:
    clock = asyncio.get_running_loop().time
    memory = MemoryStore(
        clock=clock, page_size=rng.choice([2, 5, 5_000]), max_backlog=rng.choice([5, 10_000])
    )
    store = FaultyStore(memory, rng, rates or Rates.drawn(rng))
    history = History(name=f"memory, seed {seed}", first=memory.revision)
    keyspace = Keyspace("@t")
    left = REQUESTS

    def going_on() -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    def informer(name: str) -> Informer[str]:
        range_ = keyspace.type_range(name) if name else keyspace.everything()
        return Informer(
            store,
            range_,
            lambda kv: kv.value.decode(),
            name=name or "everything",
            backoff=Backoff(first_s=0.05, most_s=0.5),
            verify_every_s=rng.choice([0.5, 3_600.0]),
            clock=clock,
        )

    async with AsyncExitStack() as stack:
        informers: list[tuple[Informer[str], Watcher]] = []
        for name in ("", "t"):
            one = informer(name)
            watcher = await stack.enter_async_context(watching(one, rng, history, look_every_s=0.3))
            informers.append((one, watcher))
        pause_s = rng.choice([0.01, 0.1])
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                recorder = Recorder(
                    f"c{number}", store, keyspace, history, restores=lambda: store.struck["restore"]
                )
                client = Client(recorder, keyspace, rng)
                group.create_task(client.work(going_on, pause_s=pause_s))
        store.heal()
        end = await last_write(Recorder("end", store, keyspace, history), keyspace)
        for one, watcher in informers:
            watcher.settled = await settles(one, keyspace.item("t", "end"), end, PATIENCE_S)
        history.journal = store.journal()
    history.faults = dict(store.struck)
    return history
