"""What tests report, from whichever process ran them, to the one that prints.

A value that a test has for whoever reads the log goes into its report (``record_property``), and
is shown at the end of the run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from typing import Any

import pytest

from tests.robustness import report
from tests.robustness.peers import table

__all__ = ["MEASURED", "PEERS", "RECOVERY", "Reports"]

RECOVERY, PEERS, MEASURED = "time to recovery", "the same faults, other clients", "measured"

_LINES: dict[str, Callable[[Sequence[Any]], list[str]]] = {
    PEERS: table.lines,
    RECOVERY: report.table,
    MEASURED: list,
}
"""How the values of a section are shown, in the order of the sections."""


class Reports:
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

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(self) -> Generator[None, object, object]:
        """Half a surrogate pair, in a log line or in an example that fails, can be sent."""
        return _sendable((yield))


def _sendable(value: object) -> object:
    """The same, of text that can be encoded."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case dict():
            return {name: _sendable(part) for name, part in value.items()}
        case list() | tuple():
            return type(value)(map(_sendable, value))
        case _:
            return value
