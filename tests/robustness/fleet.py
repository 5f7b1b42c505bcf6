"""Instances of one processor, each a process of its own, and what became of them.

What a process has noted of its variants (see ``noting``) counts for as long as it lives: that is
the truth to which statuses are held.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from flowsvc.cli.children import Child, child
from kvconfig.informer import Informer, Item
from kvconfig.keyspace import Keyspace
from kvconfig.model import KeyValue
from kvconfig.records import InstanceStatus, decode_status
from kvconfig.store import Store, list_all
from tests.robustness.noting import Noting
from tests.robustness.timeline import Timeline

Pasts = dict[str, dict[str, Timeline]]
"""By instance and variant; an instance may have had several lives."""


def decode(kv: KeyValue) -> InstanceStatus:
    """What an informer of ``/processor/noting/`` decodes with."""
    return decode_status(kv.value, key=kv.key)


@dataclass
class Life:
    """One process, from its start to its end."""

    name: str
    process: Child
    stack: AsyncExitStack
    ended_s: float | None = None
    killed: bool = False


@dataclass
class Fleet:
    """All processes there have been. ``statuses`` is an informer of what they say."""

    store: Store
    statuses: Informer[InstanceStatus]
    space: Keyspace
    endpoint: str
    folder: Path
    lives: list[Life] = field(default_factory=list)

    async def start(self, name: str, *, within_s: float) -> Life:
        """``processors run``; return when it says that it runs all that stood when it started."""
        key = self.space.processor(Noting.id, name)
        found = await list_all(self.store, self.space.active_flow_range(Noting.id), keys_only=True)
        standing = {self.space.parse_active_flow(kv.key).variant for kv in found.items}

        def ready(item: Item[InstanceStatus] | None) -> bool:
            # A key of its own: what a predecessor of this name has said does not count.
            if item is None or item.value is None or item.kv.create_revision <= found.revision:
                return False
            seen = item.value.observed_revision >= found.revision
            return seen and standing.isdisjoint(item.value.pending)

        stack = AsyncExitStack()
        args = ["run", f"{Noting.__module__}:{Noting.__name__}", "--instance", name]
        args += ["--endpoints", self.endpoint, "--root", self.space.root, "--log-format", "json"]
        process = await stack.enter_async_context(child(name, "processors", *args))
        self.lives.append(Life(name, process, stack))
        async with asyncio.timeout(within_s):
            await self.statuses.until(lambda items: ready(items.get(key)))
        return self.lives[-1]

    async def end(self, life: Life, how: signal.Signals) -> None:
        """By SIGKILL, or by SIGTERM; return when the process has ended."""
        life.killed = how == signal.SIGKILL
        if life.killed:
            life.ended_s = time.monotonic()
            os.kill(life.process.pid, how)
        await life.stack.aclose()  # this sends SIGTERM; a second one would end it at once
        if not life.killed:
            life.ended_s = time.monotonic()
        assert life.process.exit_code == (-how if life.killed else 0)

    async def close(self) -> None:
        """End all that live."""
        for life in self.lives:
            if life.ended_s is None:
                await self.end(life, signal.SIGTERM)

    def pasts(self) -> Pasts:
        """What each has run, and when."""
        found: Pasts = defaultdict(lambda: defaultdict(Timeline))
        for life in self.lives:
            variants = found[life.name]
            for line in (self.folder / str(life.process.pid)).read_text().splitlines():
                at, state, variant = line.split()
                if life.ended_s is None or float(at) <= life.ended_s:
                    variants[variant].add(float(at), state)
            if life.ended_s is not None:
                for timeline in variants.values():
                    timeline.add(life.ended_s, "ended")
        return found
