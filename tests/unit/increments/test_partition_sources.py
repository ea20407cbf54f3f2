"""Partitions of Parquet files and folders: what they cost, what is read of them, and what is refused."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fstore.errors import SourceChanged, UnhashableInput
from fstore.features.partitioning import Declaration, partitions, sessions
from fstore.fingerprint import parquet_source
from fstore.fingerprint.identification import to_table
from fstore.fingerprint.parquet_source import ParquetReader
from fstore.fingerprint.stamps import SourceStamp
from fstore.increments.assigned.assignment import assign
from fstore.increments.assigned.due_rows import read_due
from fstore.increments.data import PartitionedData
from fstore.increments.digests import PartitionHasher, partition_table
from fstore.increments.sources import SourceRows, table_of_source
from fstore.ingest.ingestion import ingest
from fstore.model import ParquetSource
from tests.unit.increments.partition_world import partition_declared, quotes, ticks

BY_DAY = partition_declared("day", lookback=3)


class Asked:
    """A source that was identified, whose segments somebody computes later from what lies there then."""

    def __init__(self, source: ParquetSource, declared: Declaration = BY_DAY) -> None:
        self.source, self.declared = source, declared
        self.table = table_of_source(source, declared.cut)
        self.data = PartitionedData(ParquetReader(source).table(), declared)
        self.segments = self.data.segments()

    def read(self, at: int) -> pa.Table:
        """Read what a segment is computed from, as who computes it does: if it gives the names that were asked for."""
        segment = self.segments[at]
        assigned = assign(segment, self.table, self.declared, in_source=True)
        due = read_due(assigned, self.declared, SourceRows(self.source).read, "source", segment.names)
        return due[segment.names[0]].data.rows(0, assigned.total_rows)


class Memo:
    def __init__(self) -> None:
        self.known: dict[tuple[SourceStamp, str], bytes] = {}
        self.recalled = 0

    def recall(self, stamps: Sequence[SourceStamp], by: str) -> list[bytes | None]:
        found = [self.known.get((stamp, by)) for stamp in stamps]
        self.recalled += sum(each is not None for each in found)
        return found

    def remember(self, tables: Mapping[SourceStamp, bytes], by: str) -> None:
        self.known |= {(stamp, by): table for stamp, table in tables.items()}


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SourceStamp, "is_settled", lambda self, now: True)


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the rows that are digested as they come, which is what a scan does."""
    found: list[int] = []
    update = PartitionHasher.update

    def counted(self: PartitionHasher, batch: pa.RecordBatch) -> Any:
        found.append(batch.num_rows)
        return update(self, batch)

    monkeypatch.setattr(PartitionHasher, "update", counted)
    return found


def mixed(days: int = 20) -> pd.DataFrame:
    raw = ticks(days, "America/New_York", np.random.default_rng(11))
    return raw.assign(flag=raw["size"] > 4, text=raw["bid"].round(1).astype(str), gone=pd.array(raw["size"], "Int64"))


def daily(raw: pd.DataFrame, folder: Path, write: Callable[[pd.DataFrame, Path], Any]) -> ParquetSource:
    """Write a file a day."""
    folder.mkdir(exist_ok=True)
    for day, part in raw.groupby(raw.index.strftime("%Y-%m-%d")):
        write(part, folder / f"{day}.parquet")
    return ParquetSource(folder)


def foreign(part: pd.DataFrame, path: Path) -> None:
    pq.write_table(to_table(part), path, row_group_size=5)


def ingested(part: pd.DataFrame, path: Path) -> None:
    ingest(part, path, partition="day")


def arranged(raw: pd.DataFrame, how: str, folder: Path) -> ParquetSource:
    if how == "ingested file":
        return ingest(raw, folder / "raw.parquet", partition="day")
    if how == "ingested otherwise":
        return ingest(raw, folder / "raw.parquet", partition="hour")
    if how == "foreign file":
        foreign(raw, folder / "raw.parquet")
        return ParquetSource(folder / "raw.parquet")
    if how == "files that share days":
        (folder / "shared").mkdir()
        cuts = [0, 9, 10, 20, 33, len(raw)]
        for number, (a, b) in enumerate(itertools.pairwise(cuts)):
            foreign(raw.iloc[a:b], folder / "shared" / f"{number}.parquet")
        return ParquetSource(folder / "shared")
    return daily(raw, folder / "daily", ingested if how == "ingested folder" else foreign)


ARRANGED = [
    "ingested file",
    "ingested otherwise",
    "foreign file",
    "foreign folder",
    "ingested folder",
    "files that share days",
]
REACHES: list[dict[str, Any]] = [
    {},
    {"lookback": 3},
    {"lookback": "5h", "lookahead": "90min"},
    {"lookback": "0s", "lookahead": 4},
    {"lookback": partitions(2), "lookahead": partitions(1)},
    {"lookback": "400D", "lookahead": "400D"},
]

