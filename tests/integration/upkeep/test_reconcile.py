"""Usage and counters on their way to Postgres, and lost computations on their way to a worker."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

import fstore
from fstore.broker.messages import RawReference
from fstore.broker.tasks import COMPUTE_QUEUE
from fstore.compute.executor import execute
from fstore.compute.recovery import Recovery
from fstore.errors import BrokerUnavailable, ComputeDead
from fstore.model import Claim, JobState
from fstore.postgres.jobs import MAX_STOPS
from fstore.reporting.prometheus import StoreCollector
from fstore.upkeep import api as upkeep
from fstore.upkeep.reconcile import run_reconciliation
from fstore.upkeep.runner import Skipped, run_alone
from fstore.upkeep.usage import FlushReport, UsageFlush
from tests import sample_features
from tests.support.shelf import Shelf, frame, key


@pytest.fixture
def shelf(house):
    return Shelf(house.store.resources)


def usage_flush(shelf):
    return UsageFlush.of(shelf.resources)


def flush(shelf):
    return run_alone(shelf.resources.runs, "flush", lambda _: usage_flush(shelf).move())


def usage(shelf):
    return shelf.sql("SELECT key, hits, last_accessed_ts > now() - interval '1 minute' FROM usage ORDER BY key")


def test_hits_and_counters_reach_postgres(shelf):
    """A flush adds what Redis noted, and a second one finds nothing left."""
    shelf.resources.usage_buffer.note({key("a"): 2, key("b"): 1}, {"cache_hits": 3})
    shelf.resources.usage_buffer.note({key("a"): 1}, {"cache_hits": 1, "computed": 1})

    first, second = flush(shelf), flush(shelf)

    assert (first, second) == (FlushReport(keys=2, hits=4, counters=5), FlushReport())
    assert set(usage(shelf)) == {(key("a"), 3, True), (key("b"), 1, True)}
    assert set(shelf.sql("SELECT name, value FROM counters")) == {("cache_hits", 4), ("computed", 1)}


def test_what_this_process_noted_goes_along(shelf):
    """Notes that have not even reached Redis are handed over first."""
    shelf.resources.recorder.used(key("a"))

    assert flush(shelf) == FlushReport(keys=1, hits=1, counters=0)


def test_a_flush_that_died_before_its_commit_loses_nothing(shelf, monkeypatch):
    """Notes set aside by a flush that was killed are taken up by the next one, newer notes stay for the one after."""
    shelf.resources.usage_buffer.note({key("a"): 1}, {})
    shelf.resources.usage_buffer.take()
    shelf.resources.usage_buffer.note({key("b"): 1}, {})

    flush(shelf)
    flush(shelf)

    assert [row[0] for row in usage(shelf)] == sorted([key("a"), key("b")])


def test_a_flush_sets_the_mark_after_redis_was_emptied(shelf):
    """From the first flush after a loss on, it is known for how long usage has been kept."""
    shelf.resources.redis_server._link.call("wiping", lambda client: client.flushall())

    usage_flush(shelf).move()

    now = shelf.sql("SELECT extract(epoch FROM now())::float")[0][0]
    assert 59 < shelf.resources.usage_buffer.known_for(now + 60) < 61


def test_without_redis_the_run_says_so(shelf, monkeypatch):
    """A flush without Redis is a typed error, recorded as such."""

    def down(*args):
        raise BrokerUnavailable("taking notes of usage", "down")

    monkeypatch.setattr("fstore.coordination.usage_buffer.UsageBuffer.take", down)

    with pytest.raises(BrokerUnavailable):
        flush(shelf)
    assert upkeep.list_runs(shelf.resources, "flush")[0]["report"]["error"] == "BrokerUnavailable"


def queued(shelf) -> int:
    return shelf.resources.redis_server.queue_length(COMPUTE_QUEUE)


def test_lost_messages_are_sent_again_once(shelf):
    """A queued job that nobody was seen to send is sent after a moment, one sent just now is left alone."""
    shelf.resources.jobs.enqueue({key(n): shelf.request(n).wire() for n in ("lost", "young")})
    shelf.sql("UPDATE jobs SET requested_ts = now() - interval '6 seconds' WHERE key = %(key)s", key=key("lost"))

    first, second = run_reconciliation(shelf.resources), run_reconciliation(shelf.resources)

    assert (first.sent, second.sent, queued(shelf)) == (1, 0, 1)


def test_a_backlog_is_not_taken_for_lost(shelf):
    """While messages wait, a queued job's own may be among them, however long, until a later one is being computed."""
    shelf.resources.jobs.enqueue({key(n): shelf.request(n).wire() for n in ("first", "waiting", "later")})
    shelf.resources.broker.send_compute(shelf.request("first"))
    aged = "UPDATE jobs SET {} = now() - interval '{} seconds' WHERE key = %(key)s"
    shelf.sql(aged.format("requested_ts", 500), key=key("waiting"))
    sent = {"behind others": run_reconciliation(shelf.resources).sent}
    shelf.sql(aged.format("requested_ts", 30), key=key("later"))
    shelf.claim("later")
    for column, seconds in (("requested_ts", 15), ("requested_ts", 35), ("sent_ts", 35), ("sent_ts", 45)):
        shelf.sql(aged.format(column, seconds), key=key("waiting"))
        sent[column, seconds] = run_reconciliation(shelf.resources).sent

    assert sent == {
        "behind others": 0, ("requested_ts", 15): 0, ("requested_ts", 35): 1, ("sent_ts", 35): 0, ("sent_ts", 45): 1,
    }  # fmt: skip


