"""``processors run``: hosts processors in a process of their own."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
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
from processors.loading import load_all
from processors.processor import FlowProcessor
from processors.runner import default_instance, run, stop_on_signals

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
  processors run processors.samples.generic:Generic=embeddings
  processors run my.pipeline:Chunker --endpoints etcd1:2379,etcd2:2379 --root @staging

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


@main.command("run", help=_RUN_HELP)
@click.argument("processors", nargs=-1, required=True, metavar="PROCESSOR...")
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
    endpoints: str,
    root: str,
    instance: str,
    log_format: Literal["text", "json"],
    log_level: str,
) -> None:
    """Load, then run: what is wrong with the arguments is said before anything starts."""
    from kvconfig import jsonlog

    jsonlog.configure(log_format, sys.stdout, log_level.upper())
    sys.path.insert(0, str(Path.cwd()))
    name = instance or default_instance()
    try:
        loaded = load_all(processors)
        keyspace = Keyspace(root)
        check_name(name, "instance")
        access = _access(endpoints)
    except (CannotHost, InvalidName, ValueError) as error:
        raise click.UsageError(str(error)) from error
    try:
        asyncio.run(_serve(loaded, access, keyspace, name))
    except (KvError, CannotHost) as error:
        raise click.ClickException(str(error)) from error


def _access(endpoints: str) -> Access:
    """How to reach etcd: what is given, and the rest as etcdctl finds it."""
    from kvconfig.etcd import Access

    given = {"ETCDCTL_ENDPOINTS": endpoints} if endpoints else {}
    return Access.from_environ({**os.environ, **given})


async def _serve(
    processors: Sequence[FlowProcessor], access: Access, keyspace: Keyspace, instance: str
) -> None:
    from kvconfig.etcd import connect

    with stop_on_signals() as stop:
        logger.info(
            "running",
            extra={
                "processors": [processor.id for processor in processors],
                "endpoints": access.endpoints,
                "root": keyspace.root,
                "instance": instance,
            },
        )
        async with connect(access) as store:
            await store.log_advice()
            await run(store, processors, stop, keyspace=keyspace, instance=instance)
        logger.info("ended", extra={"instance": instance})


if __name__ == "__main__":
    main()
