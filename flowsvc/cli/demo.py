"""``flowctl demo``: the whole system on this machine, for a few seconds.

What it can show is in :mod:`flowsvc.cli.scenario`, the processes are in :mod:`flowsvc.cli.stage`,
and what is done with them in :mod:`flowsvc.cli.story`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import click

from flowsvc.cli.given import parse_pairs, parse_parameters
from flowsvc.cli.scenario import Scenario, document_index, other_blueprint
from flowsvc.cli.settings import run

if TYPE_CHECKING:
    from flowsvc.model import ParameterValue

__all__ = ["command", "parse_params"]


@click.command("demo")
@click.option(
    "--input",
    "folder",
    type=click.Path(exists=True),
    default=".",
    show_default="the current folder",
    help="Where to find documents (*.md, *.txt) for the document index.",
)
@click.option(
    "--query", metavar="WORDS", help="What to search for. [default: a frequent word of a document]"
)
@click.option(
    "--blueprint",
    "file",
    type=click.File("rb"),
    help="Show another blueprint instead: a file of {name, blueprint, parameter-type}.",
)
@click.option(
    "--params", metavar="K=V,K=V", default="", help="Parameters of both flows; or a JSON object."
)
def command(*, folder: str, query: str | None, file: BinaryIO | None, params: str) -> None:
    """Start two flows on a real etcd, and show who hears what, and when.

    Runs etcd, the flow service and the processors as processes of their own, and ends them all.
    By default the flows index the documents of a folder, with two chunk sizes, and answer a
    search. With --blueprint a generic processor stands in for each one that it names.

    \b
    Example:
      flowctl demo
      flowctl demo --input docs --params chunk-overlap=0
      flowctl demo --blueprint everything.json --params llm-model=gpt-4o,chunk-size=1000
    """
    import asyncio
    import tempfile
    from pathlib import Path

    parameters = parse_params(params)
    with tempfile.TemporaryDirectory(prefix="flowctl-") as scratch:
        if file is not None:
            scenario = other_blueprint(file.read(), file.name, parameters)
        else:
            scenario = document_index(Path(folder).resolve(), query, parameters, Path(scratch))
        try:
            run(_play(scenario))
        except asyncio.CancelledError:  # SIGTERM: by now everything has ended
            click.get_current_context().exit(143)


async def _play(scenario: Scenario) -> None:
    """SIGTERM takes the same way out as Ctrl-C does: what was started is ended."""
    import asyncio
    import signal

    from flowsvc.cli.story import play

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await play(scenario)


def parse_params(text: str) -> dict[str, ParameterValue]:
    """``k=v,k=v`` or a JSON object. A value with a comma needs JSON."""
    if text.lstrip().startswith("{"):
        return parse_parameters(text.encode("utf-8", "surrogateescape"), "--params")
    return parse_pairs((pair for pair in text.split(",") if pair), "--params")
