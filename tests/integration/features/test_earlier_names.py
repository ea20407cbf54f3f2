"""Code that was written for the earlier cache runs as it stands: its classes, arguments, file, command and keys of answers."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from fstore import DiskGarbageCollector, OptimizedFeatureStore
from fstore.errors import FeatureNotRegistered
from fstore.features.unregistered import find_feature
from tests.conftest import House

REPOSITORY = Path(__file__).parents[3]
RAW = pd.DataFrame({"price": [100.0, 101.0, 99.0]})
YAML = """\
feature_store:
  path: {path}
  optimizations: {{enable_gc: true, gc_retention_weeks: 5, gc_schedule: "0 2 * * *", tick_data_threshold_mb: 100, max_workers: 10}}
  monitoring: {{enable_metrics: true, integrity_checks: true, performance_tracking: true}}
"""


def compute_func(raw_data, config):
    """Return what a script would, from a function that nobody registered."""
    return raw_data * config["factor"]


@pytest.fixture
def environ(house: House, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The servers' addresses as a site has them; all else is said as the examples say it."""
    for name in ("POSTGRES_URL", "REDIS_URL", "DATA_ROOTS"):
        monkeypatch.setenv(f"FEATURE_STORE_{name}", house.environment[f"FEATURE_STORE_{name}"])
    return dict(os.environ)


@pytest.fixture
def store(house: House, environ: dict[str, str]):
    made = OptimizedFeatureStore(
        root=str(house.root), enable_gc=True, gc_retention_weeks=4, tick_data_threshold_mb=100, max_workers=10
    )
    yield made
    made.close()


def test_the_store_takes_its_arguments_and_a_plain_function(house: House, store: OptimizedFeatureStore) -> None:
    """Ten trainers at once; the second time is a hit, another source another result."""
    house.start()
    with ThreadPoolExecutor(10) as pool:
        frames = list(pool.map(lambda _: store.get_or_compute("AAPL", RAW, {"factor": 2}, compute_func), range(10)))
    assert all(frame.equals(RAW * 2) for frame in frames)
    assert store.peek("AAPL", RAW, {"factor": 2}, compute_func) is not None
    assert store.peek("AAPL", RAW, {"factor": 2}, lambda raw_data, config: raw_data * 3) is None
    (many,) = store.get_or_compute_many([_request(2)])
    assert many[1].equals(RAW * 2)

    stats = store.get_cache_stats()
    names = "cache_hits cache_misses hash_optimizations footer_hash_optimizations gc_runs files_cleaned"
    assert set(names.split()) <= stats.keys()
    verdict = store.validate_cache_integrity()
    assert (verdict["integrity_ok"], verdict["issues"]) == (True, [])
    assert store.settings.gc_enabled
    assert store.settings.max_workers == 10


def _request(factor: int):
    from fstore import Request

    return Request("AAPL", RAW, {"factor": factor}, compute_func)


def test_the_collector_takes_its_arguments(house: House, environ: dict[str, str]) -> None:
    """A dry run deletes nothing; its report has the keys that were printed."""
    with DiskGarbageCollector(cache_root=str(house.root), retention_weeks=4, dry_run=True) as gc:
        results = gc.run_garbage_collection()
        overview = gc.get_cache_overview()

    assert results["dry_run"] is True
    assert (results["summary"]["total_files_deleted"], results["summary"]["total_bytes_freed"]) == (0, 0)
    assert {"manifest_entries", "total_size_mb", "old_entries_count"} <= overview.keys()


def test_the_command_runs_as_a_module_with_its_options(house: House, environ: dict[str, str], tmp_path: Path) -> None:
    """And the cron line of the page, with this interpreter and this store in the place of the page's."""
    report = tmp_path / "report.json"
    python = [sys.executable, "-m", "fstore", "gc", "--cache-root", str(house.root)]
    for options in (
        ["--retention-weeks", "4", "--verbose", "--output-json", str(report)],
        ["--dry-run"],
        ["--overview-only"],
    ):
        subprocess.run([*python, *options], env=environ, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert json.loads(report.read_text())["summary"]["total_files_deleted"] == 0

    page = (REPOSITORY / "docs" / "migrating.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith("0 2 * * * ")]
    words = shlex.split(line)[5:]
    said = [sys.executable, *words[1:]]
    said[said.index("--cache-root") + 1] = str(house.root)
    said[said.index("--output-json") + 1] = str(report)
    subprocess.run(said, env=environ, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert "schtasks /Create" in page
    assert "-m fstore gc --cache-root" in page.split("schtasks", 1)[1]


def test_the_file_is_found_by_itself(
    house: House, environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it always lay; an argument and the environment win over it, and ``fstore config`` tells where it is."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "feature_store.yaml").write_text(YAML.format(path=house.root))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEATURE_STORE_GC_DRY_RUN", "false")

    with OptimizedFeatureStore() as store:
        assert store.settings.path == house.root
        assert store.settings.gc_retention_weeks == 5
        assert store.settings.origins["gc_retention_weeks"].startswith("file config/feature_store.yaml")
    monkeypatch.setenv("FEATURE_STORE_GC_RETENTION_WEEKS", "6")
    with OptimizedFeatureStore(gc_schedule="0 3 * * *") as store:
        assert store.settings.gc_retention_weeks == 6
        assert store.settings.gc_schedule == "0 3 * * *"
    (tmp_path / "other.yaml").write_text("feature_store: {gc_grace_hours: 30}\n")
    with OptimizedFeatureStore(house.root, config_file=tmp_path / "other.yaml") as store:
        assert store.settings.gc_schedule == "0 2 * * *"
        assert store.settings.origins["gc_schedule"] == "default"


def test_plain_functions_are_refused_unless_the_settings_say_otherwise() -> None:
    """And a registered one that cannot be found is never taken for a plain one; the same callable is wrapped once."""
    with pytest.raises(FeatureNotRegistered):
        find_feature(compute_func)
    found = find_feature(compute_func, "local")
    assert found is find_feature(compute_func, "local")
    assert found.name.startswith("local:")
    assert found.version.startswith("src:")
    for other in ("no.such:feature", 5, None):
        with pytest.raises(FeatureNotRegistered):
            find_feature(other, "local")


def test_what_a_plain_function_holds_is_in_its_key() -> None:
    """Closures of one text are features of their own, also when one takes the place of another in memory."""

    def scaled(n):
        return lambda raw_data, config: raw_data * n

    versions = [find_feature(scaled(n), "local").version for n in (*range(300), 0)]

    assert len(set(versions)) == 300
    assert versions[0] == versions[-1]