CUTS = ["day", sessions("day", start="18:00"), "week"]


@pytest.mark.parametrize("how", ARRANGED)
def test_a_source_is_named_without_reading_it_and_read_by_windows(how: str, tmp_path: Path) -> None:
    """The names are those of a frame that is in memory, and so are the rows of each segment's windows."""
    raw = mixed()
    source = arranged(raw, how, tmp_path)
    for reach, by in zip(REACHES, [*CUTS, *CUTS], strict=True):
        declared = partition_declared(by, **reach)
        found = Asked(source, declared)

        assert found.table == found.data.table()
        for at, segment in enumerate(found.segments):
            assert found.read(at).equals(found.data.run(segment))


def test_an_ingested_file_is_named_by_its_footer_alone(tmp_path: Path, scans: list[int]) -> None:
    """No row is read for it, and for a segment only the row groups that its windows touch."""
    index = pd.date_range("2024-01-01", periods=90 * 1_440, freq="min", tz="UTC", name="time")
    raw = pd.DataFrame({"x": np.random.default_rng(1).normal(size=len(index))}, index)
    source = ingest(raw, tmp_path / "raw.parquet", partition="day")
    scans.clear()

    found = table_of_source(source, sessions())

    assert scans == []
    assert found == partition_table(raw, sessions())
    with bytes_read() as before:
        SourceRows(source).read(found.cut.rows[34], found.cut.rows[42])
    assert before() < 0.25 * source.path.stat().st_size


