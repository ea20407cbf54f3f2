"""Rows 18 to 20: Postgres crashes, drops every session, or its answer to a commit is lost."""

from __future__ import annotations

import pytest

from tests import sample_features
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.load import put_under_load
from tests.faults.harness.proxy import READY, Proxy
from tests.faults.harness.site import RAW, SHORT, family
from tests.faults.redis.test_redis_dies import progress_to
from tests.faults.rows import row
from tests.waiting import eventually

ALL_OTHERS = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"


@row(
    18,
    fault="every process of Postgres is killed, three times under load, once with a publish waiting for the lock",
    promise="what was under way is tried again, no torn state",
    seconds=40,
)
def test_row_18_postgres_crashes(make_site):
    """SIGKILL to all of its processes; it recovers from its log, and everybody gets the right frame."""
    site = make_site(**SHORT)
    site.worker(concurrency=2)
    load = put_under_load(site, "crash", keys=16, callers=2, seconds=0.5, timeout=90)
    for share in (0.1, 0.4, 0.7):
        progress_to(load, share)
        with site.holding_the_manifest() as blocked:
            eventually(blocked, seconds=20, what="a publish to wait for the lock")
            everything = family(site.machine.postgres.pid)
            site.kill_postgres()
            assert not [process for process in everything if process.is_running()]
        site.start_postgres()
    load.answered()
    check_invariants(site)


@row(
    19,
    fault="every session of Postgres is ended, again and again",
    promise="tried again unseen: no caller and no worker notices",
    seconds=25,
)
def test_row_19_all_sessions_are_ended(make_site):
    """Twelve times while 16 keys are computed; hits, misses and publishes all succeed, each key with one start."""
    site = make_site(**SHORT)
    site.worker(concurrency=2)
    hit = {"factor": 3}
    site.ask(hit, sample_features.scaled)
    load = put_under_load(site, "ended", keys=16, callers=2, seconds=0.5, timeout=60, most_starts=1)
    for n in range(12):
        progress_to(load, n / 13)
        site.sql(ALL_OTHERS)
        assert site.ask(hit, sample_features.scaled, timeout=5).equals(RAW * 3)
    load.answered()
    check_invariants(site)


@row(
    20,
    fault="COMMIT is sent and done, its answer is lost",
    promise="the publish is repeated without effect: success reported once, one row, the file stays",
    seconds=20,
)
@pytest.mark.parametrize("link", ["is reset", "stays silent"])
def test_row_20_the_answer_to_a_commit_is_lost(make_site, link):
    """A proxy before the worker's Postgres lets a publish through and keeps the answer."""
    site = make_site(**SHORT)
    with Proxy.before(site.environment["FEATURE_STORE_POSTGRES_URL"]) as proxy:
        site.worker(FEATURE_STORE_POSTGRES_URL=proxy.url)
        proxy.swallow_reply(b"fstore_publish", until=READY, reset=link == "is reset")
        config = {"seconds": 0.1, "marks": site.marks("committed", most=1)}
        waiters = [site.asking(config) for _ in range(3)]

        for waiter in waiters:
            assert waiter.answered().equals(RAW.head(3))
        eventually(lambda: "'status': 'computed'" in site.logs(), seconds=30, what="the worker to end the task")
        assert proxy.fault.happened == 1
        assert len(site.starts("committed")) == 1
        assert site.logs().count("succeeded in") == 1
        eventually(lambda: site.store.get_cache_stats().get("computed") == 1, seconds=10, what="the count of computes")
        assert len(list(site.root.glob(f"entries/*/{site.key(config)}.*"))) == 1
        check_invariants(site)
