"""Two Beats, two collections at once, and a schedule file full of garbage."""

from __future__ import annotations

import json
import random
import shelve
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise

import pytest

from fstore.broker.tasks import QUEUES
from fstore.upkeep import api as upkeep
from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import Site
from tests.faults.rows import row
from tests.waiting import eventually

EVERY_MINUTE = "* * * * *"


def runs(site: Site, kind: str) -> list[dict[str, object]]:
    """Return the runs of one kind of upkeep that came to an end."""
    return [run for run in upkeep.list_runs(site.store.resources, kind, limit=200) if run["finished_ts"]]  # type: ignore[arg-type]


def upkeep_worker(site: Site) -> None:
    """Start a worker that serves every queue."""
    site.worker(concurrency=2, queues=",".join(QUEUES))


@row(
    35,
    fault="two Beats tick together, two collections start at once",
    promise="collections and sweeps run once a tick; what runs every few seconds never overlaps itself",
    seconds=80,
)
@pytest.mark.timeout(300)
def test_row_35_two_beats_two_collections(make_site):
    """However many schedulers and commands ask for it, upkeep of one kind runs once at a time and once a tick."""
    site = make_site(
        gc_schedule=EVERY_MINUTE, integrity_schedule=EVERY_MINUTE, reconcile_period_s="2", flush_period_s="2"
    )
    upkeep_worker(site)
    with site.store.resources.runs.alone("gc") as turn:
        assert turn is not None
        beside = [collecting(site) for _ in range(2)]
        assert all("another run" in json.loads(command.communicate(timeout=60)[0])["skipped"] for command in beside)
    assert not runs(site, "gc")
    at_once = [collecting(site) for _ in range(3)]
    assert all(json.loads(command.communicate(timeout=60)[0])["kind"] == "gc" for command in at_once)
    by_command = len(runs(site, "gc"))
    assert 1 <= by_command <= 3
    # Or the first tick would be left out, as one that belongs to these runs.
    site.sql(
        "UPDATE upkeep_runs SET started_ts = started_ts - interval '2 minutes', finished_ts = finished_ts - interval '2 minutes'"
    )

    site.beat("one")
    site.beat("two")
    eventually(
        lambda: len(runs(site, "gc")) > by_command and runs(site, "sweep"), seconds=80, what="a collection by schedule"
    )
    eventually(lambda: time.time() % 60 > 8, seconds=10, what="a second one to have had its time")

    for kind in ("gc", "sweep", "reconcile", "flush"):
        found = sorted(runs(site, kind), key=lambda run: str(run["started_ts"]))
        assert not [run for run in found if "error" in run["report"]]
        assert all(str(one["finished_ts"]) <= str(two["started_ts"]) for one, two in pairwise(found))
    by_schedule = [str(run["started_ts"])[:16] for run in runs(site, "sweep")]
    assert set(Counter(by_schedule).values()) == {1}
    assert len(runs(site, "gc")) <= by_command + len(by_schedule)
    check_invariants(site)


def collecting(site: Site) -> subprocess.Popen[str]:
    """Start a collection as people start it."""
    return subprocess.Popen(
        [sys.executable, "-m", "fstore.cli", "gc", "--json"],
        env=site.child_environment(), cwd=site.folder, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


@row(
    36,
    fault="Beat's schedule file is garbage",
    promise="Beat starts, and upkeep runs on schedule",
    seconds=15,
)
@pytest.mark.parametrize("garbage", [random.Random(36).randbytes(3000), b"", b"SQLite format 3\0" + bytes(100)])
def test_row_36_garbage_for_a_schedule(make_site, garbage):
    """Whatever lies where Beat keeps its schedule, it starts, sends, and writes a schedule it can read again."""
    site = make_site(reconcile_period_s="1", flush_period_s="1")
    upkeep_worker(site)
    for name in ("beat.schedule", "beat.schedule.db", "beat.schedule.dat", "beat.schedule.dir"):
        (site.folder / name).write_bytes(garbage)

    for _ in range(2):
        before = len(runs(site, "reconcile"))
        beat = site.beat()
        eventually(lambda: len(runs(site, "reconcile")) > before + 1, seconds=30, what="upkeep to be sent")  # noqa: B023
        beat.terminate()
        assert beat.wait(20) == 0
        with shelve.open(str(site.folder / "beat.schedule"), "r") as kept:
            assert "reconcile-jobs" in kept["entries"]

    check_invariants(site)
