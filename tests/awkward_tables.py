"""Arrow tables that plain Parquet changes, and results of every kind that no file brings back."""

from __future__ import annotations

import datetime as dt
import decimal
import io
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

import dateutil.tz
import numpy as np
import pandas as pd
import polars
import pyarrow as pa

D = decimal.Decimal
_MOMENT = dt.datetime.fromisoformat("2024-01-02T03:04:05")


def _table(values: list[Any], kind: pa.DataType) -> pa.Table:
    return pa.table({"a": pa.array(values, kind)})


def _codes(codes: list[int | None], words: list[Any], kind: pa.DataType, index: pa.DataType = pa.int8()) -> pa.Table:  # noqa: B008 - a type never changes
    return pa.table({"a": pa.DictionaryArray.from_arrays(pa.array(codes, index), pa.array(words, kind))})


TABLES: Mapping[str, Callable[[], pa.Table]] = {
    **{
        f"timestamp[{unit}] {zone}": lambda u=unit, z=zone: _table([_MOMENT, None], pa.timestamp(u, z))
        for unit in ("s", "ms", "us", "ns")
        for zone in (None, "UTC", "America/New_York", "+05:30")
    },
    **{f"duration[{unit}]": lambda u=unit: _table([dt.timedelta(1), None], pa.duration(u)) for unit in ("s", "ms", "us", "ns")},
    "date32": lambda: _table([dt.date(2024, 1, 1), None], pa.date32()),
    "date64": lambda: _table([dt.date(2024, 1, 1), None], pa.date64()),
    "time32 in s": lambda: _table([dt.time(9, 30), None], pa.time32("s")),
    "time32 in ms": lambda: _table([dt.time(9, 30), None], pa.time32("ms")),
    "time64 in ns": lambda: _table([dt.time(9, 30), None], pa.time64("ns")),
    "string": lambda: _table(["a", None], pa.string()),
    "large_string": lambda: _table(["a", None], pa.large_string()),
    "string_view": lambda: _table(["a", "a text that is longer than a view", None], pa.string_view()),
    "binary_view": lambda: _table([b"a", None], pa.binary_view()),
    "large_binary": lambda: _table([b"a", None], pa.large_binary()),
    "three bytes": lambda: _table([b"abc", None], pa.binary(3)),
    "nulls": lambda: _table([None, None], pa.null()),
    "half floats": lambda: _table([1.5, float("nan"), None], pa.float16()),
    "NaN beside null": lambda: _table([1.5, float("nan"), None, -0.0], pa.float64()),
    "NaN beside null in a list": lambda: _table([[float("nan"), None], None, []], pa.list_(pa.float64())),
    "decimals": lambda: _table([D("1.10"), None], pa.decimal128(10, 2)),
    "wide decimals": lambda: _table([D("1.10"), None], pa.decimal256(70, 2)),
    "uint64": lambda: _table([2**64 - 1, None], pa.uint64()),
    "list": lambda: _table([[1], [], None], pa.list_(pa.int64())),
    "large_list": lambda: _table([[1], [], None], pa.large_list(pa.int64())),
    "list_view": lambda: _table([[1], [], None], pa.list_view(pa.int64())),
    "fixed_size_list": lambda: _table([[1, 2], None], pa.list_(pa.int32(), 2)),
    "list of seconds": lambda: _table([[_MOMENT], None], pa.list_(pa.timestamp("s"))),
    "list of dictionaries": lambda: _table([["x", "y"], None], pa.list_(pa.dictionary(pa.int32(), pa.string()))),
    "struct": lambda: _table([{"x": 1}, None], pa.struct([("x", pa.int64())])),
    "struct of date64": lambda: _table([{"x": dt.date(2024, 1, 1)}, None], pa.struct([("x", pa.date64())])),
    "map": lambda: _table([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
    "dictionary of string": lambda: _codes([1, 0, None], ["b", "a", "never"], pa.string()),
    "dictionary of large_string": lambda: _codes([1, 0, None], ["b", "a"], pa.large_string()),
    "dictionary of string_view": lambda: _codes([1, 0, None], ["b", "a"], pa.string_view(), pa.uint32()),
    "dictionary of binary": lambda: _codes([1, 0, None], [b"b", b"a"], pa.binary()),
    "dictionary of ints": lambda: _codes([1, 0, None], [7, 3, 9], pa.int64()),
    "dictionary of floats": lambda: _codes([1, 0, None], [7.5, -0.0, 9.0], pa.float64()),
    "dictionary of bools": lambda: _codes([1, 0, None], [True, False], pa.bool_()),
    "dictionary of seconds": lambda: _codes([0, 0, None], [_MOMENT], pa.timestamp("s")),
    "dictionary of decimals": lambda: _codes([0, None], [D("1.10")], pa.decimal128(5, 2)),
    "dictionary of uint32 codes": lambda: _codes([1, 0, None], ["b", "a"], pa.string(), pa.uint32()),
    "ordered dictionary": lambda: pa.table(
        {"a": pa.DictionaryArray.from_arrays(pa.array([1, 0], pa.int16()), ["b", "a"], ordered=True)}
    ),
    "dictionary without rows": lambda: _codes([1, 0], ["b", "a"], pa.string()).slice(0, 0),
    "dictionary of ints without rows": lambda: _codes([1, 0], [7, 3], pa.int64()).slice(0, 0),
    "dictionary in chunks": lambda: pa.concat_tables([_codes([0], ["b"], pa.string()), _codes([0], ["a"], pa.string())]),
    "dictionary of ints in chunks": lambda: pa.concat_tables([_codes([0], [7], pa.int64()), _codes([0, 1], [7, 3], pa.int64())]),
    "uuid": lambda: pa.table({"a": pa.array([b"0123456789abcdef"], pa.binary(16)).cast(pa.uuid())}),
    "json": lambda: pa.table({"a": pa.array(['{"a": 1}']).cast(pa.json_())}),
    "bool8": lambda: pa.table({"a": pa.array([1, 0], pa.int8()).cast(pa.bool8())}),
    "one name twice": lambda: pa.table([pa.array([1]), pa.array([2.5])], names=["a", "a"]),
    "one name twice, seconds": lambda: pa.table([pa.array([_MOMENT], pa.timestamp("s")), pa.array([2.5])], names=["a", "a"]),
    "odd names": lambda: pa.table([pa.array([1])] * 3, names=["", "a.b", "ü"]),
    "not nullable": lambda: pa.table([pa.array([1])], schema=pa.schema([pa.field("a", pa.int64(), nullable=False)])),
    "metadata of a field": lambda: pa.table([pa.array([1])], schema=pa.schema([pa.field("a", pa.int64(), metadata={"k": "v"})])),
    "metadata": lambda: pa.table({"a": [1]}).replace_schema_metadata({"unit": "USD", "b": ""}),
    "metadata of seconds": lambda: _table([_MOMENT], pa.timestamp("s")).replace_schema_metadata({"unit": "USD"}),
    "notes of another table": lambda: pa.table({"a": [1]}).replace_schema_metadata({"fstore.table": "no schema"}),
    "rows without columns": lambda: pa.table({"a": [1, 2, 3]}).select([]),
    "rows without columns, metadata": lambda: pa.table({"a": [1, 2, 3]}).replace_schema_metadata({"k": "v"}).select([]),
    "nothing": lambda: pa.table({}),
    "no rows": lambda: pa.table({"a": pa.array([], pa.timestamp("s"))}),
    "of a frame": lambda: pa.Table.from_pandas(pd.DataFrame({"a": [1.5]}, index=pd.date_range("2024-01-01", periods=1, tz="UTC"))),
    "sliced": lambda: pa.table({"a": list(range(10)), "b": pa.array(["x"] * 10).dictionary_encode()}).slice(3, 4),
    "polars with categories": lambda: pa.table(polars.DataFrame({"a": ["x", "y"]}, schema={"a": polars.Categorical})),
    "polars": lambda: pa.table(polars.DataFrame({"a": ["x", None], "b": [_MOMENT, None]})),
}  # fmt: skip


class _Text(str):
    __slots__ = ()


class _Odd:
    def __init__(self, value: int) -> None:
        self.value = value


def _endless(cell: list[Any]) -> list[Any]:
    cell.append(cell)
    return cell


def _nested(levels: int) -> list[Any]:
    cell: list[Any] = [1]
    for _ in range(levels):
        cell = [cell]
    return cell


def _objects(*cells: object) -> pd.DataFrame:
    values = np.empty(len(cells), dtype=object)
    for at, cell in enumerate(cells):
        values[at] = cell
    return pd.DataFrame({"price": pd.Series(values, dtype=object)})


def _column(values: Any) -> pd.DataFrame:
    return pd.DataFrame({"price": values})


def _attrs(**attrs: object) -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1.0]})
    frame.attrs = attrs
    return frame


