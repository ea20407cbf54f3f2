"""A part of a result in segments: of each only the wanted chunks are read, also of one that holds more than was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from fstore import feature
from fstore.storage.folder.entries import FolderEntries
from tests.conftest import House
from tests.integration.increments.test_random_edits import inline

__all__ = ["inline"]

ROWS, DAYS, WIDTH = 2_000, 6, 12


@feature(version="1", partition="day")
def wide(raw: pd.DataFrame, config: Any) -> pd.DataFrame:
    """Many columns of one."""
    return pd.DataFrame({f"c{i}": raw["price"] * (i + 1) for i in range(WIDTH)})


def ticks(days: int = DAYS) -> pd.DataFrame:
    stamps = np.add.outer(pd.date_range("2024-01-01", periods=days).to_numpy("M8[us]"), np.arange(ROWS) * 1_000_000)
    index = pd.DatetimeIndex(stamps.ravel(), name="time").tz_localize("UTC")
    return pd.DataFrame({"price": np.random.default_rng(3).normal(size=len(index))}, index)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The bytes of entries that are read."""
    found: list[int] = []
    whole, ranges = FolderEntries.read, FolderEntries.read_ranges

    def counted(self: Any, locator: Any) -> Any:
        found.append(locator.file_size_bytes)
        return whole(self, locator)

    def parts(self: Any, locator: Any, wanted: Any) -> Any:
        found.extend(each.length for each in wanted)
        return ranges(self, locator, wanted)

    monkeypatch.setattr(FolderEntries, "read", counted)
    monkeypatch.setattr(FolderEntries, "read_ranges", parts)
    return found


@pytest.mark.parametrize("days", [DAYS, DAYS - 1], ids=["the same", "covered by another"])
def test_columns_of_segments_are_read_alone(inline: House, taken: list[int], days: int) -> None:
    """Of a segment above 1 MB; the answer is that part of the whole."""
    inline.store.get_or_compute("S", ticks(), {}, wide, timeout=60)
    (entry,) = inline.store.resources.manifest.list_entries()
    assert entry.file_size_bytes > 1 << 20
    raw = ticks().iloc[: days * ROWS]
    taken.clear()
    found = inline.store.get_or_compute("S", raw, {}, wide, columns=["c3"], timeout=60)
    assert sum(taken) < entry.file_size_bytes / 3
    pd.testing.assert_frame_equal(found, wide(raw, {})[["c3"]], check_exact=True, check_freq=False)
    between = ("2024-01-03", "2024-01-04")
    found = inline.store.get_or_compute("S", raw, {}, wide, columns=["c3", "c1"], between=between, timeout=60)
    pd.testing.assert_frame_equal(found, wide(raw, {})[["c3", "c1"]].loc["2024-01-03":"2024-01-03"], check_freq=False)
    assert len(inline.store.resources.manifest.list_entries()) == 1
