"""A plugin of pytest (`-p no_torch`) for an environment without torch: files that import it are left out, and said.

A test that needs torch in a file that does not import it is marked `torch`.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

LEFT_OUT = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEFT_OUT] = []


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.failed and "No module named 'torch'" in report.longreprtext:
        collector.config.stash[LEFT_OUT].append(report.nodeid)
        return pytest.CollectReport(report.nodeid, "passed", None, [])
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left_out = config.stash[LEFT_OUT]
    terminalreporter.write_line(f"left out, as they import torch: {', '.join(sorted(left_out))}")
