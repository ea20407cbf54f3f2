"""What a batch published in one file is an entry like any other to those who ask for it."""

from __future__ import annotations

import pandas as pd
import pytest

import fstore
from fstore.storage import packed_at
from fstore.storage.folder.staging import FolderStaging
from fstore.storage.layout import raw_part_at
from tests import sample_features

RAW = pd.DataFrame({"price": [float(i) for i in range(40)], "size": [i % 7 for i in range(40)]})


def published_together(staffed, batch: str) -> list[fstore.Request]:
    """Have a batch computed, and see that its results share files."""
    asked = [fstore.Request("AAPL", RAW, {"factor": n, "batch": batch}, sample_features.scaled) for n in range(2, 22)]
    for request, frame in staffed.store.get_or_compute_many(asked, timeout=90):
        pd.testing.assert_frame_equal(frame, RAW * request.config["factor"])
    entries = [entry for _, entry in staffed.store.peek_many(asked)]
    packed = [packed_at(entry.path) for entry in entries]
    assert sum(one is not None for one in packed) > 10
    assert len({one.path for one in packed if one is not None}) < 10
    assert all(one.rows == len(RAW) and one.file_size_bytes > 0 for one in entries)
    return asked


def test_each_is_a_hit_of_its_own_and_of_its_columns(staffed):
    """Whole, or a part of it: never a neighbour's."""
    for request in published_together(staffed, "parts"):
        asked = (request.symbol, request.raw_data, request.config, request.feature)
        pd.testing.assert_frame_equal(staffed.store.get_or_compute(*asked), RAW * request.config["factor"])
        part = staffed.store.get_or_compute(*asked, columns=["size"])
        pd.testing.assert_frame_equal(part, RAW[["size"]] * request.config["factor"])


def test_the_local_tier_holds_each_by_itself(staffed, tmp_path):
    """One copy an entry, taken from there the second time."""
    asked = published_together(staffed, "tier")
    folder = tmp_path / "local"
    with staffed.open(local_cache=str(folder)) as store:
        for _ in range(2):
            for request, frame in store.get_or_compute_many(asked, timeout=60):
                pd.testing.assert_frame_equal(frame, RAW * request.config["factor"])
    assert len({path.name for path in folder.rglob("*.arrow")}) == len(asked)


def test_a_single_result_is_a_file_that_anybody_reads(staffed):
    """As before."""
    config = {"factor": 3, "batch": "single"}
    frame = staffed.store.get_or_compute("AAPL", RAW, config, sample_features.scaled, timeout=60)
    entry = staffed.store.peek("AAPL", RAW, config, sample_features.scaled)
    assert packed_at(entry.path) is None
    pd.testing.assert_frame_equal(pd.read_parquet(staffed.settings.path / entry.path), frame)


@pytest.mark.parametrize("hide", ["invalidate", "quarantine"])
def test_one_of_them_can_be_given_up(staffed, hide):
    """And is computed again, alone, while the others stay what they were."""
    asked = published_together(staffed, hide)
    before = [entry for _, entry in staffed.store.peek_many(asked)]
    gone = next(entry for entry in before if packed_at(entry.path) is not None)
    if hide == "invalidate":
        assert staffed.store.invalidate(key=gone.key) == 1
    else:
        assert staffed.store.resources.manifest.quarantine(gone.key, gone.path)
    for request, frame in staffed.store.get_or_compute_many(asked, timeout=90):
        pd.testing.assert_frame_equal(frame, RAW * request.config["factor"])
    after = [entry for _, entry in staffed.store.peek_many(asked)]
    changed = {one.key for one, other in zip(before, after, strict=True) if one.path != other.path}
    assert changed <= {gone.key}
    assert hide == "invalidate" or changed == {gone.key}


def test_small_raw_data_of_a_batch_travel_in_few_files(staffed):
    """Each worker takes its own out of them."""
    frames = [RAW + number for number in range(20)]
    asked = [fstore.Request(f"S{n}", frame, {"factor": 3}, sample_features.scaled) for n, frame in enumerate(frames)]
    for request, frame in staffed.store.get_or_compute_many(asked, timeout=90):
        pd.testing.assert_frame_equal(frame, request.raw_data * 3)
    staged = {entry.source["path"] for _, entry in staffed.store.peek_many(asked)}
    files = {part.path for path in staged if (part := raw_part_at(path)) is not None}
    assert len(staged) == len(asked)
    assert len(files) == 1


@pytest.mark.parametrize("harm", ["gone", "spoilt"])
def test_a_file_of_raw_data_that_fails_costs_a_second_try(staffed, monkeypatch, harm):
    """Raw data that workers do not find, or find changed, are given them once more, alone."""
    write = FolderStaging.write_together

    def harmed(self, raw):
        paths = write(self, raw)
        file = staffed.settings.path / raw_part_at(paths[0]).path
        file.chmod(0o640)
        if harm == "gone":
            file.unlink()
        else:
            file.write_bytes(bytes(len(file.read_bytes())))
        return paths

    monkeypatch.setattr(FolderStaging, "write_together", harmed)
    asked = [fstore.Request(f"S{n}", RAW + n, {"factor": 5, "harm": harm}, sample_features.scaled) for n in range(6)]
    for request, frame in staffed.store.get_or_compute_many(asked, timeout=90):
        pd.testing.assert_frame_equal(frame, request.raw_data * 5)
