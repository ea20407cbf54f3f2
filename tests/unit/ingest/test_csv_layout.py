"""How CSV files are laid out: what reads as another layout is refused, and every layout can be said."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fstore.errors import InvalidRequest
from fstore.ingest.csv_header import reads_as_data
from fstore.ingest.csv_layout import CsvLayout
from fstore.ingest.csv_quotes import closed_on_every_line
from fstore.ingest.ingestion import ingest

HISTDATA = "20120201 000000;1.306600;1.306560;0\n20120201 000100;1.306570;1.306560;0\n"
HISTDATA_TICKS = "20120201 000000123,1.306600,1.306700,0\n20120201 000000456,1.306570,1.306580,0\n"
KLINES = "1502942400000,4261.48,4313.62,47.1\n1502942460000,4308.83,4328.69,23.2\n"
LOBSTER = "34200.017459617,5,0,1,2238200,-1\n34200.18960767,1,11885113,21,2238100,1\n"
METATRADER = "<DATE>\t<TIME>\t<OPEN>\n2024.01.02\t09:30:00\t1.5\n2024.01.02\t09:31:00\t1.7\n"
EUROPEAN = "t;p\n2024-01-02 09:30:00;1,5\n2024-01-02 09:31:00;2\n"
YFINANCE = "Price,Close,Volume\nTicker,AAPL,AAPL\nDate,,\n2024-01-02,184.7,82488700\n2024-01-03,183.3,58414500\n"
TITLED = "https://example.org/data\nunix,open\n1646092800000,43221.71\n1646092860000,43185.48\n"


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def table(path: Path, **options: object) -> pa.Table:
    return pq.read_table(ingest(path, path.parent / "out.parquet", **options).path)  # type: ignore[arg-type]


def refused(path: Path, reason: str, **options: object) -> InvalidRequest:
    """Check that nothing is written, and that the error says why."""
    with pytest.raises(InvalidRequest, match=reason) as caught:
        table(path, **options)
    assert not (path.parent / "out.parquet").exists()
    return caught.value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HISTDATA, r"cut at ','; say --delimiter ';'"),
        (HISTDATA_TICKS, "first row reads as data .*--no-header with --names"),
        (KLINES, "first row reads as data"),
        (LOBSTER, "first row reads as data"),
        (METATRADER, "say --delimiter 'tab'"),
        (EUROPEAN, "say --delimiter ';'"),
        ("a|b\n1|2\n", r"say --delimiter '\|'"),
        ("date time price\n2024-01-02 09:30:00 1.5\n", "say --delimiter 'space'"),
        ("Datum;Kurs,EUR\n01.02.2024;1,25\n", "has 2 column.*say --delimiter ';'"),
        (TITLED, "Expected 1 columns, got 2"),
        ("AAPL,2024-01-02T09:30:00Z\nMSFT,x\n", "first row reads as data"),
        ("AAPL,01.02.2024 00:00:00.000 GMT+0100\nMSFT,x\n", "first row reads as data"),
        ("AAPL,09:30:00.5 PM\nMSFT,x\n", "first row reads as data"),
        ("AAPL,1E5\nMSFT,x\n", "first row reads as data"),
        ("AAPL,NA\nMSFT,x\n", "first row reads as data"),
        ("AAPL,True\nMSFT,False\n", "first row reads as data"),
        ("AAPL,$1.50\nMSFT,$1.51\n", "first row reads as data"),
        ("AAPL,B\nAAPL,S\n", "column 'AAPL' holds its own name"),
        ("a,b\n1,2\na,b\n3,4\n", "column 'a' holds its own name"),
        ("a,,b\n1,2,3\n", "no name for column 2"),
        ("a,a\n1,2\n", "holds 'a' twice"),
        (",0,1\n1,1.5,2.5\n", "first row reads as data"),
        (",1,0\n0,1.5,2.5\n", "first row reads as data"),
        (",0\nAAPL,1.5\n", "first row reads as data"),
        ("ZN,101-16\nZB,120\n", "first row reads as data"),
        ("2024-01-02,5\n20240103,6\n", "first row reads as data"),
        ("AAPL,2024-01-02,5\nMSFT,20240103,6\n", "first row reads as data"),
        ("AAPL,100,200\n700,1,2\n", "first row reads as data"),
        ("NA,5\n2024-01-02,6\n", "first row reads as data"),
        ("n.a.,5\n2024-01-02,6\n", "first row reads as data"),
        ("2024-01-02,5\n2024-01-03,6\n", "first row reads as data"),
        ("x,2024-01-02\ny,\n", "first row reads as data"),
        ("2019,2020\n2018,2021\n", "first row reads as data"),
        ("2019,2020\n1.5,1999.0\n", "first row reads as data"),
        ("2019,2020\n", "first row reads as data"),
        ("AAPL,2019,2020\nMSFT,,\n", "first row reads as data"),
        ("2019,2019.5\n1,2\n", "first row reads as data"),
        ("AAPL,2019,2021\nMSFT,1,2\n", "first row reads as data"),
        ("# daily bars\na,b\n1,2\n", "say --skip-rows N"),
        (YFINANCE, "names take three rows, down to 'Date'; say --skip-rows 3 --no-header --names"),
        ("a,b\n1,2,\n", "--header --names a,b,c"),
    ],
)
def test_a_first_row_that_reads_otherwise_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    """Data taken for names would lose a row; a separator that is not seen makes one column of text."""
    refused(write(tmp_path / "x.csv", text), reason)


@pytest.mark.parametrize(
    "name",
    ["price", "ts_event", "<DATE>", "bid_px_00", "5min_return", "10y", "3M", "1st", "52w_high", "%", "Gmt time",
     "Volume (BTC)", "börse", "開盤", "x-1", "e5", "infinite", "nano", "v1.2.3"],
)  # fmt: skip
def test_names_are_no_data(name: str) -> None:
    """Digits do not make a value of a name."""
    assert not reads_as_data(name)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("time,5,15\n2024-01-02 09:30:00,1.5,2.5\n", ["time", "5", "15"]),
        ("<DATE>,4700.0,4750.0\n2024-01-02,1.5,2.5\n", ["<DATE>", "4700.0", "4750.0"]),
        ("country,2019,2020,2021\nDE,1.5,2101,20190\n", ["country", "2019", "2020", "2021"]),
        ("2019,2020\n1,2\n", ["2019", "2020"]),
        ("item,2021,2020,2019\nsales,,5,4\n", ["item", "2021", "2020", "2019"]),
        ("ticker,2024-01-02,2024-01-03\nAAPL,1.5,2.5\n", ["ticker", "2024-01-02", "2024-01-03"]),
        (",0,1\n0,1.5,2.5\n1,3,4\n", ["", "0", "1"]),
        (",0\n2024-01-02 09:30:00+00:00,1.5\n", ["", "0"]),
        ("ticker,2024-01,2024-02\nAAPL,1.5,2.5\n", ["ticker", "2024-01", "2024-02"]),
        ("ticker,01/02/2024\nAAPL,1.5\n", ["ticker", "01/02/2024"]),
        ("P(A|B),y\n0.5,1\n", ["P(A|B)", "y"]),
        ("a;b,c\n1,2\n", ["a;b", "c"]),
        ("first name\nJohn Smith\n", ["first name"]),
        ("news: title\nApple: up\n", ["news: title"]),
        ("time:utc\n09:30\n", ["time:utc"]),
        ("ticker,name\nAAPL,Apple\nBTC,\nMSFT,Microsoft\nTRUE,5\n", ["ticker", "name"]),
    ],
)
def test_odd_names_that_can_be_nothing_else_are_taken(tmp_path: Path, text: str, names: list[str]) -> None:
    """Numbers, dates and other files' separators are names where the rows below them are of another kind."""
    found = table(write(tmp_path / "x.csv", text))

    assert found.column_names == names
    assert found.num_rows == text.count("\n") - 1


