"""Many requests at once: in chunks, each with its own result or error, none lost with its neighbours."""

from __future__ import annotations

import json
import threading
from contextlib import ExitStack

import pandas as pd
import pytest

import fstore
from fstore.broker.messages import MOST, ComputeRequest, RawReference, in_chunks
from fstore.broker.tasks import COMPUTE_QUEUE
from fstore.client.request import prepare
from fstore.compute.batches import executor as batch_executor
from fstore.compute.batches.executor import execute_batch
from fstore.compute.raw_data import stage_raw
from fstore.errors import ComputeDead, ComputeFailed, ComputeTimeout
from fstore.model import Claim
from fstore.records import flat
from tests import sample_features
from tests.conftest import build_house
from tests.integration.compute.test_publish_fence import new_entry
from tests.pooler import needs_sessions
from tests.support.shelf import Shelf, key
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [float(i) for i in range(40)]})


@pytest.fixture
def shelf(house):
    return Shelf(house.store.resources)


def requests_for(function, configs):
    return [fstore.Request("AAPL", RAW, config, function) for config in configs]


def test_a_batch_answers_each_request_with_its_own_frame(staffed):
    """Every request gets what a direct call returns, the equal ones too, and each key is computed once."""
    asked = requests_for(sample_features.scaled, [{"factor": i % 150, "batch": "own"} for i in range(200)])
    before = staffed.store.resources.usage_buffer.pending_counters().get("computed", 0)

    answers = list(staffed.store.get_or_compute_many(asked, timeout=90))

    assert len(answers) == 200
    for request, frame in answers:
        pd.testing.assert_frame_equal(frame, RAW * request.config["factor"])
    assert staffed.store.resources.usage_buffer.pending_counters()["computed"] - before <= 150
    again = list(staffed.store.peek_many(asked))
    assert [request for request, _ in again] == asked
    assert all(entry is not None for _, entry in again)


def test_a_request_that_fails_leaves_its_neighbours_alone(staffed):
    """The failure is the answer of that request only, with the worker's text."""
    asked = [
        *requests_for(sample_features.scaled, [{"factor": i, "batch": "mixed"} for i in range(20)]),
        *requests_for(sample_features.failing, [{"n": 1}]),
        *requests_for(sample_features.scaled, [{"factor": i, "batch": "mixed"} for i in range(20, 40)]),
    ]

    answers = list(staffed.store.get_or_compute_many(asked, timeout=60, errors="return"))

    failed = [answer for _, answer in answers if isinstance(answer, Exception)]
    assert len(answers) == 41
    assert [type(error) for error in failed] == [ComputeFailed]
    assert "no price in row 17" in str(failed[0])


def test_a_request_that_kills_its_worker_takes_nobody_along(servers, tmp_path):
    """It ends as dead after three starts; all others of its chunk have their results."""
    with ExitStack() as stack:
        hasty = build_house(servers, tmp_path, stack, lease_seconds="3", renew_seconds="1", lock_seconds="3")
        hasty.start(concurrency=2)
        asked = requests_for(sample_features.scaled, [{"factor": i} for i in range(10)])
        asked[5:5] = requests_for(sample_features.poison, [{"marks": str(tmp_path / "marks")}])

        answers = list(hasty.store.get_or_compute_many(asked, timeout=150, errors="return"))

        assert sum(isinstance(answer, pd.DataFrame) for _, answer in answers) == 10
        assert [type(answer) for _, answer in answers if isinstance(answer, Exception)] == [ComputeDead]
        assert len(list((tmp_path / "marks").iterdir())) <= 3


def test_long_computations_are_shared_by_all_workers(staffed, tmp_path):
    """A chunk that takes longer than it was meant to is given back, so that no worker is left with all of it."""
    asked = requests_for(sample_features.slow, [{"seconds": 0.7, "n": i, "marks": str(tmp_path)} for i in range(12)])

    answers = list(staffed.store.get_or_compute_many(asked, timeout=60))

    workers = {mark.name.split("-")[0] for mark in tmp_path.iterdir()}
    assert len(answers) == 12
    assert len(list(tmp_path.iterdir())) == 12, "each was started once"
    assert len(workers) == 2


def test_the_task_answers_a_plain_celery_client_in_order(house):
    """One dict a request: what was live is a hit, what is computed elsewhere is coalesced, what cannot be is failed."""
    resources = house.store.resources
    live, elsewhere, failing, fresh = (
        asked.message(stage_raw(resources.staging, asked.raw_data, asked.fingerprint))
        for asked in (
            prepare(resources, "AAPL", RAW, {"n": n}, function)
            for n, function in enumerate(
                [sample_features.scaled, sample_features.scaled, sample_features.failing, sample_features.scaled]
            )
        )
    )
    execute_batch(resources, [live], phase=lambda _: None)
    held = resources.jobs.claim(elsewhere.key, elsewhere.wire())

    answers = execute_batch(resources, [live, elsewhere, failing, fresh, live], phase=lambda _: None)

    assert [answer["status"] for answer in answers] == ["hit", "coalesced", "failed", "computed", "hit"]
    assert [answer["key"] for answer in answers] == [r.key for r in (live, elsewhere, failing, fresh, live)]
    assert answers[1]["path"] is None
    assert answers[2]["error"]["type"] == "ComputeFailed" or answers[2]["error"]["type"] == "ValueError"
    pd.testing.assert_frame_equal(house.store.load(answers[3]), RAW * 2)
    assert resources.jobs.renew([held]) == {elsewhere.key}


