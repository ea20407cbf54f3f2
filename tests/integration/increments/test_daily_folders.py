"""Folders of daily files: what one trainer read of them, no other reads again."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fstore import ParquetSource
from fstore.increments.digests import PartitionHasher
from tests import partitioned_features as features
from tests.conftest import House
from tests.unit.increments import partition_world as world
from tests.waiting import eventually

CONFIG = {"window": 4}


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the rows that this process digests as they come from files."""
    found: list[int] = []
    update = PartitionHasher.update

    def counted(self: PartitionHasher, batch: Any) -> Any:
        found.append(batch.num_rows)
        return update(self, batch)

    monkeypatch.setattr(PartitionHasher, "update", counted)
    return found


def test_days_are_remembered_by_file_for_all_trainers(house: House, scanned: list[int]) -> None:
    """A new file costs a scan of that file, a corrected one likewise, and a folder that is as it was none."""
    folder = house.root.parent / "daily"
    folder.mkdir()

    def write(day: pd.Timestamp, seed: int = 1) -> None:
        minutes = day + pd.to_timedelta(np.arange(12) * 7 + 600, unit="min")
        stamps = pd.DatetimeIndex(minutes, name="time").tz_localize("UTC")
        raw = world.quotes(stamps, np.random.default_rng(seed)).drop(columns="side")
        raw.to_parquet(folder / f"{day:%Y-%m-%d}.parquet")

    def names() -> Any:
        scanned.clear()
        with house.open() as trainer:
            return trainer.explain("ES", ParquetSource(folder), CONFIG, features.spread).key

    def settle() -> None:
        newest = max(file.stat().st_ctime for file in folder.iterdir())
        eventually(lambda: time.time() > newest + 2.1, seconds=10, what="the files to be older than 2 s")

    days = pd.date_range("2024-01-01", periods=30)
    for day in days[:-1]:
        write(day)
    settle()

    first = names()
    assert sum(scanned) == 29 * 12
    assert names() == first
    assert scanned == []

    write(days[-1])
    write(days[3], seed=2)
    settle()
    longer = names()
    assert sum(scanned) == 2 * 12
    assert longer != first
    assert names() == longer
    assert scanned == []
