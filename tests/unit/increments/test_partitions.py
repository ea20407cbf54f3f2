"""Declarations, cutting by instants, windows and digests of partitions."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from fstore.errors import ConfigurationError, InvalidRequest, UnhashableInput
from fstore.features.partitioning import checked_partitioning, partitions, sessions
from fstore.fingerprint.identification import to_table
from fstore.fingerprint.parquet_source import ParquetReader
from fstore.increments.cutting import cut_times, label_of, overlapping, period_of
from fstore.increments.digests import PartitionHasher, partition_table
from fstore.increments.sources import table_in_file, table_of_source
from fstore.increments.table import unpacked
from fstore.increments.times import Times, times_of
from fstore.increments.windows import touching, windows_of
from fstore.ingest.ingestion import ingest
from fstore.model import ParquetSource
from tests.unit.increments.partition_world import partition_declared, ticks


def instants(*texts: str, tz: str | None = "America/New_York") -> pd.DataFrame:
    index = pd.DatetimeIndex(list(texts), name="time")
    return pd.DataFrame({"x": np.arange(len(index))}, index if tz is None else index.tz_localize(tz))


def labels(raw: pd.DataFrame, by: Any, time: str | None = None) -> list[tuple[str, int]]:
    cut = cut_times(times_of(raw, time), by)
    return [(label_of(span, by.every), cut.rows[i + 1] - cut.rows[i]) for i, span in enumerate(cut.spans)]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"partition": "fortnight"}, "no period"),
        ({"partition": 5}, "fstore.sessions"),
        ({"partition": "day", "lookback": -1}, "none of them below 0"),
        ({"partition": "day", "lookback": True}, "lookback is True"),
        ({"partition": "day", "lookback": "20"}, "lookback is '20'"),
        ({"partition": "day", "lookahead": "-5min"}, "lookahead is"),
        ({"partition": "day", "lookahead": 2.5}, "lookahead is"),
        ({"partition": "day", "segment": "hour"}, "segment"),
        ({"partition": "hour", "segment": "month"}, "segment"),
        ({"partition": "day", "time": 5}, "time is 5"),
        ({"partition": None, "lookback": 5}, "nothing without partition"),
        ({"partition": None, "segment": "month"}, "nothing without partition"),
    ],
)
def test_declarations_that_mean_nothing_are_refused(wrong: dict[str, Any], said: str) -> None:
    """When the feature is declared, by its name."""
    with pytest.raises(ConfigurationError, match=said) as raised:
        checked_partitioning("pkg:f", **wrong)
    assert str(raised.value).startswith("pkg:f: ")


@pytest.mark.parametrize("wrong", [{"start": "24:00"}, {"start": "9"}, {"tz": "Mars/Base"}, {"tz": 5}])
def test_sessions_that_no_clock_shows_are_refused(wrong: dict[str, Any]) -> None:
    """At once."""
    with pytest.raises(ConfigurationError):
        sessions("day", **wrong)
    with pytest.raises(ConfigurationError):
        sessions("hour", start="01:00")
    with pytest.raises(ConfigurationError):
        partitions(-1)


def test_the_reach_may_follow_from_the_config() -> None:
    """And is evaluated for each; a callable that fails, or gives no reach, is told."""
    declared = checked_partitioning("f", "day", lookback=lambda config: config["window"] - 1)
    assert declared is not None

    assert declared.evaluated({"window": 20}).lookback.amount == 19
    assert declared.evaluated({"window": 20}).text != declared.evaluated({"window": 21}).text
    with pytest.raises(InvalidRequest, match="cannot be worked out: KeyError"):
        declared.evaluated({})
    with pytest.raises(InvalidRequest, match="none of them below 0"):
        declared.evaluated({"window": 0})


def test_what_of_a_declaration_enters_keys_is_fixed() -> None:
    """Whoever changes this text changes every key of features with partitions."""
    declared = partition_declared(sessions("day", start="18:00", tz="America/New_York"), lookback="30min", lookahead=5)

    assert declared.text == (
        r'{"cut":"{\"every\":\"day\",\"minutes\":1080,\"zone\":\"America/New_York\"}","lookahead":["rows",5],'
        r'"lookback":["time",1800000000000],"time":null}'
    )
    assert declared.segment == "month"
    assert partition_declared("day").text == partition_declared("day", segment="year").text  # which file, and no more


@pytest.mark.parametrize(
    "zone", ["America/New_York", "Africa/Cairo", "America/Santiago", "America/Havana", "Asia/Beirut"]
)
@pytest.mark.parametrize("start", ["00:00", "00:30", "01:30", "18:00"])
@pytest.mark.parametrize("every", ["hour", "day", "week"])
def test_partitions_follow_each_other_through_every_change_of_clocks(zone: str, start: str, every: str) -> None:
    """Bounds increase, each row lies in one partition, and a partition starts when the clock first shows its start."""
    by = sessions(every, start=start if every != "hour" else f"00:{start[3:]}")
    index = pd.date_range("2024-01-01", "2024-12-31", freq="17min", tz="UTC").tz_convert(zone)
    times = times_of(pd.DataFrame(index=index))

    cut = cut_times(times, by)

    starts = [span.start for span in cut.spans]
    assert starts == sorted(set(starts))
    assert all(one.end <= other.start for one, other in zip(cut.spans, cut.spans[1:], strict=False))
    assert cut.rows[-1] == len(index)
    for at, span in enumerate(cut.spans):
        inside = times.ticks[cut.rows[at] : cut.rows[at + 1]] // times.per_second
        assert span.start <= inside[0] and inside[-1] < span.end
        shown = pd.Timestamp(span.start, unit="s", tz="UTC").tz_convert(zone).tz_localize(None)
        before = pd.Timestamp(span.start - 1, unit="s", tz="UTC").tz_convert(zone).tz_localize(None)
        assert before < pd.Timestamp(span.clock, unit="s") <= shown


def test_the_hour_that_is_repeated_belongs_to_the_session_that_began_first() -> None:
    """01:30 in New York on 2024-11-03 comes twice; a floor of the clock would go backwards."""
    index = pd.date_range("2024-11-03 04:00", periods=16, freq="15min", tz="UTC").tz_convert("America/New_York")

    assert labels(pd.DataFrame(index=index), sessions("day", start="01:30")) == [("2024-11-02", 6), ("2024-11-03", 10)]


def test_sessions_may_run_over_midnight_and_data_may_have_no_zone() -> None:
    """Naive times are cut by their own clock; a zone for the sessions of such data would be a guess."""
    raw = instants("2024-03-01 17:59", "2024-03-01 18:00", "2024-03-02 00:00", "2024-03-02 18:00", tz=None)

    assert labels(raw, sessions("day", start="18:00")) == [("2024-02-29", 1), ("2024-03-01", 2), ("2024-03-02", 1)]
    with pytest.raises(InvalidRequest, match="its times have no zone"):
        labels(raw, sessions("day", tz="America/New_York"))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("reach", ["1ns", "90min", "36h"])
def test_windows_of_time_hold_what_their_definition_says(unit: str, reach: str) -> None:
    """start - lookback <= t < end + lookahead, in whatever unit the data count."""
    rng = np.random.default_rng(2)
    raw = ticks(12, "America/New_York", rng)
    raw.index = raw.index.as_unit(unit)  # type: ignore[attr-defined]
    times = times_of(raw)
    cut = cut_times(times, sessions())
    span = pd.Timedelta(reach)

    for window in windows_of(times, cut, partition_declared("day", lookback=reach, lookahead=reach)):
        part = cut.spans[window.at]
        low = pd.Timestamp(part.start, unit="s", tz="UTC") - span
        high = pd.Timestamp(part.end, unit="s", tz="UTC") + span
        inside = np.flatnonzero((raw.index >= low) & (raw.index < high))
        assert (window.first, window.stop) == (inside[0], inside[-1] + 1)
        assert cut.rows[window.low] <= window.first
        assert window.stop <= cut.rows[window.high + 1]
        # Whole neighbours by their time, rows or not: a file's table must say the same.
        times_of_others = [span for at, span in enumerate(cut.spans) if at not in range(window.low, window.high + 1)]
        start, end = part.start - pd.Timedelta(reach).total_seconds(), part.end + pd.Timedelta(reach).total_seconds()
        assert all(other.end <= start or other.start >= end for other in times_of_others)


def test_windows_of_rows_and_partitions_stop_at_the_ends_of_the_data() -> None:
    """And a change touches the partitions whose windows hold rows of it."""
    raw = ticks(30, "UTC", np.random.default_rng(3))
    times = times_of(raw)
    cut = cut_times(times, sessions())

    rows = windows_of(times, cut, partition_declared("day", lookback=7, lookahead=2))
    assert [(w.first, w.stop) for w in rows] == [
        (max(a - 7, 0), min(b + 2, len(raw))) for a, b in zip(cut.rows, cut.rows[1:], strict=False)
    ]
    whole = windows_of(times, cut, partition_declared("day", lookback=partitions(1)))
    assert [(w.low, w.high) for w in whole] == [(max(at - 1, 0), at) for at in range(len(cut))]
    assert touching(whole, 4) == [4, 5]
    assert touching(windows_of(times, cut, partition_declared("day")), 4) == [4]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            instants("2024-03-02 14:32", "2024-03-02 14:31"),
            r"row 1 \(2024-03-02 14:31:00-05:00\) is earlier.*sort_index",
        ),
        (instants("2024-03-02", None, tz="UTC"), "row 1 has no time"),  # type: ignore[arg-type]
        (instants(None, "2024-03-02"), "row 0 has no time"),  # type: ignore[arg-type]
        (pd.DataFrame({"x": [1]}), "needs one index of times"),
        (pd.DataFrame({"x": [1]}, pd.MultiIndex.from_arrays([pd.DatetimeIndex(["2024"]), [1]])), "one index of times"),
    ],
)
def test_data_that_cannot_be_cut_are_refused_with_the_row_named(raw: pd.DataFrame, said: str) -> None:
    """As frames, as tables, and as batches that come one by one."""
    with pytest.raises(UnhashableInput, match=said):
        times_of(raw)
    with pytest.raises(UnhashableInput, match=said):
        times_of(to_table(raw))
    with pytest.raises(UnhashableInput, match=said):
        hasher = PartitionHasher(to_table(raw).schema, sessions())
        for batch in to_table(raw).to_batches(max_chunksize=1):
            hasher.update(batch)


def test_no_rows_are_no_partitions_and_ties_never_part() -> None:
    """A tie at a bound belongs to the later partition, all of it."""
    raw = instants(*["2024-03-02 00:00"] * 3, tz="UTC")

    assert labels(raw.iloc[:0], sessions()) == []
    assert labels(raw, sessions()) == [("2024-03-02", 3)]
    assert partition_table(raw.iloc[:0], sessions()).partitions == ()


def test_a_span_of_too_many_partitions_is_refused() -> None:
    """Hours since the year 1700 are a wrong time, and not a feature."""
    with pytest.raises(InvalidRequest, match="times a hour"):
        labels(instants("1700-01-01", "2024-01-01", tz="UTC"), sessions("hour"))


def test_periods_and_ranges_go_by_the_clock() -> None:
    """What a file holds, and what a half-open range overlaps."""
    cut = cut_times(times_of(ticks(60, "Asia/Tokyo", np.random.default_rng(1), "2023-12-01")), sessions())

    assert {period_of(span, "month") for span in cut.spans} == {"2023-12", "2024-01"}
    assert {period_of(span, "quarter") for span in cut.spans} == {"2023-Q4", "2024-Q1"}
    assert "2024-W01" in {period_of(span, "week") for span in cut.spans}
    middle = cut.spans[5]
    assert overlapping(cut.spans, (middle.start, middle.end), 1) == [5]
    assert overlapping(cut.spans, (middle.end, None), 1) == list(range(6, len(cut)))


def mixed(days: int = 9) -> pd.DataFrame:
    raw = ticks(days, "America/New_York", np.random.default_rng(11))
    return raw.assign(flag=raw["size"] > 4, text=raw["bid"].round(1).astype(str), gone=pd.array(raw["size"], "Int64"))


def alone(raw: pd.DataFrame, by: Any, time: str | None = None) -> str:
    """Digest the one partition of a frame that has its rows alone."""
    (found,) = partition_table(raw, by, time).partitions
    return found.digest.hex()


def test_a_digest_tells_all_that_a_frame_shows() -> None:
    """No two of these are alike: values, what is missing, where a value stands, types, labels, rows, categories."""
    index = pd.date_range("2024-03-01", periods=4, freq="h", tz="UTC", name="time")
    base = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "y": [5, 6, 7, 8]}, index)
    day = pd.Series(index.tz_localize(None), index)
    variants = {
        "base": base,
        "value": base.assign(x=[1.0, 2.0, 3.0, 4.5]),
        "minus zero": base.assign(x=[1.0, 2.0, 3.0, -0.0]),
        "zero": base.assign(x=[1.0, 2.0, 3.0, 0.0]),
        "nan": base.assign(x=[1.0, 2.0, 3.0, np.nan]),
        "rows change places": base.iloc[[1, 0, 2, 3]].set_axis(index),
        "columns change places": base[["y", "x"]],
        "labels": base.set_axis(["y", "x"], axis=1),
        "int32": base.astype({"y": "int32"}),
        "nullable": base.astype({"y": "Int64"}),
        "null": base.astype({"y": "Int64"}).assign(y=pd.array([5, 6, 7, None], "Int64")),
        "null zero": base.astype({"y": "Int64"}).assign(y=pd.array([5, 6, 7, 0], "Int64")),
        "null elsewhere": base.astype({"y": "Int64"}).assign(y=pd.array([5, 6, None, 7], "Int64")),
        "bool": base.assign(y=[True, False, True, True]),
        "times": base.assign(y=day),
        "no time": base.assign(y=day.where(day < day.iloc[-1])),
        "text": base.assign(y=["a", "bc", "d", ""]),
        "text, cut elsewhere": base.assign(y=["ab", "c", "d", ""]),
        "no text": base.assign(y=["a", "bc", "d", None]),
        "categories": base.assign(y=pd.Categorical(list("abca"))),
        "categories in order": base.assign(y=pd.Categorical(list("abca"), ["c", "b", "a"])),
        "one row less": base.iloc[:3],
        "other times": base.set_axis(index + pd.Timedelta("1us")),
        "other unit": base.set_axis(index.as_unit("ms")),
    }

    found = {name: alone(frame, sessions()) for name, frame in variants.items()}

    assert len(set(found.values())) == len(found)
    assert found == {name: alone(frame.copy(), sessions()) for name, frame in variants.items()}
    for name, frame in variants.items():
        assert partition_table(to_table(frame), sessions()).partitions[0].digest.hex() == found[name], name


def test_a_partition_has_the_digest_of_a_frame_of_its_rows(tmp_path: Path) -> None:
    """The same in a frame, a table, batches of any size, an ingested file, and a file of anybody's row groups."""
    raw = mixed()
    by = sessions("day", start="18:00", tz="Europe/Berlin")

    found = partition_table(raw, by)

    rows = found.cut.rows
    assert [each.digest.hex() for each in found.partitions] == [
        alone(raw.iloc[a:b], by) for a, b in itertools.pairwise(rows)
    ]
    table = to_table(raw)
    assert partition_table(table, by) == found
    for size in (1, 7, 1_000):
        hasher = PartitionHasher(table.schema, by)
        for batch in table.to_batches(max_chunksize=size):
            hasher.update(batch)
        assert hasher.table() == found
    ingested = ingest(raw, tmp_path / "a.parquet", partition=by)
    assert table_in_file(ingested.path, by) == found
    assert table_of_source(ingested, by) == found
    assert partition_table(ParquetReader(ingested).stretch(0, len(raw)), by) == found


