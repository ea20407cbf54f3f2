"""How the columns of a large result are written: split where numbers hardly repeat, by zstd where they do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fstore.storage.parquet import ROW_GROUP, SMALL, result_bytes
from fstore.storage.verify import decoded

ROWS = SMALL // 8 + 1
RNG = np.random.default_rng(3)
NORMAL = RNG.normal(size=ROWS)
SPLIT, WHOLE = ("LZ4", True), ("ZSTD", False)


def forms(data: pa.Buffer) -> dict[str, tuple[str, bool]]:
    """Return each column's codec, and whether its bytes are split."""
    group = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    return {one.path_in_schema: (one.compression, "BYTE_STREAM_SPLIT" in one.encodings) for one in columns}


def with_gaps(values: pa.Array) -> pa.Array:
    """Take some values out, also at the front."""
    mask = np.arange(len(values)) % 7 == 0
    return pa.Array.from_pandas(values.to_pandas(), mask=mask, type=values.type, safe=False)


@pytest.mark.parametrize(
    ("values", "form"),
    [
        (pa.array(NORMAL), SPLIT),
        (pa.array(NORMAL.astype("f4")), SPLIT),
        (pa.array(100 + NORMAL.cumsum() / 100), SPLIT),
        (with_gaps(pa.array(NORMAL)), SPLIT),
        (pa.array(np.arange(ROWS) * 10**9, pa.timestamp("ns", tz="UTC")), WHOLE),
        (pa.array(np.arange(ROWS) * 10**6, pa.timestamp("us")), WHOLE),
        (pa.array(np.arange(ROWS), pa.duration("ms")), WHOLE),
        (pa.array(np.arange(ROWS) % 86_400, pa.int32()).cast(pa.time32("s")), WHOLE),
        (pa.array(RNG.integers(0, 2**62, ROWS)), WHOLE),
        (pa.array(RNG.integers(0, 2**63, ROWS, dtype="u8")), WHOLE),
        (pa.array(RNG.integers(-9, 9, ROWS, dtype="i1")), None),
        (pa.array(RNG.integers(0, 60_000, ROWS, dtype="u2")), None),
        (pa.array(NORMAL.astype("f2")), WHOLE),
        (pa.array(np.round(NORMAL.cumsum() / 20) / 4), WHOLE),
        (pa.array(np.zeros(ROWS)), WHOLE),
        (pa.nulls(ROWS, pa.float64()), None),
        (pa.array(NORMAL > 0), WHOLE),
        (pa.array(["buy", "sell"] * (ROWS // 2) + ["buy"]), WHOLE),
        (pa.array(["buy", "sell"] * (ROWS // 2) + ["buy"]).dictionary_encode(), WHOLE),
    ],
    ids=lambda given: str(given.type) if isinstance(given, pa.Array) else "",
)
def test_every_kind_of_column_comes_back(values: pa.Array, form: tuple[str, bool] | None) -> None:
    """In one form or the other, beside one that is split, and readable by pandas."""
    table = pa.table({"values": values, "beside": NORMAL})
    data = result_bytes(table)
    back = decoded(data)
    assert back.equals(table)
    assert back.schema.equals(table.schema)
    assert pq.read_table(pa.BufferReader(data), page_checksum_verification=True).num_rows == ROWS
    assert len(pd.read_parquet(pa.BufferReader(data))) == ROWS
    assert forms(data)["beside"] == SPLIT
    assert form is None or forms(data)["values"] == form


def test_bits_of_nan_come_back() -> None:
    """No bit of a number is anybody's to change."""
    bits = np.where(
        np.arange(ROWS) % 3, NORMAL.view("u8"), np.uint64(0x7FF8_0000_0000_0000) + np.arange(ROWS, dtype="u8")
    )
    table = pa.table({"x": bits.view("f8"), "sum": NORMAL})
    assert decoded(result_bytes(table))["x"].to_numpy().view("u8").tolist() == bits.tolist()


@pytest.mark.parametrize("names", [["a.b", "", "ü", "a"], ["a", "a.list.element", "list", "x" * 300]])
def test_names_are_only_names(names: list[str]) -> None:
    """Forms go by them, whatever they look like."""
    table = pa.table([NORMAL, np.zeros(ROWS), NORMAL[::-1].copy(), ["t"] * ROWS], names=names)
    data = result_bytes(table)
    assert decoded(data).equals(table)
    assert list(forms(data).values()) == [SPLIT, WHOLE, SPLIT, WHOLE]


@pytest.mark.parametrize(
    "table",
    [
        pa.table([NORMAL, NORMAL], names=["x", "x"]),
        pa.table({"x": NORMAL, "within": pa.array([{"a": 1.5}] * ROWS)}),
        pa.table({"x": NORMAL, "within": pa.array([[1.5]] * ROWS)}),
        pa.table({"x": pa.array([], pa.float64()), "t": pa.array(["t" * 2 * SMALL]).dictionary_encode().slice(1)}),
        pa.table(
            {"x": pa.chunked_array([], pa.float64()), "t": pa.array(["t" * 2 * SMALL]).dictionary_encode().slice(1)}
        ),
    ],
    ids=["two of one name", "struct", "list", "no rows", "no chunks"],
)
def test_what_cannot_be_chosen_by_name_is_zstds(table: pa.Table) -> None:
    """As every column was before."""
    assert table.nbytes > SMALL or not len(table)
    data = result_bytes(table)
    assert decoded(data).equals(table)
    assert {codec for codec, _ in forms(data).values()} <= {"ZSTD", "UNCOMPRESSED", "LZ4"}


def test_equal_tables_are_the_same_bytes() -> None:
    """However their columns are cut, and whatever lies below what is missing."""
    whole = with_gaps(pa.array(NORMAL))
    other = np.where(whole.is_null().to_numpy(zero_copy_only=False), 1e300, NORMAL)
    again = pa.Array.from_buffers(pa.float64(), ROWS, [whole.buffers()[0], pa.py_buffer(other)])
    assert again.equals(whole)
    cut = pa.chunked_array([again[:5], again[5 : ROWS // 2], again[ROWS // 2 :]])
    assert result_bytes(pa.table({"x": whole})).equals(result_bytes(pa.table({"x": cut})))


def test_what_is_split_is_no_larger() -> None:
    """Than zstd made it."""
    table = pa.table({"x": NORMAL, "y": NORMAL.astype("f4"), "walk": 100 + NORMAL.cumsum() / 100})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=ROW_GROUP, use_dictionary=False, compression="zstd", compression_level=1)
    assert result_bytes(table).size < sink.getvalue().size
