"""``fstore ls``, ``show``, ``explain``, ``stats`` and ``overview`` on a real store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from fstore import ComputeFailed
from tests.conftest import REPOSITORY, House
from tests.support.commands import fstore

RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]}, index=pd.date_range("2026-01-01", periods=3, freq="s", name="ts"))
SCALED, FAILING = "tests.sample_features:scaled", "tests.sample_features:failing"


@pytest.fixture
def filled(house: House) -> House:
    """A store with three entries of two symbols, and a failed job."""
    house.start(concurrency=1)
    for symbol, factor in (("AAPL", 2), ("AAPL", 3), ("[red]../../x", 2)):
        house.store.get_or_compute(symbol, RAW, {"factor": factor}, SCALED)
    house.store.get_or_compute("AAPL", RAW, {"factor": 2}, SCALED)
    with pytest.raises(ComputeFailed):
        house.store.get_or_compute("AAPL", RAW, {}, FAILING)
    house.store.resources.recorder.flush()  # another process sees what was handed over
    return house


def test_looking_at_a_filled_store(filled: House, tmp_path: Path) -> None:
    """Every look tells the same story, to people and to machines."""
    listed = fstore(filled, "ls", "--json")
    assert listed.code == 0
    assert listed.json["shown"] == listed.json["in_store"] == 3
    assert {e["symbol"] for e in listed.json["entries"]} == {"AAPL", "[red]../../x"}
    assert [e["config"] for e in fstore(filled, "ls", "--json", "--limit", 1).json["entries"]] == [{"factor": 2}]
    assert fstore(filled, "ls", "--symbol", "AAPL", "--json").json["shown"] == 2
    assert fstore(filled, "ls", "--state", "condemned", "--json").json["entries"] == []

    people = fstore(filled, "ls")
    assert "[red]../../x" in people.out, "symbols are data, not markup"
    assert "3 shown of 3" in people.out

    key = next(e["key"] for e in listed.json["entries"] if e["config"] == {"factor": 3})
    shown = fstore(filled, "show", key[:10], "--json")
    assert shown.json["key"] == key
    assert shown.json["entry"]["rows"] == 3
    assert shown.json["job"] is None
    assert key in fstore(filled, "show", key[:10].upper()).out

    failed = filled.store.explain("AAPL", RAW, {}, FAILING).key
    job = fstore(filled, "show", failed[:12], "--json").json
    assert job["entry"] is None
    assert (job["job"]["state"], job["job"]["failure"]["type"]) == ("failed", "ValueError")
    assert "no price in row 17" in fstore(filled, "show", failed[:12]).out

    stats = fstore(filled, "stats", "--json").json
    assert (stats["cache_hits"], stats["computed"], stats["failed"]) == (1, 3, 1)
    assert "20.0 % of 5 requests" in fstore(filled, "stats").out

    overview = fstore(filled, "overview", "--json").json
    assert (overview["manifest_entries"], overview["orphaned_files"]) == (3, 0)
    assert overview["by_symbol"]["AAPL"]["entries"] == 2
    assert SCALED in fstore(filled, "overview").out

    RAW.to_parquet(tmp_path / "raw.parquet")
    asked = ("AAPL", tmp_path / "raw.parquet", "--feature", SCALED, "--config")
    hit = fstore(filled, "explain", *asked, '{"factor": 3}', "--json")
    assert (hit.code, hit.json["hit"], hit.json["key"]) == (0, True, key), "a frame and its file have one fingerprint"
    miss = fstore(filled, "explain", *asked, '{"factor": 4}', "--json").json
    assert (miss["hit"], miss["nearest"]["differs_in"]) == (False, ["config"])
    assert "differs in: config" in fstore(filled, "explain", *asked, '{"factor": 4}').out


def test_keys_that_name_nothing_or_too_much(house: House) -> None:
    """A short, strange or unknown key is an error of the request, in words and in JSON."""
    for key in ("abc", "xyzxyzxyz", "ab" * 40, "../../etc"):
        said = fstore(house, "show", key)
        assert (said.code, said.out) == (5, "")
        assert "hex digits" in said.err
    unknown = fstore(house, "show", "abcdef", "--json")
    assert (unknown.code, unknown.err) == (5, "")
    assert unknown.json["error"]["field"] == "key"


def test_explaining_what_cannot_be_asked_for(house: House, tmp_path: Path) -> None:
    """Unknown features, files and configs, a file outside the data roots, a strange symbol: typed errors, no traceback."""
    raw = tmp_path / "raw.parquet"
    RAW.to_parquet(raw)
    (tmp_path / "text.parquet").write_text("no parquet")

    def ask(*arguments: object, **changed: str) -> tuple[int, str]:
        said = fstore(house, "explain", *arguments, "--json", **changed)
        return said.code, said.json["error"]["type"]

    assert ask("A", raw, "--feature", "tests.sample_features:scaledd") == (5, "FeatureNotRegistered")
    assert ask("A", tmp_path / "none.parquet", "--feature", SCALED) == (5, "InvalidRequest")
    assert ask("A", tmp_path / "text.parquet", "--feature", SCALED)[0] == 5
    assert ask("A" * 4096, raw, "--feature", SCALED) == (5, "InvalidRequest")
    assert ask("A", raw, "--feature", SCALED, "--config", "[1]") == (2, "BadParameter")
    assert ask("A", raw, "--feature", SCALED, "--config", "{") == (2, "BadParameter")
    assert ask("A", raw, "--feature", SCALED, "--config", '{"x": NaN}') == (5, "UnhashableInput")
    elsewhere = str(tmp_path / "elsewhere")
    assert ask("A", raw, "--feature", SCALED, FEATURE_STORE_DATA_ROOTS=elsewhere) == (5, "SourceNotAllowed")


def test_features_in_the_working_directory_are_found(house: House, tmp_path: Path) -> None:
    """A module that lies where the command is called serves, as it does for workers started from there."""
    (tmp_path / "my_features.py").write_text(
        "import fstore\n@fstore.feature(version='1')\ndef mine(raw, config): return raw\n"
    )
    RAW.to_parquet(tmp_path / "raw.parquet")
    code = "import sys; sys.path.remove(''); from fstore.cli.app import run; sys.exit(run(sys.argv[1:]))"
    asked = ["explain", "A", "raw.parquet", "--feature", "my_features:mine", "--json"]

    said = subprocess.run(
        [sys.executable, "-c", code, *asked],
        env={**os.environ, **house.environment, "FEATURE_STORE_FEATURE_MODULES": "my_features", "PYTHONPATH": str(REPOSITORY)},
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (said.returncode, said.stderr) == (0, "")
    assert json.loads(said.stdout)["parts"]["feature"] == "my_features:mine"


def test_servers_that_are_away_are_told_with_code_4(house: House) -> None:
    """Without Postgres a look ends with one line and exit code 4; without Redis the counters of Postgres are shown."""
    nowhere = "postgresql://fstore:secret@127.0.0.1:1/fstore"
    said = fstore(house, "ls", FEATURE_STORE_POSTGRES_URL=nowhere)
    assert (said.code, said.out) == (4, "")
    assert "Postgres is not available" in said.err
    assert "secret" not in said.err
    assert (
        fstore(house, "ls", "--json", FEATURE_STORE_POSTGRES_URL=nowhere).json["error"]["type"] == "ManifestUnavailable"
    )

    assert fstore(house, "stats", "--json", FEATURE_STORE_REDIS_URL="redis://127.0.0.1:1/0").json["cache_hits"] == 0


def test_a_store_that_is_not_configured_is_told_with_code_3(house: House, tmp_path: Path) -> None:
    """Without addresses and without a stack both missing settings are named at once."""
    changed = {
        "FEATURE_STORE_POSTGRES_URL": "",
        "FEATURE_STORE_REDIS_URL": "",
        "FEATURE_STORE_PATH": str(tmp_path / "new"),
    }

    said = fstore(house, "ls", "--json", **changed)

    assert said.code == 3
    assert len(said.json["error"]["faults"]) == 2
