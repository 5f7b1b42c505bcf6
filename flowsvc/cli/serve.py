"""``flowctl serve``: the flow service, as a process of its own."""

from __future__ import annotations

from typing import Literal

import click

from flowsvc.cli.settings import (
    DEFAULT_SERVER,
    Settings,
    endpoints_option,
    open_store,
    root_option,
    run,
)

__all__ = ["command"]


@click.command("serve")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=DEFAULT_SERVER,
    show_default=True,
    envvar="FLOWCTL_LISTEN",
    show_envvar=True,
    help="Loopback only, as long as there is no TLS. Port 0 takes a free one.",
)
@endpoints_option
@root_option
@click.option(
    "--grace",
    "grace_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="How long running calls may take after SIGTERM.",
)
@click.option(
    "--log-format",
    type=click.Choice(["json", "text"]),
    default="json",
    show_default=True,
    help="How to write the log, on stderr.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="From which level on.",
)
def command(
    *,
    listen: str,
    endpoints: tuple[str, ...],
    root: str,
    grace_s: float,
    log_format: Literal["json", "text"],
    log_level: str,
) -> None:
    """Run the flow service on an etcd, until SIGTERM.

    Any number may run on one etcd; none of them is a leader. The first line of the log that says
    "listening" holds the address.

    \b
    Example:
      flowctl serve --endpoints 127.0.0.1:2379 --listen 127.0.0.1:7480
    """
    if not endpoints:
        raise click.UsageError("which etcd? give --endpoints HOST:PORT, or set ETCDCTL_ENDPOINTS")
    _configure_log(log_format, log_level)
    run(_serve(Settings(endpoints=endpoints, root=root), listen, grace_s))


def _configure_log(log_format: Literal["json", "text"], log_level: str) -> None:
    import sys

    from kvconfig import jsonlog

    jsonlog.configure(log_format, sys.stderr, log_level.upper())


async def _serve(settings: Settings, listen: str, grace_s: float) -> None:
    import asyncio
    import logging
    import signal

    from flowsvc import server
    from flowsvc.service import FlowService
    from kvconfig.keyspace import Keyspace

    log = logging.getLogger(__name__)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with (
            open_store(settings) as store,
            FlowService(store, Keyspace(settings.root)) as flows,
            server.serve(flows, listen, grace_s=grace_s) as port,
        ):
            address = f"{listen.rpartition(':')[0]}:{port}" if port else listen
            log.info("listening", extra={"address": address, "endpoints": settings.endpoints})
            await store.log_advice()
            await stop.wait()
            log.info("stopping", extra={"grace_s": grace_s})
    except server.ListenRefused as error:
        raise click.UsageError(str(error)) from error
    log.info("stopped")
