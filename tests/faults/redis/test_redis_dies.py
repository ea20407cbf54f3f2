"""Rows 10 to 12: Redis is killed, emptied and frozen while work is under way."""

from __future__ import annotations

import time
from functools import partial

import pytest

from fstore import BrokerUnavailable
from tests import sample_features
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.load import put_under_load
from tests.faults.harness.site import RAW, SHORT, Site, frozen
from tests.faults.rows import row
from tests.waiting import eventually

RECOVERY_S = 30


def progress_to(load, share: float) -> None:
    """Wait until so many of the keys are published."""
    wanted = round(len(load.configs) * share)
    eventually(lambda: load.rows() >= wanted, seconds=60, what=f"{wanted} keys to be published")


def works_by_worker(site: Site, *, within_s: float) -> None:
    """A worker, not the caller, computes something new within so many seconds."""
    strict = site.store_of_its_own(on_unavailable="raise")
    healed_at = time.monotonic()
    config = {"seconds": 0.0, "case": "healed", "marks": site.marks("healed")}

    def answered() -> bool:
        try:
            return strict.get_or_compute("ROW", RAW, config, sample_features.slow, timeout=within_s).equals(RAW.head(3))
        except BrokerUnavailable:
            return False

    eventually(answered, seconds=within_s, what="a worker to compute again")
    assert time.monotonic() - healed_at < within_s


@row(
    10,
    fault="Redis is killed three times and comes back empty",
    promise="every job finishes, every key has one row",
    seconds=40,
)
def test_row_10_redis_is_killed_and_comes_back_empty(make_site):
    """24 keys, 48 callers: what was queued, locked or announced in Redis is gone three times over."""
    site = make_site(**SHORT)
    site.worker(concurrency=2)
    load = put_under_load(site, "redis", keys=24, callers=2, seconds=0.7, timeout=90)
    for share in (0.1, 0.3, 0.5):
        progress_to(load, share)
        since = partial(logged_after, site, len(site.logs()))
        site.kill_redis()
        eventually(lambda since=since: notices(since()), seconds=45, what="the worker to notice", told=since)
        late = site.asking({"seconds": 0.1, "case": share, "marks": site.marks(f"late-{share}")})
        site.start_redis(empty=True)
        assert late.answered().equals(RAW.head(3))
    load.answered()
    works_by_worker(site, within_s=RECOVERY_S)
    check_invariants(site)


def logged_after(site: Site, length: int) -> str:
    """Return what workers wrote after so much."""
    return site.logs()[length:]


def notices(log: str) -> bool:
    """Tell whether a worker says that it lost Redis, or that it had not found it again yet."""
    return "Connection to broker lost" in log or "Cannot connect to" in log


@row(11, fault="FLUSHALL, ten times under load", promise="as row 10", seconds=30)
def test_row_11_redis_is_emptied_under_load(make_site):
    """Messages, locks, counters and subscriptions' keys vanish while 24 keys are computed for 48 callers."""
    site = make_site(**SHORT)
    site.worker(concurrency=2)
    load = put_under_load(site, "flushed", keys=24, callers=2, seconds=0.7, timeout=90)
    with site.redis() as client:
        for n in range(10):
            progress_to(load, n / 20)
            client.flushall()
    load.answered()
    check_invariants(site)


@row(
    12,
    fault="Redis is frozen for 60 s",
    promise="hits go on, a miss ends in time with a typed error or a local result, workers go on within 30 s of recovery",
    seconds=85,
)
def test_row_12_redis_is_frozen(make_site):
    """Its sockets stay open and it says nothing; the deadline of every caller holds, and nobody has to be restarted."""
    site = make_site(**SHORT)
    site.worker()
    strict = site.store_of_its_own(on_unavailable="raise")
    hit = {"factor": 3}
    site.ask(hit, sample_features.scaled)
    site.ask(hit, sample_features.scaled, store=strict)

    running = site.asking({"seconds": 3.0, "marks": site.marks("running")})
    site.started("running")
    with frozen(site.machine.redis.pid):
        began, n = time.monotonic(), 0
        while time.monotonic() - began < 60:
            n += 1
            assert site.ask(hit, sample_features.scaled, timeout=2).equals(RAW * 3)
            with pytest.raises(BrokerUnavailable):
                site.ask({"factor": n, "case": "strict"}, sample_features.scaled, store=strict, timeout=6)
            assert site.ask({"factor": n, "case": "here"}, sample_features.scaled, timeout=6).equals(RAW * n)
        assert n >= 3
        assert running.answered().equals(RAW.head(3))
    works_by_worker(site, within_s=RECOVERY_S)
    check_invariants(site)
