"""``flowctl doctor``: what is wrong with an etcd, with what lies in it, and what to do about it."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from flowsvc.cli.output import View, output_option, print_table, show
from flowsvc.cli.settings import (
    Duration,
    Settings,
    endpoints_option,
    open_store,
    root_option,
    run,
)

if TYPE_CHECKING:
    from flowsvc.doctor import Check, Facts

__all__ = ["command"]

WIDTH = 80
"""Of a sentence. Commands stay on one line, to be copied."""


@click.command("doctor")
@click.option(
    "--write",
    is_flag=True,
    help="Also measure commits: by a lease that holds no key. Otherwise it only reads.",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="DURATION",
    type=Duration(bare=True),
    default="5s",
    show_default=True,
    help="How long each check may take.",
)
@endpoints_option
@root_option
@output_option
def command(
    *, write: bool, timeout_s: float, endpoints: tuple[str, ...], root: str, output: str
) -> None:
    """Look at an etcd and what lies in it: what is wrong, what that means, and the cure.

    The connection and how fast it is, versions and their known faults, quorum, alarms, room,
    compaction, TLS, users and rights, watches, silent instances, flows, and what fsck finds.
    Looks at etcd itself, beside services that run, and works where little else does: what does
    not answer is a finding. The exit code is 1 if there are errors; warnings may be.

    \b
    Example:
      flowctl doctor --endpoints 127.0.0.1:2379
      flowctl doctor --endpoints 127.0.0.1:2379 --write -o json
    """
    if not endpoints:
        raise click.UsageError("which etcd? give --endpoints HOST:PORT, or set ETCDCTL_ENDPOINTS")
    settings = Settings(endpoints=endpoints, root=root, timeout_s=timeout_s)
    from flowsvc.doctor import examine

    checks = examine(run(_probed(settings, write=write)))
    if output in ("table", "wide"):
        print_table(["VERDICT", "CHECK", "FOUND"], _rows(checks))
    else:
        show(checks, CHECK, output)
    counts = Counter(str(check.verdict) for check in checks)
    click.echo(_summary(counts), err=True)
    if counts["error"]:
        raise click.exceptions.Exit(1)


async def _probed(settings: Settings, *, write: bool) -> Facts:
    from flowsvc.probe import probe
    from kvconfig.keyspace import Keyspace

    keyspace = Keyspace(settings.root)
    async with open_store(settings) as store:  # it connects to nothing until it is asked something
        return await probe(store.access, keyspace, timeout_s=settings.timeout_s, write=write)


CHECK = View(
    name=lambda check: check.name,
    columns={},
    as_json=lambda check: {
        "name": check.name,
        "verdict": check.verdict,
        "found": check.found,
        "means": check.means,
        "cure": list(check.cure),
    },
)


def _rows(checks: Sequence[Check]) -> Iterator[tuple[str, str, str]]:
    """One line for what is well; for the rest also what it means, and the cure."""
    for check in checks:
        yield check.verdict, check.name, check.found
        if check.verdict == "ok":
            continue
        for line in textwrap.wrap(check.means, WIDTH, break_on_hyphens=False):
            yield "", "", f"  {line}"
        for line in check.cure:
            yield "", "", f"  > {line}"


def _summary(counts: Counter[str]) -> str:
    bad = [f"{counts[verdict]} {verdict}s" for verdict in ("error", "warning", "note")]
    skipped = f"; {counts['skipped']} could not be looked at" if counts["skipped"] else ""
    return f"{counts.total()} checks: {', '.join(bad)}{skipped}"
