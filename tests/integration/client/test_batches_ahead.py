"""Batches whose first results come while their last requests are still made."""

from __future__ import annotations

import pandas as pd
import pytest

import fstore
from fstore.client.batches import ahead
from fstore.client.batches.ahead import FIRST
from fstore.coordination import Outbox
from fstore.errors import BrokerUnavailable, ComputeFailed, ComputeTimeout, ManifestUnavailable, UnhashableInput
from fstore.postgres import Manifest
from tests import sample_features
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [float(i) for i in range(40)]})


def asked(batch: str, n: int, function=sample_features.scaled, **config) -> fstore.Request:
    return fstore.Request("AHEAD", RAW + n % 7, {"factor": n, "batch": batch, **config}, function)


def is_there(store, request) -> bool:
    return store.peek(request.symbol, request.raw_data, request.config, request.feature) is not None


def all_right(answers) -> bool:
    for request, frame in answers:
        pd.testing.assert_frame_equal(frame, request.raw_data * request.config["factor"])
    return bool(answers)


def test_workers_begin_before_the_last_request_is_made(staffed):
    """And every key of the call is computed once, those asked for twice too, and counted as computed."""
    first = asked("early", 1)
    told: list[fstore.Progress] = []

    def requests():
        for n in range(1, 2 * FIRST + 10):
            yield asked("early", n)
        eventually(lambda: is_there(staffed.store, first), seconds=30, what="a result while requests are made")
        for n in range(1, 4 * FIRST):
            yield asked("early", n)

    before = staffed.store.resources.usage_buffer.pending_counters().get("computed", 0)
    answers = list(staffed.store.get_or_compute_many(requests(), timeout=90, progress=told.append))

    assert all_right(answers)
    assert len(answers) == 6 * FIRST + 8
    assert told[-1].computed == len(answers)
    assert staffed.store.resources.usage_buffer.pending_counters()["computed"] - before <= 4 * FIRST - 1
    assert {told[-1].hits, told[-1].failed} == {0}


def test_a_request_that_is_refused_late_takes_back_nothing(staffed):
    """The call raises, or answers it with its error; what was begun is computed, and answers whoever asks again."""
    good = [asked("refused", n) for n in range(2 * FIRST + 1)]
    bad = fstore.Request("AHEAD", pd.DataFrame({"x": [object()]}), {}, sample_features.scaled)

    with pytest.raises(UnhashableInput):
        staffed.store.get_or_compute_many([*good, bad], timeout=60)
    eventually(lambda: is_there(staffed.store, good[0]), seconds=30, what="what was begun to be computed")
    answers = {
        request.config.get("factor"): answer
        for request, answer in staffed.store.get_or_compute_many([*good, bad], timeout=60, errors="return")
    }

    assert isinstance(answers.pop(None), UnhashableInput)
    assert all_right([(request, answers[request.config["factor"]]) for request in good])


def test_failures_of_what_was_begun_are_told(staffed):
    """Each to its own request, or the first of all."""
    batch = [asked("failing", n) for n in range(FIRST + 4)]
    batch[3] = fstore.Request("AHEAD", RAW, {"n": 1, "batch": "ahead"}, sample_features.failing)

    answers = list(staffed.store.get_or_compute_many(batch, timeout=60, errors="return"))

    assert [type(answer) for _, answer in answers if isinstance(answer, Exception)] == [ComputeFailed]
    assert all_right([(request, answer) for request, answer in answers if not isinstance(answer, Exception)])
    with pytest.raises(ComputeFailed):
        list(staffed.store.get_or_compute_many(batch, timeout=60))


def test_the_deadline_holds_for_what_was_begun(house):
    """Nobody computes it here."""
    batch = [asked("late", n) for n in range(FIRST + 4)]

    answers = list(house.store.get_or_compute_many(batch, timeout=1, errors="return"))

    assert len(answers) == len(batch)
    assert {type(answer) for _, answer in answers} == {ComputeTimeout}


@pytest.mark.parametrize("after", ["rows were made", "the first chunk"])
def test_redis_that_goes_meanwhile_loses_nothing(staffed, monkeypatch, after):
    """What no worker heard of is computed here, or by a worker once it is sent again."""
    push, sends = Outbox.push, []

    def send(self, *given):
        sends.append(given)
        if len(sends) == (1 if after == "rows were made" else 2):
            raise BrokerUnavailable("sending", "went away")
        return push(self, *given)

    monkeypatch.setattr(Outbox, "push", send)
    batch = [asked(f"redis {after}", n) for n in range(3 * FIRST)]

    answers = list(staffed.store.get_or_compute_many(batch, timeout=90))

    assert all_right(answers)
    assert len(answers) == len(batch)


def test_postgres_that_is_away_for_a_moment_loses_nothing(staffed, monkeypatch):
    """The rest of the call goes the usual way."""
    find, looks = Manifest.find_live_many, []

    def look(self, keys):
        looks.append(len(keys))
        if len(looks) == 2:
            raise ManifestUnavailable("looking", "went away")
        return find(self, keys)

    monkeypatch.setattr(Manifest, "find_live_many", look)
    batch = [asked("postgres", n) for n in range(4 * FIRST)]

    answers = list(staffed.store.get_or_compute_many(batch, timeout=90))

    assert all_right(answers)
    assert len(answers) == len(batch)
    assert looks[:2] == [FIRST, FIRST + 1]


def test_a_caller_that_goes_away_leaves_jobs_that_are_known(house, monkeypatch):
    """Each message has its row by then, so that whoever waits, or upkeep, finds what was lost."""
    batch = [asked("gone", n) for n in range(FIRST)]
    sent: list[int] = []
    jobs = house.store.resources.jobs

    def send(self, *given):
        sent.append(sum(jobs.count_by_state().values()))
        raise KeyboardInterrupt

    monkeypatch.setattr(Outbox, "push", send)
    with pytest.raises(KeyboardInterrupt):
        house.store.get_or_compute_many(batch, timeout=60)
    assert sent == [FIRST]
    assert len(batch) == ahead.FIRST
