"""What is told of ingested data: rows, span, gaps, duplicates; and zones and types that the caller says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fstore.errors import InvalidRequest
from fstore.ingest.ingestion import ingest
from fstore.ingest.report import IngestReport
from fstore.ingest.rows.cells import Number, Scaled, kind_named, read_dtypes


def report_of(tmp_path: Path, raw: object, **options: Any) -> IngestReport:
    told: list[IngestReport] = []
    ingest(raw, tmp_path / options.pop("dest", "x.parquet"), report=told.append, **options)
    return told[0]


def written(tmp_path: Path, text: str, **options: Any) -> pa.Table:
    (tmp_path / "x.csv").write_text(text)
    return pq.read_table(ingest(tmp_path / "x.csv", tmp_path / "x.parquet", **options).path)


def test_gaps_and_duplicates_are_counted(tmp_path: Path) -> None:
    """Against the step of most rows; a repeated row is one that is equal in all columns, a missing value too."""
    minutes = [0, 1, 2, 3, 3, 3, 4, 9, 10, 70]
    frame = pd.DataFrame({
        "t": pd.Timestamp("2024-01-02", tz="UTC") + pd.to_timedelta(minutes, unit="min"),
        "p": [1, 1, 1, 1, 1, 2, 1, None, 1, 1],
    })  # fmt: skip

    (file,) = report_of(tmp_path, frame, time_column="t").files

    assert (file.rows, file.start, file.end) == (10, "2024-01-02T00:00:00Z", "2024-01-02T01:10:00Z")
    assert (file.step_s, file.gaps, file.same_time, file.repeated) == (60.0, 2, 2, 1)
    assert [(gap.start, gap.seconds) for gap in file.longest_gaps] == [
        ("2024-01-02T00:10:00Z", 3600.0),
        ("2024-01-02T00:04:00Z", 300.0),
    ]


def test_ticks_have_no_usual_step(tmp_path: Path) -> None:
    """Then no step is a gap, and the longest are told all the same."""
    ticks = np.cumsum(np.random.default_rng(1).integers(1, 10**9, 10_000))
    frame = pd.DataFrame({"t": pd.to_datetime(ticks), "p": 1.5})

    (file,) = report_of(tmp_path, frame, time_column="t").files

    assert file.step_s is None
    assert file.gaps is None
    assert file.longest_gaps[0].seconds == np.diff(ticks).max() / 10**9
    assert file.start is not None
    assert not file.start.endswith("Z")


def test_steps_between_blocks_count(tmp_path: Path) -> None:
    """Where one block ends and the next begins there is a step, and perhaps a duplicate, like any other."""
    times = pa.array([0, 1, 1, 2, 5], pa.timestamp("s"))
    reader = pa.RecordBatchReader.from_batches(
        pa.schema([("t", times.type)]), [pa.record_batch([times[at : at + 1]], names=["t"]) for at in range(5)]
    )

    (file,) = report_of(tmp_path, reader, time_column="t").files

    assert (file.step_s, file.gaps, file.same_time, file.repeated) == (1.0, 1, 1, 1)


def test_each_symbol_has_its_own_account(tmp_path: Path) -> None:
    """And the whole is their sum; without a time column only rows are known."""
    frame = pd.DataFrame({"s": list("abab"), "t": pd.to_datetime([0, 0, 60, 60], unit="s"), "p": 1})

    by_symbol = report_of(tmp_path, frame, time_column="t", symbol_column="s", dest="split")
    plain = report_of(tmp_path, frame)

    assert [(Path(file.path).name, file.rows) for file in by_symbol.files] == [("a.parquet", 2), ("b.parquet", 2)]
    assert by_symbol.as_dict() | {"refused_rows": []} == by_symbol.as_dict()
    assert plain.as_dict()["rows"] == 4
    assert plain.as_dict()["start"] is None
    assert plain.lines() == ["4 rows", "refused: 0 rows"]


@pytest.mark.parametrize(
    ("zone", "instant"),
    [("America/New_York", "2024-01-02 14:30Z"), ("-05:00", "2024-01-02 14:30Z"), ("UTC", "2024-01-02 09:30Z"), ("naive", "2024-01-02 09:30")],
)  # fmt: skip
def test_a_zone_makes_instants_of_clock_times(tmp_path: Path, zone: str, instant: str) -> None:
    """Text in a form, ISO text, frames: whatever is naive."""
    iso, odd = "t,p\n2024-01-02 09:30:00,1\n", "t,p\n20240102 093000,1\n"
    for text, more in ((iso, {}), (odd, {"time_format": "%Y%m%d %H%M%S"})):
        table = written(tmp_path, text, time_column="t", tz=zone, **more)
        assert [pd.Timestamp(time) for time in table["t"].to_pandas()] == [pd.Timestamp(instant)]


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("t,p\n2024-11-03 01:30:00,1\n", {"tz": "America/New_York"}, "row 0, 2024-11-03 01:30.*--tz"),
        ("t,p\n2024-03-10 02:30:00,1\n", {"tz": "America/New_York"}, "row 0, 2024-03-10 02:30"),
        ("t,p\n2024-03-10 02:30:00Z,1\n", {"tz": "America/New_York"}, "say which instants they are"),
        ("t,p\n1704187800,1\n", {"tz": "America/New_York", "time_unit": "s"}, "say which instants they are"),
        ("t,p\n2024-03-10 02:30:00,1\n", {"tz": "EST5"}, "no time zone"),
        ("t,p\n2024-03-10 02:30:00,1\n", {"dtypes": {"t": "int64"}}, "no other type"),
        ("t,p\n2024-03-10 02:30:00,1.5\n", {"dtypes": {"p": "int64"}}, "row 1: 'p' is '1.5', not a number that int64 holds"),
        ("t,p\n2024-03-10 02:30:00,256\n", {"dtypes": {"p": "uint8"}}, "row 1: 'p' is '256'"),
        ("t,p\n2024-03-10 02:30:00,1\n", {"dtypes": {"q": "uint8"}}, "no column 'q'"),
        ("t,p\n2024-03-10 02:30:00,0x1\n", {"dtypes": {"p": "int64"}}, "row 1: 'p' is '0x1'"),
        ("t,p\n2024-03-10 02:30:00,yes\n", {"dtypes": {"p": "bool"}}, "true or false"),
    ],
)  # fmt: skip
def test_what_is_no_instant_or_no_such_type_is_refused(
    tmp_path: Path, text: str, options: dict[str, Any], reason: str
) -> None:
    """By its row."""
    with pytest.raises(InvalidRequest, match=reason):
        written(tmp_path, text, time_column="t", **options)


def test_types_that_are_said_hold(tmp_path: Path) -> None:
    """Whatever the cells look like, in CSV and in frames."""
    types = {"a": "float64", "b": "string", "c": "decimal(10,4)", "d": "float32", "e": "bool", "f": "int16"}
    table = written(tmp_path, "a,b,c,d,e,f\n1,007,1.5,2,true,\n", dtypes=types)

    assert [str(field.type) for field in table.schema] == [
        "double",
        "string",
        "decimal128(10, 4)",
        "float",
        "bool",
        "int16",
    ]
    assert table.to_pylist()[0]["b"] == "007"
    assert table["f"].null_count == 1
    frame = pd.DataFrame({"a": [1, 2], "b": [1.0, 2.5]})
    assert str(pq.read_table(ingest(frame, tmp_path / "f.parquet", dtypes={"a": "float32"}).path)["a"].type) == "float"
    with pytest.raises(InvalidRequest, match=r"row 2: 'b' is '2\.5'"):
        ingest(frame, tmp_path / "g.parquet", dtypes={"b": "int64"})


def test_decimal_commas_hold_in_typed_columns(tmp_path: Path) -> None:
    """The decimal sign is that of the file."""
    table = written(tmp_path, "a;b\n1,5;2\n", delimiter=";", decimal=",", dtypes={"a": "float32"})

    assert table.to_pylist() == [{"a": 1.5, "b": 2}]


def test_prices_in_fixed_precision_are_the_nearest_doubles() -> None:
    """Also where a whole number is beyond what a double holds."""
    whole = [4799250000000, 1, -1, 9007199254740993123, -9007199254740993123, 2**63 - 2]
    found = Scaled(10**9).parse(pa.array(list(map(str, whole)))).values.to_pylist()

    assert found == [float(f"{'-' if n < 0 else ''}{abs(n) // 10**9}.{abs(n) % 10**9:09d}") for n in whole]


def test_types_are_written_as_column_and_name() -> None:
    """On the command line."""
    assert read_dtypes(["price=float64", "a=b=int8"]) == {"price": "float64", "a=b": "int8"}
    assert kind_named("int") == Number(pa.int64())
    for wrong in (["price"], ["=int8"], ["a=int8", "a=int16"], ["a=decimal(39,1)"], ["a=datetime"]):
        with pytest.raises(InvalidRequest):
            read_dtypes(wrong)
