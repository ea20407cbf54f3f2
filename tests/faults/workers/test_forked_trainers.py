"""Fifty children of a process that is in the middle of everything."""

from __future__ import annotations

import os
import threading
import time

import pytest

from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW
from tests.faults.rows import row
from tests.integration.client.test_forks import in_children
from tests.sample_features import scaled

CHILDREN = 50


@row(
    43,
    fault="fork with live connections, while other threads read and ask",
    promise="no child hangs, no two processes share a backend, the parent goes on",
    seconds=20,
)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_row_43_fifty_forks(site):
    """Children forked from a busy parent hit, compute and talk to Postgres, each on connections of its own."""
    site.worker(concurrency=2)
    site.ask({}, scaled)
    database = site.store.resources.database
    backend = database.query("SELECT pg_backend_pid()")[0][0]
    busy, ended = 0, threading.Event()

    def keep_busy() -> None:
        nonlocal busy
        while not ended.is_set():
            assert site.store.get_or_compute("ROW", RAW, {}, scaled, timeout=20).equals(RAW * 2)
            busy += 1

    def act() -> str:
        began = time.monotonic()
        mine = database.query("SELECT pg_backend_pid()")[0][0]
        assert site.store.get_or_compute("ROW", RAW, {}, scaled, timeout=20).equals(RAW * 2)
        if os.getpid() % 10 == 0:
            mine_too = {"factor": os.getpid()}
            assert site.store.get_or_compute("ROW", RAW, mine_too, scaled, timeout=20).equals(RAW * os.getpid())
        return f"{mine} {time.monotonic() - began}"

    threads = [threading.Thread(target=keep_busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        answers = in_children(act, CHILDREN, seconds=40)
    finally:
        ended.set()
        for thread in threads:
            thread.join(30)

    backends, seconds = zip(*(map(float, answer.split()) for answer in answers), strict=True)
    assert len({backend, *backends}) == CHILDREN + 1
    assert max(seconds) < 20
    assert busy > 3
    assert site.ask({"factor": 3}, scaled).equals(RAW * 3)
    check_invariants(site)
