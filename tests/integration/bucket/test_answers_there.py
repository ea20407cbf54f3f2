"""Misses, hits, batches, damage and trainers' own results over a bucket."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from tests import sample_features
from tests.integration.client import test_batches
from tests.integration.client.misses import test_misses, test_trainer_results
from tests.integration.storage import test_corruption
from tests.support.bucket_paths import collected_from

globals().update(collected_from(test_corruption, without=("test_published_files_cannot_be_written_by_accident",)))
globals().update(
    collected_from(
        test_misses,
        also=("asked",),
        without=(
            "test_a_miss_of_large_data_looks_before_it_stages",  # its raw data lie below a root that is a folder
            "test_who_cannot_register_still_learns_what_others_came_to",
        ),
    )
)
globals().update(collected_from(test_batches))
globals().update(collected_from(test_trainer_results, also=("publisher",)))


def test_a_part_of_a_large_result_takes_its_ranges_only(staffed, monkeypatch):
    """Its bytes are verified, and one that is wrong on the way has the whole read before anybody calls it wrong."""
    raw = pd.DataFrame({name: np.random.default_rng(n).normal(size=200_000) for n, name in enumerate("abcd")})
    whole = staffed.store.get_or_compute("PART", raw, {}, sample_features.scaled, timeout=60)
    entries = staffed.store.resources.entries
    received, read = [], type(entries).read_ranges

    def counted(self, found, ranges):
        parts = read(self, found, ranges)
        received.append(sum(part.size for part in parts))
        return parts

    monkeypatch.setattr(type(entries), "read_ranges", counted)
    part = staffed.store.get_or_compute("PART", raw, {}, sample_features.scaled, timeout=60, columns=["b"])
    assert part.equals(whole[["b"]])
    assert 0 < sum(received) < 0.5 * staffed.store.peek("PART", raw, {}, sample_features.scaled).file_size_bytes

    def spoilt(self, found, ranges):
        parts = [bytearray(part.to_pybytes()) for part in read(self, found, ranges)]
        parts[0][len(parts[0]) // 2] ^= 1
        return [pa.py_buffer(bytes(part)) for part in parts]

    before = staffed.store.get_cache_stats()["corrupt_detected"]
    monkeypatch.setattr(type(entries), "read_ranges", spoilt)
    again = staffed.store.get_or_compute("PART", raw, {}, sample_features.scaled, timeout=60, columns=["b"])
    assert again.equals(part)
    assert staffed.store.get_cache_stats()["corrupt_detected"] == before
