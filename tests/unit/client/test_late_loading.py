"""Seconds that were counted before a first call loaded what it needs are not granted again afterwards."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from fstore.client import local_compute, miss_events, misses
from fstore.client.read_through import _ReadThrough
from fstore.errors import BrokerUnavailable, ComputeTimeout
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


def test_nothing_is_begun_for_a_caller_who_is_late() -> None:
    """Of many keys that a batch computes here, those whose turn comes after the deadline are not begun."""
    performed: list[Any] = []
    late = [miss_events.ComputeHere((f"k{n}",), BrokerUnavailable("redis", "away")) for n in range(3)]
    late.append(miss_events.ComputeUnstored(("k3",), "postgres", "away"))
    given = [miss_events.Give(SimpleNamespace(request=SimpleNamespace(key="k0")))]  # type: ignore[arg-type]

    class Flight:
        open_keys: tuple[str, ...] = ("k0",)

        def left(self, _: float) -> float:
            return 0.0

        def narrowed(self, action: Any) -> Any:
            return action

        def observe(self, event: Any, *, now: float) -> list[Any]:
            told, self.open_keys = given if self.open_keys else [], ()
            return told

    here = misses._Misses.__new__(misses._Misses)
    here._flight = Flight()  # type: ignore[assignment]
    here._resources = SimpleNamespace(  # type: ignore[assignment]
        notifier=SimpleNamespace(subscribe=lambda: nullcontext(SimpleNamespace(drop=lambda _: None)))
    )
    here._admit = lambda _: late if here._flight.open_keys else []  # type: ignore[method-assign,assignment]
    here._perform = lambda action, _: performed.append(action)  # type: ignore[method-assign,assignment,func-returns-value]
    assert len(list(here.answers())) == 1
    assert performed == []
