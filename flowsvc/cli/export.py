"""``flowctl export``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import click

from flowsvc.cli.output import printable
from flowsvc.cli.progress import watched
from flowsvc.cli.seeds import counted, format_option
from flowsvc.cli.settings import Settings, endpoints_option, open_store, root_option, run

if TYPE_CHECKING:
    from pathlib import Path

    from flowsvc.seed.export import Exported
    from flowsvc.seed.shape import Format

__all__ = ["command"]


@click.command("export")
@click.argument("types", metavar="[TYPE]...", nargs=-1)
@click.option(
    "-f",
    "--file",
    "name",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Where to write it, once it is whole. [default: standard output]",
)
@format_option("How to write it. [default: what FILE ends with, else JSON]")
@endpoints_option
@root_option
def command(
    *,
    types: tuple[str, ...],
    name: str | None,
    format_: Format | None,
    endpoints: tuple[str, ...],
    root: str,
) -> None:
    """Write all configuration, definitions and flows, or those of TYPE, as one document.

    It is what stands in etcd at one revision, as a seed for `flowctl import` and `flowctl
    bootstrap`; flows are what they were started with. What follows from that (variants, history,
    who runs what) is not in it.

    What cannot be exported, such as a value that is not JSON, is left out, so that it does not keep
    the rest from being saved. It is told on stderr; the last line says then that this is not
    complete, and the exit code is 1. `flowctl config put` or `delete` mends an item, `flowctl fsck`
    says what mends the rest.

    \b
    Example:
      flowctl export --endpoints 127.0.0.1:2379 > system.json
      flowctl export prompt tool --file prompts.yaml --endpoints 127.0.0.1:2379
    """
    if not endpoints:
        raise click.UsageError("which etcd? give --endpoints HOST:PORT, or set ETCDCTL_ENDPOINTS")
    from pathlib import Path

    from flowsvc.seed.reading import FORMATS

    settings = Settings(endpoints=endpoints, root=root)
    path = None if name is None else Path(name)
    chosen = format_ or FORMATS.get(path.suffix if path else "", "json")
    with _opened(path) as out:
        exported = run(_exported(settings, types, out, chosen))
    for finding in exported.left_out:
        click.echo(printable(f"left out: {finding.path}: {finding.message}"), err=True)
    for line in counted({type_: str(count) for type_, count in sorted(exported.counts.items())}):
        click.echo(line, err=True)
    not_all = "; not complete: see above" if exported.left_out else ""
    click.echo(f"at revision {exported.revision}{not_all}", err=True)
    if exported.left_out:
        raise click.exceptions.Exit(1)


async def _exported(
    settings: Settings, types: tuple[str, ...], out: BinaryIO, format_: Format
) -> Exported:
    from flowsvc.seed.export import export
    from flowsvc.seed.writing import writer
    from kvconfig.config.bulk import Bulk
    from kvconfig.keyspace import Keyspace
    from kvconfig.layout import check_layout

    keyspace = Keyspace(settings.root)
    async with open_store(settings) as store:
        await check_layout(store, keyspace)
        with watched() as watcher:
            return await export(
                Bulk(store, keyspace), writer(format_, out), types=types, watcher=watcher
            )


@contextmanager
def _opened(path: Path | None) -> Iterator[BinaryIO]:
    """Where to write; ``None``: standard output."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    try:
        with _whole(path.resolve()) as out:  # what a link leads to is written, not the link
            yield out
    except OSError as error:
        if error.errno is None:  # a timeout, say: no file has failed
            raise
        raise click.FileError(str(path), hint=error.strerror) from error


@contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """A file that is written beside, and takes its name once it is whole.

    Only its owner may read it, unless it was there before: configuration may hold secrets.
    """
    if path.exists() and not path.is_file():  # /dev/null, a pipe
        with path.open("wb") as out:
            yield out
        return
    import os
    import tempfile
    from pathlib import Path

    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(handle)
        if path.exists():
            part.chmod(path.stat().st_mode)
        part.replace(path)
    except BaseException:
        part.unlink()
        raise
