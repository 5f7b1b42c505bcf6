"""A cache from nothing: 100,000 keys, decoded, by one raw list of the same."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

from kvconfig.keys import prefix
from tests.bench.goals import NOISE, Figures, Row, Scenario, at_most
from tests.bench.places import child, etcd, filled

__all__ = ["COLD_START"]

KEYS = 100_000


async def _cold_start(rounds: int) -> AsyncGenerator[Figures, None]:
    """Each list in a process of its own, so that its peak of memory is its own."""
    range_ = prefix(b"/active-flow/many/")
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(etcd())
        await filled(server.endpoint, range_, KEYS)

        async def listed(kind: str) -> dict[str, float]:
            where = (kind, server.endpoint, range_.start.decode())
            async with child("tests.bench.clients.listing", *where) as process:
                figures: dict[str, float] = await process.ask()
            assert figures["keys"] == KEYS
            return figures

        for _ in range(rounds):
            raw, ours, again = [await listed(kind) for kind in ("bare", "informer", "bare")]
            yield {
                "raw_list_s": raw["seconds"],
                "time": ours["seconds"] * 2 / (raw["seconds"] + again["seconds"]),
                "cache_mb": ours["cache_mb"],
                "memory": ours["peak_mb"] / ours["cache_mb"],
                NOISE: again["seconds"] / raw["seconds"],
            }


COLD_START = Scenario(
    name="cold-start",
    about=f"an informer of {KEYS:,} keys, decoded, by one raw list; each in a process of its own",
    rounds=_cold_start,
    rows=(
        Row(
            what="cold start with 100,000 keys, typed, by one raw list",
            measure="time",
            goal=at_most(2),
        ),
        Row(what="… peak of memory, by the decoded cache", measure="memory", goal=at_most(2)),
        Row(what="… one raw list", measure="raw_list_s", unit="s"),
        Row(what="… the decoded cache", measure="cache_mb", unit="MB", digits=0),
    ),
)