def _with_freq(freq: Any) -> pd.DataFrame:
    times = pd.date_range("2024-01-01", periods=3, freq=freq)
    return pd.DataFrame({"a": [1.0, 2.0, 3.0]}, index=times)


class _Fortnight(pd.offsets.Week):
    pass


class _Own(pa.ExtensionType):
    def __init__(self) -> None:
        super().__init__(pa.int64(), "tests.own")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> _Own:
        return cls()


def _own_type() -> pa.Table:
    return pa.table({"price": pa.ExtensionArray.from_storage(_Own(), pa.array([1]))})


_TIMES = pd.date_range("2024-07-01", periods=2, freq="h")

# By kind: what is returned, and what the refusal has to name.
# What Arrow has no type for is written down cell by cell.
MIXTURES: Mapping[str, Callable[[], pd.DataFrame]] = {
    "True, NaN and None": lambda: _objects(True, np.nan, None),
    "text, NaN and None": lambda: _objects("a", np.nan, None),
    "None and NaN": lambda: _objects(None, np.nan),
    "NaT and None": lambda: _objects(pd.NaT, None),
    "arrays of two dtypes": lambda: _objects(np.array([1], "int32"), np.array([2], "int64")),
    "arrays and lists": lambda: _objects(np.array([1]), [2]),
    "dicts of two types": lambda: _objects({"x": 1}, {"x": 2.0}),
    "dicts of two shapes": lambda: _objects({"x": 1}, {"y": 2}),
    "dicts in two orders": lambda: _objects({"x": 1, "y": 2}, {"y": 2, "x": 1}),
    "tuples and lists": lambda: _objects((1, 2), [3]),
    "tuples of two kinds": lambda: _objects((1, "a")),
    "numpy's ints of two widths": lambda: _objects(np.int64(1), np.int8(1)),
    "numpy's times": lambda: _objects(np.datetime64("2024-01-01", "s")),
    "timestamps of two zones": lambda: _objects(
        pd.Timestamp("2024-01-01", tz="UTC"), pd.Timestamp("2024-01-01", tz="Asia/Tokyo")
    ),
    "sets": lambda: _objects({1}, {2}),
    "ints and floats": lambda: _objects(1, 2.5),
    "ints and bools": lambda: _objects(1, True),
    "ints and texts": lambda: _objects(1, "a"),
    "ints beyond any column": lambda: _objects(10**80),
    "moments of two zones": lambda: _objects(
        dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.datetime(2024, 1, 1, tzinfo=ZoneInfo("Asia/Tokyo"))
    ),
    "numpy's texts": lambda: _objects(np.str_("a"), np.str_("b")),
    "periods and intervals": lambda: _objects(pd.Period("2024-01", "M"), pd.Interval(0, 1.5, closed="both"), None),
    "complex numbers": lambda: _objects(1j, complex(-0.0, float("nan"))),
    "timedeltas of two units": lambda: _objects(pd.Timedelta(1, "s"), dt.timedelta(1)),
    "a description of all columns": lambda: pd.DataFrame(
        {"a": [1.0, 2.0], "b": ["x", "y"], "c": [True, True]}
    ).describe(include="all"),
    "dicts without fields": lambda: _objects({}, {}),
    "dicts with numbers as keys": lambda: _objects({1: 2}, {3: None}),
    "an index of two kinds": lambda: pd.DataFrame({"a": [1.0, 2.0]}, index=pd.Index(["a", 1])),
}


