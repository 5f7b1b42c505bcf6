"""``history`` and ``diff``, which flows, blueprints and parameter types have alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from flowsvc.cli.completion import complete
from flowsvc.cli.output import (
    DATA,
    View,
    difference_line,
    output_option,
    print_data,
    printable,
    show,
)
from flowsvc.cli.settings import Duration, Settings, ask, connection_options

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from flowsvc.differences import Difference
    from flowsvc.model import HistoryEntry, HistoryKind

__all__ = ["diff_command", "history_group"]


class _ShowsByDefault(click.Group):
    """A group in which what is no command of its own is given to ``show``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click."""
        known = {*self.commands, *ctx.help_option_names}
        if args and args[0] not in known:
            args = ["show", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """See click; what ``show`` takes is offered too."""
        show = self.commands["show"]
        with show.make_context("show", [], parent=ctx, resilient_parsing=True) as shown:
            names = [
                item
                for parameter in show.params
                if isinstance(parameter, click.Argument)
                for item in parameter.shell_complete(shown, incomplete)
            ]
        return [*super().shell_complete(ctx, incomplete), *names]


def history_group(kind: HistoryKind, word: str, example: str) -> click.Group:
    """``flowctl <word> history``: of one, or to be pruned."""
    text, name = word.replace("-", " "), _metavar(kind)
    group = _ShowsByDefault(
        "history",
        short_help=f"What was done to a {text}, when, by whom and why.",
        help=f"What was done to a {text}, when, by whom and why; the newest first.\n\n"
        f"`history {name}` is short for `history show {name}`.\n\n\b\nExample:\n"
        f"  flowctl {word} history {example}\n"
        f"  flowctl {word} history prune --older-than 30d",
    )
    _add_show(group, kind, word, example)
    _add_prune(group, kind, word, example)
    return group


def _add_show(group: click.Group, kind: HistoryKind, word: str, example: str) -> None:
    help_ = (
        f"Show the history of one {word.replace('-', ' ')}, gone or not; the newest first.\n\n"
        "With -o json each entry holds what stood after it.\n\n\b\nExample:\n"
        f"  flowctl {word} history show {example}\n"
        f"  flowctl {word} history show {example} -o json"
    )

    @group.command("show", help=help_)
    @click.argument("name", metavar=_metavar(kind), shell_complete=complete(kind))
    @connection_options
    @output_option
    def show_(*, settings: Settings, output: str, name: str) -> None:
        show(ask(settings, lambda flows: flows.history(kind, name)), ENTRY, output)


def _add_prune(group: click.Group, kind: HistoryKind, word: str, example: str) -> None:
    help_ = (
        "Remove what is older than a time. Of what still exists the newest entry stays.\n\n"
        "Whatever the time, entries of the last hour stay: they make repeated requests safe.\n\n"
        "\b\nExample:\n"
        f"  flowctl {word} history prune --older-than 30d\n"
        f"  flowctl {word} history prune --older-than 12h {example} --dry-run"
    )

    @group.command("prune", help=help_)
    @click.argument(
        "name",
        metavar=f"[{_metavar(kind)}]",
        required=False,
        default="",
        shell_complete=complete(kind),
    )
    @click.option(
        "--older-than",
        "older_than_s",
        metavar="DURATION",
        type=Duration(),
        required=True,
        help="Such as 30d or 12h.",
    )
    @click.option("--dry-run", is_flag=True, help="Only count, and remove nothing.")
    @connection_options
    @output_option
    def prune(
        *, settings: Settings, output: str, name: str, older_than_s: float, dry_run: bool
    ) -> None:
        pruned = ask(
            settings,
            lambda flows: flows.prune_history(
                kind, older_than_s=older_than_s, name=name, dry_run=dry_run
            ),
        )
        if output in DATA:
            counts = {"removed": pruned.removed, "found": pruned.found, "dry-run": dry_run}
            print_data(counts, output)
        elif output != "name":
            did = "would be removed" if dry_run else "removed"
            click.echo(f"{pruned.removed} of {pruned.found} entries {did}")


def diff_command(kind: HistoryKind, word: str, example: str) -> click.Command:
    """``flowctl <word> diff``."""
    help_ = (
        f"Show what changed between two operations on a {word.replace('-', ' ')}.\n\n"
        "By default: what the newest one changed. With FROM_OP alone: all that changed since.\n\n"
        f"\b\nExample:\n  flowctl {word} diff {example}\n"
        f"  flowctl {word} diff {example} 01936c0e-8d5f-7a10-9f3e-5b6f8f0d2c41"
    )

    @click.command("diff", help=help_)
    @click.argument("name", metavar=_metavar(kind), shell_complete=complete(kind))
    @click.argument("from_op", required=False)
    @click.argument("to_op", required=False)
    @connection_options
    @output_option
    def diff(
        *, settings: Settings, output: str, name: str, from_op: str | None, to_op: str | None
    ) -> None:
        entries = ask(settings, lambda flows: flows.history(kind, name))
        before, after = _two(entries, from_op, to_op, of=f"{word.replace('-', ' ')} {name}")
        found = _between(before, after)
        if kind == "flow":  # the operations' own ids, which are in the head
            found = [each for each in found if each.path != "$.record.op"]
        if output in DATA:
            print_data(
                {
                    "from": before.op if before else None,
                    "to": after.op,
                    "differences": [_as_json(each) for each in found],
                },
                output,
            )
        elif output == "name":
            for each in found:
                click.echo(printable(each.path))
        else:
            click.echo(f"from  {_headline(before)}")
            click.echo(f"to    {_headline(after)}")
            for each in found:
                click.echo(difference_line(each))

    return diff


def _metavar(kind: HistoryKind) -> str:
    return "ID" if kind == "flow" else "NAME"


# -- in words ------------------------------------------------------------------------------------


ENTRY = View(
    name=lambda entry: entry.op,
    columns={
        "OP": lambda entry: entry.op,
        "ACTION": lambda entry: entry.action,
        "REVISION": lambda entry: entry.revision,
        "AT": lambda entry: entry.at,
        "BY": lambda entry: entry.by,
        "WHY": lambda entry: entry.why,
    },
    as_json=lambda entry: {
        "op": entry.op,
        "action": entry.action,
        "revision": entry.revision,
        "at": entry.at,
        "by": entry.by,
        "why": entry.why,
        "after": entry.after,
    },
)


def _two(
    entries: Sequence[HistoryEntry], from_op: str | None, to_op: str | None, *, of: str
) -> tuple[HistoryEntry | None, HistoryEntry]:
    """The entries to compare; ``None`` where nothing is known from before the oldest one."""
    from flowsvc.errors import NotFound

    by_op = {entry.op: entry for entry in entries}
    for op in (from_op, to_op):
        if op is not None and op not in by_op:
            raise NotFound("history entry", f"{op} of {of}")
    after = by_op[to_op] if to_op else entries[0]
    if from_op:
        return by_op[from_op], after
    return (entries[1] if len(entries) > 1 else None), after


def _between(before: HistoryEntry | None, after: HistoryEntry) -> list[Difference]:
    from flowsvc.differences import ABSENT, differences

    one, other = (
        ABSENT if entry is None or entry.after is None else entry.after for entry in (before, after)
    )
    return differences(one, other)


def _headline(entry: HistoryEntry | None) -> str:
    if entry is None:
        return "nothing: no older operation is known"
    by = f" by {entry.by}" if entry.by else ""
    return printable(f"{entry.op}  {entry.action} at {entry.at}{by}, revision {entry.revision}")


def _as_json(found: Difference) -> dict[str, Any]:
    from flowsvc.differences import ABSENT

    values = {"before": found.before, "after": found.after}
    return {"path": found.path, **{k: v for k, v in values.items() if v is not ABSENT}}
