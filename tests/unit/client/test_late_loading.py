"""Seconds that were counted before a first call loaded what it needs are not granted again afterwards."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from fstore.client import local_compute, misses
from fstore.client.read_through import _ReadThrough
from fstore.errors import ComputeTimeout
from fstore.runtime import deadline

TOLD_S = 20.0


def test_at_most_what_is_left() -> None:
    """Without a call in force, all of it; else the less of both, and nothing above 0 once it is over."""
    assert deadline.at_most(TOLD_S) == TOLD_S
    with deadline.within(5.0):
        assert 0 < deadline.at_most(TOLD_S) <= 5.0
        assert deadline.at_most(1.0) == 1.0
    with deadline.within(0.0):
        assert deadline.at_most(TOLD_S) <= 0


def test_a_miss_ends_with_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many seconds it was told of before its modules were there."""
    told: list[float] = []

    class Flight:
        def __init__(self, *_: Any, seconds: float, **__: Any) -> None:
            told.append(seconds)

    monkeypatch.setattr(misses, "SingleFlight", Flight)
    monkeypatch.setattr(misses, "rules_of", lambda _: None)
    monkeypatch.setattr(misses, "_Misses", lambda *_: SimpleNamespace(answers=lambda: iter(())))
    with deadline.within(0.0):
        list(misses.answer_misses(None, [], seconds=TOLD_S))  # type: ignore[arg-type]
    assert [seconds <= 0 for seconds in told] == [True]


def test_a_computation_is_waited_for_no_longer_than_the_call() -> None:
    """In this process, too."""
    computed = threading.Event()
    with deadline.within(0.0), pytest.raises(ComputeTimeout):
        local_compute.bounded(lambda: computed.wait(5), "key", TOLD_S)
    computed.set()


def test_what_is_asked_again_ends_with_the_call() -> None:
    """An entry that was found wrong is asked for anew within the same time."""
    with deadline.within(0.0):
        reading = _ReadThrough(None, [], TOLD_S, None)  # type: ignore[arg-type]
    assert reading._ends_at <= reading._began
