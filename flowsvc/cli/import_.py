"""``flowctl import``."""

from __future__ import annotations

from typing import Any

import click

from flowsvc.cli.seeds import carry_out, seed_options
from flowsvc.cli.settings import Settings, connection_options

__all__ = ["command"]


@click.command("import")
@seed_options
@click.option(
    "--mode",
    type=click.Choice(["merge", "replace"]),
    default="merge",
    show_default=True,
    help="replace: of the types in SEED, what is there and not in SEED is deleted.",
)
@click.option(
    "--change-flows",
    is_flag=True,
    help="Update flows that run otherwise and, with --mode replace, stop those not in SEED.",
)
@connection_options
def command(*, settings: Settings, mode: str, change_flows: bool, **options: Any) -> None:
    """Make configuration, definitions and flows what SEED says: what `flowctl export` has written.

    What differs is written and nothing else, in many transactions; all of SEED is checked before
    the first of them. What broke off is simply run again. SEED is what `flowctl bootstrap` takes:
    files, folders, - for standard input.

    Flows that are not there are started. One that is there is left as it is, running or paused,
    and what it rests on is not deleted, unless --change-flows.

    \b
    Example:
      flowctl export --file system.json --endpoints etcd1:2379
      flowctl import system.json --mode replace --dry-run --endpoints etcd2:2379
      flowctl import system.json --mode replace --endpoints etcd2:2379
    """
    from flowsvc.bootstrap import Policy

    policy = Policy(when_different="replace", prune=mode == "replace", change_flows=change_flows)
    carry_out(settings, policy, verb="import", **options)
