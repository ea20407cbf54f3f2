"""Folders of staged raw data: made by the first who stages there, with no flush to wait for."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from fstore.storage import durable
from fstore.storage.folder.entries import FolderEntries
from fstore.storage.folder.staging import FolderStaging

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
