"""What the demo plays on: etcd, the flow service and a host of processors, each a process.

They end with the block, in the opposite order, and with this process, however it ends. ``up`` has
the service and the host from here too.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from flowsvc.cli.children import Child, ChildFailed, Line, child
from flowsvc.client import Client
from kvconfig.devserver import LocalServer, dev_server, find_etcdctl
from kvconfig.etcd import connect
from kvconfig.informer import Informer, Item
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue, Revision
from kvconfig.records import InstanceStatus, decode_status
from kvconfig.store import Store, list_all

__all__ = ["Stage", "address_of", "hosted_by", "hosting", "serving", "set_up"]

PATIENCE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Stage:
    """The running system."""

    etcd: LocalServer
    etcdctl: Path
    store: Store
    keyspace: Keyspace
    address: str
    service: Child
    flows: Client
    host: Child
    statuses: Informer[tuple[str, InstanceStatus]]
    processors: tuple[str, ...]

    async def ask_etcdctl(self, *args: str) -> str:
        """What ``etcdctl`` prints. It is told our endpoint and nothing else."""
        process = await asyncio.create_subprocess_exec(
            self.etcdctl,
            f"--endpoints={self.etcd.endpoint}",
            *args,
            env={k: v for k, v in os.environ.items() if not k.startswith("ETCDCTL_")},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        if process.returncode != 0:
            raise ChildFailed(
                "etcdctl", f"ended with {process.returncode}", err.decode().split("\n")
            )
        return out.decode("utf-8", "replace")

    async def keys(self) -> dict[bytes, KeyValue]:
        """Everything that stands in etcd now."""
        page = await list_all(self.store, self.keyspace.everything())
        return {kv.key: kv for kv in page.items}

    async def observed(self, processors: Iterable[str], revision: Revision) -> None:
        """Until each of these runs what stands at ``revision``, as it reports itself.

        Raises :class:`ChildFailed` with what failed, or who does not report in time.
        """
        waiting, failed = set(processors), dict[str, str]()

        def settled(items: Mapping[bytes, Item[tuple[str, InstanceStatus]]]) -> bool:
            for processor, status in filter(None, (item.value for item in items.values())):
                if status.observed_revision >= revision and processor in waiting:
                    failed.update(
                        (f"{processor}/{variant}", failure.error)
                        for variant, failure in status.failed.items()
                    )
                    if not status.pending:
                        waiting.discard(processor)
            return bool(failed) or not waiting

        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.statuses.until(settled)
        except TimeoutError:
            reason = f"does not report revision {revision} of {', '.join(sorted(waiting))}"
            raise ChildFailed(self.host.name, reason, []) from None
        if failed:
            said = [f"{variant}: {error}" for variant, error in sorted(failed.items())]
            raise ChildFailed(self.host.name, "does not run all variants", said)


@asynccontextmanager
async def set_up(processors: Sequence[str]) -> AsyncIterator[Stage]:
    """Start everything, with these processors, and wait until all of them have reported."""
    keyspace = Keyspace()
    async with AsyncExitStack() as stack:
        etcd = await stack.enter_async_context(dev_server())
        endpoint = etcd.endpoint
        store = await stack.enter_async_context(connect([endpoint]))
        statuses = await stack.enter_async_context(
            Informer(
                store,
                keyspace.type_range("processor"),
                lambda kv: (keyspace.parse_processor(kv.key)[0], decode_status(kv.value)),
            )
        )
        service = await stack.enter_async_context(serving(endpoint))
        host = await stack.enter_async_context(hosting(endpoint, *processors))
        address, ids = await address_of(service), await hosted_by(host)
        stage = Stage(
            etcd=etcd,
            etcdctl=find_etcdctl(beside=getattr(etcd, "binary", None)),
            store=store,
            keyspace=keyspace,
            address=address,
            service=service,
            flows=await stack.enter_async_context(Client(address)),
            host=host,
            statuses=statuses,
            processors=ids,
        )
        await stage.observed(stage.processors, Revision(0))
        yield stage


def serving(
    endpoint: str, listen: str = "127.0.0.1:0", *, log: Path | None = None
) -> AbstractAsyncContextManager[Child]:
    """A flow service on the etcd at ``endpoint``. ``log`` gets a copy of what it says."""
    where = ("--endpoints", endpoint, "--listen", listen)
    return child("the flow service", "flowsvc.cli", "serve", *where, log=log)


async def address_of(service: Child) -> str:
    """Where it listens, once it does."""
    return str((await service.line(event="listening"))["address"])


def hosting(
    endpoint: str, *what: str, log: Path | None = None
) -> AbstractAsyncContextManager[Child]:
    """A host of processors: ``what`` as ``processors run`` is told, on the etcd at ``endpoint``."""
    args = ("run", *what, "--endpoints", endpoint, "--log-format", "json")
    return child("the processor host", "processors", *args, log=log)


async def hosted_by(host: Child) -> tuple[str, ...]:
    """The ids of its processors, once an instance of each has started."""
    ids: tuple[str, ...] = tuple((await host.line(event="running"))["processors"])

    def all_started(lines: Sequence[Line]) -> bool:
        return len([1 for line in lines if line.get("event") == "instance started"]) == len(ids)

    await host.wait_until(all_started, f"{len(ids)} instances started")
    return ids
