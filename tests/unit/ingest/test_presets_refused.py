"""Under a preset nothing is read in another way than it says: the row that differs is named, with what to do."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from fstore.errors import InvalidRequest
from fstore.ingest.csv_files import stamp_of
from fstore.ingest.ingestion import ingest
from fstore.ingest.presets import vendor_files
from fstore.ingest.report import IngestReport
from tests.unit.ingest.test_presets import CDD, DBN_RAW, FILES, KLINE, MESSAGES, MT5, lay, taken

BARS = "20120201 000000;1.5;1.5;1.5;1.5;0\n20120201 000100;1.5;1.5;1.5;1.5;0\n"
SECOND = "20120201 000100;1.5;1.5;1.5;1.5;0\n"


def place(folder: Path, text: str, name: str = "data.csv") -> Path:
    (folder / "raw").mkdir(exist_ok=True)
    (folder / "raw" / name).write_text(text)
    return folder / "raw" / name


@pytest.mark.parametrize(
    ("preset", "text", "reason", "options"),
    [
        ("histdata-m1", BARS + "20120201 000200;1.5;1.5;1.5;x;0\n", r"row 3: 'close' is 'x'.*--max-refused", {}),
        ("histdata-m1", BARS + "20120201 000200;1.5;1.5;1.5;;0\n", "row 3: 'close' is empty", {}),
        ("histdata-m1", BARS + "20120201 000200;1.5;1.5;1.5\n", "row 3: it has another number of cells", {}),
        ("histdata-m1", BARS + "20120230 000200;1.5;1.5;1.5;1.5;0\n", "row 3: 'time' is '20120230 000200'", {}),
        ("histdata-m1", BARS + "20120201 0002;1.5;1.5;1.5;1.5;0\n", "row 3: 'time'.*a time like", {}),
        ("histdata-m1", BARS + "20120201 000200;1.5;inf;1.5;1.5;0\n", "row 3: 'high' is 'inf'", {}),
        ("histdata-m1", BARS + "20120201 000200;1,5;1.5;1.5;1.5;0\n", "row 3: 'open' is '1,5'", {}),
        ("histdata-m1", BARS + "20120201 000200;1.5;1.5;1.5;1.5;0.5\n", "row 3: 'volume' is '0.5'", {}),
        ("histdata-m1", BARS + BARS, "'time' goes back in row 2", {}),
        ("histdata-m1", "time;open;high;low;close;volume\n" + BARS, "begins with names.*this layout has none", {}),
        ("histdata-ticks", BARS, "has the layout of --preset histdata-m1", {}),
        ("histdata-m1", KLINE.format(1704067200000, 1704067259999), "layout of --preset binance-klines", {}),
        ("binance-trades", KLINE.format(1704067200000, 1704067259999), "12 cells.*--preset binance-klines", {}),
        ("binance-klines", KLINE.format(1704067200000, 1) + KLINE.format(1735689600000000, 2), "'close_time' is '1'", {}),
        (
            "binance-klines",
            KLINE.format(1735603200000, 1735603259999) + KLINE.format(1735689600000000, 1735689659999),
            "row 2: 'open_time' is '1735689600000000', not 13 digits, a number of ms",
            {},
        ),
        ("binance-klines", KLINE.format(170406720, 170406725), "row 1: 'open_time'.*--time-unit", {}),
        ("binance-aggtrades", "agg_trade_id,price,qty,a,b,c,d\n1,2,3,4,5,6,true\n", "column 'qty' stands where", {}),
        ("cryptodatadownload", CDD.replace("1646092860000", "1.64609E+12"), "'unix' is '1.64609E.12'", {}),
        ("cryptodatadownload", CDD.replace("symbol", "sym"), "column 'sym' is none", {}),
        ("cryptodatadownload", CDD.replace("tradecount", "close"), "column 'close' is there twice", {}),
        ("dukascopy-bars", "Gmt time,Open,High,Low\n", "has no column 'close'", {}),
        ("dukascopy-bars", "Local time,Open,High,Low,Close,Volume\n01.02.2024 01:00:00.000 GMT+0100,1,1,1,1,1\n", "dukascopy-local-bars", {}),
        ("databento", DBN_RAW.replace("4799250000000", "4799.25"), "row 2: 'price' is '9223372036854775807', not a price with", {}),
        ("databento", DBN_RAW.replace("5482,T", "-1,T"), "row 1: 'instrument_id' is '-1'", {}),
        ("databento", DBN_RAW.replace("1703422805244000000,", "18446744073709551615,"), "row 1: 'ts_recv'", {}),
        ("databento", DBN_RAW.replace("sequence", "strike_price"), "'strike_price' is none", {}),
        ("polygon-aggs", "ticker,volume,open,close,high,low,window_start,transactions\nA,1,1,1,1,1,2025-04-16,1\n", "'window_start'", {"symbol": "A"}),
        ("mt5-bars", f"{MT5}2024.01.02\t09:30:00\t1\t1\t1\t1\t1\t0\t3\n", "do not say in which zone.*--tz", {}),
        ("mt5-bars", f"{MT5}2024.03.31\t03:30:00\t1\t1\t1\t1\t1\t0\t3\n", "row 1: .*never, when they are changed", {"tz": "Europe/Athens"}),
        ("mt5-bars", f"{MT5}2024.10.27\t03:30:00\t1\t1\t1\t1\t1\t0\t3\n", "row 1: .*twice or never", {"tz": "Europe/Athens"}),
        ("mt5-bars", f"{MT5}2024.10.27\t03:30:00\t1\t1\t1\t1\t1\t0\t3\n", "'Mars' is no time zone", {"tz": "Mars"}),
        ("histdata-m1", BARS, "leave out names", {"names": ["a"]}),
        ("histdata-m1", BARS, "leave out skip_rows", {"skip_rows": 1}),
        ("histdata-m1", BARS, "no numbers since 1970", {"time_unit": "ms"}),
        ("histdata-m1", BARS, "it has no other type", {"dtypes": {"time": "int64"}}),
        ("histdata-m1", BARS, "none of int8", {"dtypes": {"open": "real"}}),
        ("histdata-m1", BARS, "has its times in time", {"time_column": "open"}),
        ("binance-klines", KLINE.format(1704067200000, 1704067259999), "say which instants they are", {"tz": "UTC"}),
        ("lobster-messages", MESSAGES, "not named as the files of", {}),
        ("histdata", BARS, "there is no 'histdata', but histdata-m1", {}),
        ("histdata-m1", "", "there is no row", {}),
        ("histdata-m1", BARS, "is no number of rows", {"max_refused": -1}),
    ],
)  # fmt: skip
def test_what_is_otherwise_is_refused_with_the_row_and_the_remedy(
    tmp_path: Path, preset: str, text: str, reason: str, options: dict[str, Any]
) -> None:
    """Nothing is written beside the error."""
    with pytest.raises(InvalidRequest, match=f"(?s){reason}"):
        taken(place(tmp_path, text), preset, **options)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["data.csv"]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("AAPL_2012-06-31_1_2_message_10.csv", MESSAGES, "does not say of which day"),
        ("AAPL_1_2_message_10.csv", MESSAGES, "does not say of which day"),
        ("AAPL_2012-06-21_1_2_message_10.csv", MESSAGES.replace("34200.2", "86400.2"), "row 3: 'time' is '86400"),
        ("AAPL_2012-06-21_1_2_message_10.csv", MESSAGES.replace("5853300", "585.33"), "row 1: 'price' is '585.33'"),
        ("AAPL_2012-06-21_1_2_message_10.csv", MESSAGES.replace(",7,", ",700,"), "row 3: 'type' is '700'"),
    ],
)
def test_lobster_needs_the_day_in_the_name(tmp_path: Path, name: str, text: str, reason: str) -> None:
    """Seconds after midnight are no instants by themselves."""
    with pytest.raises(InvalidRequest, match=reason):
        taken(place(tmp_path, text, name), "lobster-messages")


def test_a_book_needs_its_messages_row_for_row(tmp_path: Path) -> None:
    """A book has no times of its own; one row more or less on either side would shift all of them."""
    books = next(each for each in FILES if each.preset == "lobster-books")
    file = lay(tmp_path, books)
    (twin,) = [path for path in file.parent.iterdir() if path != file]

    for text, reason in (
        (MESSAGES + MESSAGES[-20:], "more rows"),
        (MESSAGES[: MESSAGES.index("\n") + 1], "fewer rows"),
    ):
        twin.write_text(text.replace("-20:", ""))
        if reason == "more rows":
            twin.write_text(MESSAGES + "34201,1,5,1,5853300,1\n")
        with pytest.raises(InvalidRequest, match=reason):
            taken(file, "lobster-books")
    twin.unlink()
    with pytest.raises(InvalidRequest, match="put its message file beside it"):
        taken(file, "lobster-books")


def test_rows_may_be_left_out_and_are_told(tmp_path: Path) -> None:
    """Only as many as were said, by the numbers they have in the file; short ones count."""
    text = BARS + "20120201 000200;1.5;1.5\n20120201 000300;1.5;1.5;1.5;?;0\n20120201 000400;1.5;1.5;1.5;1.5;7\n"
    file, told = place(tmp_path, text), list[IngestReport]()

    frame = taken(file, "histdata-m1", max_refused=2, report=told.append)

    assert frame["volume"].tolist() == [0, 0, 7]
    assert [(row.row, row.reason.split(",")[0]) for row in told[0].refused] == [
        (3, "it has another number of cells"),
        (4, "'close' is '?'"),
    ]
    with pytest.raises(InvalidRequest, match=r"row 4.*1 others were left out"):
        taken(file, "histdata-m1", max_refused=1)


def test_one_unit_holds_for_a_file_not_for_a_folder(tmp_path: Path) -> None:
    """Binance's spot files changed to microseconds from one file to the next."""
    place(tmp_path, KLINE.format(1735603200000, 1735603259999), "BTCUSDT-1m-2024-12.csv")
    file = place(tmp_path, KLINE.format(1735689600000000, 1735689659999999), "BTCUSDT-1m-2025-01.csv")

    frame = taken(file.parent / ".", "binance-klines")

    assert frame.index.tolist() == [pd.Timestamp("2024-12-31", tz="UTC"), pd.Timestamp("2025-01-01", tz="UTC")]


