"""Rows 16 and 17: the dedup lock is lost, and a crowd asks at one moment."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from fstore import FeatureStore
from tests import sample_features
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW, SHORT
from tests.faults.rows import row
from tests.trainers import crowd, lone
from tests.waiting import eventually

CROWD_S = 60


@row(
    16,
    fault="the dedup lock is deleted under its holder, or lapses while the holder is frozen",
    promise="a second leader at most: one start, one result",
    seconds=25,
)
def test_row_16_the_lock_is_lost_under_its_holder(make_site, tmp_path):
    """One leader's lock is deleted, another one is frozen until its lock lapsed; both go on in the end."""
    site = make_site(**SHORT)
    site.worker(concurrency=2)

    deleted = {"seconds": 1.0, "marks": site.marks("deleted", most=1)}
    first = site.store_of_its_own()
    held, go_on = threading.Event(), threading.Event()
    take = first.resources.locks.take_many

    def take_and_wait(*arguments: Any) -> Any:
        leads = take(*arguments)
        held.set()
        go_on.wait(30)
        return leads

    first.resources.locks.take_many = take_and_wait  # type: ignore[method-assign]
    leader = site.asking(deleted, store=first)
    assert held.wait(20)
    with site.redis() as client:
        (name,) = client.keys("fstore:dedup:*")
        client.delete(name)
    second = site.asking(deleted)
    site.started("deleted")
    go_on.set()
    assert leader.answered().equals(RAW.head(3))
    assert second.answered().equals(RAW.head(3))

    lapsed = {"seconds": 0.2, "marks": site.marks("lapsed", most=1)}
    frozen = lone(site.environment, asks_and_stops_with_the_lock, lapsed, str(tmp_path / "led"), str(tmp_path / "got"))
    eventually((tmp_path / "led").exists, seconds=30, what="the trainer to lead")
    site.stack.callback(frozen.kill)  # what is frozen ends by nothing less
    try:
        assert site.asking(lapsed).answered().equals(RAW.head(3))
    finally:
        assert frozen.pid is not None
        os.kill(frozen.pid, signal.SIGCONT)
    eventually((tmp_path / "got").exists, seconds=30, what="the frozen trainer to be answered as well")
    check_invariants(site)


def asks_and_stops_with_the_lock(store: FeatureStore, config: dict[str, object], led: str, got: str) -> None:
    """Take the lock, freeze; once thawed, go on as if nothing had happened."""
    take = store.resources.locks.take_many

    def take_and_freeze(*arguments: Any) -> Any:
        leads = take(*arguments)
        Path(led).touch()
        os.kill(os.getpid(), signal.SIGSTOP)
        return leads

    store.resources.locks.take_many = take_and_freeze  # type: ignore[method-assign]
    if store.get_or_compute("ROW", RAW, config, sample_features.slow, timeout=60).equals(RAW.head(3)):
        Path(got).touch()


def ask(store: FeatureStore, config: dict[str, object]) -> Any:
    """Ask as one of many."""
    return store.get_or_compute("ROW", RAW, config, sample_features.slow, timeout=CROWD_S)


@row(
    17,
    fault="100 callers in 20 processes ask for one key at one moment",
    promise="one start, one hundred equal frames",
    seconds=30,
)
def test_row_17_a_crowd_asks_at_one_moment(make_site):
    """Nobody computes twice, nobody is turned away."""
    site = make_site(**SHORT)
    site.worker(concurrency=2)
    config = {"seconds": 2.0, "rows": 7, "marks": site.marks("crowd", most=1)}

    outcomes = crowd(site.environment, partial(ask, config=config), processes=20, threads=5, seconds=CROWD_S + 40)

    site.calls.add(outcomes, timeout=CROWD_S)
    assert Counter(type(outcome.error) for outcome in outcomes) == {type(None): 100}
    assert all(outcome.value.equals(RAW.head(7)) for outcome in outcomes)
    assert len(site.starts("crowd")) == 1
    check_invariants(site)
