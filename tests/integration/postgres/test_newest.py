"""What is newest is found without looking at everything else."""

from __future__ import annotations

import pytest

from tests.conftest import House

ROWS = """
INSERT INTO manifest (key, symbol, feature, feature_version, source_digest, config, fingerprint, hash_method, source, path,
    rows, file_size_bytes, content_digest, compute_seconds, library_versions, attempt, state, created_ts, verified_ts)
SELECT md5(i::text) || md5(i::text), 'S' || i % 50, 'm:f', '1', '', '{}', 'x', 'full', '{}', 'entries/' || i, 1, 1, '', i, '{}', 1,
    'live', now() - i * interval '1 second', now()
FROM generate_series(1, 20000) AS i;
ANALYZE manifest
"""
EVERYTHING = {"symbol": None, "feature": None, "state": None, "pinned": False, "limit": 100}


@pytest.fixture
def full(house: House) -> House:
    house.store.resources.database.query(ROWS)
    return house


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("list_entries", EVERYTHING),
        ("list_entries", {**EVERYTHING, "feature": "m:f"}),
        ("expected_seconds", {"feature": "m:f"}),
    ],
)
def test_the_newest_are_found_by_their_times(full: House, name: str, wanted: dict[str, object]) -> None:
    """However many others there are: ``ls`` is asked by people, and what a computation takes by every batch of misses."""
    manifest = full.store.resources.manifest
    plan = full.store.resources.database.query("EXPLAIN " + manifest._sql[name], wanted)

    text = "\n".join(line for (line,) in plan)
    assert "Index Scan Backward using manifest_newest" in text
    assert "Seq Scan on manifest" not in text


def test_the_newest_are_the_newest(full: House) -> None:
    manifest = full.store.resources.manifest
    assert [entry.compute_seconds for entry in manifest.list_entries(limit=5)] == [1, 2, 3, 4, 5]
    assert manifest.expected_seconds("m:f") == 25.5
    assert manifest.expected_seconds("m:other") is None
