"""``flowctl serve``: the flow service, as a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Literal

import click

from flowsvc.cli.access import Access, access_options, opened
from flowsvc.cli.settings import (
    DEFAULT_SERVER,
    Settings,
    endpoints_option,
    open_store,
    root_option,
    run,
)

if TYPE_CHECKING:
    from flowsvc.model import Flows
    from flowsvc.reread import Reread
    from flowsvc.service import FlowService
    from kvconfig.informer import Informer

__all__ = ["command"]

FRESH_S = 30.0
"""How old a cache may be: a watch gives up a silent etcd after 15 s, and then lists again."""


@click.command("serve")
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=DEFAULT_SERVER,
    show_default=True,
    envvar="FLOWCTL_LISTEN",
    show_envvar=True,
    help="Loopback only, unless there is --cert. Port 0 takes a free one.",
)
@endpoints_option
@root_option
@access_options
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
    "--reflection",
    is_flag=True,
    help="Tell gRPC clients which methods there are, as grpcurl asks.",
)
@click.option(
    "--metrics-port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help="Serve Prometheus metrics there; 0 takes a free port.  [default: none]",
)
@click.option(
    "--metrics-address",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Where to listen for that: 0.0.0.0 or :: lets others in. They learn how much is done and "
    "how fast, and no name or value.",
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
    access: Access,
    grace_s: float,
    reflection: bool,
    metrics_port: int | None,
    metrics_address: str,
    log_format: Literal["json", "text"],
    log_level: str,
) -> None:
    """Run the flow service on an etcd, until SIGTERM. It offers the configuration as well.

    Any number may run on one etcd; none of them is a leader, and any can be killed at any moment.
    The first line of the log that says "listening" holds the address. Health is told by
    grpc.health.v1: SERVING while etcd gives signs of life.

    With --cert and --key it serves over TLS, to those who show a certificate of --client-ca or a
    token of --tokens; --policy says who may do what. All these files are read again when they
    change.

    \b
    Example:
      flowctl serve --endpoints 127.0.0.1:2379 --listen 127.0.0.1:7480
      flowctl serve --endpoints 127.0.0.1:2379 --listen 0.0.0.0:7480 --cert server.pem \\
        --key server.key --client-ca ca.pem --policy policy.toml --audit-log audit.jsonl
    """
    if not endpoints:
        raise click.UsageError("which etcd? give --endpoints HOST:PORT, or set ETCDCTL_ENDPOINTS")
    _configure_log(log_format, log_level)
    settings = Settings(endpoints=endpoints, root=root)
    run(
        _serve(
            settings,
            listen,
            access,
            grace_s,
            reflection=reflection,
            metrics_port=metrics_port,
            metrics_address=metrics_address,
        )
    )


def _configure_log(log_format: Literal["json", "text"], log_level: str) -> None:
    import sys

    from kvconfig import jsonlog

    jsonlog.configure(log_format, sys.stderr, log_level.upper())


async def _serve(
    settings: Settings,
    listen: str,
    access: Access,
    grace_s: float,
    *,
    reflection: bool,
    metrics_port: int | None,
    metrics_address: str,
) -> None:
    import asyncio
    import logging
    import signal

    from flowsvc import server
    from flowsvc.service import FlowService
    from kvconfig.config import Config
    from kvconfig.keyspace import Keyspace

    log = logging.getLogger(__name__)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    keyspace = Keyspace(settings.root)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with AsyncExitStack() as stack:
            door = stack.enter_context(opened(access))
            store = await stack.enter_async_context(open_store(settings))
            service = await stack.enter_async_context(FlowService(store, keyspace))
            ages = _cache_ages(service)
            measured = _measured(service, ages, door.files, metrics_port, metrics_address)
            flows, metrics_at = stack.enter_context(measured)
            port = await stack.enter_async_context(
                server.serve(
                    flows,
                    listen,
                    config=Config(store, keyspace),
                    tls=door.tls,
                    guard=door.guard,
                    grace_s=grace_s,
                    reflection=reflection,
                    fresh=lambda: all(age_s() < FRESH_S for age_s in ages.values()),
                )
            )
            address = f"{listen.rpartition(':')[0]}:{port}" if port else listen
            where = {"address": address, "endpoints": settings.endpoints, **metrics_at}
            log.info("listening", extra=where)
            await store.log_advice()
            await stop.wait()
            log.info("stopping", extra={"grace_s": grace_s})
    except server.ListenRefused as error:
        raise click.UsageError(str(error)) from error
    log.info("stopped")


def _cache_ages(service: FlowService) -> dict[str, Callable[[], float]]:
    """How to learn the age of each cache, by the type of its keys."""

    def age_of(informer: Informer[Any]) -> Callable[[], float]:
        return lambda: informer.last_progress_age_s

    caches: list[Informer[Any]] = [service.flows, service.blueprints, service.parameter_types]
    return {informer.name: age_of(informer) for informer in caches}


@contextmanager
def _measured(
    service: Flows,
    ages: dict[str, Callable[[], float]],
    files: Iterable[Reread[Any]],
    port: int | None,
    address: str,
) -> Iterator[tuple[Flows, dict[str, str]]]:
    """The service with metrics, and where they are; or as it is, where no port is given."""
    if port is None:
        yield service, {}
        return
    from flowsvc.metrics import Measured, Metrics, exposed

    metrics = Metrics()
    for name, age_s in ages.items():
        metrics.cache(name, age_s)
    for file in files:
        metrics.file(file.name, file.refused)
    with ExitStack() as stack:
        try:
            bound = stack.enter_context(exposed(metrics, port, address))
        except OSError as error:
            where = f"--metrics-port {port} at {address}"
            raise click.UsageError(f"{where}: {error.strerror}") from error
        host = f"[{address}]" if ":" in address else address
        yield Measured(service, metrics), {"metrics": f"http://{host}:{bound}/metrics"}
