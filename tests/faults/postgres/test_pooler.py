"""Everything behind PgBouncer in transaction mode, with fewer server connections than there are clients."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from fstore import FeatureStoreError
from fstore.broker.tasks import QUEUES
from fstore.postgres.runs import LEASE_S
from fstore.upkeep import api as upkeep
from fstore.upkeep.collection.report import GarbageReport
from fstore.upkeep.collection.run import run_collection
from fstore.upkeep.runner import Skipped
from tests.conftest import run_sql
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.load import put_under_load
from tests.faults.harness.site import frozen
from tests.faults.rows import row
from tests.pooler import absent
from tests.sample_features import scaled
from tests.waiting import eventually

KINDS = ("gc", "sweep", "reconcile", "flush")


@row(
    50,
    fault="Postgres is behind PgBouncer in transaction mode, with two server connections, and the pooler is killed",
    promise="hits, misses and every kind of upkeep go on; nothing is wrong, nothing is left over",
    needs=("pgbouncer",),
    seconds=60,
)
@pytest.mark.timeout(300)
def test_row_50_everything_behind_a_pooler(make_site):
    """Twelve callers, two workers and all upkeep share two connections; after a kill of the pooler each goes on by itself."""
    site = make_site(behind=("pooler",), reconcile_period_s="1", flush_period_s="1")
    for _ in range(2):
        site.worker(concurrency=2, queues=",".join(QUEUES))
    site.beat()
    resources = site.store.resources
    with resources.database.session() as session:
        assert session.is_pooled

    def round_of(name: str) -> None:
        load = put_under_load(site, name, keys=12, seconds=0.2, timeout=90)
        for act in (upkeep.collect_garbage, upkeep.sweep_integrity, upkeep.reconcile_jobs, upkeep.flush_usage):
            eventually(lambda act=act: not act(resources).get("skipped"), seconds=20, what=f"a turn for {act.__name__}")  # type: ignore[misc]
        load.answered()

    round_of("before")
    load = put_under_load(site, "during", keys=8, seconds=0.3, timeout=90)
    site.pooler.kill()
    with pytest.raises(FeatureStoreError):
        resources.database.query("SELECT 1")
    site.pooler.start()
    load.answered()
    eventually(lambda: _answers(resources), seconds=10, what="an end of the pause after a failed connect")
    counts = {kind: _finished(site, kind) for kind in KINDS}
    round_of("after")

    eventually(
        lambda: all(_finished(site, kind) > counts[kind] for kind in KINDS), seconds=30, what="upkeep of each kind"
    )
    ((clients,),) = site.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND backend_type = 'client backend'"
    )
    assert clients <= 2
    # What a session left behind would be found by whoever comes next on that server connection.
    assert run_sql(site.environment["FEATURE_STORE_POSTGRES_URL"], "SHOW statement_timeout") == [("0",)]
    assert site.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]
    check_invariants(site)


def _answers(resources):
    with suppress(FeatureStoreError):
        return resources.database.query("SELECT 1") == [(1,)]
    return False


def _finished(site, kind):
    ((count,),) = site.sql(f"SELECT count(*) FROM upkeep_runs WHERE kind = '{kind}' AND finished_ts IS NOT NULL")
    return count


@row(
    51,
    fault="a run of upkeep is killed, or frozen until its lease is over",
    promise="the next run begins when the lease is over; the frozen one does nothing more when it wakes up",
    seconds=45,
)
@pytest.mark.timeout(300)
def test_row_51_a_turn_ends_with_its_lease(make_site):
    """Killed, its turn is over within the lease; frozen past it, it learns at its next step that another began."""
    site = make_site()
    site.worker()
    held = _holding_a_turn(site)
    assert isinstance(run_collection(site.store.resources), Skipped)
    held.kill()
    held.wait(10)
    eventually(
        lambda: isinstance(run_collection(site.store.resources), GarbageReport), seconds=LEASE_S + 5, what="a turn"
    )

    held = _holding_a_turn(site)
    with frozen(held.pid):
        site.sql("UPDATE upkeep_turns SET lease_until = now() - interval '1 ms'")
        assert isinstance(run_collection(site.store.resources), GarbageReport)
    assert held.stdin is not None
    held.stdin.write("go on\n")
    held.stdin.close()
    assert held.stdout is not None
    assert held.stdout.read().strip() == "UpkeepRefused"
    assert held.wait(20) == 0
    site.sql("UPDATE upkeep_turns SET lease_until = now() - interval '1 ms'")
    check_invariants(site)


HOLD = """
import sys, fstore
from fstore.errors import UpkeepRefused
from fstore.upkeep.runner import run_alone
def work(lock):
    print("held", flush=True)
    sys.stdin.readline()
    lock.check()
with fstore.connect() as store:
    try:
        run_alone(store.resources.runs, "gc", work)
    except UpkeepRefused as error:
        print(type(error).__name__)
"""


def _holding_a_turn(site):
    held = subprocess.Popen(
        [sys.executable, "-c", HOLD], env=site.child_environment(), cwd=site.folder,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    site.stack.enter_context(held)  # closes its pipes
    site.stack.callback(held.kill)
    assert held.stdout is not None
    assert held.stdout.readline() == "held\n"
    return held


@pytest.mark.faults
def test_a_turn_is_kept_by_whoever_is_at_work(make_site, monkeypatch):
    """A run without a step for longer than the lease keeps its turn; an outage alone takes it from nobody."""
    monkeypatch.setattr("fstore.postgres.runs.LEASE_S", 0.5)
    monkeypatch.setattr("fstore.postgres.runs.RENEW_S", 0.1)
    site = make_site()
    runs = site.store.resources.runs
    with runs.alone("gc") as turn:
        assert turn is not None
        ends_at = time.monotonic() + 1.5
        while time.monotonic() < ends_at:
            with runs.alone("gc") as other:
                assert other is None
            time.sleep(0.05)
        assert runs.still_alone(turn)
    with runs.alone("gc") as again:
        assert again is not None


@pytest.mark.faults
def test_a_flush_that_lost_its_turn_drops_nothing(make_site, monkeypatch):
    """What another flush set aside meanwhile is that one's to drop."""
    site = make_site()
    resources = site.store.resources
    flushed = upkeep.UsageFlush.of(resources)
    resources.usage_buffer.note({"a": 1}, {})
    added = threading.Event()
    add = resources.usage.add

    def lose_the_turn(self, hits, counters):
        add(hits, counters)
        site.sql("UPDATE upkeep_turns SET owner = 'another' WHERE kind = 'flush'")
        added.set()

    monkeypatch.setattr("fstore.postgres.usage.Usage.add", lose_the_turn)
    with pytest.raises(FeatureStoreError, match="another one began"):
        flushed.move_in_turn()
    assert added.is_set()
    assert resources.usage_buffer.take().hits == {"a": 1}


@pytest.mark.faults
@pytest.mark.skipif(absent() is not None, reason=str(absent()))
def test_a_pool_of_one_is_enough(make_site):
    """Even one server connection is enough for a miss, a hit and a collection: nobody holds it between two statements."""
    site = make_site(behind=("pooler",), pool_size=1)
    site.worker()
    assert site.ask({"factor": 2}, scaled).shape == (100, 1)
    assert upkeep.collect_garbage(site.store.resources)["summary"]["total_files_deleted"] == 0
    assert upkeep.verify_entries(site.store.resources, repair=True)["integrity_ok"]
