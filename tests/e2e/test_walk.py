"""One request crosses few packages."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

WALK = Path(__file__).parents[2] / "ops" / "walk.py"
MOST_ROOMS = {"hit": 10, "miss, trainer": 13, "miss, worker": 10, "collection": 5}


@pytest.mark.slow
def test_a_request_crosses_few_packages():
    """A trainer's hit enters nothing but what it needs, and hardly comes back."""
    done = subprocess.run(
        [sys.executable, str(WALK), "--json"], capture_output=True, text=True, timeout=170, check=True
    )
    figures = json.loads(done.stdout)

    assert {name: figures[name]["rooms"] for name, most in MOST_ROOMS.items() if figures[name]["rooms"] > most} == {}
    assert figures["hit"]["entered"].keys() <= {
        "store", "client", "features", "compute", "fingerprint", "frames", "postgres", "entries", "storage", "results"
    }  # fmt: skip
    assert max(figures["hit"]["entered"].values()) <= 2