def test_what_a_worker_gave_back_has_no_message_that_could_wait(shelf):
    """A worker that stops releases its claim: the job is sent again though messages of others wait."""
    shelf.resources.jobs.release(shelf.claim("stopped"))
    shelf.resources.broker.send_compute(shelf.request("other"))
    assert run_reconciliation(shelf.resources).sent == 0
    shelf.sql("UPDATE jobs SET requested_ts = now() - interval '21 seconds'")

    assert (run_reconciliation(shelf.resources).sent, queued(shelf)) == (1, 2)


def test_a_backlog_does_not_grow_by_itself(shelf):
    """Ten thousand queued keys, two of them computed at a time, all looked at by waiters and upkeep: a message a job, for hours."""
    shelf.sql(
        "INSERT INTO jobs (key, state, attempt, starts, owner, request, requested_ts) "
        "SELECT md5(n::text) || md5(n::text), 'queued', 0, 0, '', %(request)s::json, now() - make_interval(secs => 10 - n / 1000.0) "
        "FROM generate_series(1, 10000) AS n RETURNING 1",
        request=json.dumps(shelf.request("a").wire()),
    )
    shelf.resources.broker.send_compute(shelf.request("one of many"))  # the queue is not empty
    keys = [name for (name,) in shelf.sql("SELECT key FROM jobs ORDER BY requested_ts")]
    sent = 0
    for passed in range(0, 560, 80):  # at the pace of two slots and tasks of a second
        shelf.sql(
            "UPDATE jobs SET requested_ts = requested_ts - interval '80 seconds', started_ts = started_ts - interval '80 seconds', sent_ts = sent_ts - interval '80 seconds' RETURNING 1"
        )
        shelf.sql("DELETE FROM jobs WHERE key = ANY(%(keys)s) RETURNING 1", keys=keys[: 2 * passed])
        shelf.sql(
            "UPDATE jobs SET state = 'running', started_ts = now(), lease_until = now() + interval '30 seconds' WHERE key = ANY(%(keys)s) RETURNING 1",
            keys=keys[2 * passed : 2 * passed + 2],
        )
        sent += len(shelf.resources.jobs.take_stale(keys[-2048:]))
        sent += len(shelf.resources.jobs.take_stale())
    later = "requested_ts = requested_ts - interval '{0}', started_ts = started_ts - interval '{0}', sent_ts = sent_ts - interval '{0}'"
    shelf.sql(f"UPDATE jobs SET {later.format('5 hours')} RETURNING 1")
    sent += len(shelf.resources.jobs.take_stale())
    assert sent == 0

    shelf.sql("DELETE FROM jobs WHERE state = 'running' RETURNING 1")  # nobody works on any: who can tell?
    assert len(shelf.resources.jobs.take_stale(limit=20_000)) > 8000
    shelf.sql(f"UPDATE jobs SET {later.format('4 hours')} RETURNING 1")
    assert shelf.resources.jobs.take_stale() == []


