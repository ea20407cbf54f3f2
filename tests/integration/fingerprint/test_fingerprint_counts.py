"""Fingerprints that come without a scan are remembered for everybody and counted."""

from __future__ import annotations

import os
import time

import numpy as np
import pandas as pd

from fstore import ParquetSource
from tests.conftest import House
from tests.waiting import eventually

FEATURE = "fstore.intraday:log_returns"
TICKS = pd.DataFrame({"close": np.linspace(100.0, 101.0, 5000)})


def counted(house: House, name: str) -> int:
    """Return one of the store's counters."""
    return house.store.get_cache_stats()[name]


def test_one_trainer_pays_for_a_foreign_file_and_all_others_read_the_memo(house: House) -> None:
    """The first fingerprint of a settled foreign file scans it, the next one, in another store object, asks Postgres."""
    path = house.root.parent / "foreign.parquet"
    TICKS.to_parquet(path)
    eventually(lambda: time.time() > path.stat().st_ctime + 2.1, seconds=10, what="the file to be older than 2 s")
    source = ParquetSource(path)

    first = house.store.explain("AAPL", source, {}, FEATURE)
    assert counted(house, "hash_optimizations") == 0
    other = house.open()
    second = other.explain("AAPL", source, {}, FEATURE)
    other.close()

    assert second.key == first.key
    assert counted(house, "hash_optimizations") == 1


def test_a_memo_does_not_outlive_an_edit_that_keeps_size_and_mtime(house: House) -> None:
    """One interior tick corrected, the old modification time put back: the key is another one."""
    path = house.root.parent / "foreign.parquet"
    TICKS.to_parquet(path, compression="none")
    eventually(lambda: time.time() > path.stat().st_ctime + 2.1, seconds=10, what="the file to be older than 2 s")
    before = house.store.explain("AAPL", ParquetSource(path), {}, FEATURE)
    stats = path.stat()

    corrected = TICKS.copy()
    corrected.loc[2500, "close"] += 0.01
    corrected.to_parquet(path, compression="none")
    os.utime(path, ns=(stats.st_atime_ns, stats.st_mtime_ns))

    assert house.store.explain("AAPL", ParquetSource(path), {}, FEATURE).key != before.key


def test_a_footer_above_the_threshold_is_counted_and_named(house: House) -> None:
    """An ingested file above the threshold is identified by its footer, and shares its key with the frame."""
    store = house.open(tick_data_threshold_mb=0.001)
    source = store.ingest(TICKS, house.root.parent / "sealed.parquet")

    by_file = store.explain("AAPL", source, {}, FEATURE)
    by_frame = house.store.explain("AAPL", TICKS, {}, FEATURE)
    stats = store.get_cache_stats()
    store.close()

    assert by_file.key == by_frame.key
    assert (by_file.hash_method, by_frame.hash_method) == ("footer", "full")
    assert (stats["hash_optimizations"], stats["footer_hash_optimizations"]) == (1, 1)
