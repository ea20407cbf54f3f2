"""Damage anywhere in a cached file: never wrong numbers, always a miss, a quarantine and a new computation."""

from __future__ import annotations

import random

import pandas as pd
import pytest

from fstore.broker.messages import parse_compute
from fstore.compute.executor import execute
from fstore.entries import read_entry
from tests.sample_features import scaled
from tests.support.shelf import Shelf, frame


@pytest.fixture
def published(house, tmp_path):
    """An entry computed from a file by the worker's half, and a way to ask for it again."""
    frame(200).to_parquet(tmp_path / "ticks.parquet")
    message = {"symbol": "AAPL", "raw_data": str(tmp_path / "ticks.parquet"), "config": {"factor": 3}, "feature": "tests.sample_features:scaled"}  # fmt: skip

    def ask():
        return execute(house.store.resources, parse_compute(message), phase=lambda _: None)

    return ask(), ask


def test_no_flipped_bit_is_ever_served(house, published):
    """Every 40th byte in turn and 1,000 random bits: reading gives a miss each time, and the entry is quarantined."""
    shelf = Shelf(house.store.resources)
    found = shelf.resources.manifest.find_live(published[0].key)
    path = shelf.root / found.path
    whole = path.read_bytes()
    rng = random.Random(7)
    bits = [(at, rng.randrange(8)) for at in range(0, len(whole), 40)]
    bits += [(rng.randrange(len(whole)), rng.randrange(8)) for _ in range(1000)]

    for at, bit in bits:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << bit
        path.unlink(missing_ok=True)
        path.write_bytes(damaged)
        assert read_entry(shelf.resources, found) is None, f"bit {bit} of byte {at} went unnoticed"
        assert shelf.resources.manifest.find_live(found.key) is None
        assert not path.exists()
        shelf.sql("UPDATE manifest SET state = 'live', condemned_ts = NULL")

    path.write_bytes(whole)
    assert read_entry(shelf.resources, found) is not None


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_cut_file_is_computed_again(house, published, cut):
    """A truncated file is a miss; the next request computes anew, counts the damage and gives right numbers."""
    shelf = Shelf(house.store.resources)
    first, ask = published
    path = shelf.root / first.locator.path
    path.chmod(0o640)
    path.write_bytes(path.read_bytes()[:cut])
    assert read_entry(shelf.resources, first.locator) is None

    second = ask()

    assert second.status == "computed"
    assert second.locator.path != first.locator.path
    pd.testing.assert_frame_equal(house.store.load(second.as_dict()), scaled(frame(200), {"factor": 3}))
    assert house.store.get_cache_stats()["corrupt_detected"] == 1
