"""``fstore gc`` and ``fstore verify`` on a real store."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import House
from tests.support.commands import fstore
from tests.support.shelf import HOUR, Shelf


@pytest.fixture
def filled(house: House) -> House:
    """A store with two live entries and one that was condemned two days ago."""
    shelf = Shelf(house.store.resources)
    for name in ("one", "two", "old"):
        shelf.publish(name, age=72 * HOUR)
    shelf.condemn("old", timedelta(days=2))
    return house


def test_collecting_garbage(filled: House, tmp_path: Path) -> None:
    """The dry run shows what the real run then does; the full report goes to a file; history remembers both."""
    dry = fstore(filled, "gc", "--dry-run", "--verbose", "--json")
    assert (dry.code, dry.json["dry_run"], dry.json["plan"]["reap"]["count"]) == (0, True, 1)
    assert len(files(filled)) == 3
    assert "nothing was changed" in fstore(filled, "gc", "--dry-run").out

    report = tmp_path / "report.json"
    real = fstore(filled, "gc", "--json", "--output-json", report, "--cache-root", filled.root)
    assert real.code == 0
    assert real.json["summary"]["total_files_deleted"] == 1
    assert "details" not in real.json
    written = json.loads(report.read_text())
    assert written["summary"] == real.json["summary"]
    assert written["details"]["reap"] == dry.json["details"]["reap"]
    assert set(written["phases"]) >= {"plan", "reap", "condemn", "strays"}
    assert len(files(filled)) == 2

    history = fstore(filled, "gc", "--history", "--json").json["runs"]
    assert [run["report"]["dry_run"] for run in history] == [False, True, True]
    assert "dry run" in fstore(filled, "gc", "--history").out
    assert fstore(filled, "gc", "--overview-only", "--json").json["manifest_entries"] == 2


def test_garbage_collection_refuses_what_looks_wrong(filled: House, tmp_path: Path) -> None:
    """Another store's folder ends with code 3, a grace too short for live users with 6; nothing is deleted."""
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    other = fstore(filled, "gc", "--json", "--cache-root", stranger)
    assert (other.code, other.json["error"]["type"]) == (3, "StoreMismatch")

    hasty = {"FEATURE_STORE_GC_GRACE_HOURS": "0.1", "FEATURE_STORE_COMPUTE_TIME_LIMIT_S": "10"}
    refused = fstore(filled, "gc", **hasty)
    assert refused.code in (3, 6)
    assert "grace" in refused.err
    assert len(files(filled)) == 3


def test_options_of_garbage_collection_are_checked(filled: House, tmp_path: Path) -> None:
    """Sizes are read with their unit; a report that cannot be written is told."""
    assert fstore(filled, "gc", "--max-bytes", "lots").code == 2
    assert fstore(filled, "gc", "--retention-weeks", "0").code == 2
    assert fstore(filled, "gc", "--dry-run", "--max-bytes", "1kB", "--json").code == 0
    said = fstore(filled, "gc", "--dry-run", "--output-json", tmp_path / "no" / "such" / "folder.json")
    assert said.code == 5
    assert "cannot write" in said.err


def test_verifying_finds_and_repairs(filled: House) -> None:
    """A sound store is all right; a flipped bit is found without being touched, then quarantined with --repair."""
    sound = fstore(filled, "verify", "--all", "--json")
    assert (sound.code, sound.json["checked"], sound.json["integrity_ok"]) == (0, 2, True)
    assert "all right" in fstore(filled, "verify", "--sources").out

    path = filled.root / Shelf(filled.store.resources).entry("one").path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o640)
    path.write_bytes(data)

    found = fstore(filled, "verify", "--all")
    assert found.code == 1
    assert "digest" in found.out
    repaired = fstore(filled, "verify", "--all", "--repair", "--json")
    assert (repaired.code, repaired.json["quarantined"]) == (1, 1)
    assert fstore(filled, "verify", "--all", "--json").code == 0


def files(house: House) -> list[Path]:
    """Return the published files."""
    return list((house.root / "entries").glob("*/*.parquet"))