def test_usual_headers_are_taken(tmp_path: Path) -> None:
    """An index without a name, a comma at the end of each row, empty lines and a column of clock times are no faults."""
    assert table(write(tmp_path / "a/x.csv", ",price\n0,1.5\n")).column_names == ["", "price"]
    assert table(write(tmp_path / "b/x.csv", "a,b,\n1,2,\n")).column_names == ["a", "b", ""]
    assert table(write(tmp_path / "d/x.csv", 'a\n1\n""\n2\n\n\n'))["a"].to_pylist() == [1, None, 2]
    assert table(write(tmp_path / "e/x.csv", "a,b\n1,2\n\n3,4\n")).num_rows == 2
    assert table(write(tmp_path / "c/x.csv", "date time\n2024-01-02 09:30:00\n")).num_rows == 1


@pytest.mark.parametrize(
    ("text", "options", "first"),
    [
        (HISTDATA, {"names": ["t", "o", "c", "v"], "header": False, "delimiter": ";"}, ["20120201 000000", 1.3066, 1.30656, 0]),
        (LOBSTER, {"names": list("abcdef"), "header": False}, [34200.017459617, 5, 0, 1, 2238200, -1]),
        (METATRADER, {"delimiter": "tab", "text_columns": ["<TIME>"]}, ["2024.01.02", "09:30:00", 1.5]),
        (EUROPEAN, {"delimiter": ";", "decimal": ",", "text_columns": ["t"]}, ["2024-01-02 09:30:00", 1.5]),
        (TITLED, {"skip_rows": 1}, [1646092800000, 43221.71]),
        (YFINANCE, {"skip_rows": 3, "header": False, "names": ["t", "close", "volume"]}, [date(2024, 1, 2), 184.7, 82488700]),
        (",0,1\n0,1.5,2.5\n", {"header": True}, [0, 1.5, 2.5]),
        ("a,a\n1,2\n", {"header": True, "names": ["x", "y"]}, [1, 2]),
        ("trade\ntrade\n", {"header": True}, ["trade"]),
        ("a:b\n1:2\n", {"delimiter": ","}, ["1:2"]),
        ("a:b\n1:2\n", {"delimiter": ":"}, [1, 2]),
        ("bÖrse,b\nö,1\n".encode("latin-1"), {"encoding": "latin-1"}, ["ö", 1]),
        ("a,b\nö,1\n".encode("utf-16"), {"encoding": "utf-16"}, ["ö", 1]),
        ("a,b\n€,1\n".encode("cp1252"), {"encoding": "cp1252"}, ["€", 1]),
        ("\ufeffa,b\nö,1\n", {"encoding": "utf-8"}, ["ö", 1]),
    ],
    ids=str,
)  # fmt: skip
def test_every_layout_can_be_said(
    tmp_path: Path, text: str | bytes, options: dict[str, object], first: list[object]
) -> None:
    """With the option that the error names, the first row is the file's own, whole and typed."""
    found = table(write(tmp_path / "x.csv", text), **options)

    assert [column[0].as_py() for column in found.columns] == first
    assert not any(name.startswith("\ufeff") for name in found.column_names)


