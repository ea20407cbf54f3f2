"""Redis' clock, by answers that take their time."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fstore.broker import redis_clock
from fstore.broker.redis_clock import RedisClock


@pytest.mark.parametrize(
    ("there", "answered_at", "ahead_s"),
    [
        (4600.0, 1000.5, 3599.5),
        (-2600.0, 1000.5, -3600.0),
        (1000.2, 1000.5, 0.0),
        (1000.2, 1030.0, 0.0),  # half of the time it took would be 15 s
        (1029.9, 1030.0, 0.0),
        (4600.0, 1030.0, 3570.0),
    ],
)
def test_a_late_answer_tells_no_more_than_it_shows(
    monkeypatch: pytest.MonkeyPatch, there: float, answered_at: float, ahead_s: float
) -> None:
    """Whoever asks may be stopped, or starved, until it reads the answer: that moves nobody's clock."""
    moments = iter([1000.0, answered_at])
    monkeypatch.setattr(redis_clock, "time", SimpleNamespace(time=lambda: next(moments), monotonic=lambda: 0.0))

    assert RedisClock().ahead_s(lambda: there) == ahead_s