def test_a_job_whose_worker_died_is_sent_again(shelf):
    """Once the lease is over, the job goes to another worker."""
    shelf.claim("orphaned")
    assert run_reconciliation(shelf.resources).sent == 0

    shelf.sql("UPDATE jobs SET lease_until = now() - interval '1 second'")

    assert (run_reconciliation(shelf.resources).sent, queued(shelf)) == (1, 1)


def test_the_third_death_buries(shelf):
    """A job that was started three times without an end becomes dead, and is not sent again."""
    shelf.claim("poison")
    shelf.sql("UPDATE jobs SET lease_until = now() - interval '1 second', starts = 3")

    report = run_reconciliation(shelf.resources)

    assert (report.buried, report.sent) == (1, 0)
    assert shelf.resources.jobs.find(key("poison")).state is JobState.DEAD


def test_what_only_its_caller_can_compute_is_never_sent(shelf):
    """A job of a caller that died is dropped after a minute, so that whoever asks next starts anew."""
    local = shelf.request("mine").wire() | {"raw_data": {"kind": "caller", "path": "-"}}
    shelf.resources.jobs.claim(key("mine"), local)
    shelf.sql("UPDATE jobs SET lease_until = now() - interval '30 seconds'")
    assert run_reconciliation(shelf.resources).as_dict() == {
        "kind": "reconcile", "sent": 0, "buried": 0, "unsent": 0, "abandoned": 0, "forgotten": 0,
    }  # fmt: skip

    shelf.sql("UPDATE jobs SET lease_until = now() - %(ago)s", ago=timedelta(seconds=61))

    assert (run_reconciliation(shelf.resources).abandoned, queued(shelf)) == (1, 0)
    assert shelf.resources.jobs.find(key("mine")) is None


def test_a_request_of_another_version_is_left_to_that_version(shelf):
    """A stored request that this version cannot read is counted, not sent and not lost."""
    shelf.resources.jobs.enqueue({key("new"): {"format": 2, "raw_data": {"kind": "parquet"}}})
    shelf.sql("UPDATE jobs SET requested_ts = now() - interval '6 seconds'")

    report = run_reconciliation(shelf.resources)

    assert (report.sent, report.unsent) == (0, 1)
    assert shelf.resources.jobs.find(key("new")).state is JobState.QUEUED


def test_old_failure_notes_go(shelf):
    """A failure of more than a day ago is forgotten."""
    shelf.claim("failed")
    shelf.sql("UPDATE jobs SET state = 'failed', finished_ts = now() - interval '25 hours'")

    assert run_reconciliation(shelf.resources).forgotten == 1


def test_two_schedulers_reconcile_once(shelf):
    """Of two scheduled runs at the same moment one is skipped and says so."""
    assert "skipped" not in upkeep.reconcile_jobs(shelf.resources, scheduled=True)
    assert isinstance(run_reconciliation(shelf.resources, unless_within_s=10), Skipped)
    assert "ended less than" in upkeep.reconcile_jobs(shelf.resources, scheduled=True)["skipped"]


