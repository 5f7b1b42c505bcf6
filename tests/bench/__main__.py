"""Runs each scenario in a process of its own, several times, and prints a table of medians.

    python -m tests.bench [--runs N] [SCENARIO ...]

Absolute times say more about the machine than about the code: look at the ratios.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
from collections.abc import Sequence

import click

from kvconfig.devserver import dev_server
from tests.bench.scenarios import SCENARIOS


async def _measure(name: str, endpoint: str) -> dict[str, float]:
    """One run of one scenario, in a process of its own: its figures."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.scenarios",
        name,
        endpoint,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise click.ClickException(f"{name} ended with {process.returncode}")
    figures: dict[str, float] = json.loads(out)
    return figures


async def _bench(names: Sequence[str], runs: int) -> None:
    async with dev_server() as server:
        version = ".".join(map(str, server.version))
        click.echo(f"etcd {version}, {os.cpu_count()} cores, medians of {runs} runs (min to max)")
        for name in names:
            click.echo(f"\n{name}: {SCENARIOS[name].about}")
            measured = [await _measure(name, server.endpoint) for _ in range(runs)]
            for figure in measured[0]:
                values = [run[figure] for run in measured]
                spread = f"{min(values):.3g} to {max(values):.3g}"
                click.echo(f"  {figure:<44} {statistics.median(values):>10.4g}   ({spread})")


@click.command()
@click.option("--runs", default=3, show_default=True, help="Runs of each scenario.")
@click.argument("names", nargs=-1, metavar="[SCENARIO]...")
def main(runs: int, names: tuple[str, ...]) -> None:
    """Measure the scenarios (all of them, unless some are named)."""
    unknown = set(names) - set(SCENARIOS)
    if unknown:
        raise click.UsageError(f"no scenario {unknown.pop()!r}; there are {', '.join(SCENARIOS)}")
    asyncio.run(_bench(names or tuple(SCENARIOS), runs))


if __name__ == "__main__":
    main()