def test_what_is_given_back_is_sent_even_if_the_answer_was_lost(house, monkeypatch):
    """A statement that is repeated finds its claims given back already; their messages must be sent all the same."""
    monkeypatch.setattr(batch_executor, "CHUNK_S", 0.2)
    resources = house.store.resources
    requests = []
    for n in range(3):
        asked = prepare(resources, "BACK", RAW, {"seconds": 0.3, "n": n}, sample_features.slow)
        requests.append(asked.message(stage_raw(resources.staging, asked.raw_data, asked.fingerprint)))
    resources.jobs.enqueue({request.key: request.wire() for request in requests})
    before = resources.redis_server.queue_length(COMPUTE_QUEUE)
    give_back, sent = type(resources.jobs).return_unstarted, []
    monkeypatch.setattr(
        type(resources.jobs), "return_unstarted", lambda *given: (give_back(*given), give_back(*given))[1]
    )
    monkeypatch.setattr(
        type(resources.broker), "send_compute_many", lambda _, chunk: sent.extend(request.key for request in chunk)
    )

    answers = execute_batch(resources, requests, phase=lambda _: None)

    assert [answer["status"] for answer in answers].count("coalesced") == len(sent)
    assert set(sent) == {answer["key"] for answer in answers if answer["status"] == "coalesced"} != set()
    assert resources.redis_server.queue_length(COMPUTE_QUEUE) == before


def test_what_ended_a_worker_before_has_a_task_of_its_own(house, monkeypatch):
    """Of jobs that were started before, a task computes what its time allows and sends the others on."""
    monkeypatch.setattr(batch_executor, "CHUNK_S", 0.2)
    resources = house.store.resources
    requests = []
    for n in range(3):
        asked = prepare(resources, "AAPL", RAW, {"seconds": 0.3, "n": n}, sample_features.slow)
        requests.append(asked.message(stage_raw(resources.staging, asked.raw_data, asked.fingerprint)))
    resources.jobs.enqueue({request.key: request.wire() for request in requests})
    resources.database.query("UPDATE jobs SET state = 'running', starts = 1, lease_until = now() - interval '1 second'")

    answers = execute_batch(resources, requests, phase=lambda _: None)

    assert [answer["status"] for answer in answers] == ["computed", "coalesced", "coalesced"]
    assert resources.redis_server.queue_length(COMPUTE_QUEUE) == 2
    again = execute_batch(resources, [requests[0], requests[0]], phase=lambda _: None)
    assert [answer["status"] for answer in again] == ["hit", "hit"]


def test_a_job_of_another_version_holds_up_nobody_else(staffed):
    """What cannot be sent again from here is left to those who can; the other requests of the call are answered."""
    resources = staffed.store.resources
    asked = requests_for(sample_features.scaled, [{"factor": n, "batch": "versions"} for n in range(2)])
    foreign = prepare(resources, "AAPL", RAW, asked[0].config, sample_features.scaled)
    request = foreign.message(stage_raw(resources.staging, foreign.raw_data, foreign.fingerprint)).wire()
    resources.jobs.enqueue({foreign.key: {**request, "format": 2}})
    resources.database.query(
        "UPDATE jobs SET requested_ts = now() - interval '1 minute' WHERE key = %(key)s", {"key": foreign.key}
    )

    answers = staffed.store.get_or_compute_many(asked, timeout=30, errors="return")
    first, frame = next(answers)  # answers come as they are there
    ((_, late),) = staffed.store.get_or_compute_many(asked[:1], timeout=2, errors="return")
    answers.close()

    resources.database.query("DELETE FROM jobs WHERE key = %(key)s", {"key": foreign.key})
    assert first is asked[1]
    pd.testing.assert_frame_equal(frame, RAW)
    assert isinstance(late, ComputeTimeout)


@needs_sessions(10)
def test_publishers_that_meet_share_one_transaction(shelf):
    """While somebody holds the manifest, offers wait in pending; whoever gets it next moves all of them at once."""
    names = [f"n{i}" for i in range(8)]
    claims, written = {name: shelf.claim(name) for name in names}, {name: shelf.write(name) for name in names}
    outcomes = []

    def publish(name):
        outcomes.append(shelf.resources.manifest.publish([(new_entry(name, written[name]), claims[name])]))

    threads = [threading.Thread(target=publish, args=(name,)) for name in names]
    with shelf.resources.database.session() as session:
        session.query("BEGIN")
        session.query("LOCK TABLE manifest IN EXCLUSIVE MODE")
        for thread in threads:
            thread.start()
        eventually(lambda: len(shelf.sql("SELECT path FROM pending")) == 7, seconds=10, what="all but one to wait")
        session.query("ROLLBACK")
    for thread in threads:
        thread.join(20)

    assert len(outcomes) == 8
    assert all(published.live_path for outcome in outcomes for published in outcome.values())
    assert shelf.sql("SELECT count(*), count(DISTINCT xmin::text) FROM manifest") == [(8, 1)]
    assert shelf.sql("SELECT path FROM pending") == []
    assert shelf.sql("SELECT key FROM jobs") == []


