"""What Prometheus is told, against what happened."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import numpy as np
import pandas as pd
import psycopg2
import pytest
import redis
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fstore import bootstrap
from fstore.reporting.prometheus import StoreCollector
from fstore.reporting.stats import read_counters
from fstore.resources import Resources
from fstore.runtime.counters import COUNTERS, MODES
from fstore.stack.servers.ports import choose_port
from fstore.upkeep import api as upkeep
from tests.conftest import REPOSITORY, House, run_sql, stop_group
from tests.waiting import eventually

OPS = REPOSITORY / "ops"
SCALED = "tests.sample_features:scaled"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def exporter(house: House) -> Iterator[Resources]:
    """The adapters of an exporter process."""
    opened = bootstrap.open_resources(house.settings, role="metrics")
    yield opened
    opened.close()


def scrape(collector: StoreCollector) -> Samples:
    """Read the metrics as Prometheus would: as text."""
    registry = CollectorRegistry()
    registry.register(collector)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def ticks(n: int = 200) -> pd.DataFrame:
    """Make a small frame."""
    return pd.DataFrame({"price": np.arange(float(n))}, index=pd.date_range("2026-01-02", periods=n, freq="s"))


def test_exporter_equals_the_counters_under_load(house: House, exporter: Resources) -> None:
    """While trainers ask and flushes move counters, no scrape ever falls, and in the end each equals what was asked."""
    house.start(concurrency=2, queues="fstore.compute")
    collector = StoreCollector(exporter, slow_every_s=0)
    raw = ticks()
    done = threading.Event()
    seen: list[Samples] = []
    flushes: list[dict[str, object]] = []

    def ask(trainer: int) -> None:
        with house.open() as store:
            for i in range(30):
                store.get_or_compute("AAPL", raw, {"factor": (trainer + i) % 10}, SCALED, timeout=60)

    def watch() -> None:
        while not done.is_set():
            seen.append(scrape(collector))

    def flush() -> None:
        while not done.is_set():
            flushes.append(upkeep.flush_usage(house.store.resources))

    with ThreadPoolExecutor(6) as pool:
        helpers = [pool.submit(watch), pool.submit(flush)]
        trainers = [pool.submit(ask, n) for n in range(4)]
        for trainer in trainers:
            trainer.result(timeout=120)
        done.set()
        for helper in helpers:
            helper.result(timeout=30)

    def all_told() -> bool:  # the worker hands its timings over in its own time
        upkeep.flush_usage(house.store.resources)
        return scrape(collector).get(("fstore_lock_hold_seconds_count", ()), 0) >= 10

    eventually(all_told, seconds=30, what="the worker to hand over its timings")
    last = scrape(collector)

    counted = [key for key in last if key[0].endswith(("_total", "_bucket", "_count"))]
    for earlier, later in zip(seen, [*seen[1:], last], strict=True):
        assert all(earlier[key] <= later[key] for key in counted if key in earlier)
    assert len(seen) > 3
    assert sum(1 for report in flushes if report.get("counters")) > 3
    stats = house.store.get_cache_stats()
    told = {  # what has labels is told in parts
        name: sum(value for (sample, _), value in last.items() if sample == f"fstore_{name}_total") for name in COUNTERS
    }
    assert {f"fstore_{name}_total" for name in COUNTERS} <= {sample for sample, _ in last}
    assert told == {name: stats.get(name, 0) for name in COUNTERS}
    assert stats["cache_hits"] + stats["cache_misses"] == 4 * 30
    assert stats["computed"] == 10
    assert last["fstore_hit_seconds_count", ()] == stats["cache_hits"]
    assert last["fstore_miss_seconds_count", ()] == stats["cache_misses"]
    assert last["fstore_fingerprint_seconds_count", ()] == 4 * 30
    assert last["fstore_compute_seconds_count", ()] == 10
    assert last["fstore_lock_hold_seconds_count", ()] == last["fstore_lock_wait_seconds_count", ()] == 10
    assert 0 < last["fstore_hit_seconds_sum", ()] / stats["cache_hits"] < 5
    assert last["fstore_entries", (("state", "live"),)] == 10
    assert last["fstore_feature_entries", (("feature", SCALED),)] == 10
    assert last["fstore_upkeep_last_failed", (("kind", "flush"),)] == 0


def test_no_label_names_a_symbol_or_a_key(house: House, exporter: Resources) -> None:
    """Label values are bounded: of requests, only features and known modes appear, and strangers' counters do not."""
    with house.open(redis_url="redis://127.0.0.1:1/0", connect_timeout_s=1, trust_staged_results=True) as trainer:
        trainer.get_or_compute("SYMB", ticks(), {}, SCALED, timeout=60)
        key = trainer.peek("SYMB", ticks(), {}, SCALED)
    house.store.resources.recorder.count("degraded:SYMB")
    house.store.resources.recorder.count("degraded")
    house.store.resources.recorder.count("degraded:redis")
    house.store.resources.recorder.count("degraded")
    house.store.resources.recorder.count("SYMB_le:1")
    house.store.resources.recorder.flush()

    samples = scrape(StoreCollector(exporter))

    assert key is not None
    values = {value for _, labels in samples for _, value in labels}
    assert not {value for value in values if "SYMB" in value or key.key[:8] in value}
    modes = {dict(labels)["mode"]: n for (name, labels), n in samples.items() if name == "fstore_degraded_total"}
    assert modes == {**dict.fromkeys(MODES, 0), "redis": 1, "other": 1}


