"""``fstore features``, ``get`` and ``warm``: ask from the shell."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tests.conftest import House
from tests.support.commands import fstore

RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]}, index=pd.date_range("2026-01-01", periods=3, freq="s", name="ts"))
SCALED, FAILING = "tests.sample_features:scaled", "tests.sample_features:failing"


def test_one_feature_from_the_shell(staffed: House, tmp_path: Path) -> None:
    """The first ``get`` computes, the second hits; the frame can be written; both are what Python gives."""
    raw, out = tmp_path.parent.parent / "raw-get.parquet", tmp_path / "out.parquet"
    raw = staffed.root.parent / "raw-get.parquet"
    RAW.to_parquet(raw)
    asked = ("get", "GET", raw, "--feature", SCALED, "--config", '{"factor": 3}')

    first = fstore(staffed, *asked, "--out", out, "--json")
    second = fstore(staffed, *asked)

    assert (first.code, first.json["status"], first.json["rows"], first.json["columns"]) == (0, "computed", 3, {"price": "float64"})  # fmt: skip
    assert first.json["key"] == staffed.store.explain("GET", RAW, {"factor": 3}, SCALED).key
    pd.testing.assert_frame_equal(pd.read_parquet(out), RAW * 3, check_freq=False)
    assert "hit: 3 rows of 1 columns" in second.out
    assert "9.0" in second.out
    assert fstore(staffed, *asked, "--out", tmp_path / "x.xls", "--json").code == 5
    assert fstore(staffed, "get", "GET", tmp_path / "none.parquet", "--feature", SCALED).code == 5


def test_a_file_of_requests_is_computed_before_it_is_needed(staffed: House, tmp_path: Path) -> None:
    """Every combination is asked for once; what is there is left alone; failures are named and make the exit code 1."""
    for symbol in ("WARM1", "WARM2"):
        (RAW * len(symbol)).assign(n=ord(symbol[-1])).to_parquet(staffed.root.parent / f"{symbol}.parquet")
    requests = staffed.root.parent / "requests.yaml"
    requests.write_text(
        f"- symbols: [WARM1, WARM2]\n  raw: '{{symbol}}.parquet'\n  feature: {SCALED}\n"
        "  configs: [{factor: 5}, {factor: 6}]\n"
    )

    dry = fstore(staffed, "warm", requests, "--dry-run", "--json").json
    first = fstore(staffed, "warm", requests, "--json")
    second = fstore(staffed, "warm", requests)

    assert (dry["requests"], dry["there"], dry["computed"]) == (4, 0, 0)
    assert (first.code, first.json["computed"], first.json["failed"]) == (0, 4, 0)
    assert "4 requests: 4 there already, 0 computed, 0 failed" in second.out

    requests.write_text(requests.read_text() + f"- symbol: WARM1\n  raw: WARM1.parquet\n  feature: {FAILING}\n")
    failed = fstore(staffed, "warm", requests)
    assert failed.code == 1
    assert f"WARM1 {FAILING}" in failed.out
    assert "no price in row 17" in failed.out
    assert "1 failed" in failed.out


def test_a_file_of_requests_that_is_wrong_names_the_place(house: House, tmp_path: Path) -> None:
    """Wrong names, missing parts and missing files are errors of the request."""
    path = tmp_path / "r.yaml"
    RAW.to_parquet(tmp_path / "raw.parquet")
    for text, place in (
        ("{}", "requests"),
        ("- 1", "requests.0"),
        ("- {symbol: A, feature: 'm:f'}", "requests.0.raw"),
        ("- {symbol: A, raw: raw.parquet, feature: 'm:f', colour: red}", "requests.0"),
        ("- {raw: raw.parquet, feature: 'm:f'}", "requests.0.symbol"),
        ("- {symbol: A, symbols: [B], raw: raw.parquet, feature: 'm:f'}", "requests.0.symbols"),
        ("- {symbol: A, raw: raw.parquet, feature: 'm:f', config: [1]}", "requests.0.config"),
        ("- {symbol: A, raw: none.parquet, feature: 'm:f'}", "raw"),
        ("- {", "requests"),
    ):
        path.write_text(text)
        said = fstore(house, "warm", path, "--json")
        assert (said.code, said.json["error"]["field"]) == (5, place), text
    assert fstore(house, "warm", tmp_path / "none.yaml", "--json").code == 5


def test_features_are_listed_with_what_the_store_has(house: House) -> None:
    """Name, version, input, first line of the text, entries and usual time; without servers the latter stay open."""
    house.start(concurrency=1)
    house.store.get_or_compute("AAPL", RAW, {}, SCALED)

    rows = {row["name"]: row for row in fstore(house, "features", "--json").json["features"]}
    assert rows[SCALED] | {"median_s": 0} == {
        "name": SCALED, "version": "1", "explicit": True, "input": "pandas", "entries": 1, "median_s": 0,
        "doc": "Multiply every number.",
    }  # fmt: skip
    assert rows[SCALED]["median_s"] > 0
    assert (rows[FAILING]["entries"], rows[FAILING]["median_s"]) == (0, None)
    assert "Multiply every number." in fstore(house, "features").out

    alone = fstore(house, "features", "--json", FEATURE_STORE_POSTGRES_URL="postgresql://x:y@127.0.0.1:1/z")
    assert alone.code == 0
    assert {row["entries"] for row in alone.json["features"]} == {None}
