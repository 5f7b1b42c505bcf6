"""What tests have to say to whoever reads the log: printed at the end of the run.

A value goes into the report of its test (``record_property``), and so to the one process that
prints, wherever the test ran.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.robustness import report
from tests.robustness.peers import table

__all__ = ["MEASURED", "PEERS", "RECOVERY", "Summary"]

RECOVERY, PEERS, MEASURED = "time to recovery", "the same faults, other clients", "measured"

_LINES: dict[str, Callable[[Sequence[Any]], list[str]]] = {
    PEERS: table.lines,
    RECOVERY: report.table,
    MEASURED: list,
}
"""How the values of a section are shown, in the order of the sections."""


class Summary:
    """Plugin of pytest: a section for each kind of value that any test recorded."""

    def __init__(self) -> None:
        self._values: dict[str, list[Any]] = defaultdict(list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """The last report of a test has all that it recorded."""
        if report.when == "teardown":
            for name, value in report.user_properties:
                self._values[name].append(value)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Only what there is."""
        for name, lines in _LINES.items():
            if values := self._values[name]:
                terminalreporter.section(name)
                for line in lines(values):
                    terminalreporter.write_line(line)