def test_large_partitions_are_hashed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of more than a block, flushed while it comes."""
    monkeypatch.setattr("fstore.increments.digests.FLUSH_BYTES", 1 << 20)
    index = pd.date_range("2024-03-02", periods=300_000, freq="400ms", tz="UTC", name="time")
    raw = pd.DataFrame({"x": np.arange(300_000.0)}, index)
    table = to_table(raw)
    hasher = PartitionHasher(table.schema, sessions())

    for batch in table.to_batches(max_chunksize=50_001):
        hasher.update(batch)

    assert hasher.table() == partition_table(raw, sessions())
    assert {each.digest.hex() for each in hasher.table().partitions} >= {alone(raw.iloc[:216_000], sessions())}


def test_a_table_of_partitions_comes_back_from_its_note() -> None:
    """Unless somebody altered it."""
    found = partition_table(mixed(), sessions())
    note = found.packed()

    assert unpacked(note) == found
    assert unpacked(note[:-8] + b"AAAAAAA=") is None
    assert unpacked(note.replace(b"b3p1", b"b3p0")) is None
    assert unpacked(b"") is None


def test_a_column_of_times_serves_tables_without_an_index() -> None:
    """And where the rows lie in the data does not show: no RangeIndex is counted."""
    raw = mixed().reset_index()
    later = partition_table(raw.iloc[4:].reset_index(drop=True), sessions(), "time")

    found = partition_table(to_table(raw), sessions(), "time")

    assert partition_table(raw, sessions(), "time") == found
    assert found.partitions[-1] == later.partitions[-1]
    assert found.partitions[0].digest.hex() == alone(raw.iloc[: found.partitions[0].rows], sessions(), "time")
    with pytest.raises(UnhashableInput, match="no column 'when'"):
        partition_table(raw, sessions(), "when")
    with pytest.raises(UnhashableInput, match="holds"):
        partition_table(to_table(raw), sessions(), "bid")


def test_ingest_ends_row_groups_where_partitions_end(tmp_path: Path) -> None:
    """So that a day is read without its neighbours; small days share a group."""
    index = pd.date_range("2024-03-01", periods=40 * 1_440, freq="min", tz="UTC", name="time")
    raw = pd.DataFrame({"x": np.arange(len(index))}, index)

    path = ingest(raw, tmp_path / "x.parquet", partition="day").path

    about = pq.read_metadata(path)
    groups = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
    assert set(groups) == {2 * 1_440}
    assert ParquetReader(ParquetSource(path)).stretch(1_440, 2_880).num_rows == 1_440
    assert table_in_file(path, sessions("hour")) is None
    rewritten = tmp_path / "y.parquet"
    pq.write_table(pq.read_table(path), rewritten)
    assert table_in_file(rewritten, sessions()) is None
    with pytest.raises(InvalidRequest, match="no period"):
        ingest(raw, path, partition="dya")


def test_times_are_shown_as_people_read_them() -> None:
    """In their zone."""
    assert Times(np.array([0]), "s", "Asia/Tokyo").shown(0) == "1970-01-01 09:00:00+09:00"
