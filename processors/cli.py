"""``processors run`` hosts processors in a process of their own; ``describe`` tells of them."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Literal

try:
    import click
except ModuleNotFoundError as error:  # the base install is for those who bring their own host
    raise SystemExit("processors needs click: pip install 'kvconfig[service]'") from error

from kvconfig.errors import InvalidName, KvError
from kvconfig.keys import check_name
from kvconfig.keyspace import Keyspace
from processors.errors import CannotHost
from processors.loading import Candidate, from_argument, from_group, load_all
from processors.processor import FlowProcessor
from processors.runner import Observe, default_instance, run, stop_on_signals

if TYPE_CHECKING:
    from kvconfig.etcd import Access

__all__ = ["main"]

logger = logging.getLogger(__name__)

_RUN_HELP = """\
Run processors until SIGTERM or Ctrl-C.

Each PROCESSOR is module:Class, or module:Class=ID to give it an id of its own. All run in this
process, on one connection to etcd. The folder you are in is searched for modules first.

A processor runs every variant that stands under /active-flow/ID/ in etcd: it starts what is put,
restarts what is changed, stops what is deleted, and retries what fails. What it reports stands at
/processor/ID/INSTANCE for as long as it lives.

Certificates, user and password come from the environment, as for etcdctl: ETCDCTL_CACERT,
ETCDCTL_CERT, ETCDCTL_KEY, ETCDCTL_USER, ETCDCTL_PASSWORD.

The first SIGTERM (or Ctrl-C) stops all variants in good order and removes that report; a second
one ends the process at once.

\b
Examples:
  processors run my.pipeline:Chunker
  processors run my.pipeline:Chunker my.pipeline:Indexer --log-format json
  processors run processors.samples.generic:Generic --id embeddings
  processors run my.pipeline:Chunker --endpoints etcd1:2379,etcd2:2379 --root @staging
  processors run --group pipeline.toml --metrics-port 9100
  processors run my.pipeline:Chunker --state-file chunker.state

\b
Many in one process, with arguments for their classes: pipeline.toml
  [[processor]]
  class = "my.pipeline:Chunker"
  [[processor]]
  class = "my.pipeline:Loader"
  id = "loader-docs"                # else the one of the class
  arguments = {folder = "docs"}     # what Loader(folder="docs") is given

\b
Watched from outside, with --metrics-port:
  /metrics  for Prometheus: variants by state, starts, restarts, failures, how
            long changes took, the age of what is known of etcd; by processor
  /livez    503 while the event loop hangs, as when a variant blocks it
  /readyz   503 until all is read from etcd, while etcd gives no sign of life,
            and when the process is about to end; the text says what is missing

\b
In a container of Kubernetes, with --metrics-port 9100 --metrics-address 0.0.0.0:
  livenessProbe:
    httpGet: {path: /livez, port: 9100}
    timeoutSeconds: 5
  readinessProbe:
    httpGet: {path: /readyz, port: 9100}
    timeoutSeconds: 5

\b
Try one by hand:
  processors run processors.samples.generic:Generic=hello
  etcdctl put /active-flow/hello/f1 '{"topics":{},"parameters":{"greeting":"hi"}}'
  etcdctl get --prefix /processor/hello/
  etcdctl del /active-flow/hello/f1
