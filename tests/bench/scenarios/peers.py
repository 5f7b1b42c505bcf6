"""The same work by every client of etcd that there is for Python, each in a process of its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from kvconfig.keys import Range, prefix
from tests.bench.bare import PUTS
from tests.bench.goals import NOISE, Figures, Row, Scenario, at_most
from tests.bench.places import REPOSITORY, Child, child, etcd, filled

__all__ = ["PEERS"]

EVENTS, TXNS, WORKERS = 84 * PUTS, 600, 64


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A client: the folder that ``make peers`` installs it to, and the module that drives it."""

    name: str
    module: str
    folder: str = ""
    environ: dict[str, str] = field(default_factory=dict)


KINDS = (
    Kind(name="bare stubs", module="bare_client"),
    Kind(name="kvconfig", module="kvconfig_client"),
    Kind(name="aetcd", module="aetcd_client", folder="aetcd"),
    Kind(name="python3-etcd3", module="etcd3_client", folder="python3-etcd3"),
    Kind(name="etcd-client-py", module="rust_client", folder="etcd-client-py"),
    Kind(
        name="etcd3 0.12",
        module="etcd3_client",
        folder="etcd3",
        # The only way in which it imports beside a current protobuf.
        environ={"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
    ),
)


async def _peers(rounds: int) -> AsyncGenerator[Figures, None]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(etcd())
        clients: dict[str, Child] = {}
        for kind in KINDS:
            folder = REPOSITORY / ".peers" / kind.folder
            if kind.folder and not (folder / ".ready").exists():
                continue
            opened = child(
                "tests.bench.clients.serve",
                *(kind.module, server.endpoint),
                path=[folder] if kind.folder else [],
                **kind.environ,
            )
            clients[kind.name] = await stack.enter_async_context(opened)
            await clients[kind.name].ask()
        for number, client in enumerate(clients.values()):
            await client.ask("watch", f"/watched-{number}/")
        for _ in range(rounds):
            yield await _round(clients, server.endpoint)


async def _round(clients: dict[str, Child], endpoint: str) -> Figures:
    figures: dict[str, float] = {}
    for number, (name, client) in enumerate(clients.items()):
        watched = prefix(b"/watched-%d/" % number)
        figures[f"{name}: event_us"] = await _heard(client, endpoint, watched)
        cpu_us, wall_us = await client.ask("put", f"/put-{number}/", TXNS, WORKERS)
        figures |= {f"{name}: txn_cpu_us": cpu_us, f"{name}: txns_per_s": 1e6 / wall_us}
        keys, cpu_us, _ = await client.ask("list", watched.start.decode())
        assert keys == EVENTS, name
        figures[f"{name}: list_us"] = cpu_us
    again_us = await _heard(clients["bare stubs"], endpoint, prefix(b"/watched-0/"))
    figures[NOISE] = again_us / figures["bare stubs: event_us"]
    rivals = [figures.get(f"{name}: event_us") for name in ("aetcd", "python3-etcd3")]
    known = [rival for rival in rivals if rival is not None]
    if known:
        figures["of_the_best_rival"] = figures["kvconfig: event_us"] / min(known)
    return figures


async def _heard(client: Child, endpoint: str, watched: Range) -> float:
    """The CPU in µs of each event, one of 120 in a transaction, many of which come at once."""
    await client.ask("expect", EVENTS)
    await filled(endpoint, watched, EVENTS)
    return float(await client.ask())


def _rows() -> tuple[Row, ...]:
    goals = (
        Row(
            what="informer, events in bulk, decoded, CPU of each",
            measure="kvconfig: event_us",
            goal=at_most(5),
            unit="µs",
        ),
        Row(
            what="… by the better of aetcd and python3-etcd3, which decode nothing",
            measure="of_the_best_rival",
            goal=at_most(1),
        ),
    )
    work = (
        ("event_us", "CPU of an event in bulk", "µs", 1),
        ("txn_cpu_us", "CPU of a transaction of 10 puts, 64 at once", "µs", 0),
        ("txns_per_s", "transactions a second, 64 at once", "1/s", 0),
        ("list_us", "CPU of a key in a list of 10,000", "µs", 1),
    )
    peers = tuple(
        Row(what=f"{what}: {kind.name}", measure=f"{kind.name}: {figure}", unit=unit, digits=digits)
        for figure, what, unit, digits in work
        for kind in KINDS
    )
    return goals + peers


PEERS = Scenario(
    name="peers",
    about="clients of etcd: events in transactions of 120 puts, transactions, a list",
    rounds=_peers,
    rows=_rows(),
)
