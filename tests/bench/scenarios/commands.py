"""How long an operator waits for ``flowctl`` to start."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
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
    with tempfile.TemporaryDirectory() as folder:
        wall_s = partial(_wall_s, Path(folder))
        async with etcd() as server:
            await _start_flows(server.endpoint)
            listing = ("-m", "flowsvc.cli", "flow", "list", "--endpoints", server.endpoint)
            for _ in range(rounds):
                python_s = await wall_s("-c", "pass")
                yield {
                    "help_s": await wall_s("-m", "flowsvc.cli", "--help"),
                    "list_s": await wall_s(*listing),
                    "grpc_s": await wall_s("-c", "import grpc.aio, google.protobuf.message"),
                    "python_s": python_s,
                    NOISE: await wall_s("-c", "pass") / python_s,
                }


async def _start_flows(endpoint: str) -> None:
    flow = small(3)
    async with connect([endpoint]) as store, FlowService(store, Keyspace()) as service:
        await flow.put(service)
        for number in range(FLOWS):
            await service.start_flow(flow.start(f"f{number}"))


async def _wall_s(bytecode: Path, *args: str) -> float:
    """The median of some runs, of which the first is not counted."""
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environ["PYTHONPYCACHEPREFIX"] = str(bytecode)
    spent = []
    for _ in range(1 + TIMES):
        begun = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable, *args, stdout=DEVNULL, env=environ
        )
        assert await process.wait() == 0
        spent.append(time.perf_counter() - begun)
    return median(spent[1:])


COMMANDS = Scenario(
    name="commands",
    about="`flowctl` as a process, warm, with 20 flows in etcd; Python alone beside it",
    rounds=_commands,
    rows=(
        Row(what="`flowctl --help`, wall", measure="help_s", goal=at_most(0.15), unit="s"),
        Row(what="`flowctl flow list`, wall", measure="list_s", goal=at_most(0.30), unit="s"),
        Row(what="… importing gRPC and protobuf alone", measure="grpc_s", unit="s", digits=3),
        Row(what="… `python -c pass`", measure="python_s", unit="s", digits=3),
    ),
)
