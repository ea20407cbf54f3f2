"""The table of the fault suite tells the worst, and no row is left out unseen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.faults.__main__ import numbers
from tests.faults.harness.outcomes import Outcomes
from tests.faults.rows import PAGE, demand, document, marked, matrix, missing_tool

HERE = Path(__file__).parents[2]


def report(
    number: int, outcome: str, *, when: str = "call", seconds: float = 1.0, why: str | tuple[str, int, str] = ""
) -> pytest.TestReport:
    """Make the report of one phase of a row's test."""
    about = ("row", [number, f"fault {number}", "promise"])
    return pytest.TestReport(
        f"test_row_{number}", ("file", 1, "test"), {}, outcome, why, when, duration=seconds, user_properties=[about]  # type: ignore[arg-type]
    )  # fmt: skip


def test_rows_are_numbered_without_a_gap():
    """Whoever deletes or forgets a row leaves one; a test's name begins with its number."""
    named = {
        int(n) for file in HERE.rglob("test_*.py") for n in re.findall(r"^def test_row_(\d\d)_", file.read_text(), re.M)
    }
    assert matrix() == named == set(range(1, max(named) + 1))
    assert len(named) >= 44


def test_the_page_lists_the_rows_as_the_tests_say():
    """``python -m tests.faults --document`` writes them anew."""
    assert document(PAGE.read_text()) == PAGE.read_text()
    assert all(f"| {one.number} | " in PAGE.read_text() and one.fault in PAGE.read_text() for one in marked())


def test_of_several_tests_of_a_row_the_worst_counts():
    """Seconds add up; a failure in the teardown is a failure."""
    outcomes = Outcomes({1, 2, 3, 4})
    for each in (
        report(1, "passed", when="setup"),
        report(1, "passed"),
        report(1, "failed", when="teardown", why="left over"),
        report(2, "passed"),
        report(2, "skipped", when="setup", why=("file", 1, "Skipped: strace is not on PATH")),
        report(3, "passed"),
    ):
        outcomes.pytest_runtest_logreport(each)

    shown = [(row.number, row.outcome, row.reason, row.seconds) for row in outcomes.rows()]

    assert shown == [
        (1, "failed", "", 3.0), (2, "skipped", "strace is not on PATH", 2.0), (3, "passed", "", 1.0), (4, "no test", "", 0.0),
    ]  # fmt: skip
    assert [test for test, _ in outcomes.failures] == ["test_row_1 (teardown)"]


def test_rows_are_chosen_by_number():
    """Single ones and ranges."""
    assert numbers("1,5-7,44") == {1, 5, 6, 7, 44}


def test_an_absent_tool_is_named():
    """So that the reason for a skip says what to install."""
    assert missing_tool("sh") is None
    assert missing_tool("no-such-tool") == "no-such-tool is not on PATH"


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_an_absent_tool_skips_a_row_and_fails_it_on_ci(ci, outcome, monkeypatch):
    """On a laptop it is a matter of taste what is installed; on CI it is a gap."""
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no-such-tool is not on PATH"):
        demand(("sh", "no-such-tool"))
