"""``flowctl up``: the whole system on this machine, in the foreground, with data that stay.

The folder is in :mod:`flowsvc.cli.folder`, what runs in :mod:`flowsvc.cli.machine`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flowsvc.cli.scenario import SAMPLE
from flowsvc.cli.settings import DEFAULT_SERVER, run

if TYPE_CHECKING:
    from pathlib import Path

    from flowsvc.cli.machine import Machine

__all__ = ["command"]


@click.command("up")
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Where etcd keeps its data, and logs are written. "
    "[default: kvconfig/up in XDG_STATE_HOME, else in ~/.local/state]",
)
@click.option(
    "--port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    default=int(DEFAULT_SERVER.rpartition(":")[2]),
    show_default=True,
    help="Of the flow service; 0 takes a free one.",
)
@click.option(
    "--etcd-port",
    metavar="PORT",
    type=click.IntRange(0, 65534),
    default=2379,
    show_default=True,
    help="Of etcd, which takes the next one too; 0 takes free ones.",
)
@click.option("--no-processors", is_flag=True, help="Only etcd and the flow service.")
@click.option(
    "--group",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Your own processors instead of the samples: a TOML file as for `processors run`.",
)
@click.option(
    "--bootstrap",
    "seeds",
    metavar="SEED",
    multiple=True,
    type=click.Path(exists=True),
    help="A file or a folder to seed from, as for `flowctl bootstrap`. May be repeated.",
)
@click.option(
    "--print-env",
    is_flag=True,
    help="Print what to export to talk to the one that runs on --data, and start nothing.",
)
def command(
    *,
    data: str | None,
    port: int,
    etcd_port: int,
    no_processors: bool,
    group: str | None,
    seeds: tuple[str, ...],
    print_env: bool,
) -> None:
    """Run etcd, the flow service and processors on this machine, until Ctrl-C.

    What was started here runs again the next time: etcd's data stay in a folder. Each of the three
    is a process; none of them outlives this one. By default the processors are the samples, a
    document index. A line is printed for each change in what a flow does; logs are in the folder.

    Of a machine that matters, etcd is run by its operators: deploy/ has files for the rest.

    \b
    Example:
      flowctl up
      eval "$(flowctl up --print-env)"
    \b
      flowctl up --group pipeline.toml --bootstrap seed.json
      flowctl up --no-processors --data second --port 0 --etcd-port 0
    """
    from pathlib import Path

    from flowsvc.cli.folder import default_folder

    if group and no_processors:
        raise click.UsageError("--group and --no-processors: which of the two?")
    folder = Path(data).absolute() if data else default_folder()
    if print_env:
        _print_env(folder)
        return
    from flowsvc.cli.machine import Machine

    processors = ("--group", group) if group else () if no_processors else SAMPLE
    machine = Machine(
        port=port,
        etcd_port=etcd_port,
        processors=processors,
        sample=processors is SAMPLE,
        seeds=[Path(seed) for seed in seeds],
    )
    _run(machine, folder)


def _print_env(folder: Path) -> None:
    """For a shell to evaluate."""
    from flowsvc.cli.folder import who_runs

    running = who_runs(folder)
    if running is None or not running.server:
        why = "is starting still" if running else "does not run"
        raise click.ClickException(f"`flowctl up` {why} on {folder}; --data names another folder")
    click.echo(f"export ETCDCTL_ENDPOINTS={running.etcd}")
    click.echo(f"export FLOWCTL_SERVER={running.server}")


def _run(machine: Machine, folder: Path) -> None:
    import asyncio

    from flowsvc.cli.folder import hold

    with hold(folder) as held:
        try:
            run(machine.run(held))
        except asyncio.CancelledError:  # by now everything has ended
            click.echo("ended")
