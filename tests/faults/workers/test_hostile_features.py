"""What features do to the process that runs them: leave processes behind, raise what is no ``Exception``, kill it."""

from __future__ import annotations

import time

import psutil
import pytest

from fstore import ComputeDead, ComputeFailed
from fstore.reporting.prometheus import StoreCollector
from fstore.upkeep import api as upkeep
from tests import sample_features, unsettling_features
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW, SHORT
from tests.faults.rows import row
from tests.sample_features import scaled
from tests.unsettling_features import EXITS, class_name
from tests.waiting import eventually

MODULES = "tests.sample_features,tests.unsettling_features"


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@row(
    57,
    fault="features start programs and forks that outlive them, some in sessions of their own",
    promise="all are gone when their worker has stopped, or its child was killed for its time; they are counted",
    seconds=40,
)
def test_row_57_processes_that_features_leave(make_site):
    """By an orderly stop, and by the hard limit of a computation that hangs."""
    site = make_site(compute_time_limit_s="3", **SHORT)
    worker = site.worker(FEATURE_STORE_FEATURE_MODULES=MODULES)
    left = [int(pid) for pid in site.ask({"n": 1}, unsettling_features.leaving_behind)["pid"]]
    assert all(map(_runs, left))
    worker.terminate()
    worker.wait(40)
    assert not [pid for pid in left if _runs(pid)]
    assert site.store.get_cache_stats()["processes_ended"] == 3

    site.worker(FEATURE_STORE_FEATURE_MODULES=MODULES)
    noted = site.folder / "pids"
    site.store.submit("ROW", RAW, {"pids": str(noted)}, unsettling_features.leaving_behind)
    eventually(lambda: noted.exists() and noted.read_text(), seconds=30, what="the processes of one that hangs")
    hung = [int(pid) for pid in noted.read_text().split()]
    eventually(lambda: not any(map(_runs, hung)), seconds=30, what="their end with the hard limit")
    key = site.key({"pids": str(noted)}, unsettling_features.leaving_behind)
    eventually(
        lambda: upkeep.reconcile_jobs(site.store.resources) and _is_over(site, key), seconds=60, what="its burial"
    )
    check_invariants(site)


def _is_over(site, key):
    job = site.store.resources.jobs.find(key)
    return job is None or job.state.value in ("dead", "failed")


@row(
    58,
    fault="features raise SystemExit, KeyboardInterrupt, GeneratorExit and other errors that are no Exception",
    promise="ComputeFailed with type and text, at once; the process goes on",
    seconds=25,
)
def test_row_58_errors_that_are_none(make_site):
    """Only the process' own stop is a stop; whoever waits does not wait for a lease."""
    site = make_site()
    site.worker(FEATURE_STORE_FEATURE_MODULES=MODULES)
    (before,) = site.ask({"case": "before"}, unsettling_features.leaving)["pid"]
    for how in EXITS:
        began = time.monotonic()
        with pytest.raises(ComputeFailed) as caught:
            site.ask({"how": how}, unsettling_features.leaving, timeout=60)
        assert caught.value.error_type == class_name(EXITS[how]())
        assert time.monotonic() - began < 8  # a lease is 15 s at least
    (after,) = site.ask({"case": "after"}, unsettling_features.leaving)["pid"]
    assert after == before
    check_invariants(site)


@row(
    59,
    fault="three computations kill every process that runs them",
    promise="each death is counted once, whoever buries it; the gauge and the counters say three",
    seconds=45,
)
def test_row_59_deaths_are_counted(make_site):
    """Waiters, workers and upkeep all look: three deaths are three."""
    site = make_site(**SHORT)
    site.worker(concurrency=2)
    victims = [site.asking({"marks": site.marks(f"poison-{n}")}, sample_features.poison, timeout=90) for n in range(3)]
    for victim in victims:
        with pytest.raises(ComputeDead):
            victim.answered()
    upkeep.reconcile_jobs(site.store.resources)
    site.store.resources.recorder.flush()

    def counted() -> float:
        metrics = {family.name: family for family in StoreCollector(site.store.resources).collect()}
        return sum(sample.value for sample in metrics["fstore_dead"].samples)

    eventually(lambda: counted() >= 3, seconds=20, what="three deaths in the counters")
    assert site.ask({"factor": 2}, scaled).equals(RAW * 2)
    upkeep.reconcile_jobs(site.store.resources)
    assert counted() == 3
    check_invariants(site)