def test_a_folder_may_hold_other_files_of_the_vendor(tmp_path: Path) -> None:
    """LOBSTER's samples hold messages and books together; each preset takes its own."""
    books = next(each for each in FILES if each.preset == "lobster-books")
    folder = lay(tmp_path, books).parent

    source = ingest(folder, tmp_path / "m.parquet", preset="lobster-messages")
    ingest(folder, tmp_path / "b.parquet", preset="lobster-books")

    assert pa.parquet.read_table(source.path).num_rows == 3


def test_packed_files_are_read(tmp_path: Path) -> None:
    """Flat files come packed."""
    file = place(tmp_path, "", "2025-04-16.csv.gz")
    aggs = next(each for each in FILES if each.preset == "polygon-aggs")
    file.write_bytes(gzip.compress(aggs.text.encode()))

    assert len(taken(file, "polygon-aggs", symbol="NA")) == 2


def test_other_types_of_columns_may_be_said(tmp_path: Path) -> None:
    """Raw prices as whole numbers, for one."""
    file = place(tmp_path, MESSAGES, "AAPL_2012-06-21_1_2_message_10.csv")

    frame = taken(file, "lobster-messages", dtypes={"price": "int64", "size": "uint32"})

    assert frame["price"].tolist() == [5853300, 5853300, -1]
    assert str(frame["size"].dtype) == "uint32"


