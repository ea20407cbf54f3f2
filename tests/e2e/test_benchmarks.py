"""The benchmarks of ``ops/bench``: each runs from start to end and names what it measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

BENCH = REPOSITORY / "ops" / "bench"
PROMISED = {
    "hits": [
        "390 x 50: hit / read_table",
        "390 x 50: hit / joblib.Memory",
        "390 x 50: hit with tier / joblib.Memory",
        "100,000 x 20: hit / read_table",
        "100,000 x 20: hit with tier / read_table",
        "hit with tier / pandas.read_parquet",
        "holders of",
    ],
    "misses": ["miss / bare Celery round trip, p50", "throughput"],
    "stampede": ["computations of one key", "last answer after the first", "demo, p50", "demo, p99"],
    "batch": ["misses in a batch / best bare throughput", "hits in a batch, keys/s"],
    "manifest": ["/ bare psycopg2", "rows / at 1,000", "publishes at the slowest of"],
    "scale": ["a hit at", "a miss at", "worker processes"],
    "mixed": ["failed or whose answer was wrong", "memory of trainers", "open files", "miss, p99"],
    "fingerprint": ["share of bare BLAKE3", "footer of an ingested file", "foreign file, second time"],
    "upkeep": ["bare walk and SELECT", "longest publish during a collection"],
}


def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a benchmark as people run it."""
    command = [sys.executable, str(BENCH / script), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=560, check=False)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", PROMISED)
def test_a_benchmark_runs_and_names_its_figures(name: str) -> None:
    """Whoever doubts a figure can have it measured on their own machine, with one command."""
    done = run(f"{name}.py", "--quick", "--json")

    assert done.returncode == 0, done.stderr[-3000:]
    outcome: dict[str, Any] = json.loads(done.stdout)
    names = [figure["name"] for figure in outcome["figures"]]
    assert [part for part in PROMISED[name] if not any(part in known for known in names)] == []
    assert all(
        figure["value"] > 0
        for figure in outcome["figures"]
        if "memory" not in figure["name"] and "wrong" not in figure["name"]
    )
    assert outcome["machine"]["cores"] == os.cpu_count()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_page_is_made_from_the_numbers_of_a_run(tmp_path: Path) -> None:
    """Tables and pictures say what was measured, missed figures included, and benchmarks that did not run say so."""
    page = tmp_path / "benchmarks.md"

    done = run("", "--quick", "--only", "misses", "upkeep", "--output", str(page))

    assert done.returncode == 0, done.stderr[-3000:]
    text = page.read_text()
    found = json.loads((tmp_path / "benchmarks.json").read_text())
    assert set(found["benches"]) == {"misses", "upkeep"}
    assert "not evidence" in text
    assert "Not run." in text
    for bench in found["benches"].values():
        for figure in bench["figures"]:
            line = next(line for line in text.splitlines() if line.startswith(f"| {figure['name']} |"))
            assert ("**missed**" in line) == figure["missed"]
    for theme in ("light", "dark"):
        assert f"images/bench-misses-{theme}.svg" in text
        assert (tmp_path / "images" / f"bench-misses-{theme}.svg").read_text().startswith("<?xml")
