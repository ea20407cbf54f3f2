"""``fstore jobs``: what waits, runs, failed or died, and what an operator does about it."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from fstore import ComputeFailed
from fstore.compute.failures import failure_for
from fstore.model import Claim, FailureNote, JobState
from tests.conftest import House
from tests.support.commands import fstore
from tests.support.shelf import Shelf, key
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]}, index=pd.date_range("2026-01-01", periods=3, freq="s", name="ts"))
SLOW, FAILING = "tests.sample_features:slow", "tests.sample_features:failing"


@pytest.fixture
def busy(house: House) -> Shelf:
    """A store without workers: one job runs, one waits, one failed, one is dead."""
    shelf = Shelf(house.store.resources)
    jobs = house.store.resources.jobs
    jobs.enqueue({key("WAITS"): shelf.request("WAITS").wire()})
    shelf.claim("RUNS")
    jobs.fail(shelf.claim("FAILED"), FailureNote("KeyError", "'ask'\nsecond line", "Traceback ..."))
    shelf.claim("DEAD")
    shelf.sql("UPDATE jobs SET state = 'dead', finished_ts = now() WHERE key = %(key)s", key=key("DEAD"))
    return shelf


def test_jobs_are_listed_with_what_was_asked_for(house: House, busy: Shelf) -> None:
    """What runs comes first; each has symbol, feature, config and error, for people and machines."""
    listed = fstore(house, "jobs", "--json")

    assert listed.code == 0
    assert [(job["symbol"], job["state"]) for job in listed.json["jobs"]] == [
        ("RUNS", "running"), ("WAITS", "queued"), ("FAILED", "failed"), ("DEAD", "dead"),
    ]  # fmt: skip
    assert {job["feature"] for job in listed.json["jobs"]} == {"m:f"}
    assert listed.json["jobs"][2]["failure"]["type"] == "KeyError"
    assert listed.json["by_state"] == {"queued": 1, "running": 1, "failed": 1, "dead": 1}
    assert [j["symbol"] for j in fstore(house, "jobs", "--state", "dead", "--json").json["jobs"]] == ["DEAD"]
    assert [j["symbol"] for j in fstore(house, "jobs", "--symbol", "WAITS", "--json").json["jobs"]] == ["WAITS"]
    assert fstore(house, "jobs", "--feature", "other:f", "--json").json["shown"] == 0

    people = fstore(house, "jobs").out
    assert key("FAILED")[:12] in people
    assert "KeyError: 'ask'" in people
    assert "second line" not in people


def test_the_report_tells_which_features_fail(house: House, busy: Shelf) -> None:
    """By feature: how many keys failed and died, when and with which error the last one ended; jobs that go on are none."""
    jobs = house.store.resources.jobs
    jobs.fail(busy.claim("LATER"), FailureNote("ValueError", "x" * 1000, "Traceback ..."))

    (failing,) = fstore(house, "report", "--json").json["failing"]

    assert (failing["feature"], failing["failed"], failing["dead"], failing["symbol"]) == ("m:f", 2, 1, "LATER")
    assert failing["error"].startswith("ValueError: xxx")
    assert len(failing["error"]) == 300
    assert "ValueError" in fstore(house, "report").out
    busy.sql("UPDATE jobs SET request = '[1]', error = '7' WHERE state = 'failed'")
    odd = fstore(house, "report", "--json").json["failing"]
    assert sorted((f["feature"], f["failed"], f["dead"]) for f in odd) == [("m:f", 0, 1), ("unknown", 2, 0)]


def test_a_key_of_a_job_shows_its_request(house: House, busy: Shelf) -> None:
    """``fstore show`` of a dead job names symbol, feature and config: whoever mends it must know which it is."""
    shown = fstore(house, "show", key("DEAD")[:12], "--json").json["job"]

    assert (shown["symbol"], shown["feature"], shown["config"]) == ("DEAD", "m:f", {})
    assert "m:f" in fstore(house, "show", key("DEAD")[:12]).out


def test_cancelling_tells_waiters_and_takes_the_claim(house: House, busy: Shelf) -> None:
    """A cancelled job is not started by anybody, its result cannot be published, and whoever waits is told by whom."""
    resources = house.store.resources
    claim = resources.jobs.find(key("RUNS"))
    assert claim is not None
    held = busy.write("RUNS")

    said = fstore(house, "jobs", "cancel", key("RUNS")[:12], key("WAITS")[:12], "--json")

    assert (said.code, said.json["left"]) == (0, [])
    assert said.json["cancelled"] == sorted([key("RUNS"), key("WAITS")])
    for name in ("RUNS", "WAITS"):
        assert resources.jobs.claim(key(name), busy.request(name).wire()) is None
        error = failure_for(resources.jobs.look([key(name)])[key(name)])
        assert isinstance(error, ComputeFailed)
        assert error.error_type == "Cancelled"
        assert "fstore jobs retry" in str(error)
    stale = Claim(key("RUNS"), claim.attempt, claim.owner)
    assert not busy.insert("RUNS", stale, held)
    assert busy.state("RUNS") is None
    assert resources.jobs.renew([stale]) == set()


def test_what_ended_cannot_be_cancelled_and_what_waits_not_forgotten(house: House, busy: Shelf) -> None:
    """Exit code 1 and the keys that were left, so that a script notices."""
    cancelled = fstore(house, "jobs", "cancel", key("DEAD")[:12], "--json")
    assert (cancelled.code, cancelled.json["left"]) == (1, [key("DEAD")])

    forgotten = fstore(house, "jobs", "forget", key("WAITS"), key("FAILED"), "--json")
    assert (forgotten.code, forgotten.json["left"], forgotten.json["forgotten"]) == (1, [key("WAITS")], [key("FAILED")])
    assert house.store.resources.jobs.find(key("FAILED")) is None


def test_many_are_chosen_by_state_symbol_or_feature(house: House, busy: Shelf) -> None:
    """Without keys conditions choose; a dry run changes nothing; neither is an error of use."""
    dry = fstore(house, "jobs", "forget", "--state", "dead", "--dry-run", "--json").json
    assert (dry["chosen"], dry["forgotten"]) == ([key("DEAD")], [])
    assert fstore(house, "jobs", "forget", "--feature", "m:f", "--json").json["forgotten"] == sorted(
        [key("DEAD"), key("FAILED")]
    )
    assert fstore(house, "jobs", "cancel", "--symbol", "RUNS", "--json").json["cancelled"] == [key("RUNS")]
    assert fstore(house, "jobs", "retry").code == 2


def test_a_failed_job_is_retried_by_a_worker_at_once(house: House) -> None:
    """``retry`` sends the stored request again; the note that waiters would be told goes away."""
    house.start(concurrency=1)
    failed = house.store.submit("AAPL", RAW, {}, FAILING)
    eventually(lambda: failed.status() == "failed", seconds=30, what="the failure")
    first = house.store.resources.jobs.find(failed.key)
    assert first is not None

    assert fstore(house, "jobs", "retry", "--state", "failed", "--json").json["sent"] == [failed.key]

    def again() -> bool:
        job = house.store.resources.jobs.find(failed.key)
        return job is not None and job.state is JobState.FAILED and job.attempt > first.attempt

    eventually(again, seconds=30, what="a second attempt")


def test_watching_ends_when_nothing_waits_or_runs(house: House) -> None:
    """``--watch`` looks again until all is done; in JSON it is one document, of the end."""
    house.start(concurrency=1)
    ticket = house.store.submit("AAPL", RAW, {"seconds": 1.0}, SLOW)

    said = fstore(house, "jobs", "--watch", "--every", "0.1", "--json")

    assert said.code == 0
    assert json.loads(said.out)["by_state"] == {}
    assert ticket.status() == "live"
