"""How results and raw data are written: what is small at once and quickly packed, what is large in pieces and packed well."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fstore.compute.raw_data import stage_raw
from fstore.errors import StorageFull
from fstore.fingerprint.identification import content_digest, identify
from fstore.fingerprint.sources import FrameInput
from fstore.model import Locator
from fstore.storage import durable
from fstore.storage.durable import read_whole
from fstore.storage.folder.entries import FolderEntries
from fstore.storage.folder.staging import FolderStaging
from fstore.storage.parquet import SMALL, write_arrow, write_parquet

SIZES = {"small": SMALL // 16, "large": SMALL // 8 * 3}


def table(rows: int) -> pa.Table:
    """Make 8 bytes a row of numbers that hardly repeat, and some texts."""
    rng = np.random.default_rng(rows)
    return pa.table({"x": rng.normal(size=rows), "side": pa.array(["buy", "sell"] * (rows // 2)).dictionary_encode()})


@pytest.mark.parametrize("size", SIZES)
def test_a_result_is_packed_by_its_size_and_read_back_the_same(tmp_path: Path, size: str) -> None:
    """LZ4 for what is small, the better of two forms for each column of what is large; digests and page checksums vouch for all."""
    written = table(SIZES[size])
    files = FolderEntries(tmp_path)
    stored = files.publish("ab" * 32, written)
    found = Locator("ab" * 32, stored.path, written.num_rows, stored.file_size_bytes, stored.content_digest)

    group = pq.read_metadata(tmp_path / stored.path).row_group(0)
    packed = [group.column(at).compression for at in range(2)]

    assert packed == {"small": ["LZ4", "LZ4"], "large": ["LZ4", "ZSTD"]}[size]
    assert files.read(found).equals(written)
    assert pq.read_table(tmp_path / stored.path, page_checksum_verification=True).equals(written)
    assert (written.nbytes > SMALL) == (size == "large")


@pytest.mark.parametrize("size", SIZES)
def test_an_arrow_file_holds_the_table(tmp_path: Path, size: str) -> None:
    """Written at once or in pieces, it is one Arrow file that anything can open."""
    written = table(SIZES[size])
    write_arrow(written, tmp_path / "raw.arrow", batch_rows=10_000)
    with pa.ipc.open_file(tmp_path / "raw.arrow") as reader:
        assert reader.read_all().equals(written)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("write", [write_parquet, write_arrow])
@pytest.mark.parametrize("size", SIZES)
def test_a_full_disk_is_said_to_be_full(tmp_path: Path, write: Callable[[pa.Table, Path], None], size: str) -> None:
    """Whichever way a file is written, the error is the typed one."""
    (tmp_path / "file").symlink_to("/dev/full")
    with pytest.raises(StorageFull), durable.translated(tmp_path):
        write(table(SIZES[size]), tmp_path / "file")


def test_raw_data_that_are_staged_are_not_converted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next config of the same frame finds the file, marks it as used, and makes no table."""
    staging = FolderStaging(tmp_path)
    frame = pd.DataFrame({"price": np.arange(50.0)})
    taken = identify(frame, threshold_bytes=1 << 20).fingerprint
    made = []
    table_of = FrameInput.table
    monkeypatch.setattr(FrameInput, "table", lambda raw: made.append(raw) or table_of(raw))

    first = stage_raw(staging, frame, taken)
    os.utime(tmp_path / first.path, (0, 0))
    second = stage_raw(staging, frame, taken)

    assert first == second
    assert len(made) == 1
    assert (tmp_path / first.path).stat().st_mtime > 0
    assert content_digest(staging.read(first.path)) == taken.digest


@pytest.mark.parametrize("size", [0, 1, 4096, (3 << 20) + 7])
def test_a_file_is_read_whole(tmp_path: Path, size: int) -> None:
    """Every byte of it, into memory that belongs to the reader."""
    path, data = tmp_path / "file", np.random.default_rng(size).bytes(size)
    path.write_bytes(data)

    read = read_whole(path)
    path.write_bytes(b"")

    assert read.to_pybytes() == data


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system has no file that hides its size")
def test_a_file_that_hides_its_size_is_read_whole() -> None:
    """Some file systems tell the size only once the file was read; half of an entry would be quarantined as wrong."""
    assert Path("/proc/self/status").stat().st_size == 0

    assert b"voluntary_ctxt_switches" in read_whole(Path("/proc/self/status")).to_pybytes()
