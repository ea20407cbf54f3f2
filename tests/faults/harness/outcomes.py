"""Gathers what became of every row, from all processes of a test run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import pytest

WORST_FIRST = ("failed", "no test", "skipped", "passed")


@dataclass
class Row:
    """One line of the table; of several tests of one number the worst outcome counts, and the sum of their seconds."""

    number: int
    fault: str = ""
    promise: str = ""
    outcome: str = "no test"
    reason: str = ""
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the line as JSON."""
        return {**asdict(self), "seconds": round(self.seconds, 2)}

    def add(self, report: pytest.TestReport) -> None:
        """Take one phase of a test in."""
        self.seconds += report.duration
        if report.when != "call" and report.outcome == "passed":
            return
        if self.outcome == "no test" or WORST_FIRST.index(report.outcome) < WORST_FIRST.index(self.outcome):
            self.outcome = report.outcome
            if report.skipped and isinstance(report.longrepr, tuple):
                self.reason = str(report.longrepr[2]).removeprefix("Skipped: ")


class Outcomes:
    """A pytest plugin: keeps the rows that were wanted, runs no others, and remembers every report."""

    def __init__(self, wanted: set[int]) -> None:
        self._rows = {number: Row(number) for number in sorted(wanted)}
        self.failures: list[tuple[str, str]] = []

    def rows(self) -> list[Row]:
        """Return all rows that were wanted, in their order."""
        return list(self._rows.values())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note one phase of one test; of those that are no rows (two hosts) only failures are told."""
        if report.failed:
            self.failures.append((f"{report.nodeid} ({report.when})", report.longreprtext))
        about = dict(report.user_properties).get("row")
        if about is None:
            return
        number, fault, promise = about  # type: ignore[misc]
        row = self._rows.setdefault(number, Row(number))
        if fault not in row.fault.split(" / "):
            row.fault = " / ".join(filter(None, (row.fault, fault)))
            row.promise = " / ".join(dict.fromkeys(filter(None, (row.promise, promise))))
        row.add(report)