def test_a_counter_never_falls_when_redis_forgets(house: House, exporter: Resources) -> None:
    """Counters that Redis lost stay where they were, so that Prometheus does not count everything again."""
    collector = StoreCollector(exporter)
    house.store.resources.recorder.count("cache_hits", 5)
    house.store.resources.recorder.flush()
    assert scrape(collector)["fstore_cache_hits_total", ()] == 5

    redis.Redis.from_url(house.environment["FEATURE_STORE_REDIS_URL"]).flushall()

    assert scrape(collector)["fstore_cache_hits_total", ()] == 5
    assert read_counters(exporter.usage, exporter.usage_buffer).get("cache_hits", 0) == 0


def test_exporter_outlives_its_servers(house: House) -> None:
    """With Redis away the exporter says so, serves what Postgres knows, and is not healthy."""
    chosen = bootstrap.load_settings({**house.settings.model_dump(), "redis_url": "redis://127.0.0.1:1/0"})
    opened = bootstrap.open_resources(chosen, role="metrics")
    try:
        collector = StoreCollector(opened)
        samples = scrape(collector)
    finally:
        opened.close()

    assert samples["fstore_up", (("server", "postgres"),)] == 1
    assert samples["fstore_up", (("server", "redis"),)] == 0
    assert samples["fstore_jobs", (("state", "queued"),)] == 0
    assert ("fstore_cache_hits_total", ()) not in samples
    assert not collector.is_healthy


def test_a_takeover_is_counted(house: House, exporter: Resources) -> None:
    """A computation whose worker died is counted once when another worker starts it again."""
    ticket = house.store.submit("AAPL", ticks(), {}, SCALED)
    run_sql(
        house.environment["FEATURE_STORE_POSTGRES_URL"],
        "UPDATE jobs SET state = 'running', attempt = 1, starts = 1, owner = 'dead', lease_until = now() - interval '1 s'",
    )
    house.start(concurrency=1, queues="fstore.compute")
    ticket.result(timeout=60)

    eventually(
        lambda: read_counters(exporter.usage, exporter.usage_buffer).get("takeovers"), seconds=10, what="the counter"
    )
    assert scrape(StoreCollector(exporter))["fstore_takeovers_total", ()] == 1


def test_waiting_for_the_manifest_is_timed(house: House, exporter: Resources) -> None:
    """A publisher that had to wait for the table's lock adds that time to the wait, not to the hold."""
    url = house.environment["FEATURE_STORE_POSTGRES_URL"]
    waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'manifest'::regclass AND NOT granted"
    since = "SELECT extract(epoch FROM now() - min(query_start)) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    house.start(concurrency=1, queues="fstore.compute")
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE manifest IN EXCLUSIVE MODE")
        ticket = house.store.submit("AAPL", ticks(), {}, SCALED)
        eventually(lambda: run_sql(url, waiting)[0][0], seconds=30, what="a publisher that waits")
        held_s = eventually(lambda: run_sql(url, since)[0][0], seconds=5, what="its time")
        connection.rollback()
    ticket.result(timeout=60)

    eventually(
        lambda: read_counters(exporter.usage, exporter.usage_buffer).get("lock_wait_seconds_sum_us"),
        seconds=10,
        what="the counter",
    )
    samples = scrape(StoreCollector(exporter))
    assert samples["fstore_lock_wait_seconds_sum", ()] >= float(str(held_s))
    assert samples["fstore_lock_hold_seconds_sum", ()] < 1


def test_command_serves_metrics_and_health(house: House) -> None:
    """``fstore metrics`` answers Prometheus, and its health check fails once the counters cannot be read."""
    port = choose_port(f"{house.root}metrics")
    environment = {**os.environ, **house.environment, "PYTHONPATH": str(REPOSITORY)}
    away = {**environment, "FEATURE_STORE_REDIS_URL": "redis://127.0.0.1:1/0"}
    for given, health in ((environment, 200), (away, 503)):
        process = subprocess.Popen(
            [sys.executable, "-m", "fstore.cli", "metrics", "--port", str(port)], env=given, start_new_session=True,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            text = eventually(lambda: answer(port, "metrics")[1], seconds=30, what="the exporter")
            assert answer(port, "healthz")[0] == health
            assert answer(port, "secrets")[0] == 404
        finally:
            stop_group(process)
        assert f'fstore_up{{server="redis"}} {float(health == 200)}' in text


def answer(port: int, path: str) -> tuple[int, str]:
    """Return the status and the text of a page; 0 when nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, ""
    except OSError:
        return 0, ""