def foreign_zone() -> ZoneInfo:
    """Make a zone of three hours, or four, that calls itself Berlin, as a file under another name does."""
    offset = (3 * 3600).to_bytes(4, "big") + bytes([0, 0])
    counts = b"".join(count.to_bytes(4, "big") for count in (0, 0, 0, 0, 1, 4))
    one = b"TZif2" + bytes(15) + counts + offset + b"MSK\0"
    return ZoneInfo.from_file(io.BytesIO(one + one + b"\nMSK-3MSD,M3.5.0,M10.5.0\n"), "Europe/Berlin")


REFUSED: Mapping[str, tuple[Callable[[], Any], str]] = {
    "texts of a subclass": (lambda: _objects(_Text("a")), "price"),
    "halves of a surrogate pair": (lambda: _objects("\ud800"), "price"),
    "surrogates as python strings": (lambda: _column(pd.array(["\ud800"], dtype="string[python]")), "price|surrogates"),
    "a class of frames": (lambda: pd.DataFrame, "the class DataFrame"),
    "a class of tables": (lambda: pa.Table, "the class Table"),
    "a class of readers": (lambda: pa.RecordBatchReader, "the class RecordBatchReader"),
    "own objects": (lambda: _objects(_Odd(1)), "price"),
    "a zone of another's file": (lambda: pd.DataFrame({"p": [1.0]}, index=pd.DatetimeIndex(["2024"], tz=foreign_zone())), "zone|index"),
    "moments in a zone of another's file": (lambda: _objects(dt.datetime(2024, 1, 1, tzinfo=foreign_zone())), "price"),
    "a huge int in attrs": (lambda: _attrs(a=10**5000), "attrs"),
    "attrs that nest a thousand times": (lambda: _attrs(a=reduce(lambda inner, _: {"a": inner}, range(3000), {})), "attrs"),
    "a list that holds itself": (lambda: _objects(_endless([])), "price.*holds itself"),
    "lists that hold each other in a dict": (lambda: _objects({"a": _endless([])}), "price.*holds itself"),
    "a cell of ten thousand levels": (lambda: _objects(_nested(10_000)), "price.*nests too deep"),
    "frames in cells": (lambda: _objects(pd.DataFrame({"a": [1]})), "price"),
    "complex": (lambda: _column([1j, 2]), "price"),
    "sparse": (lambda: _column(pd.arrays.SparseArray([0.0, 1.0])), "price"),
    "dateutil's UTC": (lambda: _column(_TIMES.tz_localize(dateutil.tz.tzutc())), "price"),
    "dateutil's zone": (lambda: _column(_TIMES.tz_localize(dateutil.tz.gettz("America/New_York"))), "price"),
    "dateutil's zone as index": (
        lambda: pd.DataFrame({"a": [1.0, 2.0]}, index=_TIMES.tz_localize(dateutil.tz.gettz("America/New_York"))),
        "index",
    ),
    "an offset named like a zone": (
        lambda: _column(_TIMES.tz_localize("UTC").tz_convert(dt.timezone(dt.timedelta(hours=1), "CET"))),
        "price",
    ),
    "own objects in attrs": (lambda: _attrs(model=_Odd(1)), "attrs.*_Odd"),
    "a frame in attrs": (lambda: _attrs(inner=pd.DataFrame({"a": [1]})), "attrs.*DataFrame"),
    "a function in attrs": (lambda: _attrs(make=len), "attrs"),
    "an own frequency": (lambda: _with_freq(_Fortnight(2)), r"index\.freq = None"),
    "labels of own objects": (lambda: pd.DataFrame([[1.0]], columns=pd.Index([_Odd(1)])), "column labels"),
    "labels twice": (lambda: pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]), "duplicate column names: a"),
    "a name of an own type": (lambda: pd.DataFrame({"a": [1.0]}, index=pd.Index([1], name=_Text("n"))), "name of the index"),
    "categories of own objects": (lambda: _column(pd.Categorical([_Odd(1)])), "categories of column 'price'"),
    "a series": (lambda: pd.Series([1.0]), "to_frame"),
    "None": (lambda: None, "NoneType"),
    "a list": (lambda: [1, 2], "list"),
    "an array": (lambda: np.zeros((2, 2)), "ndarray"),
    "a union": (
        lambda: pa.table({"price": pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])}),
        "price",
    ),
    "run ends": (lambda: pa.table({"price": pa.RunEndEncodedArray.from_arrays([2], [1])}), "price"),
    "months, days and nanoseconds": (
        lambda: pa.table({"price": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}),
        "price",
    ),
    "decimals of negative scale": (lambda: pa.table({"price": pa.nulls(1, pa.decimal128(10, -2))}), "price"),
    "a struct of nothing": (lambda: pa.table({"price": pa.array([{}], pa.struct([]))}), "price"),
    "a dictionary of structs": (
        lambda: pa.table({"price": pa.DictionaryArray.from_arrays(pa.array([0]), pa.array([{"x": 1}]))}),
        "price",
    ),
    "a struct of dictionaries of ints": (
        lambda: pa.table({"price": pa.array([{"x": 1}], pa.struct([("x", pa.dictionary(pa.int8(), pa.int64()))]))}),
        "price",
    ),
    "date64 with hours": (
        lambda: pa.table({"price": pa.array([3_600_000], pa.int64()).view(pa.date64())}),
        "price",
    ),
    "an extension type of one process": (_own_type, "storage type"),
    "metadata that make no frame": (
        lambda: pa.table({"a": [1]}).replace_schema_metadata({b"pandas": b'{"index_columns": ["gone"], "columns": 3}'}),
        "pandas metadata",
    ),
    "notes that are none": (lambda: pa.table({"a": [1]}).replace_schema_metadata({"fstore.frame": "{"}), "cannot be read back"),
}  # fmt: skip
