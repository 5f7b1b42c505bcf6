"""``flowctl fsck``: whether all keys of all flows are as they should be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from flowsvc.cli.output import View, count, output_option, show
from flowsvc.cli.settings import Settings, endpoints_option, open_store, root_option, run

if TYPE_CHECKING:
    from flowsvc.audit import Anomaly
    from flowsvc.fsck import Repaired

__all__ = ["command"]


@click.command("fsck")
@click.option("--repair", is_flag=True, help="Mend what can be mended, one transaction for each.")
@endpoints_option
@root_option
@output_option
def command(*, repair: bool, endpoints: tuple[str, ...], root: str, output: str) -> None:
    """Check that variants, references and history are what the flows' records say.

    And that where a parameter is secret no key holds a value of it, but references only.

    Looks at etcd itself, at one revision, beside services that run. Without --repair it only
    reads. The column REPAIR says whether a finding can be mended, or has been. The exit code is 0
    unless errors are left; warnings may be.

    \b
    Example:
      flowctl fsck --endpoints 127.0.0.1:2379
      flowctl fsck --endpoints 127.0.0.1:2379 --repair
    """
    if not endpoints:
        raise click.UsageError("which etcd? give --endpoints HOST:PORT, or set ETCDCTL_ENDPOINTS")
    repaired = run(_looked_at(Settings(endpoints=endpoints, root=root), repair=repair))
    rows = [(each, "done") for each in repaired.done]
    rows += [(each, "none" if each.repair is None else "possible") for each in repaired.left]
    show(rows, ANOMALY, output)
    click.echo(_summary(repaired, repair=repair), err=True)
    if any(each.severity == "error" for each in repaired.left):
        raise click.exceptions.Exit(1)


async def _looked_at(settings: Settings, *, repair: bool) -> Repaired:
    from flowsvc import fsck
    from kvconfig.keyspace import Keyspace

    keyspace = Keyspace(settings.root)
    async with open_store(settings) as store:
        if repair:
            return await fsck.repair(store, keyspace)
        revision, found = await fsck.check(store, keyspace)
        return fsck.Repaired(revision=revision, done=(), left=tuple(found))


ANOMALY = View(
    name=lambda row: row[0].key,
    columns={
        "SEVERITY": lambda row: row[0].severity,
        "CODE": lambda row: row[0].code,
        "REPAIR": lambda row: row[1],
        "KEY": lambda row: row[0].key,
        "MESSAGE": lambda row: row[0].message,
    },
    as_json=lambda row: {
        "severity": row[0].severity,
        "code": row[0].code,
        "repair": row[1],
        "key": row[0].key,
        "message": row[0].message,
    },
)


def _summary(repaired: Repaired, *, repair: bool) -> str:
    said = f"{_counted(repaired.left)} at revision {repaired.revision}"
    if repair:
        return f"{len(repaired.done)} repaired; {said}"
    mendable = sum(each.repair is not None for each in repaired.left)
    return f"{said}; --repair mends {mendable}" if mendable else said


def _counted(found: Sequence[Anomaly]) -> str:
    if not found:
        return "all is well"
    errors = sum(each.severity == "error" for each in found)
    return f"{count(errors, 'error')}, {count(len(found) - errors, 'warning')}"
