"""How long an operator waits for ``flowctl`` to start."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncGenerator
from statistics import median

from flowsvc.service import FlowService
from kvconfig.etcd import connect
from kvconfig.keyspace import Keyspace
from tests.bench.flows import small
from tests.bench.goals import NOISE, Figures, Row, Scenario, at_most
from tests.bench.places import etcd

__all__ = ["COMMANDS"]

TIMES, FLOWS = 5, 20


async def _commands(rounds: int) -> AsyncGenerator[Figures, None]:
    flow = small(3)
    async with etcd() as server:
        async with (
            connect([server.endpoint]) as store,
            FlowService(store, Keyspace()) as service,
        ):
            await flow.put(service)
            for number in range(FLOWS):
                await service.start_flow(flow.start(f"f{number}"))
        nothing = ("-c", "pass")
        for _ in range(rounds):
            python_s = await _wall_s(*nothing)
            yield {
                "help_s": await _wall_s("-m", "flowsvc.cli", "--help"),
                "list_s": await _wall_s(
                    *("-m", "flowsvc.cli", "flow", "list", "--endpoints", server.endpoint)
                ),
                "python_s": python_s,
                NOISE: await _wall_s(*nothing) / python_s,
            }


async def _wall_s(*args: str) -> float:
    """The median of some runs."""
    spent = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        process = await asyncio.create_subprocess_exec(sys.executable, *args, stdout=DEVNULL)
        assert await process.wait() == 0
        spent.append(time.perf_counter() - begun)
    return median(spent)


COMMANDS = Scenario(
    name="commands",
    about="`flowctl` as a process, warm, with 20 flows in etcd; Python alone beside it",
    rounds=_commands,
    rows=(
        Row(what="`flowctl --help`, wall", measure="help_s", goal=at_most(0.15), unit="s"),
        Row(what="`flowctl flow list`, wall", measure="list_s", goal=at_most(0.30), unit="s"),
        Row(what="… `python -c pass`", measure="python_s", unit="s", digits=3),
    ),
)