@pytest.mark.parametrize(
    ("files", "options", "reason"),
    [
        ({"a.csv": "ts,p\n1,2\n", "b.csv": "3,4\n"}, {}, r"b\.csv: the first row reads as data"),
        ({"a.csv": "ts,p\n1,2\n", "b.csv": "C,D\nE,F\n"}, {}, r"b\.csv has other columns than a\.csv"),
        ({"a.csv": "s,p\nA,B\n", "b.csv": "C,D\n"}, {}, r"b\.csv has other columns than a\.csv"),
        ({"a.csv": "t,5\n2024-01-02,1\n", "b.csv": "2024-01-03,2\n"}, {}, r"b\.csv has other columns than a\.csv"),
        ({"a.csv": "s,2019,2020\nA,1,2\n", "b.csv": "s,2019,2020\nA,1999,2\n"}, {}, r"b\.csv: the first row reads as data"),
        ({"a.csv": "ts,p\n1,2\n", "b.csv": "p,ts\n1,2\n"}, {}, r"b\.csv has other columns"),
        ({"a.csv": "a,b\n1,2\n", "b.csv": "a;b\n1;2\n"}, {}, r"b\.csv has 1 column"),
        ({"a.csv": "2024;1,5\n"}, {"header": False, "names": ["t", "p"]}, r"say --delimiter ';'"),
        ({"a.csv": "3,4\n5,6\n", "b.csv": "ts,p\n1,2\n"}, {"header": False, "names": ["x", "y"]}, r"b\.csv: the first row reads as a header"),
        ({"a.csv": "A,B\n", "b.csv": "s,t\nA,B\n"}, {"header": False, "names": ["s", "t"]}, "holds its own name"),
        ({"symbol=A/x.csv": "a\n1\n"}, {}, "key=value"),
    ],
    ids=str,
)  # fmt: skip
def test_files_of_a_folder_agree_or_are_named(
    tmp_path: Path, files: dict[str, str], options: dict[str, object], reason: str
) -> None:
    """A header in some files only would be data in the others, or data a header."""
    for name, text in files.items():
        write(tmp_path / "raw" / name, text)

    refused(tmp_path / "raw", reason, **options)


