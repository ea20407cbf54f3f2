"""Trainers that live for a moment end when they are through, whatever is still open in the background."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from tests import short_lives
from tests.faults.harness.invariants import check_invariants
from tests.faults.rows import row
from tests.pooler import absent
from tests.sample_features import scaled

LIVES = int(os.environ.get("FSTORE_SHORT_LIVES", "90"))  # ten of each way; 500 take a quarter of an hour on two cores
FAILS = {"fail_at_once": 1}


@row(
    52,
    fault="90 trainers connect and end at once, in nine ways, most without closing anything",
    promise="each ends within two seconds of its last line, beside the time that it works or waits for a core",
    seconds=120,
)
@pytest.mark.parametrize("before", [(), pytest.param(("pooler",), marks=pytest.mark.skipif(absent() is not None, reason=str(absent())))])  # fmt: skip
@pytest.mark.timeout(600 + 4 * LIVES)
def test_row_52_short_lives_end(make_site, before):
    """Closed or not, by error or by exit, with threads that connect or wait: no trainer hangs, none ends by a signal.

    Behind a pooler 20 server connections carry all of them.
    """
    site = make_site(behind=before, pool_size=20)
    site.worker(concurrency=2)
    site.calls.ask(site.store, "SHORT", short_lives.RAW, {"factor": 2}, scaled, timeout=60)
    ways = ",".join(str(n) for n in range(len(short_lives.WAYS)))
    done = subprocess.run(
        [sys.executable, "-m", "tests.short_lives", ways, str(LIVES)], env=site.child_environment(),
        cwd=site.folder, capture_output=True, text=True, timeout=550 + 4 * LIVES, check=True,
    )  # fmt: skip

    lines = [line.split() for line in done.stdout.splitlines()]
    last = {pid: (float(at), way) for kind, pid, at, way in lines if kind == "last"}
    lived = [(*last[pid], float(at), int(status)) for kind, pid, at, status in lines if kind == "ended"]
    assert len(lived) == LIVES
    assert [life for life in lived if life[2] - life[0] > 2.0] == []
    assert Counter((way, status) for _, way, _, status in lived if status != FAILS.get(way, 0)) == Counter()
    times = site.store.settings.lease_times
    check_invariants(
        site, settle_s=times.lease_s + times.caller_gone_s + 15
    )  # what only its caller could compute is given up then
