"""Prints the table at the end of a run."""

from __future__ import annotations

import pytest

from tests.robustness.peers import table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What became of each client in each fault."""
    lines = table.lines()
    if lines:
        terminalreporter.section("the same faults, other clients")
        for line in lines:
            terminalreporter.write_line(line)
