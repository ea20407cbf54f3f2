"""``fstore doctor`` and ``fstore config`` on stores that are well, half-well and not well at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY, House
from tests.support.commands import Said, fstore


def levels(said: Said) -> dict[str, set[str]]:
    """Return the levels of the findings of each check."""
    found: dict[str, set[str]] = {}
    for finding in said.json["findings"]:
        found.setdefault(finding["check"], set()).add(finding["level"])
    return found


def test_a_healthy_store_has_no_faults(house: House) -> None:
    """With a worker on every queue all checks pass but Beat's, which a missing Beat makes a warning; exit 0."""
    house.start(concurrency=1)

    said = fstore(house, "doctor", "--json")

    assert said.code == 0, said.out
    found = levels(said)
    assert found.pop("beat") == {"warning"}
    assert set.union(*found.values()) == {"ok"}
    assert set(found) >= {
        "settings", "celery variables", "visibility timeout", "packages", "feature modules", "store folder", "free space",
        "data roots", "postgres", "lock timeout", "clock", "tables", "store id", "jobs", "redis", "redis memory",
        "redis persistence", "workers",
    }  # fmt: skip
    assert "0 faults" in fstore(house, "doctor").out


def test_queues_nobody_serves_are_faults(house: House) -> None:
    """Without workers each queue is named, with the command that starts one."""
    said = fstore(house, "doctor", "--json")

    idle = [f for f in said.json["findings"] if f["check"] == "workers"]
    assert said.code == 1
    assert [f["level"] for f in idle] == ["fault"] * 3
    assert all("celery -A workers.app worker -Q fstore." in f["advice"] for f in idle)


def test_servers_that_are_away_are_faults(house: House, tmp_path: Path) -> None:
    """Neither server answers: the doctor still finishes, says what to do and hides the passwords."""
    changed = {
        "FEATURE_STORE_POSTGRES_URL": "postgresql://fstore:hush@127.0.0.1:1/fstore",
        "FEATURE_STORE_REDIS_URL": "redis://:hush@127.0.0.1:1/0",
        "CELERY_BROKER_URL": "redis://:hush@elsewhere:6379/0",
        "FEATURE_STORE_FEATURE_MODULES": "no.such.module",
        "FEATURE_STORE_DATA_ROOTS": str(tmp_path / "none"),
    }

    said = fstore(house, "doctor", "--json", **changed)

    assert said.code == 1
    found = levels(said)
    for check in ("postgres", "redis", "workers", "celery variables", "feature modules"):
        assert "fault" in found[check], check
    assert found["data roots"] == {"warning"}
    assert "hush" not in said.out + said.err
    assert all(f["advice"] for f in said.json["findings"] if f["level"] != "ok")


def test_a_folder_that_is_not_there_is_a_fault(house: House, tmp_path: Path) -> None:
    """A store folder that does not exist, and settings that contradict each other, are told one by one."""
    missing = fstore(house, "doctor", "--json", "--root", tmp_path / "none")
    assert "fault" in levels(missing)["store folder"]

    wrong = fstore(house, "doctor", "--json", FEATURE_STORE_GC_SCHEDULE="often", FEATURE_STORE_LEASE_SECONDS="1")
    faults = [f for f in wrong.json["findings"] if f["check"] == "settings"]
    assert wrong.code == 1
    assert len(faults) >= 2


def test_a_package_of_a_stranger_is_found(house: House, tmp_path: Path) -> None:
    """A folder called ``workers`` that would be imported in place of ours is named with where it lies."""
    (tmp_path / "elsewhere" / "workers").mkdir(parents=True)
    (tmp_path / "elsewhere" / "workers" / "__init__.py").touch()
    path = os.pathsep.join([str(tmp_path / "elsewhere"), str(REPOSITORY)])

    done = subprocess.run(
        [sys.executable, "-m", "fstore.cli", "doctor", "--before-start", "--json"],
        env={**os.environ, **house.environment, "PYTHONPATH": path}, cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    found = [f for f in json.loads(done.stdout)["findings"] if f["check"] == "packages"]
    assert done.returncode == 1
    assert [f["level"] for f in found] == ["ok", "ok", "ok", "fault"]
    assert any(str(tmp_path / "elsewhere" / "workers") in f["detail"] for f in found)
    assert "PYTHONPATH" in found[-1]["advice"]


def test_config_shows_values_and_origins_and_masks_secrets(house: House, tmp_path: Path) -> None:
    """Each setting has its origin; passwords never appear; an argument wins over the environment over the file."""
    file = tmp_path / "fstore.yaml"
    file.write_text("feature_store: {path: /from/file, optimizations: {gc_retention_weeks: 7}}\n")
    hush = {"FEATURE_STORE_POSTGRES_URL": "postgresql://fstore:hush@db:5432/fstore"}

    said = fstore(house, "config", "-c", file, "--json", **hush)

    rows = {row["name"]: row for row in said.json["settings"]}
    assert (rows["path"]["value"], rows["path"]["origin"]) == (str(house.root), "environment FEATURE_STORE_PATH")
    assert rows["gc_retention_weeks"]["value"] == "7"
    assert rows["gc_retention_weeks"]["origin"].startswith(f"file {file}")
    assert rows["max_workers"]["origin"] == "default"
    assert "hush" not in said.out
    assert "db:5432" in rows["postgres_url"]["value"]
    argued = fstore(house, "--root", tmp_path, "config", "--changed", "--json", **hush).json["settings"]
    assert {row["name"]: row["origin"] for row in argued}["path"] == "argument path"
    assert "max_workers" not in {row["name"] for row in argued}
    assert "********" in fstore(house, "config", **hush).out
