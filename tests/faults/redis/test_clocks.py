"""Hosts whose clocks are hours or months off."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pytest

from tests.faults.harness.invariants import check_invariants
from tests.faults.harness.site import RAW, SHORT, Site
from tests.faults.rows import row
from tests.sample_features import scaled
from tests.support.shelf import Shelf
from tests.waiting import eventually

DAY = timedelta(days=1)


def clock(offset: str) -> dict[str, str]:
    """Return the environment of a process whose clock is off; its timers go on as they do."""
    preload = subprocess.run(
        ["faketime", "-f", offset, "printenv", "LD_PRELOAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return {"LD_PRELOAD": preload, "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


@pytest.fixture(autouse=True)
def _sleep_by_interval(tmp_path, monkeypatch):
    """Let processes below libfaketime sleep at all: it takes the moment that Python passes to the kernel for an interval."""
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / "sitecustomize.py").write_text(
        "import select, time\ntime.sleep = lambda seconds: select.select([], [], [], seconds) and None\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "patches"), os.environ.get("PYTHONPATH", "")]))


@row(
    37,
    fault="one worker's clock is two hours ahead, another's two hours behind",
    promise="single results; retention, leases and grace go by the servers' clocks alone",
    needs=("faketime",),
    seconds=45,
)
@pytest.mark.timeout(300)
def test_row_37_wrong_clocks(make_site):
    """A worker ahead puts others' messages back and drops new ones as expired: all requests are answered, each once."""
    site = make_site()
    site.worker()
    site.worker(**clock("-2h"))
    site.worker(**clock("+2h"))

    # Longer than the other worker takes to look for messages that nobody acknowledged for too long.
    long = {"seconds": 15, "rows": 4, "marks": site.marks("long")}
    waiting = [site.asking(long, timeout=90) for _ in range(2)]
    site.started("long", seconds=60)
    short = [{"seconds": 0.1, "rows": n, "marks": site.marks(f"short{n}")} for n in range(1, 13)]
    answers = [site.asking(config, timeout=90) for config in short]

    assert [len(answer.answered()) for answer in answers] == list(range(1, 13))
    assert all(answer.answered().equals(RAW.head(4)) for answer in waiting)
    assert site.sql("SELECT count(*) FROM manifest") == [(13,)]
    ahead = site.sql(
        "SELECT count(*) FROM manifest WHERE created_ts NOT BETWEEN now() - interval '3 minutes' AND now()"
    )
    assert ahead == [(0,)]
    check_invariants(site)


@row(
    37,
    fault="the host that collects garbage is two months ahead, or two behind",
    promise="nothing is taken for old or young by that clock",
    needs=("faketime",),
    seconds=15,
)
@pytest.mark.parametrize("offset", ["+60d", "-60d"])
def test_row_37_collector_with_a_wrong_clock(make_site, offset):
    """Fresh entries, files and temporary files stay, old ones go, whatever the collector's host believes."""
    site = make_site(**SHORT)
    site.worker()
    site.ask({}, scaled)
    shelf = Shelf(site.store.resources)
    shelf.publish("expired", age=10 * 7 * DAY)
    orphan = shelf.write("orphan")
    fresh = shelf.write("fresh").path
    shelf.age_file(orphan.path, 2 * DAY)
    (site.root / "entries" / fresh[8:10] / ".tmp-young").write_bytes(b"x")

    done = collect_at(site, offset)

    assert done.returncode == 0, done.stdout + done.stderr
    assert shelf.state("expired") == "condemned"
    assert orphan.path not in shelf.files()
    assert {fresh, f"entries/{fresh[8:10]}/.tmp-young"} <= shelf.files()
    assert site.ask({}, scaled).equals(RAW * 2)
    eventually(lambda: site.store.peek("ROW", RAW, {}, scaled), seconds=5, what="the entry in use to be live")
    check_invariants(site)


def collect_at(site: Site, offset: str) -> subprocess.CompletedProcess[str]:
    """Run ``fstore gc`` on a host with another clock."""
    environment = site.child_environment(**clock(offset))
    return subprocess.run(
        [sys.executable, "-m", "fstore.cli", "gc", "--json"],
        env=environment, cwd=site.folder, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
