"""What ``fstore doctor`` says of clocks, by answers that take their time."""

from __future__ import annotations

import pytest

from fstore.cli.doctor.server_checks import _skew


@pytest.mark.parametrize(
    ("there", "ended", "level"),
    [(1000.1, 1000.2, "ok"), (1005.0, 1000.2, "warning"), (1000.1, 1010.0, "ok"), (1030.0, 1010.0, "warning")],
)
def test_a_late_answer_is_no_wrong_clock(there: float, ended: float, level: str) -> None:
    """A busy host that reads it ten seconds later is told of nothing."""
    assert _skew("Redis", 1000.0, ended, there).level == level
