"""Shows at the end how many tests ran inside of each machine."""

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [
        value
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "inside" and report.when == "call"
    ]
    if lines:
        terminalreporter.section("inside of virtual machines")
        for line in lines:
            terminalreporter.write_line(line)
