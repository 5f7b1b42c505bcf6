"""``flowctl migrate``: from the configuration of an older system, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_args

import click

from flowsvc.cli.output import (
    findings_as_json,
    output_of,
    print_json,
    print_table,
    printable,
    warn,
)
from flowsvc.cli.settings import Settings, actor, endpoints_option, open_store, root_option, run

if TYPE_CHECKING:
    from flowsvc.errors import Finding
    from flowsvc.migrate import Report, Shape, Written
    from flowsvc.migrate.document import Document
    from flowsvc.model import Actor

__all__ = ["command"]

SHAPES = ("blob", "interim", "processor", "class")


@click.command("migrate")
@click.argument("file", required=False, type=click.Path(dir_okay=False, allow_dash=True))
@click.option(
    "--from-etcd",
    is_flag=True,
    help="Migrate what an older layout has in this very etcd, below --root.",
)
@click.option(
    "--to",
    "shape",
    type=click.Choice(SHAPES),
    help="The way back: what stands, as the document of an older version; to FILE, or printed.",
)
@click.option(
    "--flat/--nested",
    default=None,
    help="With --to: topics and parameters side by side, or apart. [default: as they were]",
)
@click.option("--dry-run", is_flag=True, help="Show what it would do, and write nothing.")
@click.option(
    "--workspace", default="default", show_default=True, help="What {workspace} stands for."
)
@click.option("--by", metavar="NAME", envvar="FLOWCTL_BY", help="Who does it. [default: you]")
@endpoints_option
@root_option
@click.option("--server", hidden=True, help="Cannot be used: this works on etcd itself.")
@output_of("text", "json")
def command(
    *,
    file: str | None,
    from_etcd: bool,
    shape: Shape | None,
    flat: bool | None,
    dry_run: bool,
    workspace: str,
    by: str | None,
    endpoints: tuple[str, ...],
    root: str,
    server: str | None,
    output: str,
) -> None:
    """Take over flows, definitions and configuration of an older system, value for value.

    FILE is the whole configuration as one JSON document, {type: {key: value}}, of any version:
    blobs of active flows, types processor:ID, or the flow classes of 1.x. With --from-etcd the
    same is found in etcd, and each flow leaves the old keys at the revision at which it gets its
    new ones. Works on etcd itself, without a flow service; that of the old system has to rest.

    It can be broken off and run again, and a second run writes nothing. What is there already with
    another value is left. What could not be carried over, or not as it was, is told on stderr;
    the exit code is 1 if anything could not. With --to it goes back; see docs/migrating.md.

    \b
    Example:
      flowctl migrate config.json --endpoints 127.0.0.1:2379 --dry-run
      flowctl migrate config.json --endpoints 127.0.0.1:2379
      flowctl migrate --from-etcd --endpoints 127.0.0.1:2379
      flowctl migrate --to blob old.json --endpoints 127.0.0.1:2379
    """
    if server or not endpoints:
        said = "it works on etcd itself, not through a flow service: give --endpoints HOST:PORT"
        raise click.UsageError(said)
    settings = Settings(endpoints=endpoints, root=root)
    if shape is not None:
        if from_etcd or dry_run:
            raise click.UsageError("--to only reads: give it without --from-etcd and --dry-run")
        _go_back(settings, shape, flat, file)
        return
    if flat is not None:
        raise click.UsageError("--flat and --nested are for --to")
    if from_etcd == (file is not None):
        raise click.UsageError("migrate what? give FILE or --from-etcd")
    from flowsvc.migrate.document import parse_document
    from kvconfig.keys import check_name

    check_name(workspace, "workspace")
    document = None if file is None else parse_document(_read(file), file)
    who = actor(by, f"migrate {file or '--from-etcd'}")
    report, written = run(_migrated(settings, document, workspace, who, dry_run=dry_run))
    _show(report, written, output)
    if not report.is_whole:
        raise click.exceptions.Exit(1)


# -- from an old system ---------------------------------------------------------------------------


def _read(file: str) -> bytes:
    try:
        with click.open_file(file, "rb") as stream:
            data: bytes = stream.read()
    except OSError as error:
        raise click.BadParameter(f"{file!r}: {error.strerror}", param_hint="FILE") from error
    return data


async def _migrated(
    settings: Settings,
    document: Document | None,
    workspace: str,
    who: Actor,
    *,
    dry_run: bool,
) -> tuple[Report, list[Written] | None]:
    """What became of it, and in a dry run which keys would be written."""
    from flowsvc.migrate import migrate, rehearse
    from kvconfig.keyspace import Keyspace
    from kvconfig.store import Store

    keyspace = Keyspace(settings.root)

    def tell(line: str) -> None:
        if not dry_run:  # the revisions are those of a copy
            click.echo(printable(line), err=True)

    async def act(store: Store) -> Report:
        return await migrate(
            store, keyspace, document=document, workspace=workspace, actor=who, tell=tell
        )

    async with open_store(settings) as store:
        if dry_run:
            return await rehearse(store, keyspace, act)
        return await act(store), None


def _show(report: Report, written: list[Written] | None, output: str) -> None:
    """What became of it to stdout; remarks, for people, to stderr."""
    import msgspec

    from flowsvc.migrate.report import Outcome
    from kvconfig.errors import show_key

    counts = report.counts()
    outcomes = [o for o in get_args(Outcome) if any(each[o] for each in counts.values())]
    if output == "json":
        found: dict[str, Any] = {
            "style": msgspec.to_builtins(report.style),
            "outcomes": report.outcomes,
            "findings": findings_as_json(report.findings),
        }
        if written is not None:
            found["written"] = [_as_json(each) for each in written]
        print_json(found)
    else:
        head = ["TYPE", *(outcome.upper() for outcome in outcomes)]
        print_table(
            head,
            [[type_, *(each[outcome] for outcome in outcomes)] for type_, each in counts.items()],
        )
        for each in written or ():
            click.echo(f"{each.sign} {show_key(each.key)}")
        warn(report.findings)
    if written is not None:
        click.echo(f"nothing was written; {len(written)} keys would be", err=True)


def _as_json(written: Written) -> dict[str, Any]:
    from kvconfig.errors import show_key

    return {
        "key": show_key(written.key),
        "before": _value(written.before),
        "after": _value(written.after),
    }


def _value(value: bytes | None) -> Any:
    """JSON, or where somebody wrote something else, the text."""
    from kvconfig.codec import parse_json
    from kvconfig.errors import InvalidValue

    if value is None:
        return None
    try:
        return parse_json(value)
    except InvalidValue:
        return value.decode("utf-8", "backslashreplace")


# -- and back -------------------------------------------------------------------------------------


def _go_back(settings: Settings, shape: Shape, flat: bool | None, file: str | None) -> None:
    """Print the document, or write it to a file that is not there yet."""
    import json

    document, findings = run(_document(settings, shape, flat))
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
    if file in (None, "-"):
        click.echo(text)
    else:
        _write(str(file), f"{text}\n")
    warn(findings)
    if any(finding.severity == "error" for finding in findings):
        raise click.exceptions.Exit(1)


async def _document(
    settings: Settings, shape: Shape, flat: bool | None
) -> tuple[dict[str, Any], list[Finding]]:
    from flowsvc.migrate import as_document
    from kvconfig.keyspace import Keyspace
    from kvconfig.layout import check_layout

    keyspace = Keyspace(settings.root)
    async with open_store(settings) as store:
        await check_layout(store, keyspace)
        return await as_document(store, keyspace, shape, flat=flat)


def _write(file: str, text: str) -> None:
    from pathlib import Path

    try:
        with Path(file).open("x", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise click.BadParameter(f"{file!r}: {error.strerror}", param_hint="FILE") from error
