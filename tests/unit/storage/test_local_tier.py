"""The local tier: decoded once, mapped by all, never able to serve what the store did not hold."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore.model import Locator
from fstore.results.codec import encode_result
from fstore.storage.local_cache import LocalCache


def an_entry(rows: int = 1000, *, token: str = "0" * 16, seed: int = 0) -> tuple[Locator, pd.DataFrame, pa.Table]:
    """Build an entry's locator, its frame and its table."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"price": rng.normal(size=rows), "size": rng.integers(0, 9, rows)})
    key = f"{seed:064x}"
    table = encode_result(frame)
    return Locator(key, f"entries/{key[:2]}/{key}.{token}.parquet", rows, 1, f"{seed + 1:064x}"), frame, table


def local_files(folder: Path) -> list[Path]:
    """List the files the tier keeps."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_promoted_entry_is_found_and_equals_what_was_promoted(tmp_path: Path) -> None:
    """What was promoted comes back mapped, as table and as frame."""
    locator, frame, table = an_entry()
    LocalCache(tmp_path, max_bytes=10**9).promote(locator, table)

    found = LocalCache(tmp_path, max_bytes=10**9).find(locator)

    assert found is not None
    assert found.table.equals(table)
    pd.testing.assert_frame_equal(found.frame(), frame)


@pytest.mark.parametrize("rows", [1000, 100_000])
def test_changing_a_frame_does_not_change_what_others_get(tmp_path: Path, rows: int) -> None:
    """A frame over mapped pages copies before it writes; the next one shows the original numbers."""
    locator, frame, table = an_entry(rows)
    tier = LocalCache(tmp_path, max_bytes=10**9)
    mapped = tier.promote(locator, table)
    assert mapped is not None

    mine = mapped.frame()
    mine.loc[3, "price"] = -1.0
    mine["size"] += 1

    again = tier.find(locator)
    assert again is not None
    pd.testing.assert_frame_equal(again.frame(), frame)
    assert mine.loc[3, "price"] == -1.0


def test_a_numeric_frame_lies_over_the_mapped_pages(tmp_path: Path) -> None:
    """A hit copies no numbers: the memory of a large frame is the table's."""
    locator, _, table = an_entry(100_000)
    mapped = LocalCache(tmp_path, max_bytes=10**9).promote(locator, table)
    assert mapped is not None

    address = mapped.frame()["price"].to_numpy().__array_interface__["data"][0]

    assert address == mapped.table.column("price").chunk(0).buffers()[1].address


def test_what_cannot_be_written_here_is_read_from_the_store(tmp_path: Path) -> None:
    """Chunks whose dictionaries do not fit together are no error of the hit, and leave nothing behind."""
    locator, _, _ = an_entry()
    codes = pa.array(range(100), pa.int8())
    chunks = [
        pa.DictionaryArray.from_arrays(codes, pa.array([f"{start + i}" for i in range(100)])) for start in (0, 100)
    ]
    tier = LocalCache(tmp_path, max_bytes=10**9)

    assert tier.promote(locator, pa.table({"side": pa.chunked_array(chunks)})) is None

    assert local_files(tmp_path) == []
    other, _, table = an_entry(seed=5)
    assert tier.promote(other, table) is not None


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "other entry"])
def test_a_damaged_file_is_a_miss_and_goes_away(tmp_path: Path, damage: str) -> None:
    """Whatever lies in the local file, it is served only if every byte is what was promoted for this very entry."""
    locator, _, table = an_entry()
    LocalCache(tmp_path, max_bytes=10**9).promote(locator, table)
    (path,) = local_files(tmp_path)
    path.chmod(0o640)
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "truncate":
        del data[-100:]
    elif damage == "empty":
        data.clear()
    else:
        other, _, other_table = an_entry(seed=7)
        LocalCache(tmp_path / "other", max_bytes=10**9).promote(other, other_table)
        data = bytearray(local_files(tmp_path / "other")[0].read_bytes())
    path.write_bytes(data)

    assert LocalCache(tmp_path, max_bytes=10**9).find(locator) is None
    assert not path.exists()


