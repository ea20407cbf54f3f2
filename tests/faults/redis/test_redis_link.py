"""Rows 13 to 15: half-open links, replies that never arrive, and a Redis without memory."""

from __future__ import annotations

import time

import pytest

from fstore import BrokerUnavailable
from tests import sample_features
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.proxy import Proxy
from tests.faults.harness.site import RAW, SHORT, Site, frozen
from tests.faults.redis.test_redis_dies import RECOVERY_S, works_by_worker
from tests.faults.rows import row
from tests.waiting import eventually


def proxied(site: Site) -> Proxy:
    """Return the proxy between everybody and Redis."""
    assert site.redis_proxy is not None
    return site.redis_proxy


@row(
    13,
    fault="the link to Redis swallows everything, without a FIN",
    promise="as row 12",
    seconds=40,
)
def test_row_13_the_link_to_redis_is_half_open(make_site):
    """Redis saw every connection end, trainers and workers did not: their bytes lead nowhere until the route heals."""
    site = make_site(**SHORT, behind=("redis",))
    proxy = proxied(site)
    site.worker()
    strict = site.store_of_its_own(on_unavailable="raise")
    hit = {"factor": 3}
    site.ask(hit, sample_features.scaled)
    site.ask(hit, sample_features.scaled, store=strict)

    running = site.asking({"seconds": 3.0, "marks": site.marks("running")})
    site.started("running")
    proxy.half_open()
    began, n = time.monotonic(), 0
    while time.monotonic() - began < 15:
        n += 1
        assert site.ask(hit, sample_features.scaled, timeout=2).equals(RAW * 3)
        with pytest.raises(BrokerUnavailable):
            site.ask({"factor": n, "case": "strict"}, sample_features.scaled, store=strict, timeout=6)
        assert site.ask({"factor": n, "case": "here"}, sample_features.scaled, timeout=6).equals(RAW * n)
    assert running.answered().equals(RAW.head(3))
    assert proxy.fault.happened > 0
    proxy.forward()

    works_by_worker(site, within_s=RECOVERY_S)
    check_invariants(site)


@row(
    14,
    fault="the link is reset within the reply to a send, at every one of its first bytes",
    promise="at most a message twice, one start, one result",
    seconds=30,
)
def test_row_14_the_reply_to_a_send_is_cut(make_site):
    """The queue has the message, the sender was told nothing, or half of it; twelve keys, each cut elsewhere."""
    site = make_site(**SHORT, behind=("redis",))
    proxy = proxied(site)
    site.worker(FEATURE_STORE_REDIS_URL=site.machine.redis_url)
    site.ask({"factor": 3}, sample_features.scaled)
    for count in range(12):
        config = {"seconds": 0.2, "case": count, "marks": site.marks(f"cut-{count}", most=1)}
        if count % 2:
            proxy.swallow_reply(b"LPUSH")
        else:
            proxy.reset_after(count // 2, "to client")
        asking = site.asking(config, timeout=30)
        assert asking.answered().equals(RAW.head(3))
        assert proxy.fault.happened == 1, count
        proxy.forward()
    check_invariants(site)


@row(
    15,
    fault="Redis is out of memory",
    promise="hits go on, sends fail typed or the caller computes, what was queued is not lost",
    seconds=30,
)
def test_row_15_redis_is_full(make_site):
    """It refuses every write, a worker's own book-keeping included, and has room again later."""
    site = make_site(**SHORT)
    worker = site.worker()
    strict = site.store_of_its_own(on_unavailable="raise")
    hit = {"factor": 3}
    site.ask(hit, sample_features.scaled)
    with frozen(worker.pid), site.redis() as client:
        queued = [
            site.asking({"seconds": 0.1, "case": n, "marks": site.marks(f"queued-{n}")}, timeout=60) for n in range(4)
        ]
        eventually(lambda: len(site.sql("SELECT key FROM jobs")) == 4, seconds=20, what="the jobs to be registered")
        client.set("filler", "x" * 4_000_000)
        client.config_set("maxmemory", "1mb")
    with site.redis() as client:
        began, n = time.monotonic(), 0
        while time.monotonic() - began < 6:
            n += 1
            assert site.ask(hit, sample_features.scaled, timeout=2).equals(RAW * 3)
            with pytest.raises(BrokerUnavailable, match=r"(?i)memory"):
                site.ask({"factor": n, "case": "strict"}, sample_features.scaled, store=strict, timeout=6)
            assert site.ask({"factor": n, "case": "here"}, sample_features.scaled, timeout=6).equals(RAW * n)
        client.delete("filler")
        client.config_set("maxmemory", "0")

    for asking in queued:
        assert asking.answered().equals(RAW.head(3))
    works_by_worker(site, within_s=RECOVERY_S)
    check_invariants(site)
