"""Runs one or many processors in one process, on one store and one session, until told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from pathlib import Path
from typing import Any, TypeAlias

from kvconfig.informer import Informer
from kvconfig.keyspace import Keyspace
from kvconfig.layout import watched_layout
from kvconfig.owner import until_one_ends
from kvconfig.store import Store
from processors.configuration import watched
from processors.instance import Instance, hosted
from processors.processor import FlowProcessor
from processors.sessions import Sessions
from processors.statefile import StateFile

__all__ = ["Observe", "default_instance", "run", "running", "stop_on_signals"]

logger = logging.getLogger(__name__)

Observe: TypeAlias = Callable[[Sequence[Instance]], AbstractContextManager[object]]


def default_instance() -> str:
    """A name for the instances of this process: host and process id."""
    return f"{socket.gethostname()[:100]}-{os.getpid()}"


@asynccontextmanager
async def running(
    store: Store,
    processors: Sequence[FlowProcessor],
    *,
    keyspace: Keyspace | None = None,
    instance: str = "",
    ttl_s: int = 10,
    state_file: Path | None = None,
) -> AsyncIterator[list[Instance]]:
    """Run ``processors`` while the block runs, each as ``instance`` of its own id.

    Where etcd does not answer it waits, and says so; with a ``state_file`` it goes on from what is
    in there (:mod:`processors.statefile`). Leaving stops them all, at the same time, deletes their
    keys and ends the session. Raises :class:`CannotHost` for what can never run.
    """
    space = keyspace or Keyspace()
    declared = [pair for processor in processors for pair in processor.spec.config.items()]
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        sessions = await enter(Sessions(store, ttl_s=ttl_s))
        layout = await enter(watched_layout(store, space))
        views = await enter(watched(store, space, declared))
        hosting = [
            hosted(
                processor,
                store,
                sessions,
                space,
                instance=instance or default_instance(),
                views=views,
                layout=layout,
            )
            for processor in processors
        ]
        instances = await enter(_side_by_side(hosting))
        caches: list[Informer[Any]] = [
            layout,
            *(view.informer for view in views.values()),
            *(one.informer for one in instances),
        ]
        kept = await enter(StateFile(state_file, caches, root=space.root))
        for one in instances:
            one.rests_on.append(kept)
        yield instances


@asynccontextmanager
async def _side_by_side(
    hosting: Sequence[AbstractAsyncContextManager[Instance]],
) -> AsyncIterator[list[Instance]]:
    """All of them; they are left at the same time, however long one of them takes."""
    leave = asyncio.Event()
    ready: list[asyncio.Future[Instance]] = []
    tasks: list[asyncio.Task[None]] = []
    for number, one in enumerate(hosting):
        ready.append(asyncio.get_running_loop().create_future())
        tasks.append(asyncio.create_task(_host(one, ready[-1], leave), name=f"instance {number}"))
    try:
        yield [await one for one in ready]
    finally:
        leave.set()
        if tasks:
            await asyncio.wait(tasks)
    for task in tasks:
        task.result()


async def _host(
    hosting: AbstractAsyncContextManager[Instance],
    ready: asyncio.Future[Instance],
    leave: asyncio.Event,
) -> None:
    """One instance in a task of its own, so that all of them stop at the same time."""
    try:
        async with hosting as instance:
            ready.set_result(instance)
            await leave.wait()
    except Exception as error:
        if ready.done():
            raise
        ready.set_exception(error)


async def run(
    store: Store,
    processors: Sequence[FlowProcessor],
    stop: asyncio.Event,
    *,
    keyspace: Keyspace | None = None,
    instance: str = "",
    state_file: Path | None = None,
    observe: Observe = nullcontext,
) -> None:
    """Run ``processors`` until ``stop`` is set; raises what ends the machinery itself.

    ``observe`` is entered with the instances while they run, and left before they are stopped.
    """
    async with running(
        store, processors, keyspace=keyspace, instance=instance, state_file=state_file
    ) as instances:
        with observe(instances):
            await until_one_ends(_wait(stop), *(one.failed() for one in instances))


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


@contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that SIGTERM or SIGINT sets; the second one ends the process at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def heard(number: signal.Signals) -> None:
        if stop.is_set():
            logger.warning("ending at once", extra={"signal": number.name})
            sys.stdout.flush()
            os._exit(128 + number)
        logger.info("draining", extra={"signal": number.name})
        stop.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, heard, number)
    try:
        yield stop
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