@pytest.mark.parametrize(("rows", "worth"), [(1_440, 3), (2_000, 2), (8_000, 2)])
def test_of_an_ingested_file_a_day_reads_three_days_worth(
    rows: int, worth: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the row before it, so two days are wanted; on the average over the days, for of small ones a row group holds two."""
    starts = np.arange(24).repeat(rows) * 86_400 + np.tile(np.arange(rows) * 10, 24)
    index = pd.DatetimeIndex(starts.astype("datetime64[s]"), name="time").tz_localize("UTC")
    raw = pd.DataFrame({"x": np.random.default_rng(1).normal(size=len(index))}, index)
    source = ingest(raw, tmp_path / "raw.parquet", partition="day")
    about = pq.read_metadata(source.path)
    sizes = [
        sum(about.row_group(group).column(at).total_compressed_size for at in range(about.num_columns))
        for group in range(about.num_row_groups)
    ]
    touched: list[int] = []
    read = parquet_source._file_batches

    def noted(file: Path, opened: Any, schema: Any, groups: Any, *more: Any) -> Any:
        touched.extend(sizes[group] for group in groups)
        return read(file, opened, schema, groups, *more)

    monkeypatch.setattr(parquet_source, "_file_batches", noted)
    for day in range(1, 24):
        SourceRows(source).read(day * rows - 1, (day + 1) * rows)

    assert sum(touched) / 23 <= 1.05 * worth * sum(sizes) / 24


def bytes_read() -> Any:
    """Count what this process reads, by the kernel's word."""

    class Counted:
        def __enter__(self) -> Callable[[], int]:
            start = self._now()
            return lambda: self._now() - start

        def __exit__(self, *_: object) -> None: ...

        @staticmethod
        def _now() -> int:
            return int(Path("/proc/self/io").read_text().split("rchar: ")[1].split()[0])

    return Counted()


def test_a_new_daily_file_costs_one_scan_of_that_file(tmp_path: Path, settled: None, scans: list[int]) -> None:
    """Whether it is the last one or between others; a corrected file likewise."""
    raw = mixed(30).drop(columns="side")
    days = sorted(set(raw.index.strftime("%Y-%m-%d")))
    gap = raw.index.strftime("%Y-%m-%d") == days[5]
    source, memo = daily(raw[~gap], tmp_path / "raw", foreign), Memo()
    table_of_source(source, sessions(), memo=memo)
    scans.clear()

    assert table_of_source(source, sessions(), memo=memo) == partition_table(raw[~gap], sessions())
    assert scans == []

    foreign(raw[gap], tmp_path / "raw" / f"{days[5]}.parquet")
    assert table_of_source(source, sessions(), memo=memo) == partition_table(raw, sessions())
    assert sum(scans) == gap.sum()

    scans.clear()
    last = raw.index.strftime("%Y-%m-%d") == days[-1]
    corrected = raw.assign(bid=raw["bid"] + np.where(last, 1.0, 0.0))
    foreign(corrected[last], tmp_path / "raw" / f"{days[-1]}.parquet")
    assert table_of_source(source, sessions(), memo=memo) == partition_table(corrected, sessions())
    assert sum(scans) == last.sum()
    # Another way of cutting is another memory.
    assert table_of_source(source, sessions("hour"), memo=memo) == partition_table(corrected, sessions("hour"))


def test_a_day_that_files_share_is_digested_once_more(tmp_path: Path, settled: None) -> None:
    """Its digest is that of all of its rows, whichever files they lie in."""
    raw, memo = mixed().drop(columns="side"), Memo()
    source = arranged(raw, "files that share days", tmp_path)

    assert table_of_source(source, sessions(), memo=memo) == partition_table(raw, sessions())
    assert table_of_source(source, sessions(), memo=memo) == partition_table(raw, sessions())
    assert (len(memo.known), memo.recalled) == (5, 5)


def test_nothing_is_remembered_of_files_that_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those written a moment ago may be written again without a trace in their times; one that changes meanwhile is refused."""
    raw, memo = mixed().drop(columns="side"), Memo()
    source = daily(raw, tmp_path / "raw", foreign)

    table_of_source(source, sessions(), memo=memo)
    assert memo.known == {}

    taken = ParquetReader.stamp
    times = itertools.count()
    monkeypatch.setattr(ParquetReader, "stamp", lambda self: replace(taken(self), size_bytes=next(times)))
    with pytest.raises(SourceChanged, match="while it was being read"):
        table_of_source(source, sessions(), memo=memo)


@pytest.mark.parametrize("how", ["foreign", "ingested"])
def test_files_out_of_order_are_refused(tmp_path: Path, how: str) -> None:
    """By their names they sort, and must sort by time; within a day too."""
    write = foreign if how == "foreign" else ingested
    raw = mixed(12).drop(columns="side")
    write(raw.iloc[20:], tmp_path / "a.parquet")
    write(raw.iloc[:20], tmp_path / "b.parquet")
    with pytest.raises(UnhashableInput, match=r"order|earlier"):
        table_of_source(ParquetSource(tmp_path), sessions())

    stamps = pd.DatetimeIndex(["2024-03-01 10:00", "2024-03-01 12:00"], name="time").tz_localize("UTC")
    write(quotes(stamps, np.random.default_rng(1)), tmp_path / "a.parquet")
    write(quotes(stamps - pd.Timedelta("1h"), np.random.default_rng(1)), tmp_path / "b.parquet")
    with pytest.raises(UnhashableInput, match=r"order|earlier"):
        table_of_source(ParquetSource(tmp_path), sessions())


@pytest.mark.parametrize("write", [lambda part, path: pq.write_table(pa.Table.from_pandas(part), path), ingested])
def test_files_of_other_categories_are_one_table(tmp_path: Path, write: Any) -> None:
    """Which has the categories of all of them, in each of its windows too."""
    raw = mixed(12)
    one, other = raw.iloc[:20], raw.iloc[20:]
    other = other.assign(side=other["side"].cat.set_categories(["S", "B", "N", "Z"]))
    for name, part in (("a", one), ("b", other)):
        write(part, tmp_path / f"{name}.parquet")
    source = ParquetSource(tmp_path)

    found = Asked(source)

    assert found.table == found.data.table()
    assert found.read(0).column("side").chunk(0).dictionary.to_pylist() == ["B", "S", "N", "Z"]
    for at, segment in enumerate(found.segments):
        assert found.read(at).equals(found.data.run(segment))


def test_a_foreign_file_whose_days_show_few_categories(tmp_path: Path) -> None:
    """A day's rows come with those of all days."""
    raw = ticks(20, "UTC", np.random.default_rng(2))[["bid", "side"]]
    raw["side"] = pd.Categorical(raw.index.strftime("%d"))
    pq.write_table(pa.Table.from_pandas(raw), tmp_path / "raw.parquet", row_group_size=4)
    source = ParquetSource(tmp_path / "raw.parquet")

    found = Asked(source, partition_declared("day", segment="day"))

    for at, segment in enumerate(found.segments):
        assert found.read(at).equals(found.data.run(segment))


def rewritten(raw: pd.DataFrame, source: ParquetSource, folder: Path) -> None:
    """Write other values."""
    arranged(raw.assign(bid=raw["bid"] + 1), folder.name, folder)


def shifted(raw: pd.DataFrame, source: ParquetSource, folder: Path) -> None:
    arranged(raw.set_axis(raw.index + pd.Timedelta("1s")), folder.name, folder)


def retyped(raw: pd.DataFrame, source: ParquetSource, folder: Path) -> None:
    arranged(raw.astype({"size": "int32"}), folder.name, folder)


def recolumned(raw: pd.DataFrame, source: ParquetSource, folder: Path) -> None:
    arranged(raw.rename(columns={"bid": "bud"}), folder.name, folder)


def shortened(raw: pd.DataFrame, source: ParquetSource, folder: Path) -> None:
    day = raw.index.strftime("%Y-%m-%d")
    several = np.flatnonzero(day.duplicated(keep=False))[-1]  # whose file is written again, for it is not empty
    arranged(raw.iloc[np.delete(np.arange(len(raw)), several)], folder.name, folder)


def emptied(raw: pd.DataFrame, source: ParquetSource, folder: Path) -> None:
    for file in ParquetReader(source).files():
        file.write_bytes(b"")


def truncated(raw: pd.DataFrame, source: ParquetSource, folder: Path) -> None:
    for file in ParquetReader(source).files():
        os.truncate(file, file.stat().st_size // 2)


def removed(raw: pd.DataFrame, source: ParquetSource, folder: Path) -> None:
    for file in ParquetReader(source).files():
        file.unlink()


def backwards(raw: pd.DataFrame, source: ParquetSource, folder: Path) -> None:
    back = raw.iloc[::-1]
    for file in ParquetReader(source).files():
        pq.write_table(to_table(back), file)


@pytest.mark.parametrize("how", ["ingested file", "foreign file", "foreign folder", "ingested folder"])
@pytest.mark.parametrize(
    "change", [rewritten, shifted, retyped, recolumned, shortened, emptied, truncated, removed, backwards]
)
def test_a_source_that_changes_before_it_is_read_is_refused(how: str, change: Any, tmp_path: Path) -> None:
    """Whatever became of it: a segment is computed from what was named, or not at all."""
    folder = tmp_path / how
    folder.mkdir()
    raw = mixed().drop(columns="side")
    source = arranged(raw, how, folder)
    found = Asked(source)

    change(raw, source, folder)

    with pytest.raises(SourceChanged):
        found.read(-1)


def test_files_that_are_not_wanted_are_not_asked(tmp_path: Path) -> None:
    """A file that is between others by now, or that is gone without being wanted, disturbs nobody."""
    raw = mixed(70).drop(columns="side")
    source = daily(raw, tmp_path / "raw", foreign)
    files, table = ParquetReader(source).file_rows(), table_of_source(source, sessions())
    rows = SourceRows(source, files=files)
    last = table.cut.rows[-4], table.cut.rows[-1]
    before = rows.read(*last)

    files[0][0].unlink()
    files[1][0].write_bytes(b"no Parquet")
    foreign(raw.iloc[:3].set_axis(raw.index[:3] + pd.Timedelta("1D")), tmp_path / "raw" / "2024-11-01b.parquet")
    assert rows.read(*last).equals(before)
    with pytest.raises(SourceChanged):
        rows.read(0, 9)


def test_a_file_written_over_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place, under the eyes of who reads it."""
    raw = mixed().drop(columns="side")
    source = daily(raw, tmp_path / "raw", foreign)
    found, opened = Asked(source), ParquetReader._open

    def spoiled(self: ParquetReader, file: Path) -> Any:
        reading = opened(self, file)
        with file.open("r+b") as inside:
            inside.seek(60)
            inside.write(bytes(40))
        return reading

    monkeypatch.setattr(ParquetReader, "_open", spoiled)
    with pytest.raises(SourceChanged):
        found.read(-1)


def test_a_table_that_lies_is_found_out(tmp_path: Path) -> None:
    """Bytes changed in place under a valid seal: the file is named as before, and refused when it is read."""
    index = pd.date_range("2024-01-01", periods=20 * 1_440, freq="min", tz="UTC", name="time")
    raw = pd.DataFrame({"x": np.arange(len(index))}, index)
    source = ingest(raw, tmp_path / "raw.parquet", partition="day")
    declared = partition_declared("day", segment="day")
    found = Asked(source, declared)
    chunk = pq.read_metadata(source.path).row_group(3).column(0)
    data = bytearray(source.path.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 16
    source.path.write_bytes(data)

    assert table_of_source(source, sessions()) == found.table
    assert found.read(0).num_rows == 1_440
    with pytest.raises(SourceChanged):
        found.read(7)


def test_a_source_without_rows_has_no_partitions(tmp_path: Path) -> None:
    """Whatever it is."""
    raw = mixed().drop(columns="side").iloc[:0]
    for how in ("ingested file", "foreign file"):
        folder = tmp_path / how
        folder.mkdir()
        assert table_of_source(arranged(raw, how, folder), sessions()).partitions == ()
