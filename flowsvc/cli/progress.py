"""What is told while much is read or written: a bar on stderr, where that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from flowsvc.seed.watching import Watcher

__all__ = ["watched"]


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
