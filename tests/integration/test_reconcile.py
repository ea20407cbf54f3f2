"""Usage and counters on their way to Postgres, and lost computations on their way to a worker."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fstore.broker.client import COMPUTE_QUEUE
from fstore.compute import executor as compute
from fstore.compute.executor import bury
from fstore.errors import BrokerUnavailable, ComputeDead
from fstore.model import JobState
from fstore.postgres.maintenance import Ledger
from fstore.upkeep import api as upkeep
from fstore.upkeep.reconcile import run_reconciliation
from fstore.upkeep.runner import Skipped, run_alone
from fstore.upkeep.usage import FlushReport, UsageFlush
from tests.integration.shelf import Shelf, key


@pytest.fixture
def shelf(house):
    return Shelf(house.store.resources)


def usage_flush(shelf):
    return UsageFlush(Ledger(shelf.resources.database), shelf.resources.coordination, shelf.resources.recorder)


def flush(shelf):
    return run_alone(Ledger(shelf.resources.database), "flush", lambda _: usage_flush(shelf).move())


def usage(shelf):
    return shelf.sql("SELECT key, hits, last_accessed_ts > now() - interval '1 minute' FROM usage ORDER BY key")


def test_hits_and_counters_reach_postgres(shelf):
    """A flush adds what Redis noted, and a second one finds nothing left."""
    shelf.resources.coordination.note({key("a"): 2, key("b"): 1}, {"cache_hits": 3})
    shelf.resources.coordination.note({key("a"): 1}, {"cache_hits": 1, "computed": 1})

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
    shelf.resources.coordination.note({key("a"): 1}, {})
    shelf.resources.coordination.take_notes()
    shelf.resources.coordination.note({key("b"): 1}, {})

    flush(shelf)
    flush(shelf)

    assert [row[0] for row in usage(shelf)] == sorted([key("a"), key("b")])


def test_a_flush_sets_the_mark_after_redis_was_emptied(shelf):
    """From the first flush after a loss on, it is known for how long usage has been kept."""
    shelf.resources.coordination._link.call("wiping", lambda client: client.flushall())

    usage_flush(shelf).move()

    now = shelf.sql("SELECT extract(epoch FROM now())::float")[0][0]
    assert 59 < shelf.resources.coordination.usage_known_for(now + 60) < 61


def test_without_redis_the_run_says_so(shelf, monkeypatch):
    """A flush without Redis is a typed error, recorded as such."""

    def down(*args):
        raise BrokerUnavailable("taking notes of usage", "down")

    monkeypatch.setattr("fstore.coordination.locks.Coordination.take_notes", down)

    with pytest.raises(BrokerUnavailable):
        flush(shelf)
    assert upkeep.list_runs(shelf.resources, "flush")[0]["report"]["error"] == "BrokerUnavailable"


def queued(shelf) -> int:
    return shelf.resources.coordination.queue_length(COMPUTE_QUEUE)


def test_lost_messages_are_sent_again_once(shelf):
    """A queued job that nobody was seen to send is sent after a moment, one sent just now is left alone."""
    shelf.resources.jobs.enqueue({key(n): shelf.request(n).wire() for n in ("lost", "young")})
    shelf.sql("UPDATE jobs SET requested_ts = now() - interval '6 seconds' WHERE key = %(key)s", key=key("lost"))

    first, second = run_reconciliation(shelf.resources), run_reconciliation(shelf.resources)

    assert (first.sent, second.sent, queued(shelf)) == (1, 0, 1)


def test_a_backlog_is_not_taken_for_lost(shelf):
    """While messages wait, a queued job's own may be among them: it is sent again only after a while, and then less often."""
    shelf.resources.jobs.enqueue({key(n): shelf.request(n).wire() for n in ("first", "waiting")})
    shelf.resources.broker.send_compute(shelf.request("first"))
    aged = "UPDATE jobs SET {} = now() - interval '{} seconds' WHERE key = %(key)s"
    sent = {}
    for column, seconds in (("requested_ts", 15), ("requested_ts", 25), ("sent_ts", 35), ("sent_ts", 45)):
        shelf.sql(aged.format(column, seconds), key=key("waiting"))
        sent[column, seconds] = run_reconciliation(shelf.resources).sent

    assert sent == {("requested_ts", 15): 0, ("requested_ts", 25): 1, ("sent_ts", 35): 0, ("sent_ts", 45): 1}


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


def test_wherever_a_job_is_buried_it_is_counted(shelf):
    """A waiter, a worker and upkeep each find one dead: all three are in the counters."""
    for name in ("waiter", "worker", "upkeep"):
        shelf.claim(name)
    shelf.sql("UPDATE jobs SET lease_until = now() - interval '1 second', starts = 3")

    bury(shelf.resources, [key("waiter")])
    with pytest.raises(ComputeDead):
        compute._why_not(shelf.resources, key("worker"), 0.0)
    run_reconciliation(shelf.resources)

    usage_flush(shelf).move()
    assert ("dead", 3) in shelf.sql("SELECT name, value FROM counters")
