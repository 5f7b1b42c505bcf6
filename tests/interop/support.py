"""Other clients of etcd in processes of their own, and processors that note what they hear."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeAlias

from kvconfig.errors import KvError
from kvconfig.informer import Batch, Informer, Item
from kvconfig.keyspace import Keyspace, VariantName
from kvconfig.model import KeyValue
from kvconfig.records import VariantRecord, decode_variant
from kvconfig.store import Store, list_all
from kvconfig.txn import Delete, Put, Txn
from tests.interop.peers.log import Seen

REPOSITORY = Path(__file__).resolve().parents[2]

PATIENCE_S = 30
"""More than a peer gives each of its own waits, so that it is the peer who says what failed."""

OpenPeer: TypeAlias = Callable[..., "AbstractAsyncContextManager[Peer]"]

# -- other clients --------------------------------------------------------------------------------


class PeerFailed(Exception):
    """A peer could not do what it was asked to."""


class Peer:
    """A process with clients of etcd in it (``peers/serve.py``), asked one thing at a time."""

    def __init__(self, process: Process, endpoint: str) -> None:
        self._process = process
        self._endpoint = endpoint

    async def open(self, *clients: str) -> None:
        """Import these libraries, in this order, and connect."""
        for client in clients:
            await self._ask("open", client=client, endpoint=self._endpoint)

    async def watch(self, client: str, prefix: str) -> None:
        await self._ask("watch", client=client, prefix=prefix)

    async def seen(self, client: str, prefix: str, *, until: str) -> list[Seen]:
        """What that watch saw before the key ``until`` was put, which has to have been done."""
        return [
            (revision, key, value)
            for revision, key, value in await self._ask(
                "seen", client=client, prefix=prefix, until=until
            )
        ]

    async def create(self, client: str, values: Mapping[str, str]) -> bool:
        """One transaction: if none of the keys exists, put all; whether it was done."""
        return bool(await self._ask("create", client=client, values=values))

    async def create_at_once(
        self, work: Mapping[str, Sequence[Mapping[str, str]]]
    ) -> dict[str, list[bool]]:
        """Transactions as ``create`` makes them, of several clients at the same time."""
        answer: dict[str, list[bool]] = await self._ask("create_at_once", work=work)
        return answer

    async def defined_in(self, message: str) -> str:
        """The .proto file of a message, by the pool that all libraries in the process share."""
        return str(await self._ask("defined_in", message=message))

    async def _ask(self, do: str, **what: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **what}).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_S):
            await self._process.stdin.drain()
            line = await self._process.stdout.readline()
        reply = json.loads(line) if line else {"error": "the process has ended"}
        if "error" in reply:
            raise PeerFailed(f"{do} {what}: {reply['error']}")
        return reply["answer"]


@asynccontextmanager
async def run_peer(
    folders: Sequence[Path], endpoint: str, environ: Mapping[str, str]
) -> AsyncIterator[Peer]:
    """A process that has ``folders`` on its path, and ``environ`` besides what we have."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.interop.peers.serve"),
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, [*folders, REPOSITORY])),
            **environ,
        },
        stdin=PIPE,
        stdout=PIPE,
        limit=2**24,
    )
    try:
        yield Peer(process, endpoint)
    finally:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await process.communicate(b"")  # closes its input, at which it ends
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


# -- both at once ---------------------------------------------------------------------------------


ROUNDS = 20


async def write_and_watch_at_once(peer: Peer, clients: tuple[str, str], prefix: str) -> list[Seen]:
    """Two clients in one process each create keys while both watch; what both have seen.

    In each round both want to create one and the same key, and each two more of its own. Asserts
    that of the first one of them does it, that the others are all done, and that both watches saw
    the same in the same order: one event for each key, and nothing else.
    """
    for client in clients:
        await peer.watch(client, prefix)
    work = {client: list(_work(prefix, client)) for client in clients}
    done = await peer.create_at_once(work)
    created = [
        values
        for client in clients
        for values, was_done in zip(work[client], done[client], strict=True)
        if was_done
    ]
    assert len(created) == 3 * ROUNDS
    values = {key: value for every in created for key, value in every.items()}
    assert len(values) == 5 * ROUNDS

    for client, other in (clients, clients[::-1]):
        assert not await peer.create(client, work[other][-1])
    end = f"{prefix}end"
    assert await peer.create(clients[0], {end: ""})
    first, second = [await peer.seen(client, prefix, until=end) for client in clients]
    assert first == second
    assert sorted((key, value) for _, key, value in first) == sorted(values.items())
    return first