def test_an_odd_first_value_is_no_header(tmp_path: Path) -> None:
    """Without a header, a first row that only widens its columns is data like the others."""
    found = table(write(tmp_path / "x.csv", "0012,x\n7,y\n"), header=False, names=["id", "side"])

    assert found.to_pydict() == {"id": ["0012", "7"], "side": ["x", "y"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("börse,b\n1,2\n".encode("latin-1"), "is not utf-8 .*--encoding latin-1"),
        (b"a,b\n" + b"x,2\n" * 500_000 + b"\xf6,2\n", "is not utf-8"),
        ("a,b\n1,2\n".encode("utf-16"), "begins like utf-16"),
        ("a,b\n1,2\n".encode("utf-32"), "begins like utf-32"),
        ("a,b\n1,2\n".encode("utf-16-le"), "NUL"),
        (b"a,b\n1\x00,2\n", "NUL"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "is not utf-8"),
        ('a,b\n1,"x\n2,y\n3,z\n', "bad quotes.* near line 4"),
        ('a,b\n1,"x\n2,"y\n3,z\n', "bad quotes.* near line 3"),
        ('a,b\n1,"x"y\n', "bad quotes.* near line 2"),
        ("a\n1\n\n2\n", "an empty line before line 4"),
        ("", "not readable as CSV"),
        ("\n\n", "not readable as CSV"),
        ("a,b\n1,2,\n", "Expected 2 columns, got 3"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_text_that_is_damaged_or_of_another_encoding_is_refused(tmp_path: Path, text: str | bytes, reason: str) -> None:
    """The error names the file; a quote that never ends does not swallow the rows behind it."""
    assert str(tmp_path / "x.csv") in str(refused(write(tmp_path / "x.csv", text), reason))


@pytest.mark.parametrize("cut", [1, 5, -9, -1])
def test_compressed_files_that_are_cut_short_are_refused(tmp_path: Path, cut: int) -> None:
    """What is missing is missed, wherever the file ends."""
    whole = gzip.compress(b"a,b\n" + b"1,2\n" * 1000)

    refused(write(tmp_path / "x.csv.gz", whole[:cut]), "not readable as CSV")


def test_quoted_cells_hold_anything(tmp_path: Path) -> None:
    """Delimiters, quotes and line breaks inside quotes are text, also where blocks are cut."""
    rows = '1,"x, ""y""\nz"\n' * 700_000
    found = table(write(tmp_path / "x.csv", f"a,b\n{rows}"))

    assert found["b"].unique().to_pylist() == ['x, "y"\nz']
    assert found.num_rows == 700_000


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"header": False}, "names"),
        ({"names": ["a", "b"]}, "names"),
        ({"names": ["a", "a"], "header": False}, "names"),
        ({"names": ["a", ""], "header": False}, "names"),
        ({"names": "ab", "header": False}, "names"),
        ({"names": [], "header": False}, "names"),
        ({"delimiter": ";;"}, "delimiter"),
        ({"delimiter": ""}, "delimiter"),
        ({"delimiter": '"'}, "delimiter"),
        ({"delimiter": "é"}, "delimiter"),
        ({"decimal": "x"}, "decimal"),
        ({"decimal": ","}, "decimal"),
        ({"decimal": ",", "delimiter": ","}, "decimal"),
        ({"encoding": "nope"}, "encoding"),
        ({"encoding": "base64"}, "encoding"),
        ({"skip_rows": -1}, "skip_rows"),
        ({"skip_rows": True}, "skip_rows"),
        ({"text_columns": ["z"]}, "text_columns"),
        ({"text_columns": "a"}, "text_columns"),
        ({"names": ["a"], "header": False}, "raw_data"),
        ({"names": ["a", "b", "c"], "header": True}, "raw_data"),
    ],
    ids=str,
)
def test_layouts_that_cannot_be_are_refused_by_option(tmp_path: Path, options: dict[str, object], field: str) -> None:
    """The field of the error is the option that is wrong."""
    assert refused(write(tmp_path / "x.csv", "a,b\n1,2\n"), ".", **options).field == field


