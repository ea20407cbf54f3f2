"""Rows 21 and 22: somebody holds the manifest's lock and is frozen, or competes for it with a deadlock."""

from __future__ import annotations

import os
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from fstore import FeatureStore, FeatureStoreError, ManifestBusy, ManifestUnavailable
from fstore.runtime import deadline
from tests import sample_features
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW, SHORT
from tests.faults.rows import row
from tests.support.shelf import Shelf, key
from tests.trainers import lone
from tests.waiting import eventually

OTHERS_GO_ON_S = 6
TYPED_WITHIN_S = 20


@row(
    21,
    fault="a process of fstore is frozen while it holds the manifest's lock",
    promise="the server ends its session; others publish within 6 s",
    seconds=25,
)
def test_row_21_the_holder_of_the_lock_is_frozen(make_site, tmp_path):
    """A publish is one round trip, so no client can freeze inside one: the nearest is a session that spans several."""
    site = make_site(**SHORT)
    site.worker(concurrency=2)
    site.ask({"factor": 2}, sample_features.scaled)
    holder = lone(site.environment, locks_and_freezes, str(tmp_path / "locked"))
    site.stack.callback(holder.kill)  # what is frozen ends by nothing less
    eventually((tmp_path / "locked").exists, seconds=30, what="the lock to be held")
    frozen_at = time.monotonic()

    assert site.ask({"factor": 2}, sample_features.scaled, timeout=2).equals(RAW * 2)  # a hit waits for no lock
    waiting = [site.asking({"factor": n}, sample_features.scaled, timeout=30) for n in range(3, 9)]
    for factor, asking in enumerate(waiting, start=3):
        assert asking.answered().equals(RAW * factor)

    answered = sorted(call.began + call.seconds - frozen_at for call in list(site.calls)[-6:] if call.seconds)
    assert answered[0] < OTHERS_GO_ON_S
    assert answered[-1] < OTHERS_GO_ON_S + 3  # six computations by two processes
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGCONT)
    holder.join(20)
    assert holder.exitcode == 0
    check_invariants(site)


def locks_and_freezes(store: FeatureStore, mark: str) -> None:
    """Hold the lock in a session and freeze; once thawed, find it gone."""
    with pytest.raises(FeatureStoreError), store.resources.database.session() as session:
        session.query("BEGIN")
        session.query("LOCK TABLE manifest IN EXCLUSIVE MODE")
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGSTOP)
        session.query("COMMIT")


@row(
    21,
    fault="a publisher is frozen after it found another one publishing and left its row pending",
    promise="the next publisher moves the row; the late one finds it there and keeps its file",
    seconds=20,
)
def test_row_21_the_publisher_of_a_pending_row_is_frozen(make_site, tmp_path):
    """Between its two statements it holds no lock at all, so nobody has to wait for it, not even for its result."""
    site = make_site(**SHORT)
    site.worker()
    with site.holding_the_manifest(as_publisher=True):
        publisher = lone(site.environment, leaves_it_pending_and_freezes, str(tmp_path / "left"))
        site.stack.callback(publisher.kill)
        eventually((tmp_path / "left").exists, seconds=30, what="the row to be left pending")
        assert site.sql("SELECT count(*) FROM pending") == [(1,)]

    assert site.ask({"factor": 3}, sample_features.scaled, timeout=20).equals(RAW * 3)

    ((path,),) = site.sql(f"SELECT path FROM manifest WHERE state = 'live' AND key = '{key('pending')}'")
    assert publisher.pid is not None
    os.kill(publisher.pid, signal.SIGCONT)
    publisher.join(20)
    assert publisher.exitcode == 0
    assert (site.root / str(path)).exists()
    check_invariants(site)


def leaves_it_pending_and_freezes(store: FeatureStore, mark: str) -> None:
    """Publish as a worker does, but freeze before the second statement; once thawed, it is a success."""
    shelf = Shelf(store.resources)
    claim, written = shelf.claim("pending"), shelf.write("pending")
    transact = store.resources.database.transact

    def freeze_before_settling(sql: str, *rest: Any, **options: Any) -> Any:
        if "fstore_settle" in sql:
            Path(mark).touch()
            os.kill(os.getpid(), signal.SIGSTOP)
        return transact(sql, *rest, **options)

    store.resources.database.transact = freeze_before_settling  # type: ignore[method-assign]
    assert shelf.insert("pending", claim, written)


@row(
    22,
    fault="a deadlock with a publish; a stranger holds the lock for 8 s; a stranger never lets go",
    promise="tried again with success; typed within 20 s where that cannot be",
    seconds=60,
)
def test_row_22_deadlock_and_lock_timeout(make_site):
    """Scripted sessions without fstore's time limits, as an operator's psql has them."""
    site = make_site(**SHORT)
    site.worker(concurrency=2)
    site.ask({"factor": 2}, sample_features.scaled)
    _deadlock(site)
    _held_for_a_while(site)
    _held_for_good(site)
    check_invariants(site)


def _deadlock(site):
    config = {"seconds": 1.5, "marks": site.marks("deadlock")}
    asking = site.asking(config)
    site.started("deadlock")
    with closing(psycopg2.connect(site.machine_url())) as rival, rival.cursor() as cursor:
        cursor.execute("SET deadlock_timeout = '30s'")  # the publisher is the one who notices, and gives way
        cursor.execute("SELECT key FROM jobs WHERE key = %s FOR SHARE", (site.key(config),))
        eventually(site.is_publishing, seconds=20, what="the publish to wait for the row")
        cursor.execute("LOCK TABLE manifest IN EXCLUSIVE MODE")  # which the publisher holds
        rival.rollback()
    assert asking.answered().equals(RAW.head(3))
    assert "deadlock detected" in site.machine.postgres.log_since_start()
    assert len(site.starts("deadlock")) == 1


def _held_for_a_while(site):
    began = time.monotonic()
    with site.holding_the_manifest() as blocked:
        asking = site.asking({"factor": 5}, sample_features.scaled, timeout=40)
        eventually(blocked, seconds=20, what="the publish to wait")
        time.sleep(max(0.0, 8 - (time.monotonic() - began)))  # the fault itself: longer than two lock timeouts
    assert asking.answered().equals(RAW * 5)


def _held_for_good(site):
    shelf = Shelf(site.store.resources)
    claim, written = shelf.claim("never"), shelf.write("never")
    with site.holding_the_manifest() as blocked:
        with site.calls.recorded("an invalidation", TYPED_WITHIN_S), pytest.raises(ManifestBusy):
            site.store.invalidate(symbol="ROW")
        with site.calls.recorded("a publish", 10), pytest.raises(ManifestUnavailable), deadline.within(10):
            shelf.insert("never", claim, written)
        asking = site.asking({"factor": 7}, sample_features.scaled, timeout=5)
        eventually(blocked, seconds=20, what="the worker's publish to wait")
        with pytest.raises(FeatureStoreError):
            asking.answered()
    shelf.sql("DELETE FROM jobs WHERE owner = %(owner)s", owner=claim.owner)
    eventually(
        lambda: site.store.peek("ROW", RAW, {"factor": 7}, sample_features.scaled),
        seconds=40,
        what="the result at last",
    )
