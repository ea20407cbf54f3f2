"""Garbage is collected while a reader has a file open, and while a publisher has one without a row."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest

from fstore.broker.messages import parse_compute
from fstore.compute.executor import execute
from fstore.errors import UpkeepRefused
from fstore.upkeep.collection.policy import GarbagePolicy
from fstore.upkeep.collection.run import run_collection
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW
from tests.faults.harness.strace import DONE, awaited_stop, traced
from tests.faults.rows import row
from tests.sample_features import scaled
from tests.support.shelf import HOUR, RULES, Shelf

AT_ONCE = GarbagePolicy(retention=RULES.retention, grace=timedelta(0))


@row(
    31,
    fault="garbage collection deletes a file that a reader has just opened",
    promise="the reader finishes with the right numbers",
    needs=("tracing",),
)
def test_row_31_collected_during_a_read(site):
    """A process stopped between open and read goes on with the bytes it opened, though the name is gone."""
    site.worker()
    site.ask({}, scaled)
    entry = site.store.peek("ROW", RAW, {}, scaled)
    path = site.root / entry.path
    with traced(
        site.environment, read_hit, folder=site.folder, path=path, inject="read:signal=SIGSTOP:when=1"
    ) as reader:
        awaited_stop(reader)
        assert site.store.invalidate(key=entry.key) == 1
        run_collection(site.store.resources, AT_ONCE, force=True)
        assert not path.exists()

        os.kill(reader.pid, signal.SIGCONT)

        assert reader.wait() == DONE
    assert site.ask({}, scaled).equals(RAW * 2)
    check_invariants(site)


def read_hit(store) -> None:
    """Read the entry; no worker is needed, for it is a hit."""
    frame = store.get_or_compute("ROW", RAW, {}, scaled, timeout=30)
    assert frame.equals(RAW * 2)
    assert store.resources.recorder.pending().get("cache_misses", 0) == 0


@row(
    32,
    fault="garbage collection runs a day after a publisher stopped between rename and row",
    promise="the file survives, and the publisher that wakes up publishes it",
    needs=("tracing",),
)
def test_row_32_collected_during_a_publish(site):
    """A file that a running job may still publish is kept however old it is, and a grace that ignores writers is refused."""
    shelf = Shelf(site.store.resources)
    raw = site.folder / "ticks.parquet"
    RAW.to_parquet(raw)
    message = {"symbol": "SLEEPER", "raw_data": str(raw), "config": {}, "feature": "tests.sample_features:scaled"}
    with traced(
        site.environment, publish, message, folder=site.folder, inject="rename:signal=SIGSTOP:when=1"
    ) as publisher:
        awaited_stop(publisher)
        (path,) = shelf.files()
        assert shelf.sql("SELECT count(*) FROM manifest") == [(0,)]
        shelf.age_file(path, 25 * HOUR)
        shelf.sql("UPDATE jobs SET lease_until = lease_until - interval '25 hours'")

        run_collection(shelf.resources, RULES)
        with pytest.raises(UpkeepRefused, match="grace"):
            run_collection(shelf.resources, AT_ONCE)

        assert shelf.files() == {path}
        os.kill(publisher.pid, signal.SIGCONT)
        assert publisher.wait() == DONE
    assert shelf.sql("SELECT path, state FROM manifest") == [(path, "live")]
    site.worker()
    check_invariants(site)


def publish(store, message) -> None:
    """Answer a request as a worker does."""
    execute(store.resources, parse_compute(message), phase=lambda _: None)
