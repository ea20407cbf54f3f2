"""What ingest reads: CSV, Arrow IPC and Parquet, single files and folders, and what it says of anything else."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fstore.errors import InvalidRequest, SourceChanged
from fstore.fingerprint.identification import content_digest, identify
from fstore.fingerprint.parquet_source import ParquetReader
from fstore.frames.convert import to_frame
from fstore.ingest.ingestion import expected_bytes, ingest
from fstore.model import ParquetSource

CSV = "ts,symbol,price,size\n2024-01-02T09:30:00,AAPL,100,1\n2024-01-02T09:30:01,MSFT,200.5,\n2024-01-02T09:30:01.5,AAPL,101,3\n"


def write(path: Path, text: str = CSV) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def back(source: ParquetSource) -> pd.DataFrame:
    return to_frame(ParquetReader(source).table())


def test_csv_types_fit_every_row(tmp_path: Path) -> None:
    """A type that only a later row shows is found, wherever it stands: here 200.5, an empty size and half a second."""
    many = "ts,symbol,price,size\n" + "2024-01-02T09:30:00,AAPL,100,1\n" * 400_000 + CSV.split("\n", 1)[1]
    frame = back(ingest(write(tmp_path / "x.csv", many), tmp_path / "x.parquet"))

    assert frame.dtypes.astype(str).to_dict() == {
        "ts": "datetime64[ns]",
        "symbol": "str",
        "price": "float64",
        "size": "float64",
    }
    assert frame.iloc[-1].tolist() == [pd.Timestamp("2024-01-02T09:30:01.5"), "AAPL", 101.0, 3.0]
    assert len(frame) == 400_003


def test_a_folder_is_read_in_the_order_of_its_paths(tmp_path: Path) -> None:
    """Compressed and tab-separated files are understood, and all files get the types that fit them together."""
    write(tmp_path / "raw/b.csv", "x,y\n1.5,\n")
    (tmp_path / "raw/a.csv.gz").write_bytes(gzip.compress(b"x,y\n1,\n"))
    write(tmp_path / "raw/c/d.tsv", "x\ty\n3\tlate\n")
    write(tmp_path / "raw/notes.txt", "no data")
    frame = back(ingest(tmp_path / "raw", tmp_path / "x.parquet"))

    assert frame["x"].tolist() == [1.0, 1.5, 3.0]
    assert frame["y"].iloc[-1] == "late"


@pytest.mark.parametrize("stream", [False, True])
def test_arrow_ipc_files_and_streams_are_read(tmp_path: Path, stream: bool) -> None:
    """Both Arrow formats give the table that was written, whatever the file is called."""
    table = pa.table({"x": [1, None], "y": pa.array(["a", "b"]).dictionary_encode()})
    opener = pa.ipc.new_stream if stream else pa.ipc.new_file
    with pa.OSFile(str(tmp_path / "x.arrow"), "wb") as sink, opener(sink, table.schema) as writer:
        writer.write_table(table)

    assert content_digest(ingest(tmp_path / "x.arrow", tmp_path / "x.parquet")) == content_digest(table)


def test_a_parquet_folder_becomes_one_file(tmp_path: Path) -> None:
    """What was a folder of foreign files has the same fingerprint in one sealed file."""
    frame = pd.DataFrame({"x": np.arange(10.0)}, index=pd.date_range("2024-01-02", periods=10, tz="UTC"))
    (tmp_path / "raw").mkdir()
    frame[:4].to_parquet(tmp_path / "raw/1.parquet")
    frame[4:].to_parquet(tmp_path / "raw/2.parquet")
    source = ingest(str(tmp_path / "raw"), tmp_path / "x.parquet")

    assert content_digest(frame) == identify(source, threshold_bytes=0).fingerprint.digest


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.csv", "a,b\n1,2\n3\n", "Expected 2 columns"),
        ("x.csv", "", "not readable as CSV"),
        ("x.arrow", "no arrow", "not readable as Arrow"),
        ("x.xlsx", "PK", "ends in none of"),
        ("x.parquet", "no parquet", "is not a Parquet file"),
        ("missing/x.csv", None, "does not exist"),
    ],
)
def test_input_that_cannot_be_read_gives_a_typed_error(
    tmp_path: Path, name: str, content: str | None, reason: str
) -> None:
    """Bad input is named, and nothing is written."""
    path = tmp_path / name
    if content is not None:
        write(path, content)

    with pytest.raises((InvalidRequest, SourceChanged), match=reason):
        ingest(path, tmp_path / "out.parquet")

    assert {found.name for found in tmp_path.iterdir()} <= {path.name}


def test_a_folder_of_mixed_formats_is_refused(tmp_path: Path) -> None:
    """Which of them are the data cannot be guessed."""
    write(tmp_path / "raw/a.csv")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "raw/b.parquet")

    with pytest.raises(InvalidRequest, match="mixes formats"):
        ingest(tmp_path / "raw", tmp_path / "x.parquet")


def test_progress_and_its_total_agree(tmp_path: Path) -> None:
    """The total for a progress bar is near what is reported as done."""
    table = pa.table({"x": np.arange(300_000)})
    done: list[int] = []
    source = ingest(table, tmp_path / "x.parquet", progress=done.append)

    assert sum(done) == expected_bytes(table) == table.nbytes
    assert expected_bytes(source) > 0 < expected_bytes(str(source.path))
    assert expected_bytes(write(tmp_path / "x.csv")) == len(CSV)


def test_a_text_file_says_nothing_of_its_delimiter(tmp_path: Path) -> None:
    """Vendors' .txt files are taken when the delimiter is said; beside data of other names they are notes."""
    file = tmp_path / "raw" / "AAPL.txt"
    file.parent.mkdir()
    file.write_text("time,price\n2024-01-02 09:30:00,1.5\n")

    with pytest.raises(InvalidRequest, match="--delimiter"):
        ingest(file, tmp_path / "out.parquet")
    assert pq.read_table(ingest(file, tmp_path / "out.parquet", delimiter=",").path).num_rows == 1
    assert pq.read_table(ingest(file.parent, tmp_path / "out.parquet", delimiter=",").path).num_rows == 1

    (file.parent / "a.csv").write_text("a\n1\n")
    assert pq.read_table(ingest(file.parent, tmp_path / "out.parquet").path).column_names == ["a"]


@pytest.mark.parametrize(
    "address", ["s3://raw/es.parquet", "s3:/raw/es.parquet", Path("s3://raw/es.parquet"), "https://h/x.csv"]
)
def test_an_address_is_refused_at_either_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str | Path
) -> None:
    """Before anything is made of it here."""
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame({"a": [1.0]})
    with pytest.raises(InvalidRequest, match=r"dest: .*files of this host"):
        ingest(frame, address)
    with pytest.raises(InvalidRequest, match=r"raw_data: .*files of this host"):
        ingest(address, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []
