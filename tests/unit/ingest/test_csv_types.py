"""The types of CSV columns: whatever a cell says survives, and none depends on where another stands."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fstore.errors import InvalidRequest, SourceChanged
from fstore.ingest.csv_cells import MISSING, ColumnShapes, type_for
from fstore.ingest.ingestion import ingest

TEXT, INT, UINT, FLOAT = pa.string(), pa.int64(), pa.uint64(), pa.float64()
NS, UTC = pa.timestamp("ns"), pa.timestamp("ns", tz="UTC")


def kind_of(*blocks: list[str], decimal: str = ".") -> pa.DataType:
    shapes = ColumnShapes(decimal=decimal)
    for block in blocks:
        shapes.look(pa.array(block, pa.string()))
    return type_for(shapes.seen)


def ingested(tmp_path: Path, text: str | bytes, **options: object) -> pa.Table:
    file = tmp_path / "x.csv"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return pq.read_table(ingest(file, tmp_path / "x.parquet", **options).path)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "-2", "0", ""], INT),
        ([" 1", "2 "], INT),
        (["9223372036854775807", "-9223372036854775808"], INT),
        (["9007199254740993", "18446744073709551615"], UINT),
        (["-1", "18446744073709551615"], TEXT),
        (["1", "18446744073709551616"], TEXT),
        (["-9223372036854775809"], TEXT),
        (["1", "2.5", ".5", "5.", "-0", "+0.25"], FLOAT),
        (["1e-05", "1.5E+10", "1.0E10"], FLOAT),
        (["1E5"], TEXT),
        (["1E5", "2"], TEXT),
        (["1E5", "2.5", "12.5e3", "+5", "inf", "-Infinity"], FLOAT),
        (["INF"], TEXT),
        (["1e999", "0.5"], TEXT),
        (["9007199254740992", "0.5"], FLOAT),
        (["9007199254740993", "0.5"], TEXT),
        (["000123", "5"], TEXT),
        (["00"], TEXT),
        (["007.50", "1.5"], TEXT),
        (["0x10"], TEXT),
        (["1_000"], TEXT),
        (["1,5"], TEXT),
        (["\uff11\uff12"], TEXT),
        (["5\n"], TEXT),
        (["true", "false", ""], pa.bool_()),
        (["TRUE", "NA"], pa.bool_()),
        (["TRUE", "true"], TEXT),
        (["true", "1"], TEXT),
        (["2024-01-02", "9999-12-31"], pa.date32()),
        (["2024-01-02", "2024-01-02T09:30:00.5"], NS),
        (["9999-12-31", "2024-01-02 09:30"], TEXT),
        (["2024-02-30"], TEXT),
        (["2024-01"], TEXT),
        (["2024-01-02 09:30:00Z", "2024-01-02 09:30:00-05:00"], UTC),
        (["2024-01-02 09:30:00Z", "2024-01-02 09:30:00"], TEXT),
        (["2024-01-02 24:00:00"], TEXT),
        (["09:30:00", "16:00"], pa.time32("s")),
        (["25:00"], TEXT),
        (["", ""], pa.null()),
        ([*MISSING, "1"], INT),
        ([*MISSING, ""], TEXT),
        (["NA", "AAPL"], TEXT),
    ],
    ids=str,
)
def test_a_column_has_the_type_that_holds_every_cell(cells: list[str], kind: pa.DataType) -> None:
    """In one block or in one for each cell, in this order or the other, the type is the same."""
    assert kind_of(cells) == kind_of(cells[::-1]) == kind_of(*([cell] for cell in cells)) == kind


def test_a_decimal_comma_is_one_if_the_caller_says_so() -> None:
    """Then a point is none: 1.000,5 is text, not a thousandth of it."""
    assert kind_of(["1,5", "2"], decimal=",") == FLOAT
    assert kind_of(["1.5"], decimal=",") == kind_of(["1.000,5"], decimal=",") == TEXT


CELLS = st.one_of(
    st.integers(-(2**65), 2**65).map(str),
    st.floats(allow_nan=False).map(repr),
    st.sampled_from(
        ["", "NA", "0001", "1E5", "TRUE", "false", "2024-01-02", "2024-01-02 09:30", "x", " 7", "-0", "+1"]
    ),
    st.integers(0, 10**6).map("{:07d}".format),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=5))
def test_no_whole_number_and_no_text_is_changed(cells: list[str]) -> None:
    """Whatever is typed as whole numbers has the very digits; whatever is text is as it was written."""
    kind = kind_of(cells)

    if kind == TEXT or pa.types.is_null(kind):
        return
    for cell in cells:
        if cell in ("", *MISSING):
            continue
        if pa.types.is_integer(kind):
            assert str(int(cell)) == cell.strip()
        elif kind == FLOAT and cell.strip().lstrip("-").isdigit():
            assert int(float(cell)) == int(cell)


@pytest.mark.parametrize(
    "symbol",
    ["000001", "00700", "TRUE", "true", "INF", "1E5", "NA", "null", "nan", "1_000", "0x10", "2024-01", "2024-01-02",
     "1.0", "-0", "+1", "T", "18446744073709551616", "09:30"],
)  # fmt: skip
@pytest.mark.parametrize("others", [[], ["600519"], ["AAPL"]], ids=str)
def test_symbols_name_files_as_they_are_written(tmp_path: Path, symbol: str, others: list[str]) -> None:
    """Alone or among others, a symbol is text, in the name of its file and in the file."""
    rows = "".join(f"{each},10.5\n" for each in [symbol, *others])
    (tmp_path / "x.csv").write_text(f"code,price\n{rows}")

    folder = ingest(tmp_path / "x.csv", tmp_path / "out", symbol_column="code").path

    assert sorted(file.name for file in folder.iterdir()) == sorted(f"{each}.parquet" for each in [symbol, *others])
    assert pq.read_table(folder / f"{symbol}.parquet")["code"].to_pylist() == [symbol]


@pytest.mark.parametrize("symbol", [" AAPL", "AAPL ", '""', '" "', "é" * 120, "\u4e2d" * 90])
def test_symbols_that_would_be_lost_or_split_are_refused(tmp_path: Path, symbol: str) -> None:
    """Padded, empty and overlong symbols are named, not stripped, dropped or cut."""
    (tmp_path / "x.csv").write_text(f"code,price\nA,1\n{symbol},2\n")

    with pytest.raises(InvalidRequest, match=r"cannot name a file|begins or ends with a space") as caught:
        ingest(tmp_path / "x.csv", tmp_path / "out", symbol_column="code")
    assert caught.value.field == "symbol_column"


@pytest.mark.parametrize(
    ("column", "names"),
    [
        (pa.array([1, 600519]), ["1.parquet", "600519.parquet"]),
        (pa.array(["a", "b"], pa.string_view()), ["a.parquet", "b.parquet"]),
        (pa.array(["a", "a"]).dictionary_encode(), ["a.parquet"]),
        (pa.array([1.0, 2.0]), None),
        (pa.array([True, False]), None),
        (pa.array([1, 2], pa.date32()), None),
        (pa.array([b"\xff", b"a"]), None),
        (pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None])), None),
    ],
    ids=str,
)
def test_symbols_of_other_data_are_text_or_whole_numbers(
    tmp_path: Path, column: pa.Array, names: list[str] | None
) -> None:
    """A float, a flag, a date and bytes have no one way of writing, and a missing symbol none."""
    table = pa.table({"s": column, "x": [1, 2]})
    if names is None:
        with pytest.raises(InvalidRequest, match=r"cast it first|is empty in some rows"):
            ingest(table, tmp_path / "out", symbol_column="s")
        return

    folder = ingest(table, tmp_path / "out", symbol_column="s").path
    assert sorted(file.name for file in folder.iterdir()) == names


def test_ids_keep_their_zeros_and_digits(tmp_path: Path) -> None:
    """Codes of every kind come back as in the file; what is a number in every row is one."""
    table = ingested(
        tmp_path, "zip,hex,id,big,price\n02134,0x1F,9007199254740993,18446744073709551615,1\n10001,0x2A,5,1,2.5\n"
    )

    assert table["zip"].to_pylist() == ["02134", "10001"]
    assert table["hex"].to_pylist() == ["0x1F", "0x2A"]
    assert table["id"].to_pylist() == [9007199254740993, 5]
    assert table["big"].to_pylist() == [2**64 - 1, 1]
    assert table["price"].to_pylist() == [1.0, 2.5]


def test_a_column_is_text_if_the_caller_says_so(tmp_path: Path) -> None:
    """What cannot be known, that all of these numbers are names, can be said."""
    table = ingested(tmp_path, "code,ok\n600519,True\n,NA\n", text_columns=["code", "ok"])

    assert table.to_pydict() == {"code": ["600519", ""], "ok": ["True", "NA"]}


def test_a_late_cell_decides_like_an_early_one(tmp_path: Path) -> None:
    """A leading zero, a fraction and a word after many megabytes give the types that they would have given at the top."""
    rows = "1,1,1\n" * 2_000_000
    table = ingested(tmp_path, f"a,b,c\n{rows}01,0.5,x\n")

    assert table.schema.types == [TEXT, FLOAT, TEXT]
    assert [table[name][-1].as_py() for name in "abc"] == ["01", 0.5, "x"]


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    """Types were found for what was there; rows that came later are not taken by halves."""
    file = tmp_path / "x.csv"
    file.write_text("a\n1\n")

    def appended(_: int) -> None:
        with file.open("a") as more:
            more.write("2\n")

    with pytest.raises(SourceChanged, match="was changed while it was read"):
        ingest(file, tmp_path / "x.parquet", progress=appended)
    assert not (tmp_path / "x.parquet").exists()


def test_missing_whole_numbers_are_floats_for_features_only(tmp_path: Path) -> None:
    """The file has the digits and the gaps; a frame shows them as pandas does."""
    table = ingested(tmp_path, "id,x\n9007199254740993,1\n,2\nNA,3\n")

    assert table["id"].to_pylist() == [9007199254740993, None, None]
    assert pd.read_parquet(tmp_path / "x.parquet")["id"].dtype == "float64"
