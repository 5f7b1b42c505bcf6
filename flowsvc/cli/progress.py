"""What is told on stderr while something takes its time: what lacks, or how much is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from flowsvc.cli.output import printable

if TYPE_CHECKING:
    from flowsvc.seed.watching import Watcher

__all__ = ["latest", "watched"]


@contextmanager
def latest() -> Iterator[Callable[[str], None]]:
    """What takes the news of a wait: what lacks, or nothing.

    On a terminal that is one line, always the latest, and gone at the end; elsewhere a line
    whenever the news is another.
    """
    if not sys.stderr.isatty():
        told = ""

        def tell(text: str) -> None:
            nonlocal told
            if text and text != told:
                click.echo(printable(text), err=True)
                told = text

        yield tell
        return
    from rich.console import Console
    from rich.text import Text

    status = Console(stderr=True).status("")

    def show(text: str) -> None:
        if text:
            status.update(Text(printable(text)))
            status.start()

    try:
        yield show
    finally:
        status.stop()


@contextmanager
def watched(*, listed: bool = False) -> Iterator[Watcher]:
    """Who looks on: a bar for each stage, gone at the end. Nothing where nobody sees it.

    ``listed``: what would change goes to stdout, a line each.
    """
    from flowsvc.seed.watching import Step, Watcher

    class Teller(Watcher):
        """Lists what is noted, if so asked."""

        def noted(self, step: Step) -> None:
            if listed and step.writes:
                click.echo(f"{step.outcome:8}  {step.name}")

    if not sys.stderr.isatty():
        yield Teller()
        return
    from rich.console import Console
    from rich.progress import Progress, TaskID

    class Bar(Teller):
        """One bar, begun anew with each stage."""

        stage: TaskID | None = None

        def begin(self, what: str, total: int) -> None:
            if self.stage is not None:
                progress.remove_task(self.stage)
            self.stage = progress.add_task(what, total=total or None)

        def advance(self, count: int) -> None:
            if self.stage is not None:
                progress.advance(self.stage, count)

    with Progress(console=Console(stderr=True), transient=True) as progress:
        yield Bar()
