"""Ingest: raw data of any form become sealed Parquet, whole or not at all."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fstore.errors import InvalidRequest, SourceChanged, StorageFull, UnhashableInput
from fstore.fingerprint.identification import Origin, content_digest, identify
from fstore.fingerprint.parquet_source import ParquetReader
from fstore.frames.convert import to_frame
from fstore.ingest.ingestion import ingest
from fstore.model import ParquetSource

CSV = "ts,symbol,price,size\n2024-01-02T09:30:00,AAPL,100,1\n2024-01-02T09:30:01,MSFT,200.5,\n2024-01-02T09:30:01.5,AAPL,101,3\n"


def write(path: Path, text: str = CSV) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def back(source: ParquetSource) -> pd.DataFrame:
    return to_frame(ParquetReader(source).table())


@pytest.mark.parametrize(
    "column",
    [
        pd.Categorical(["b", None], ["c", "b", "a"]),
        pd.Categorical(["b", "a"], ["c", "b", "a"], ordered=True),
        pd.Categorical([3, 1], [3, 2, 1]),
        pd.Categorical([None, None]),
        pd.array(["2024-01-02", None], dtype="datetime64[s]"),
        pd.array([5, None], dtype="timedelta64[s]"),
        pd.Series(["x", None], dtype=object).array,
        pd.array(["x", None], dtype="string[python]"),
        pd.array([[1, None], None], dtype=pd.ArrowDtype(pa.list_(pa.timestamp("s")))),
        pd.array([0.5, -0.0], dtype="float64"),
        pd.interval_range(0, 2),
    ],
    ids=lambda column: str(column.dtype),
)
@pytest.mark.parametrize("rows", [0, 1, 2])
def test_a_frame_comes_back_as_it_was(tmp_path: Path, column: object, rows: int) -> None:
    """Categories and their order, seconds, objects and signed zeros survive, and the fingerprint with them."""
    frame = pd.DataFrame({"x": column, "y": [1, 2]}, index=pd.Index([7, 9], name="id")).iloc[:rows]
    source = ingest(frame, tmp_path / "x.parquet")
    found = identify(source, threshold_bytes=0)

    pd.testing.assert_frame_equal(back(source), frame)
    assert found.origin is Origin.FOOTER
    assert found.fingerprint.digest == content_digest(frame) == content_digest(source)


def test_many_row_groups_hold_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest is taken while row groups are written; other tools read the same rows."""
    monkeypatch.setattr("fstore.ingest.writer.ROW_GROUP_BYTES", 1 << 20)
    rows = 400_000
    frame = pd.DataFrame(
        {"price": np.random.default_rng(1).random(rows), "side": pd.Categorical(["buy", "sell"] * (rows // 2))}
    )
    source = ingest(frame, tmp_path / "x.parquet")

    assert pq.read_metadata(source.path).num_row_groups >= 3
    assert identify(source, threshold_bytes=0).fingerprint.digest == content_digest(frame) == content_digest(source)
    assert pl.read_parquet(source.path)["price"].to_list() == frame["price"].tolist()
    pd.testing.assert_frame_equal(pd.read_parquet(source.path), frame)


def test_time_column_becomes_the_index(tmp_path: Path) -> None:
    """The frame a feature gets has the times as its index; text and dates are understood."""
    frame = back(ingest(write(tmp_path / "x.csv"), tmp_path / "x.parquet", time_column="ts"))
    dates = pa.table({"day": pa.array([1, 2], pa.date32()), "x": [1, 2]})

    assert frame.index.name == "ts"
    assert frame.index[2] == pd.Timestamp("2024-01-02T09:30:01.5")
    assert list(frame.columns) == ["symbol", "price", "size"]
    assert str(back(ingest(dates, tmp_path / "y.parquet", time_column="day")).index.dtype) == "datetime64[us]"


def test_time_column_keeps_the_dtypes_of_the_others(tmp_path: Path) -> None:
    """A frame loses nothing when one of its columns becomes the index."""
    frame = pd.DataFrame(
        {
            "x": pd.Series(["a", None], dtype=object),
            "ts": pd.date_range("2024-01-02", periods=2, unit="s"),
            "y": pd.array(["b", None], dtype="string[python]"),
        }
    )
    found = back(ingest(frame, tmp_path / "x.parquet", time_column="ts"))

    pd.testing.assert_frame_equal(found, frame.set_index("ts"), check_freq=False)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (pa.table({"ts": pa.array([3, 2], pa.timestamp("s"))}), "goes back in row 1"),
        (pa.table({"ts": pa.array([3, None], pa.timestamp("s"))}), "is empty in row 1"),
        (pa.table({"ts": [3, 4]}), "cast it to a timestamp"),
        (pa.table({"ts": ["2024-01-02", "noon"]}), "not a time throughout"),
        (pa.table({"other": [1]}), "there is no column 'ts'"),
    ],
)
def test_times_out_of_order_or_missing_are_refused(tmp_path: Path, table: pa.Table, reason: str) -> None:
    """Features trust the order of time, so the first row that breaks it is named, and nothing is written."""
    with pytest.raises(InvalidRequest, match=reason) as caught:
        ingest(table, tmp_path / "x.parquet", time_column="ts")

    assert caught.value.field == "time_column"
    assert list(tmp_path.iterdir()) == []


def test_symbol_column_makes_one_file_a_symbol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each symbol's rows, in their order, go to a sealed file of its own; nothing else is left in the folder."""
    monkeypatch.setattr("fstore.ingest.symbols.SPILL_BYTES", 1)
    folder = ingest(write(tmp_path / "x.csv"), tmp_path / "out", symbol_column="symbol", time_column="ts").path
    apple = ParquetSource(folder / "AAPL.parquet")

    assert sorted(path.name for path in folder.iterdir()) == ["AAPL.parquet", "MSFT.parquet"]
    assert back(apple)["price"].tolist() == [100.0, 101.0]
    assert identify(apple, threshold_bytes=0).origin is Origin.FOOTER


@pytest.mark.parametrize(
    ("symbol", "reason"),
    [("../x", "cannot name a file"), (".x", "cannot name"), ("", "cannot name"), (None, "is empty")],
)
def test_symbols_that_cannot_name_a_file_are_refused(tmp_path: Path, symbol: str | None, reason: str) -> None:
    """A symbol never leads out of the folder, and rows without one are not lost silently."""
    table = pa.table({"symbol": pa.array(["A", symbol], pa.string()), "x": [1, 2]})

    with pytest.raises(InvalidRequest, match=reason):
        ingest(table, tmp_path / "out", symbol_column="symbol")

    assert not list((tmp_path / "out").iterdir())


def test_what_parquet_cannot_hold_is_refused(tmp_path: Path) -> None:
    """A table without columns, or with a type Parquet has no form for, is an error and no file."""
    with pytest.raises(InvalidRequest, match="no columns"):
        ingest(pd.DataFrame(index=range(3)), tmp_path / "x.parquet")
    with pytest.raises(UnhashableInput):
        ingest(pa.table({"x": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}), tmp_path / "x.parquet")

    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    """Whoever reads while ingest fails keeps what was there."""
    old = ingest(pa.table({"x": [1]}), tmp_path / "x.parquet")
    known = old.path.read_bytes()

    class Broken:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            def batches() -> Iterator[pa.RecordBatch]:
                yield pa.record_batch({"x": [2]})
                raise RuntimeError("lost the connection")

            return pa.RecordBatchReader.from_batches(pa.schema([("x", pa.int64())]), batches()).__arrow_c_stream__()

    with pytest.raises(Exception, match="lost the connection"):
        ingest(Broken(), old.path)

    assert old.path.read_bytes() == known
    assert list(tmp_path.iterdir()) == [old.path]


def test_a_full_disk_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No space is a typed error, and what was written so far is removed."""

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fstore.storage.durable.os.fsync", full)
    with pytest.raises(StorageFull, match="No space left"):
        ingest(pa.table({"x": [1]}), tmp_path / "x.parquet")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("by_symbol", [False, True], ids=["one file", "by symbol"])
def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path: Path, *, by_symbol: bool) -> None:
    """Past ``ulimit -f`` the command says that no space is left, and what was written so far is removed."""
    rows = 200_000
    numbers = np.random.default_rng(3).random(rows)
    pq.write_table(pa.table({"symbol": ["A"] * rows, "x": numbers}), tmp_path / "raw.parquet")
    options = ["--symbol-column", "symbol"] if by_symbol else []
    target = tmp_path / ("out" if by_symbol else "out.parquet")

    command = [sys.executable, "-m", "fstore.cli", "ingest", str(tmp_path / "raw.parquet"), str(target), *options]
    limited = ["sh", "-c", 'ulimit -f 512; exec "$@"', "sh", *command]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)

    assert done.returncode == 4, done.stderr
    assert "cannot write" in done.stderr
    assert "free space" in done.stderr
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [tmp_path / "raw.parquet"]


def test_every_page_carries_a_checksum(tmp_path: Path) -> None:
    """A flipped bit anywhere in the pages is noticed on reading."""
    source = ingest(pa.table({"x": np.random.default_rng(2).random(500)}), tmp_path / "x.parquet")
    pristine, digest = source.path.read_bytes(), content_digest(source)
    end = pq.read_metadata(source.path).row_group(0).column(0).total_compressed_size
    for at in range(100, end, 97):
        source.path.write_bytes(pristine[:at] + bytes([pristine[at] ^ 4]) + pristine[at + 1 :])
        try:
            assert content_digest(source) != digest
        except SourceChanged:
            continue


def test_destination_must_fit_the_kind_of_result(tmp_path: Path) -> None:
    """A file does not replace a folder, nor a folder of symbols a file."""
    table = pa.table({"symbol": ["A"], "x": [1]})

    with pytest.raises(InvalidRequest, match="is a folder"):
        ingest(table, tmp_path)
    with pytest.raises(InvalidRequest, match="must be a folder"):
        ingest(table, tmp_path / "x.parquet", symbol_column="symbol")
