"""What all commands that change something have in common: how it is done, or only shown."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import click

from flowsvc.cli.output import (
    DATA,
    difference_line,
    findings_as_json,
    print_data,
    printable,
    show_done,
    warn,
)
from flowsvc.cli.settings import Settings, actor, ask

if TYPE_CHECKING:
    from flowsvc.model import Change, Done, Flows, Preview, VariantChange
    from kvconfig.model import Revision

__all__ = ["How", "Where", "carry_out", "change_options", "force_option", "make"]

WAIT_S = 60.0
"""How long a change waits for what it was made for, where no --timeout is given."""

Where: TypeAlias = Literal["somewhere", "everywhere", "nowhere"]
"""What a change that waits waits for: that each variant of the flow runs on one live instance, on
all of its processor, or on none of them any more."""

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class How:
    """Who makes a change and why, under which conditions; or whether it is only looked at."""

    op: str
    by: str | None
    why: str
    check_revision: int | None
    dry_run: bool
    strict: bool = False
    wait: bool = False

    def fields(self) -> dict[str, Any]:
        """The fields of a request that every change has."""
        return {
            "op": self.op,
            "actor": actor(self.by, self.why),
            "check_revision": self.check_revision or 0,
            "strict": self.strict,
        }


def change_options(*, strict: bool = False, wait: str = "") -> Callable[[Function], Function]:
    """Adds --dry-run, --check-revision, --op, --by and --why; the command gets them as ``how``.

    ``strict``: --strict as well, for commands that may give warnings. ``wait``: --wait as well,
    which returns once this is so.
    """
    options = [
        click.option("--dry-run", is_flag=True, help="Show what it would do, and write nothing."),
        click.option(
            "--check-revision",
            metavar="REVISION",
            type=click.IntRange(min=1),
            help="Refuse if the plan could be another one than that of a dry run, which says it.",
        ),
        click.option(
            "--op",
            metavar="ID",
            default="",
            help="Request id: done once, however often it is sent.",
        ),
        click.option(
            "--by", metavar="NAME", envvar="FLOWCTL_BY", help="Who does it. [default: you]"
        ),
        click.option("--why", metavar="TEXT", default="", help="What for; kept in the history."),
    ]
    if strict:
        options.insert(2, click.option("--strict", is_flag=True, help="Take warnings for errors."))
    if wait:
        help_ = (
            f"Return once {wait}, within --timeout (then {WAIT_S:.0f}s unless given); what still "
            "lacks is told on stderr."
        )
        options.append(click.option("--wait", is_flag=True, help=help_))

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def with_how(*args: Any, **kwargs: Any) -> Any:
            names = ["op", "by", "why", "check_revision", "dry_run", *(["strict"] * strict)]
            names += ["wait"] * bool(wait)
            kwargs["how"] = How(**{name: kwargs.pop(name) for name in names})
            return function(*args, **kwargs)

        decorated: Any = with_how
        for option in reversed(options):
            decorated = option(decorated)
        made: Function = decorated
        return made

    return decorate


def force_option(help_: str) -> Callable[[Function], Function]:
    """Adds --force."""
    return click.option("--force", is_flag=True, help=help_)


def carry_out(
    settings: Settings,
    request: Change,
    how: How,
    *,
    name: str,
    did: str,
    output: str,
    where: Where = "somewhere",
) -> None:
    """Make a change and print what was done; or print what would be. See :func:`make`."""
    if how.dry_run:
        show_preview(ask(settings, lambda flows: flows.preview(request)), output)
        return
    make(
        settings,
        lambda flows: flows.change(request),
        how,
        name=name,
        did=did,
        output=output,
        where=where,
    )


def make(
    settings: Settings,
    change: Callable[[Flows], Awaitable[Done]],
    how: How,
    *,
    name: str,
    did: str,
    output: str,
    where: Where = "somewhere",
) -> None:
    """Make a change, print what was done, and wait until flow ``name`` runs ``where``, if asked to.

    Raises ``TimeoutError``, and ``FlowServiceError`` for a flow that will not run.
    """
    source = click.get_current_context().get_parameter_source("timeout_s")
    given = source is click.core.ParameterSource.COMMANDLINE  # elsewhere it is said of each call
    wait_s = settings.timeout_s if given else WAIT_S

    async def question(flows: Flows) -> None:
        done = await change(flows)
        show_done(done, name=name, did=did, output=output)
        if how.wait:
            await _wait(flows, name, done, where, wait_s)

    ask(settings, question)


async def _wait(flows: Flows, flow: str, done: Done, where: Where, wait_s: float) -> None:
    from flowsvc.cli.flow_status import judge
    from flowsvc.cli.waits import until_it_has_left, until_it_runs

    if where == "nowhere":
        await until_it_has_left(flows, flow, done, wait_s=wait_s)
        click.echo(f"{flow} runs nowhere any more", err=True)
        return
    everywhere = where == "everywhere"
    revision = min(done.revision, await _record_at(flows, flow))
    status = await until_it_runs(flows, flow, revision, everywhere=everywhere, wait_s=wait_s)
    judge(status, everywhere=everywhere)
    click.echo(f"{flow} runs", err=True)


async def _record_at(flows: Flows, flow: str) -> Revision:
    """The mod_revision of a flow's record; 0 where somebody has stopped it since.

    A change that changes nothing writes no record: that of the change would never be seen.
    """
    from flowsvc.errors import NotFound
    from kvconfig.model import Revision

    try:
        return (await flows.get_flow(flow)).mod_revision
    except NotFound:
        return Revision(0)


# -- what would be done --------------------------------------------------------------------------


def show_preview(preview: Preview, output: str) -> None:
    """What processors would see, then the transaction. What to do about it goes to stderr."""
    warn(preview.findings)
    if output in DATA:
        print_data(
            {
                "changes": [_as_json(change) for change in preview.changes],
                "transaction": preview.txn,
                "check-revision": preview.check_revision,
                "findings": findings_as_json(preview.findings),
            },
            output,
        )
    elif output == "name":
        for change in preview.changes:
            click.echo(f"{change.processor}/{change.variant}")
    else:
        _print_preview(preview)
    click.echo(
        "nothing was written; the same command with "
        f"--check-revision {preview.check_revision} does just this, or refuses",
        err=True,
    )


def _print_preview(preview: Preview) -> None:
    for change in preview.changes:
        _print_change(change)
    if not preview.changes:
        click.echo("processors would see nothing of it")
    click.echo()
    if not _writes(preview.txn):
        click.echo("nothing would be written")
        return
    for line in preview.text.splitlines():
        click.echo(printable(line))


def _writes(txn: Mapping[str, Any]) -> bool:
    """Whether its success branch writes, nested ones included."""
    return any(
        "put" in op or "delete" in op or ("txn" in op and _writes(op["txn"]))
        for op in txn.get("then", ())
    )


def _print_change(change: VariantChange) -> None:
    from flowsvc.differences import ABSENT, Difference, differences

    before = ABSENT if change.before is None else change.before
    after = ABSENT if change.after is None else change.after
    whole = Difference(path=f"{change.processor}/{change.variant}", before=before, after=after)
    click.echo(f"{whole.sign} {whole.path}")
    for found in differences(before, after):
        click.echo(f"    {difference_line(found)}")


def _as_json(change: VariantChange) -> dict[str, Any]:
    return {
        "processor": change.processor,
        "variant": change.variant,
        "before": change.before,
        "after": change.after,
    }