def test_layouts_are_for_csv(tmp_path: Path) -> None:
    """An option that would be ignored is refused."""
    ingest(pa.table({"a": [1]}), tmp_path / "x.parquet")

    assert refused(tmp_path / "x.parquet", "are for CSV", delimiter=";").field == "csv"
    with pytest.raises(InvalidRequest, match="are for CSV"):
        ingest(pa.table({"a": [1]}), tmp_path / "y.parquet", header=True)


def test_raw_csv_is_not_overwritten(tmp_path: Path) -> None:
    """Naming the source twice is a slip."""
    file = write(tmp_path / "x.csv", "a\n1\n")

    with pytest.raises(InvalidRequest, match="is itself the raw data"):
        ingest(file, file)
    assert file.read_text() == "a\n1\n"


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ('"a","b"\n"x, y","z ""w"" z"\n\n1,5" tube\n', {}, True),
        ('"a"\t"b"\r\n"x\ty"\t\r\n', {"delimiter": "tab"}, True),
        ('"a" "b"\n"x y" 1\n', {"delimiter": "space"}, True),
        ('"ä"^"b"\n"x^y"^1\n', {"delimiter": "^"}, True),
        ('"ä";"b"\n"é";1\n'.encode("latin-1"), {"delimiter": ";", "encoding": "latin-1"}, True),
        ('a "title\n"a","b"\n"1","2"\n', {"skip_rows": 1}, True),
        ('a,b\n"x\ny",1\n', {}, False),
        ('a,b\n"x"y,1\n', {}, False),
        ('a,b\n"x,1\n', {}, False),
        ('a,b\n"x" ,1\n', {}, False),
        ('a,b\n"x\x1fy",1\n', {}, False),
    ],
    ids=str,
)
def test_quotes_are_seen_line_by_line(
    tmp_path: Path, text: str | bytes, options: dict[str, object], expected: bool
) -> None:
    """What the quick look does not call well-formed is read again by the slow one, which knows what is wrong."""
    layout = CsvLayout(**options)  # type: ignore[arg-type]

    assert closed_on_every_line(write(tmp_path / "x.csv", text), layout) is expected