def test_every_single_flipped_byte_is_noticed(tmp_path: Path) -> None:
    """A bit flipped anywhere in a local file is noticed when the file is mapped."""
    locator, _, table = an_entry(rows=40)
    LocalCache(tmp_path, max_bytes=10**9).promote(locator, table)
    (path,) = local_files(tmp_path)
    whole = path.read_bytes()
    path.chmod(0o640)

    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        assert LocalCache(tmp_path, max_bytes=10**9).find(locator) is None, position


def test_a_file_changed_under_a_process_that_mapped_it_is_checked_again(tmp_path: Path) -> None:
    """A process that served a file before does not trust it blindly."""
    locator, _, table = an_entry()
    tier = LocalCache(tmp_path, max_bytes=10**9)
    assert tier.promote(locator, table) is not None
    (path,) = local_files(tmp_path)
    changed = bytearray(path.read_bytes())
    changed[len(changed) // 3] ^= 1
    replacement = path.with_name("replacement")
    replacement.write_bytes(changed)
    replacement.rename(path)

    assert tier.find(locator) is None


def test_a_frame_outlives_the_file_it_came_from(tmp_path: Path) -> None:
    """Unlinking a mapped file takes nothing away from those who use it."""
    locator, frame, table = an_entry()
    tier = LocalCache(tmp_path, max_bytes=10**9)
    mapped = tier.promote(locator, table)
    assert mapped is not None
    mine = mapped.frame()

    local_files(tmp_path)[0].unlink()

    assert tier.find(locator) is None
    mine.iloc[0, 0] = 5.0
    pd.testing.assert_frame_equal(mine.iloc[1:], frame.iloc[1:])


def test_the_least_recently_used_go_when_the_folder_is_full(tmp_path: Path) -> None:
    """The folder shrinks to 90 % of its bound, oldest use first."""
    entries = [an_entry(rows=10_000, seed=seed) for seed in range(8)]
    size = entries[0][2].nbytes
    tier = LocalCache(tmp_path, max_bytes=size * 5)
    for age, (locator, _, table) in enumerate(entries):
        tier.promote(locator, table)
        for path in local_files(tmp_path):
            if locator.key in path.name:
                os.utime(path, (1_000_000 + age, 1_000_000 + age))

    tier.shrink()

    kept = {path.name[:64] for path in local_files(tmp_path)}
    assert sum(path.stat().st_size for path in local_files(tmp_path)) <= size * 5
    assert entries[-1][0].key in kept
    assert entries[0][0].key not in kept


def test_a_full_disk_only_costs_the_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without room for the tier reads from the store, and leaves no half file behind."""
    locator, _, table = an_entry()
    tier = LocalCache(tmp_path, max_bytes=10**9)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fstore.storage.local_cache._write", full)

    assert tier.promote(locator, table) is None
    assert local_files(tmp_path) == []


def test_a_folder_that_is_cleared_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may remove what only saves work, also while it is listed."""
    tier = LocalCache(tmp_path, max_bytes=10**9)
    for seed in range(3):
        locator, _, table = an_entry(seed=seed)
        tier.promote(locator, table)
    list_folder = os.listdir

    def clear_behind(folder: Path) -> list[str]:
        names = list_folder(folder)
        if str(folder) == str(tmp_path):
            shutil.rmtree(tmp_path)
        return names

    monkeypatch.setattr(os, "listdir", clear_behind)
    monkeypatch.setattr(os, "scandir", _scanning(clear_behind))

    assert tier.shrink() == 0
    assert not tmp_path.exists()


def _scanning(behind: Callable[[Path], list[str]]) -> Callable[[Path], Any]:
    scan = os.scandir

    def scanning(folder: Path) -> Any:
        found = list(scan(folder))
        behind(folder)
        return nullcontext(found)

    return scanning
