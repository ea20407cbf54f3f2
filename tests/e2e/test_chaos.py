"""The chaos run as people start it: half a minute of random faults breaks no promise."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_half_a_minute_of_chaos_breaks_no_promise(tmp_path):
    """Killed workers, a frozen Postgres and damaged files: every answer right and in time, no entry lost, nothing left over."""
    command = [sys.executable, str(REPOSITORY / "ops/bench/chaos.py"), "--seconds", "30", "--seed", "3", "--json"]

    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=280, check=False)

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-4000:]}"
    figures = json.loads(done.stdout)
    assert figures["operations"] > 100
    assert figures["faults"] > 5
    assert figures["wrong_results"] == figures["lost_entries"] == figures["late_calls"] == figures["leftovers"] == 0