def test_records_of_frequent_runs_do_not_pile_up(shelf):
    """Records of flushes older than a day go when the next one begins."""
    flush(shelf)
    shelf.sql("UPDATE upkeep_runs SET started_ts = now() - interval '25 hours'")

    flush(shelf)

    assert len(upkeep.list_runs(shelf.resources, "flush")) == 1


@pytest.mark.parametrize("who", ["waiters", "workers", "upkeep"])
def test_whoever_buries_jobs_counts_each_once(house, shelf, who):
    """Three computations that killed their workers: three deaths in the counters and in ``fstore_dead``, however many look later."""
    asked = [house.store._prepare("DEAD", frame(), {"n": n}, sample_features.scaled) for n in range(3)]
    requests = [one.message(RawReference(kind="staged", path="staging/raw/none")) for one in asked]
    for request in requests:
        assert shelf.resources.jobs.claim(request.known_key, request.wire())
    shelf.sql("UPDATE jobs SET lease_until = now() - interval '1 second', starts = 3")

    def wait() -> None:
        batch = [fstore.Request("DEAD", frame(), {"n": n}, sample_features.scaled) for n in range(3)]
        for _, error in house.store.get_or_compute_many(batch, timeout=20, errors="return"):
            assert isinstance(error, ComputeDead)

    def work() -> None:
        for request in requests:
            with pytest.raises(ComputeDead):
                execute(shelf.resources, request, phase=lambda _: None)

    looks = {"waiters": wait, "workers": work, "upkeep": lambda: run_reconciliation(shelf.resources)}
    looks[who]()
    for look in looks.values():
        look()

    shelf.resources.recorder.flush()
    metrics = {family.name: family for family in StoreCollector(shelf.resources).collect()}
    assert [sample.value for sample in metrics["fstore_dead"].samples] == [3.0]
    usage_flush(shelf).move()
    assert ("dead", 3) in shelf.sql("SELECT name, value FROM counters")


def test_a_burial_without_redis_is_counted_too(shelf, monkeypatch):
    """The count waits in the process until Redis is back."""
    shelf.claim("poison")
    shelf.sql("UPDATE jobs SET lease_until = now() - interval '1 second', starts = 3")

    def down(*_):
        raise BrokerUnavailable("announcing results", "away")

    with monkeypatch.context() as away:
        away.setattr("fstore.coordination.link.RedisLink.call", down)
        assert Recovery.of(shelf.resources).bury() == [key("poison")]

    shelf.resources.recorder.flush()
    usage_flush(shelf).move()
    assert ("dead", 1) in shelf.sql("SELECT name, value FROM counters")


def test_orderly_stops_of_workers_are_not_held_against_a_computation(house, shelf):
    """Deploys may stop it as often as they like; a worker that was killed counts once, and ``explain`` tells of the stops."""
    asked = house.store._prepare("LONG", frame(), {}, sample_features.scaled)
    request = asked.message(RawReference(kind="staged", path="staging/raw/none"))
    jobs = shelf.resources.jobs

    def start() -> Claim:
        claim = jobs.claim(asked.key, request.wire())
        assert claim is not None
        return claim

    for _ in range(5):
        assert jobs.release(start())
    assert jobs.bury() == []
    claim = start()
    assert (claim.starts, jobs.find(asked.key).starts, jobs.find(asked.key).stops) == (6, 1, 5)
    shelf.sql("UPDATE jobs SET lease_until = now() - interval '1 second'")  # killed: no time to say so
    assert jobs.release(start())
    assert (jobs.find(asked.key).starts, jobs.find(asked.key).stops) == (1, 6)
    assert jobs.bury() == []

    told = house.store.explain("LONG", frame(), {}, sample_features.scaled)
    assert told.as_dict()["stops"] == 6
    assert "6 orderly stops of its worker" in str(told)

    for _ in range(MAX_STOPS):
        claim = jobs.claim(asked.key, request.wire())
        if claim is not None:
            jobs.release(claim)
    assert jobs.bury() == [asked.key]  # a function that stops its own worker does not run for ever
