"""Counters: declared once with their meaning, and read as one although they lie in two places."""

from __future__ import annotations

import ast
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fstore.errors import BrokerUnavailable
from fstore.reporting import stats
from fstore.reporting.stats import read_available_counters, read_counters
from fstore.runtime import counters, deadline
from fstore.runtime.counters import COUNTERS, DEGRADED, MODES, Recorder, mode_counter, mode_of
from fstore.runtime.timings import TIMINGS, counters_of, is_timing, timing_of

REPOSITORY = Path(__file__).parents[3]
DECLARED: Mapping[str, Mapping[str, str]] = {"count": COUNTERS, "took": TIMINGS, "degraded": MODES}


class Written:
    """Postgres' counters: one state after another, the last one for good."""

    def __init__(self, *states: Mapping[str, int]) -> None:
        self._states = [*states]

    def counters(self) -> Mapping[str, int]:
        return self._states.pop(0) if len(self._states) > 1 else self._states[0]


class Noted:
    """Redis' counters: what waits and what a flush is moving, one state after another."""

    def __init__(self, *states: tuple[Mapping[str, int], Mapping[str, int]] | None) -> None:
        self._states = [*states]

    def counters(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if state is None:
            raise BrokerUnavailable("reading counters", "away")
        return state


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look again at once."""
    monkeypatch.setattr(stats, "PAUSE_S", 0)


def counted() -> Iterator[tuple[str, str, str]]:
    """Find what product code counts, times and calls degraded by a name that stands there."""
    for package in ("fstore", "workers", "beat"):
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(
                        func=ast.Attribute(value=on, attr=("count" | "took" | "degraded") as how),
                        args=[ast.Constant(value=str(name)), *_],
                    ) if getattr(on, "attr", getattr(on, "id", "")).endswith("recorder"):
                        yield str(path.relative_to(REPOSITORY)), how, name


def test_whatever_is_counted_is_declared() -> None:
    """A counter, timing or mode that is not declared would reach neither statistics nor Prometheus."""
    found = list(counted())

    assert {how for _, how, _ in found} == set(DECLARED)
    assert [(path, name) for path, how, name in found if name not in DECLARED[how]] == []


def test_every_declaration_tells_its_meaning() -> None:
    """Names are words for Prometheus, and each says what it counts."""
    for names in DECLARED.values():
        assert all(meaning.strip() for meaning in names.values())
    assert all(name.isidentifier() for name in [*COUNTERS, *TIMINGS])


def test_counters_of_modes_and_timings_are_told_apart() -> None:
    """What belongs to ``degraded`` or to a histogram is known by its name."""
    (bucket, _), (total, _) = counters_of("hit_seconds", 0.004)

    assert mode_of(mode_counter("redis")) == "redis"
    assert [mode_of(name) for name in (DEGRADED, "computed", bucket)] == [None] * 3
    assert [timing_of(name) for name in (bucket, total, "computed", "other_seconds_sum_us")] == ["hit_seconds"] * 2 + [
        None
    ] * 2
    assert is_timing("other_seconds_sum_us")


def test_a_degraded_request_counts_in_all_and_by_its_mode() -> None:
    """Both counters are declared, so both reach their readers."""
    noted: list[Mapping[str, int]] = []
    recorder = Recorder(lambda _, counters: noted.append(dict(counters)))
    recorder.degraded("redis", "away")
    recorder.close()

    assert noted == [{DEGRADED: 1, mode_counter("redis"): 1}]


def test_a_flush_waits_for_what_another_thread_hands_over() -> None:
    """Else statistics, which flush first and then read, would miss what is on its way."""
    entered, answer = threading.Event(), threading.Event()

    def sink(_: Mapping[str, int], counters: Mapping[str, int]) -> None:
        entered.set()
        assert answer.wait(20)
        raise BrokerUnavailable("noting", "no answer")

    recorder = Recorder(sink)
    recorder.count("computed")
    assert entered.wait(20), "the recorder's own thread hands it over"
    found: list[Mapping[str, int]] = []

    def look() -> None:
        recorder.flush()
        found.append(recorder.pending())

    reader = threading.Thread(target=look)
    reader.start()
    reader.join(0.05)
    assert found == []
    answer.set()
    reader.join(20)

    assert found == [{"computed": 1}]
    recorder.close()


@pytest.mark.parametrize("how", ["its own patience", "the deadline of a call"])
def test_a_flush_waits_no_longer_than_it_may(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis that never answers another thread holds up neither a call nor the end of a process; nothing noted is lost."""
    entered, answer = threading.Event(), threading.Event()
    taken: list[Mapping[str, int]] = []

    def sink(_: Mapping[str, int], counters: Mapping[str, int]) -> None:
        entered.set()
        assert answer.wait(20)
        taken.append(dict(counters))

    recorder = Recorder(sink)
    recorder.count("computed")
    assert entered.wait(20), "the recorder's own thread hands it over"
    recorder.count("failed")
    monkeypatch.setattr(counters, "HAND_OVER_S", 0.05 if how == "its own patience" else 1000.0)
    outcome: list[bool] = []

    def flush() -> None:
        with deadline.within(None if how == "its own patience" else 0.05):
            outcome.append(recorder.flush())

    waiting = threading.Thread(target=flush, daemon=True)
    waiting.start()
    waiting.join(20)

    assert outcome == [False]
    answer.set()
    recorder.close()
    assert taken == [{"computed": 1}, {"failed": 1}]


def test_counters_of_both_places_are_summed() -> None:
    """What Postgres has and what waits in Redis is one number."""
    usage: Any = Written({"computed": 5, "failed": 1})
    buffer: Any = Noted(({"computed": 2}, {}))

    assert read_counters(usage, buffer) == {"computed": 7, "failed": 1}


def test_a_running_flush_is_not_counted_twice() -> None:
    """While a flush has counters in both places it is waited for; afterwards they are counted where they went."""
    usage: Any = Written({"computed": 5}, {"computed": 7})
    buffer: Any = Noted(({}, {"computed": 2}), ({}, {}))

    assert read_counters(usage, buffer) == {"computed": 7}


def test_what_a_killed_flush_left_behind_counts() -> None:
    """Counters that stay on their way are added: the next flush moves them."""
    usage: Any = Written({"computed": 5})
    buffer: Any = Noted(({}, {"computed": 2}))

    assert read_counters(usage, buffer) == {"computed": 7}


def test_without_redis_statistics_show_what_postgres_has() -> None:
    """Whoever needs all of them is told; whoever takes what there is gets that."""
    usage: Any = Written({"computed": 5})
    buffer: Any = Noted(None)

    with pytest.raises(BrokerUnavailable):
        read_counters(usage, buffer)
    assert read_available_counters(usage, buffer) == {"computed": 5}