def leave_pending(shelf, name, claim, locator):
    """Do what a publisher does that finds the manifest held and dies."""
    offers = json.dumps([{**flat(new_entry(name, locator)), "attempt": claim.attempt, "owner": claim.owner}])
    with shelf.resources.database.session() as session:
        session.query("BEGIN")
        session.query("SELECT FROM publish_turn FOR UPDATE")  # as if another publisher were at it
        assert (
            shelf.resources.database.query("SELECT * FROM fstore_publish(%(offers)s::jsonb)", {"offers": offers}) == []
        )
        session.query("ROLLBACK")


def test_a_dead_publisher_leaves_its_row_to_the_next_one(shelf):
    """Its claim still holds, so its result is published with the next one's: nothing is computed twice."""
    orphaned, written = shelf.claim("a"), shelf.write("a")
    leave_pending(shelf, "a", orphaned, written)

    shelf.publish("b")

    assert shelf.resources.manifest.find_live(key("a")) == written
    assert shelf.sql("SELECT path FROM pending") == []


def test_a_pending_row_whose_claim_was_taken_over_stays_out(shelf):
    """The fence is checked when the row is moved, not when it was left."""
    late, written = shelf.claim("a"), shelf.write("a")
    leave_pending(shelf, "a", late, written)
    shelf.sql("UPDATE jobs SET lease_until = now() - interval '1 second'")
    current = shelf.claim("a")
    assert isinstance(current, Claim)

    shelf.publish("b")

    assert shelf.resources.manifest.find_live(key("a")) is None
    assert shelf.resources.jobs.renew([current]) == {key("a")}
    assert shelf.sql("SELECT path FROM pending") == []


def test_chunks_are_worth_about_a_second():
    """Quick computations travel in numbers, long ones alone; large configs make chunks small; nothing is lost."""

    def request(n, size=10):
        return ComputeRequest(
            symbol="A",
            feature="m:f",
            raw_data=RawReference(kind="staged", path="p"),
            canonical_config="x" * size,
            key=f"{n:064x}",
        )

    quick = list(in_chunks([request(i) for i in range(200)], per_item_s=0.001))
    long = list(in_chunks([request(i) for i in range(5)], per_item_s=3.0))
    large = list(in_chunks([request(i, 60_000) for i in range(20)], per_item_s=0.001))

    assert [len(chunk) for chunk in quick] == [MOST, MOST, MOST, 8]
    assert [len(chunk) for chunk in long] == [1] * 5
    assert all(sum(len(r.canonical_config) for r in chunk) <= 512 * 1024 for chunk in large)
    assert sum(map(len, large)) == 20


def test_a_pending_row_that_postgres_refuses_stops_nobody(shelf):
    """It is thrown out, its publisher alone is told, and the next one gets through."""
    claim, written = shelf.claim("a"), shelf.write("a")
    leave_pending(shelf, "a", claim, written)
    shelf.sql("UPDATE pending SET offer = jsonb_set(offer, '{library_versions}', 'null') RETURNING path")

    shelf.publish("b")

    assert shelf.state("b") == "live"
    assert shelf.sql("SELECT path FROM pending") == []


def test_a_long_computation_holds_up_no_neighbour_in_its_chunk(house, monkeypatch, tmp_path):
    """What is done is published while it runs, what was not begun is given back to other workers."""
    monkeypatch.setattr(batch_executor, "CHUNK_S", 0.3)
    resources, sent = house.store.resources, []
    monkeypatch.setattr(resources.broker, "send_compute", lambda request: sent.append(request.key))
    let_go = tmp_path / "let go"
    quick, long = (sample_features.slow, {"seconds": 0.0}), (sample_features.after_another, {"after": str(let_go)})
    chunk = [
        asked.message(stage_raw(resources.staging, asked.raw_data, asked.fingerprint))
        for asked in (
            prepare(resources, "AAPL", RAW, {**config, "n": n}, function)
            for n, (function, config) in enumerate([quick, long, quick])
        )
    ]
    first, _, last = (request.key for request in chunk)
    running = threading.Thread(
        target=execute_batch, args=(resources, chunk), kwargs={"phase": lambda _: None}, daemon=True
    )
    running.start()

    eventually(lambda: resources.manifest.find_live(first), seconds=10, what="the first result")
    eventually(lambda: sent == [last], seconds=10, what="the last one to be sent again")
    assert running.is_alive(), "the long one still runs"
    assert resources.jobs.find(last).state == "queued"
    let_go.touch()
    running.join(60)
    assert resources.manifest.find_live(chunk[1].key)