def _work(prefix: str, client: str) -> Iterator[dict[str, str]]:
    for number in range(ROUNDS):
        yield {f"{prefix}both/{number:02}": client}
        yield {f"{prefix}{client}/{number:02}/{part}": client for part in "ab"}


async def as_stored(store: Store, keyspace: Keyspace, revision: int = 0) -> list[Seen]:
    """What stands below the root, in the form of what a watch saw; of one revision, or of all."""
    page = await list_all(store, keyspace.everything())
    return sorted(
        (kv.mod_revision, kv.key.decode(), kv.value.decode())
        for kv in page.items
        if revision in (0, kv.mod_revision)
    )


# -- processors -----------------------------------------------------------------------------------


class Heard(NamedTuple):
    """One batch: its revision, and each change as the variant and its value.

    An error stands for a value that cannot be read, ``None`` for a variant that is gone.
    """

    revision: int
    changes: Sequence[tuple[str, VariantRecord | KvError | None]]


class Processors:
    """Some processors, each with an informer on its own prefix, and all that they hear of."""

    def __init__(self, store: Store, keyspace: Keyspace, *names: str) -> None:
        self._store = store
        self._ks = keyspace
        self._stack = AsyncExitStack()
        self._batches: dict[str, list[Batch[VariantRecord]]] = {name: [] for name in names}
        self._informers: dict[str, Informer[VariantRecord]] = {}
        for name in names:
            range_ = keyspace.active_flow_range(name)
            self._informers[name] = Informer(store, range_, _decode, name=name)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE_S):
            for name, informer in self._informers.items():
                await stack.enter_async_context(informer)
                await informer.synced()
                informer.subscribe(self._batches[name].append)
                self._batches[name].clear()  # of what stood there already
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def heard(self) -> dict[str, list[Heard]]:
        """What each heard since it was last asked: all of it, however long it took to come.

        It puts a last variant for each of them, waits until they have heard of that, and deletes
        it again. Whatever they were to hear of before has come by then, if it comes at all.
        """
        last = {name: self._ks.active_flow(VariantName(name, "last")) for name in self._informers}
        puts = tuple(Put(key, b'{"parameters":{},"topics":{}}') for key in last.values())
        put = await self._store.commit(Txn(then=puts))
        gone = await self._store.commit(Txn(then=tuple(map(Delete, last.values()))))
        async with asyncio.timeout(PATIENCE_S):
            for informer in self._informers.values():
                await informer.until(partial(_reached, informer, gone.revision))
        heard = {}
        for name, batches in self._batches.items():
            *heard[name], first, second = [self._heard(batch) for batch in batches]
            batches.clear()
            assert (first.revision, second.revision) == (put.revision, gone.revision)
        return heard

    def _heard(self, batch: Batch[VariantRecord]) -> Heard:
        assert not batch.resync, "the watch ended on the way"
        changes = [
            (self._ks.parse_active_flow(change.key).variant, _value(change.new))
            for change in batch.changes
        ]
        return Heard(batch.revision, changes)


def _value(item: Item[VariantRecord] | None) -> VariantRecord | KvError | None:
    if item is None:
        return None
    return item.value if item.error is None else item.error


def _reached(informer: Informer[Any], revision: int, _: object) -> bool:
    return informer.revision >= revision


def _decode(kv: KeyValue) -> VariantRecord:
    return decode_variant(kv.value, key=kv.key)
