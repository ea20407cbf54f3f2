"""Times that are no timestamps in the file: counts since 1970 in a unit, text in a format, days in another column."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from fstore.errors import InvalidRequest
from fstore.fingerprint.parquet_source import ParquetReader
from fstore.frames.convert import to_frame
from fstore.ingest.ingestion import ingest
from fstore.ingest.time_texts import UNITS


def index_of(tmp_path: Path, raw: object, **options: object) -> pd.DatetimeIndex:
    if isinstance(raw, str):
        (tmp_path / "x.csv").write_text(raw)
        raw = tmp_path / "x.csv"
    index = to_frame(ParquetReader(ingest(raw, tmp_path / "x.parquet", **options)).table()).index  # type: ignore[arg-type]
    assert isinstance(index, pd.DatetimeIndex)
    return index


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_counts_since_1970_are_times_of_utc(tmp_path: Path, unit: str) -> None:
    """The unit is the caller's word, for text, and for whole numbers of any source."""
    count = pd.Timestamp("2024-01-02 09:30").value // UNITS[unit]
    sources = (f"t,p\n{count},1\n", f"t,p\n{count}.000,1\n", pa.table({"t": [count], "p": [1]}))

    for raw in sources:
        index = index_of(tmp_path, raw, time_column="t", time_unit=unit)
        assert index.tolist() == [pd.Timestamp("2024-01-02 09:30", tz="UTC")]


def test_fractions_of_a_second_are_exact(tmp_path: Path) -> None:
    """Nanoseconds in the text of a count are kept, which a float would round."""
    index = index_of(tmp_path, "t,p\n1704187800.123456789,1\n", time_column="t", time_unit="s")

    assert index[0].value == 1704187800_123456789


@pytest.mark.parametrize(
    ("pattern", "text", "time"),
    [
        ("%Y%m%d %H%M%S", "20240102 093000", "2024-01-02 09:30:00"),
        ("%Y%m%d %H%M%S%f", "20240102 093000123", "2024-01-02 09:30:00.123"),
        ("%Y%m%d", "20240102", "2024-01-02"),
        ("%m/%d/%Y %I:%M %p", "1/2/2024 9:30 PM", "2024-01-02 21:30:00"),
        ("%d.%m.%Y %H:%M:%S.%f GMT%z", "02.01.2024 09:30:00.500 GMT+0100", "2024-01-02 08:30:00.500Z"),
        ("%d-%b-%y %H:%M", "02-Jan-24 09:30", "2024-01-02 09:30:00"),
    ],
)
def test_text_is_read_in_the_form_that_is_named(tmp_path: Path, pattern: str, text: str, time: str) -> None:
    """Naive text stays naive; with an offset it is a time of UTC."""
    index = index_of(tmp_path, f"t,p\n{text},1\n", time_column="t", time_format=pattern)

    assert index.tolist() == [pd.Timestamp(time)]
    assert str(index.tz) == ("UTC" if "%z" in pattern else "None")


def test_days_may_stand_in_a_column_of_their_own(tmp_path: Path) -> None:
    """The day and the time are read as one, in the form named or as ISO text."""
    odd = "d,t,p\n2024.01.02,09:30:00,1\n2024.01.02,16:00:00,2\n"

    for raw, form in ((odd, "%Y.%m.%d %H:%M:%S"), (odd.replace(".", "-"), None)):
        index = index_of(tmp_path, raw, time_column="t", date_column="d", time_format=form)
        assert index.tolist() == [pd.Timestamp("2024-01-02 09:30"), pd.Timestamp("2024-01-02 16:00")]


@pytest.mark.parametrize(
    ("raw", "options", "field"),
    [
        ("t,p\n1704187800,1\n", {}, "time_column"),
        ("t,p\n1/2/2024,1\n", {}, "time_column"),
        ("t,p\n1704187800000,1\n", {"time_unit": "s"}, "time_column"),
        ("t,p\n18446744073709551615,1\n", {"time_unit": "ns"}, "time_column"),
        ("t,p\n1.0000000001,1\n", {"time_unit": "s"}, "time_column"),
        ("t,p\n2024-01-02,1\n", {"time_unit": "s"}, "time_column"),
        ("t,p\n1e9,1\n", {"time_unit": "s"}, "time_column"),
        ("t,p\n1,1\n,2\n", {"time_unit": "s"}, "time_column"),
        ("t,p\n2,1\n1,2\n", {"time_unit": "s"}, "time_column"),
        ("t,p\n1,1\n", {"time_unit": "m"}, "time_unit"),
        ("t,p\n1,1\n", {"time_unit": "s", "time_format": "%Y%m%d"}, "time_unit"),
        ("t,p\n13/2/2024,1\n", {"time_format": "%m/%d/%Y"}, "time_column"),
        ("t,p\n2024-01-02 trailing,1\n", {"time_format": "%Y-%m-%d"}, "time_column"),
        ("t,p\nnow,1\n", {"time_format": "%Y-%m-%d"}, "time_column"),
        ("t,p\nNaT,1\n", {"time_format": "%Y-%m-%d"}, "time_column"),
        ("t,p\n09:30,1\n", {"time_format": "%H:%M"}, "time_format"),
        ("t,p\n2024-01,1\n", {"time_format": "%Y-%m"}, "time_format"),
        ("t,p\n1,1\n", {"time_format": "%Q"}, "time_format"),
        ("t,p\n1,1\n", {"time_format": "%Y-%m-%d %Z"}, "time_format"),
        ("t,p\n09:30,1\n", {"date_column": "d"}, "date_column"),
        (pa.table({"t": [1.5], "p": [1]}), {"time_unit": "s"}, "time_unit"),
        (pa.table({"t": [1.5], "p": [1]}), {"time_format": "%Y"}, "time_format"),
    ],
    ids=str,
)  # fmt: skip
def test_times_that_are_not_what_was_said_are_refused(
    tmp_path: Path, raw: object, options: dict[str, object], field: str
) -> None:
    """A unit or form that does not fit each row, or gives no day, is no time; nothing is guessed."""
    with pytest.raises(InvalidRequest) as caught:
        index_of(tmp_path, raw, time_column="t", **options)

    assert caught.value.field == field
    assert not (tmp_path / "x.parquet").exists()


def test_a_unit_needs_its_column(tmp_path: Path) -> None:
    """An option that would be ignored is refused."""
    with pytest.raises(InvalidRequest, match="name the column"):
        index_of(tmp_path, "t,p\n1,1\n", time_unit="s")