"""


@click.group(help="Runs stream processors on flows that stand in etcd.")
def main() -> None:
    """The group; see its help."""


_named = click.argument("processors", nargs=-1, metavar="[PROCESSOR]...")
_grouped = click.option(
    "--group",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file with more of them, as `processors run --help` shows it.",
)
_with_id = click.option(
    "--id",
    "id_",
    metavar="ID",
    default="",
    help="The id of the one PROCESSOR that is given, as PROCESSOR=ID.",
)


@main.command("describe")
@_named
@_grouped
@_with_id
def describe_command(processors: tuple[str, ...], *, group: Path | None, id_: str) -> None:
    """Print what processors declare, as JSON: the types of configuration that each reads.

    PROCESSOR is as for `processors run`; nothing is run. `flowctl rbac` makes rights of it.

    \b
    Examples:
      processors describe my.pipeline:Chunker
      processors describe --group pipeline.toml > processors.json
    """
    import json

    try:
        loaded = _loaded(processors, group, id_)
    except CannotHost as error:
        raise click.UsageError(str(error)) from error
    declared = [{"id": one.id, "config": sorted(one.spec.config)} for one in loaded]
    click.echo(json.dumps(declared, indent=2))


@main.command("run", help=_RUN_HELP)
@_named
@_grouped
@_with_id
@click.option(
    "--endpoints",
    default="",
    help="etcd, as host:port, with commas between several.  "
    "[default: ETCDCTL_ENDPOINTS, else 127.0.0.1:2379]",
)
@click.option("--root", default="", help="The system to belong to, as in @staging.")
@click.option(
    "--instance",
    default="",
    help="The name of this process among all that run the same processors. "
    "Two must never share one.  [default: host name and process id]",
)
@click.option(
    "--state-file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the last known configuration there, and start from it, marked as stale, when etcd "
    "does not answer. One file for each process.  [default: wait for etcd]",
)
@click.option(
    "--metrics-port",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help="Serve /metrics, /livez and /readyz there; 0 takes a free port.  [default: none]",
)
@click.option(
    "--metrics-address",
    metavar="ADDRESS",
    default="127.0.0.1",
    show_default=True,
    help="Where to listen for that: 0.0.0.0 or :: lets others in.",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="How lines on standard output look; json has one object a line.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
def run_command(
    processors: tuple[str, ...],
    *,
    group: Path | None,
    id_: str,
    endpoints: str,
    root: str,
    instance: str,
    state_file: Path | None,
    metrics_port: int | None,
    metrics_address: str,
    log_format: Literal["text", "json"],
    log_level: str,
) -> None:
    """Load, then run: what is wrong with the arguments is said before anything starts."""
    from kvconfig import jsonlog
    from processors.hiding import hide_in_logs

    jsonlog.configure(log_format, sys.stdout, log_level.upper())
    hide_in_logs()
    name = instance or default_instance()
    try:
        loaded = _loaded(processors, group, id_)
        keyspace = Keyspace(root)
        check_name(name, "instance")
        access = _access(endpoints)
    except (CannotHost, InvalidName, ValueError) as error:
        raise click.UsageError(str(error)) from error
    try:
        asyncio.run(
            _serve(
                loaded,
                access,
                keyspace,
                name,
                state_file=state_file,
                metrics_port=metrics_port,
                metrics_address=metrics_address,
            )
        )
    except (KvError, CannotHost) as error:
        raise click.ClickException(str(error)) from error


def _loaded(processors: Sequence[str], group: Path | None, id_: str) -> list[FlowProcessor]:
    """All that are given, their modules looked for in the folder one is in first."""
    sys.path.insert(0, str(Path.cwd()))
    return load_all(_candidates(processors, group, id_))


def _candidates(processors: Sequence[str], group: Path | None, id_: str) -> list[Candidate]:
    """All that is to be hosted."""
    if not processors and group is None:
        raise click.UsageError("which processors? give a PROCESSOR, or --group FILE")
    if id_ and (group is not None or len(processors) != 1):
        raise click.UsageError(
            "--id is for one PROCESSOR: of several, each is given as PROCESSOR=ID"
        )
    named = [from_argument(text, id_=id_) for text in processors]
    return named + (from_group(group) if group is not None else [])


def _access(endpoints: str) -> Access:
    """How to reach etcd: what is given, and the rest as etcdctl finds it."""
    from kvconfig.etcd import Access

    given = {"ETCDCTL_ENDPOINTS": endpoints} if endpoints else {}
    return Access.from_environ({**os.environ, **given})


async def _serve(
    processors: Sequence[FlowProcessor],
    access: Access,
    keyspace: Keyspace,
    instance: str,
    *,
    state_file: Path | None,
    metrics_port: int | None,
    metrics_address: str,
) -> None:
    from kvconfig.etcd import connect

    with stop_on_signals() as stop:
        async with (
            _monitored(metrics_port, metrics_address) as (observe, served),
            connect(access) as store,
        ):
            logger.info(
                "running",
                extra={
                    "processors": [processor.id for processor in processors],
                    "endpoints": access.endpoints,
                    "root": keyspace.root,
                    "instance": instance,
                    **served,
                },
            )
            await store.log_advice()
            await run(
                store,
                processors,
                stop,
                keyspace=keyspace,
                instance=instance,
                state_file=state_file,
                observe=observe,
            )
        logger.info("ended", extra={"instance": instance})


@asynccontextmanager
async def _monitored(
    port: int | None, address: str
) -> AsyncIterator[tuple[Observe, dict[str, str]]]:
    """What is to be entered while instances run, and where it is served; nothing without a port."""
    if port is None:
        yield nullcontext, {}
        return
    try:
        from processors.monitor import monitored
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        need = "--metrics-port needs prometheus-client: pip install 'kvconfig[service]'"
        raise click.UsageError(need) from error
    async with AsyncExitStack() as stack:
        try:
            monitor = await stack.enter_async_context(monitored(port, address))
        except OSError as error:
            where = f"--metrics-port {port} at {address}"
            raise click.UsageError(f"{where}: {error.strerror}") from error
        yield monitor.observe, {"metrics": f"{monitor.url}/metrics"}


if __name__ == "__main__":
    main()