def test_newest_first_is_turned_round_over_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the number of blocks, and without a trace on the disk."""
    rows = [f"{1646092800000 + 60_000 * at},x,BTC/USDT,{at},{at},{at},{at},1,1,1\n" for at in range(3000)]
    file = place(tmp_path, "".join([*CDD.splitlines(keepends=True)[:2], *reversed(rows)]))
    monkeypatch.setattr("fstore.ingest.csv_files._BLOCK_BYTES", 4096)

    frame = taken(file, "cryptodatadownload")

    assert frame["open"].tolist() == [float(at) for at in range(3000)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "raw"]


def test_memory_does_not_grow_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of ten times the rows takes little more."""
    monkeypatch.setattr("fstore.ingest.csv_files._BLOCK_BYTES", 1 << 16)
    monkeypatch.setattr("fstore.ingest.writer.ROW_GROUP_ROWS", 4096)
    monkeypatch.setattr("fstore.fingerprint.footer.BLOCK_ROWS", 4096)
    monkeypatch.setattr("fstore.fingerprint.footer.FLUSH_BYTES", 1 << 20)
    peaks = []
    for count in (20_000, 200_000):
        rows = (f"{1646092800000 + 1000 * at},x,BTC/USDT,1.5,1.5,1.5,1.5,1,1,1\n" for at in reversed(range(count)))
        file = place(tmp_path, "".join([*CDD.splitlines(keepends=True)[:2], *rows]))
        before, peak = pa.total_allocated_bytes(), 0

        def seen(_: int, before: int = before) -> None:
            nonlocal peak
            peak = max(peak, pa.total_allocated_bytes() - before)

        ingest(file, tmp_path / "out.parquet", preset="cryptodatadownload", progress=seen)
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 6_000_000  # all of it would be 15 MB more


def test_a_file_that_grows_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a download is no data."""
    file = place(tmp_path, BARS)
    stamps = iter([(1, 1, 1), (2, 2, 2)])
    monkeypatch.setattr(vendor_files, "stamp_of", lambda _: next(stamps))

    assert stamp_of(file)
    with pytest.raises(Exception, match="changed while it was read"):
        taken(file, "histdata-m1")
    assert not (tmp_path / "out.parquet").exists()
