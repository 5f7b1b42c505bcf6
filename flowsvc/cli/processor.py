"""``flowctl processor list`` and ``describe``: what processors shall run, and who runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from flowsvc.cli.completion import complete
from flowsvc.cli.flow_status import variant_as_json, variant_rows
from flowsvc.cli.output import View, output_option, print_table, show
from flowsvc.cli.settings import Settings, ask, connection_options

if TYPE_CHECKING:
    from flowsvc.status import ProcessorInstance, ProcessorStatus

__all__ = ["group"]


@click.group("processor")
def group() -> None:
    """Processors: what they shall run, and what their instances say of it.

    \b
    Example:
      flowctl processor list
      flowctl processor describe chunker
    """


@group.command("list")
@connection_options
@output_option
def list_(*, settings: Settings, output: str) -> None:
    """List every processor that has something to run, or a live instance.

    RUNNING counts the variants that run without a failure on any instance. A processor in state
    "missing" has something to run, and no instance.

    \b
    Example:
      flowctl processor list
      flowctl processor list -o wide
    """
    show(ask(settings, lambda flows: flows.list_processors()), PROCESSOR, output)


@group.command()
@click.argument("processor", shell_complete=complete("processor"))
@connection_options
@output_option
def describe(*, settings: Settings, output: str, processor: str) -> None:
    """Show one processor: its instances, and each variant with what they say of it.

    \b
    Example:
      flowctl processor describe chunker
      flowctl processor describe chunker -o yaml
    """
    found = ask(settings, lambda flows: flows.get_processor(processor))
    if output not in ("table", "wide"):
        show(found, PROCESSOR, output)
        return
    click.echo(f"processor    {found.processor}")
    click.echo(f"state        {found.state}, {found.running} of {found.desired} variants run")
    print_table(
        list(INSTANCE), [[cell(one) for cell in INSTANCE.values()] for one in found.instances]
    )
    if found.variants:
        click.echo()
        rows = [row for variant in found.variants for row in variant_rows(variant)]
        print_table(["VARIANT", "STATE", "INSTANCE", "REPORTS", "OBSERVED", "ERROR"], rows)


INSTANCE: dict[str, Callable[[ProcessorInstance], object]] = {
    "INSTANCE": lambda one: one.instance,
    "OBSERVED": lambda one: one.observed_revision,
    "PENDING": lambda one: one.pending,
    "FAILED": lambda one: one.failed,
    "HOST": lambda one: one.host,
    "VERSION": lambda one: one.version,
    "STARTED": lambda one: one.started,
    "LEAVING": lambda one: ",".join(one.leaving),
}


def _as_json(found: ProcessorStatus) -> dict[str, Any]:
    return {
        "processor": found.processor,
        "state": found.state,
        "desired": found.desired,
        "running": found.running,
        "instances": [
            {
                "instance": one.instance,
                "observed-revision": one.observed_revision,
                "pending": one.pending,
                "failed": one.failed,
                "host": one.host,
                "started": one.started,
                "version": one.version,
                "leaving": list(one.leaving),
            }
            for one in found.instances
        ],
        "variants": [variant_as_json(variant) for variant in found.variants],
    }


PROCESSOR = View(
    name=lambda found: found.processor,
    columns={
        "PROCESSOR": lambda found: found.processor,
        "STATE": lambda found: found.state,
        "DESIRED": lambda found: found.desired,
        "RUNNING": lambda found: found.running,
        "INSTANCES": lambda found: len(found.instances),
    },
    wide={
        "PENDING": lambda found: sum(one.pending for one in found.instances),
        "FAILED": lambda found: sum(one.failed for one in found.instances),
        "OBSERVED": lambda found: min(
            (one.observed_revision for one in found.instances), default=0
        ),
        "HOSTS": lambda found: ",".join(sorted({one.host for one in found.instances})),
    },
    as_json=_as_json,
)
