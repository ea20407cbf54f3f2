"""What staging waits for: no flush of a folder, and in a bucket no look for what is sent as soon."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore.compute import stage_raw
from fstore.fingerprint import content_digest, identify
from fstore.storage import durable
from fstore.storage.folder.entries import FolderEntries
from fstore.storage.folder.staging import FolderStaging
from tests.memory_storage import MemoryStaging, Objects

TABLE = pa.table({"x": [1]})


@pytest.fixture
def flushed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that were flushed."""
    found: list[Path] = []
    monkeypatch.setattr(durable, "sync_folder", found.append)
    return found


def test_the_first_raw_data_of_a_shard_wait_for_no_flush(tmp_path: Path, flushed: list[Path]) -> None:
    """What lies there need not outlive a crash of its host, so nor need its folder."""
    FolderEntries(tmp_path).create("an-id")
    flushed.clear()
    staging = FolderStaging(tmp_path)

    path = staging.write("ab" + "0" * 62, TABLE)

    assert staging.read(path).equals(TABLE)
    assert flushed == []


def test_what_upkeep_or_a_person_took_away_is_made_again(tmp_path: Path, flushed: list[Path]) -> None:
    """The folder of all raw data as well, in which the shards lie."""
    staging = FolderStaging(tmp_path)

    path = staging.write("ab" + "0" * 62, TABLE)

    assert staging.read(path).equals(TABLE)
    assert tmp_path / "staging" in flushed


@pytest.mark.parametrize(("rows", "is_looked_for"), [(100, False), (20_000, True)])
def test_small_raw_data_are_put_in_a_bucket_without_a_look(rows: int, is_looked_for: bool) -> None:
    """Looking takes as long as sending them, marking what is there twice as long; large ones are sent once."""
    staging = MemoryStaging(Objects())
    frame = pd.DataFrame({"price": np.arange(float(rows))})
    taken = identify(frame, threshold_bytes=1 << 30).fingerprint

    first, second = stage_raw(staging, frame, taken), stage_raw(staging, frame, taken)

    assert (first == second) == is_looked_for
    assert {content_digest(staging.read(one.path)) for one in (first, second)} == {taken.digest}
