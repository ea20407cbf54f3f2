"""``fstore doctor`` and ``fstore config`` on stores that are well, half-well and not well at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import redis

from tests.conftest import House, run_sql
from tests.integration.commands import Said, fstore


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
        "data roots", "postgres", "lock timeout", "clock", "tables", "store id", "jobs", "redis", "redis memory", "workers",
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


def test_folder_and_database_of_different_stores_are_a_fault(house: House) -> None:
    """A folder that carries another store's id is found before it does harm."""
    (house.root / "STORE_ID").write_text("0" * 32)

    assert "fault" in levels(fstore(house, "doctor", "--json"))["store id"]


def test_missing_tables_are_a_fault(house: House) -> None:
    """A database without this version's tables names the command that makes them."""
    run_sql(house.environment["FEATURE_STORE_POSTGRES_URL"], "DROP TABLE alembic_version")

    (finding,) = [f for f in fstore(house, "doctor", "--json").json["findings"] if f["check"] == "tables"]

    assert finding["level"] == "fault"
    assert "fstore migrate" in finding["advice"]


def test_an_eviction_policy_that_costs_time_is_a_warning(house: House) -> None:
    """A Redis that may drop task messages is no fault, as Postgres is the truth, but worth a line."""
    client: Any = redis.Redis.from_url(house.environment["FEATURE_STORE_REDIS_URL"])
    client.config_set("maxmemory", "100mb")
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        assert levels(fstore(house, "doctor", "--json"))["redis memory"] == {"warning"}
    finally:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "0")
        client.close()


def test_a_folder_that_is_not_there_is_a_fault(house: House, tmp_path: Path) -> None:
    """A store folder that does not exist, and settings that contradict each other, are told one by one."""
    missing = fstore(house, "doctor", "--json", "--root", tmp_path / "none")
    assert "fault" in levels(missing)["store folder"]

    wrong = fstore(house, "doctor", "--json", FEATURE_STORE_GC_SCHEDULE="often", FEATURE_STORE_LEASE_SECONDS="1")
    faults = [f for f in wrong.json["findings"] if f["check"] == "settings"]
    assert wrong.code == 1
    assert len(faults) >= 2


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
