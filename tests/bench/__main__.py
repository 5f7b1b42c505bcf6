"""Measures every scenario, several times, each in a process of its own, and says what was reached.

    python -m tests.bench [--rounds N] [--write-docs] [--from RESULTS] [SCENARIO ...]

Absolute times say more about the machine than about the code: look at the ratios, and at the noise.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from kvconfig.devserver import EtcdUnavailable, find_etcd
from tests.bench.goals import Scenario
from tests.bench.places import REPOSITORY
from tests.bench.plot import plot
from tests.bench.report import Line, Results, lines_of, markdown, noise_of, text
from tests.bench.scenarios import SCENARIOS

RESULTS = REPOSITORY / "build" / "bench"
DOCUMENTS = REPOSITORY / "docs"
GENERATED = re.compile(r"(<!-- bench: ([\w ,-]+) -->\n).*?(<!-- end of bench -->)", re.DOTALL)
"""Where a document has the tables of some scenarios, by name."""


async def _measured(scenario: Scenario, rounds: int) -> dict[str, Any]:
    """All rounds of one scenario, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.scenarios", scenario.name, str(rounds)),
        stdout=asyncio.subprocess.PIPE,
        cwd=REPOSITORY,
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise click.ClickException(f"{scenario.name} ended with {process.returncode}")
    said = [json.loads(line) for line in out.splitlines()]
    skipped = [line["skipped"] for line in said if "skipped" in line]
    return {"skipped": skipped[0]} if skipped else {"rounds": [line["figures"] for line in said]}


def _machine() -> str:
    try:
        etcd = ".".join(map(str, find_etcd().version))
    except EtcdUnavailable as error:
        raise click.ClickException(str(error)) from error
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}; etcd {etcd} on disk, "
        f"Python {platform.python_version()}, grpcio {version('grpcio')}, "
        f"protobuf {version('protobuf')}; medians of the rounds"
    )


def _told(scenarios: Iterable[Scenario], results: Results) -> list[Line]:
    """Print the table; all its lines."""
    lines = []
    for scenario in scenarios:
        found = results["scenarios"].get(scenario.name)
        if found is None:
            continue
        if "skipped" in found:
            click.echo(f"\n{scenario.name}: not measured: {found['skipped']}")
            continue
        reached = lines_of(scenario, found["rounds"])
        click.echo(text(scenario, reached, noise_of(found["rounds"])))
        lines += reached
    return lines


async def _bench(scenarios: Sequence[Scenario], rounds: int) -> Results:
    results: dict[str, Any] = {"machine": _machine(), "scenarios": {}}
    click.echo(results["machine"])
    for scenario in scenarios:
        begun = time.monotonic()
        results["scenarios"][scenario.name] = await _measured(scenario, rounds)
        _told([scenario], results)
        click.echo(f"  took {time.monotonic() - begun:.0f} s")
    return results


def _kept(results: Results, folder: Path, picture: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(results, indent=1) + "\n", "utf-8")
    (folder / "bench.svg").write_text(picture, "utf-8")
    shown = folder.relative_to(REPOSITORY) if folder.is_relative_to(REPOSITORY) else folder
    click.echo(f"\nwritten: {shown}/bench.json and bench.svg")


def _documented(results: Results, picture: str) -> None:
    """Put the tables into the documents, and the picture beside them.

    A place keeps what it shows unless all of its scenarios were measured.
    """

    def filled(place: re.Match[str]) -> str:
        names = place[2].split()
        if not results["scenarios"].keys() >= set(names):
            return place[0]
        return f"{place[1]}\n{markdown([SCENARIOS[name] for name in names], results)}\n{place[3]}"

    for document in sorted(DOCUMENTS.glob("*.md")):
        before = document.read_text("utf-8")
        after = GENERATED.sub(filled, before)
        if after != before:
            document.write_text(after, "utf-8")
            click.echo(f"written: {document.relative_to(REPOSITORY)}")
    goals = {name for name, scenario in SCENARIOS.items() if scenario.has_goals}
    if results["scenarios"].keys() >= goals:
        (DOCUMENTS / "performance.svg").write_text(picture, "utf-8")


@click.command()
@click.option("--rounds", default=5, show_default=True, help="Rounds of each scenario.")
@click.option("--write-docs", is_flag=True, help="Put the tables into the documents.")
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure nothing: take the bench.json of an earlier run.",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=RESULTS,
    help="Where to write bench.json and bench.svg.  [default: build/bench]",
)
@click.argument("names", nargs=-1, metavar="[SCENARIO]...")
def main(
    *, rounds: int, write_docs: bool, source: Path | None, output: Path, names: tuple[str, ...]
) -> None:
    """Measure the scenarios (all that have goals, unless some are named)."""
    unknown = set(names) - set(SCENARIOS)
    if unknown:
        raise click.UsageError(f"no scenario {unknown.pop()!r}; there are {', '.join(SCENARIOS)}")
    with_goals = [name for name, scenario in SCENARIOS.items() if scenario.has_goals]
    scenarios = [SCENARIOS[name] for name in names or with_goals]
    if source is not None:
        results: Results = json.loads(source.read_text("utf-8"))
        lines = _told(scenarios if names else SCENARIOS.values(), results)
    else:
        results = asyncio.run(_bench(scenarios, rounds))
        lines = [
            line
            for scenario in scenarios
            for line in lines_of(scenario, results["scenarios"][scenario.name].get("rounds", ()))
        ]
    picture = plot(lines, "What was asked for, and what was reached")
    _kept(results, output, picture)
    if write_docs:
        _documented(results, picture)


if __name__ == "__main__":
    main()
