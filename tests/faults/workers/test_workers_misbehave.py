"""Rows 6 to 9: workers that run out of memory, freeze, are told to stop, or hang."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil
import pytest

from tests import sample_features
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.load import put_under_load
from tests.faults.harness.site import RAW, SHORT, family, frozen
from tests.faults.rows import memory_cgroups, row
from tests.waiting import eventually

LIMIT_MB = 300
EXIT_S = 35


@contextmanager
def memory_limited(worker: subprocess.Popen[bytes], name: str) -> Iterator[str]:
    """Let the kernel kill what of a worker takes too much memory; without a memory cgroup, do as the kernel does."""
    groups = memory_cgroups()
    if groups is None:
        with _watched(worker):
            yield "the test, for want of a memory cgroup"
        return
    group = groups / f"fstore-{name}-{os.getpid()}"
    group.mkdir()
    try:
        limit = group / ("memory.limit_in_bytes" if groups.name == "memory" else "memory.max")
        limit.write_text(str(LIMIT_MB << 20))
        for process in family(worker.pid):
            (group / "cgroup.procs").write_text(str(process.pid))
        yield "the kernel"
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            (groups / "cgroup.procs").write_text(pid)
        group.rmdir()


@contextmanager
def _watched(worker: subprocess.Popen[bytes]) -> Iterator[None]:
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            for process in family(worker.pid)[1:]:
                with suppress(psutil.NoSuchProcess):
                    if process.memory_info().rss > LIMIT_MB << 20:
                        process.kill()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield
    over.set()
    thread.join(5)


@row(
    6,
    fault="the kernel kills a worker process for its memory, twice",
    promise="as row 3: started again at most twice, then the result",
    seconds=25,
)
def test_row_06_the_kernel_kills_for_memory(make_site, tmp_path):
    """Two starts grow past the limit of the worker's memory cgroup; the third stays small and answers."""
    site = make_site(**SHORT)
    worker = site.worker(concurrency=2)
    with memory_limited(worker, tmp_path.name):
        config = {"megabytes": 4 * LIMIT_MB, "early": 2, "marks": site.marks("hungry")}
        waiters = [site.asking(config, sample_features.hungry) for _ in range(2)]
        site.started("hungry")
        near = site.asking({"seconds": 0.1, "marks": site.marks("near")})

        assert near.answered().equals(RAW.head(3))
        for waiter in waiters:
            assert waiter.answered().equals(RAW.head(3))
        assert len(site.starts("hungry")) == 3
        assert "signal 9 (SIGKILL)" in site.logs()
        check_invariants(site)


@row(
    7,
    fault="a worker is frozen past its lease and goes on later",
    promise="its late result is fenced off, its file removed, the replacement's row stands",
    seconds=25,
)
@pytest.mark.parametrize("resumes", ["while its replacement computes", "after its replacement published"])
def test_row_07_a_frozen_worker_is_fenced_off(make_site, resumes):
    """Whether it wakes up before or after its replacement publishes, the row is the replacement's."""
    site = make_site(**SHORT)
    workers = [site.worker(), site.worker()]
    early = resumes.startswith("while")
    config = {"seconds": 6.0 if early else 1.0, "marks": site.marks("frozen", most=2)}
    waiters = [site.asking(config) for _ in range(2)]
    (first,) = site.started("frozen")
    sleeper = next(worker for worker in workers if worker.pid == os.getpgid(first))

    with frozen(sleeper.pid):
        second = site.started("frozen", count=2)[1]
        assert os.getpgid(second) != sleeper.pid
        if not early:
            for waiter in waiters:
                waiter.answered()
    for waiter in waiters:
        assert waiter.answered().equals(RAW.head(3))

    key = site.key(config)
    eventually(lambda: "superseded" in site.logs(), seconds=20, what="the late worker to end")
    ((attempt, path),) = site.sql(f"SELECT attempt, path FROM manifest WHERE key = '{key}'")
    assert attempt == 2
    left = [str(file.relative_to(site.root)) for file in site.root.glob(f"entries/*/{key}.*")]
    assert left == [path]
    check_invariants(site)


@row(
    8,
    fault="workers are told to stop under load, in turn, by SIGTERM and by SIGQUIT",
    promise="no key lost, nothing started more than three times, each worker gone within 35 s",
    seconds=40,
)
def test_row_08_workers_are_restarted_in_turn(make_site):
    """Four rolling restarts while 24 keys are asked for by 48 callers."""
    site = make_site(**SHORT)
    workers = [site.worker(concurrency=2), site.worker(concurrency=2)]
    load = put_under_load(site, "rolling", keys=24, callers=2, seconds=1.0, timeout=90)
    site.started("rolling-0")
    for how in (signal.SIGTERM, signal.SIGQUIT, signal.SIGQUIT, signal.SIGTERM):
        leaving = workers.pop(0)
        leaving.send_signal(how)
        workers.append(site.worker(concurrency=2))
        leaving.wait(EXIT_S)
    load.answered()
    check_invariants(site)


@row(
    9,
    fault="a computation hangs in C with all signals masked, twice",
    promise="the hard limit kills it, each kill is a start, then the result",
    seconds=35,
)
def test_row_09_a_hang_in_c_is_killed(make_site):
    """The lease is renewed all along, so only the hard limit of 4 s can end it; the third start answers."""
    site = make_site(**SHORT, compute_time_limit_s="4")
    site.worker()
    config = {"early": 2, "marks": site.marks("hanging")}
    waiters = [site.asking(config, sample_features.hanging, timeout=90) for _ in range(2)]
    (first,) = site.started("hanging")
    began = time.monotonic()
    eventually(lambda: not psutil.pid_exists(first), seconds=12, what="the hard limit to end the process")
    assert time.monotonic() - began > 2.5

    for waiter in waiters:
        assert waiter.answered().equals(RAW.head(3))
    assert len(site.starts("hanging")) == 3
    assert site.logs().count("Hard time limit") >= 2
    check_invariants(site)
