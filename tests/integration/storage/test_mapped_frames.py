"""Frames from a host's local tier behave like any other frame, whatever becomes of the file below them."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from fstore import entries as reading
from fstore.entries import in_form
from fstore.model import Locator
from fstore.results.codec import encode_result
from fstore.storage import local_cache as local_tier
from fstore.storage.local_cache import LocalCache
from tests import sample_features, sample_frames

RAW = pd.DataFrame({"price": np.arange(200_000.0)})
TABLE = encode_result(RAW)


def locator(n: int) -> Locator:
    key = f"{n:02x}" * 32
    return Locator(key, f"entries/{key[:2]}/{key}.{n:016x}.parquet", len(RAW), 1, "ab" * 32)


def kept(tier: LocalCache) -> pd.DataFrame:
    return tier.promote(locator(1), TABLE).frame()


def beyond_the_bound(tier: LocalCache) -> pd.DataFrame:
    for n in range(1, 5):
        mapped = tier.promote(locator(n), TABLE)
    return mapped.frame()


def unlinked_by_another_process(tier: LocalCache) -> pd.DataFrame:
    frame = tier.promote(locator(1), TABLE).frame()
    tier._path(locator(1)).unlink()
    assert tier.find(locator(1)) is None
    return frame


def replaced_by_another_process(tier: LocalCache) -> pd.DataFrame:
    frame = tier.promote(locator(1), TABLE).frame()
    LocalCache(tier._folder, max_bytes=10**8).promote(locator(1), TABLE)
    assert tier.find(locator(1)) is not None
    return frame


@pytest.mark.parametrize("history", [kept, beyond_the_bound, unlinked_by_another_process, replaced_by_another_process])
def test_a_frame_can_be_changed_whatever_became_of_its_file(tmp_path, history):
    """Writing copies what is changed; nobody else sees it, and it never meets read-only memory."""
    tier = LocalCache(tmp_path, max_bytes=4_000_000 if history is beyond_the_bound else 10**8)
    frame = history(tier)
    gc.collect()

    frame.iloc[0, 0] = -1.0
    frame["price"] += 1
    frame.loc[5, "price"] = 3.0

    assert frame["price"].iloc[[0, 1, 5]].tolist() == [0.0, 2.0, 3.0]
    again = tier.find(locator(1))
    assert again is None or again.frame().equals(RAW)


@pytest.mark.parametrize(
    "kind", ["zoned index", "nullable", "categories", "several levels", "text", "no columns", "no rows"]
)
@pytest.mark.parametrize("small", [-1, local_tier.SMALL])
def test_mapped_frames_equal_what_was_returned(staffed, tmp_path, monkeypatch, kind, small):
    """The first hit writes the local file, the second maps it: both give the very frame, as a copy or over the pages."""
    monkeypatch.setattr(local_tier, "SMALL", small)
    monkeypatch.setattr("fstore.storage.mapped_entry.SMALL", small)
    monkeypatch.setattr(reading, "SMALL", small)
    wanted = sample_frames.KINDS[kind]()
    with staffed.open(local_cache=str(tmp_path / "local")) as store:
        for _ in range(3):
            found = store.get_or_compute("MAP", RAW.head(2), {"kind": kind}, sample_features.sample, timeout=30)
            assert_frame_equal(found, wanted, check_exact=True, check_column_type="equiv", check_freq=True)
            assert list(found.dtypes) == list(wanted.dtypes)
        assert list((tmp_path / "local").glob("*/*.arrow"))
        assert store.get_or_compute(
            "MAP", RAW.head(2), {"kind": kind}, sample_features.sample, returns="arrow", timeout=30
        ).num_rows == len(wanted)


def test_an_entry_that_was_given_up_is_not_served_from_the_local_tier(staffed, tmp_path):
    """The row decides: a local copy without a live row is nothing."""
    config = {"case": "given up"}
    with staffed.open(local_cache=str(tmp_path / "local")) as store:
        for _ in range(2):
            store.get_or_compute("MAP", RAW, config, sample_features.scaled, timeout=30)
        entry = store.peek("MAP", RAW, config, sample_features.scaled)
        store.resources.manifest.quarantine(entry.key, entry.path)

        assert store.get_or_compute("MAP", RAW, config, sample_features.scaled, timeout=30).equals(RAW * 2)
        assert store.peek("MAP", RAW, config, sample_features.scaled).path != entry.path


def test_of_many_threads_that_want_an_entry_one_reads_it(staffed, tmp_path, monkeypatch):
    """Whoever is told at the same moment finds on this host what the first one read."""
    config, threads = {"case": "a crowd"}, 12
    with staffed.open(local_cache=str(tmp_path / "local")) as store:
        wanted = staffed.store.get_or_compute("CROWD", RAW, config, sample_features.scaled, timeout=30)
        found = store.resources.manifest.find_live(store.peek("CROWD", RAW, config, sample_features.scaled).key)
        reads, gate = [], threading.Barrier(threads)
        read = type(store.resources.entries).read

        def counted(files, locator):
            reads.append(locator.key)
            return read(files, locator)

        monkeypatch.setattr(type(store.resources.entries), "read", counted)

        def ask(_):
            gate.wait(10)
            return in_form(reading.read_entry(store.resources, found), "pandas")

        with ThreadPoolExecutor(threads) as pool:
            frames = list(pool.map(ask, range(threads)))

    assert reads == [found.key]
    for frame in frames:
        assert_frame_equal(frame, wanted)


def test_a_reader_that_is_stuck_holds_others_up_for_a_moment_only(tmp_path, monkeypatch):
    """The wait for another thread's read has a bound; then everybody reads for himself."""
    monkeypatch.setattr(local_tier, "DOOR_S", 0.05)
    tier = LocalCache(tmp_path, max_bytes=10**8)
    entered = threading.Event()

    def enter():
        with tier.one_at_a_time("k"):
            entered.set()

    with tier.one_at_a_time("k"):
        threading.Thread(target=enter).start()
        assert entered.wait(10)
