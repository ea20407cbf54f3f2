"""Random frames of every kind that market data come in, their neighbours, and other layouts of the same frame."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

_WORDS = ("AAPL", "MSFT", "", "é", "N/A", "nan", "1", "x" * 40)
_ZONES = ("UTC", "America/New_York", "Europe/London", "Asia/Kolkata")
Column = Callable[[random.Random, int], Any]


def _floats(rng: random.Random, rows: int) -> Any:
    odd = [0.0, -0.0, np.nan, np.inf, 5e-324, 1e300, 100.01]
    return np.array([rng.choice(odd) if rng.random() < 0.3 else rng.gauss(100, 1) for _ in range(rows)])


def _integers(rng: random.Random, rows: int) -> Any:
    kind = np.dtype(rng.choice(["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"]))
    limits = np.iinfo(kind)
    edges = [limits.min, limits.max, 0, 1]
    return np.array([rng.choice(edges) if rng.random() < 0.2 else rng.randrange(100) for _ in range(rows)], dtype=kind)


def _masked(rng: random.Random, rows: int) -> Any:
    kind = rng.choice(["Int64", "UInt8", "Float64", "Float32", "boolean"])
    value = {"boolean": lambda: rng.random() < 0.5}.get(kind, lambda: rng.randrange(5))
    return pd.array([None if rng.random() < 0.3 else value() for _ in range(rows)], dtype=kind)


def _text(rng: random.Random, rows: int) -> Any:
    values = [None if rng.random() < 0.2 else rng.choice(_WORDS) for _ in range(rows)]
    return pd.array(values, dtype=rng.choice(["str", "string", "string[python]"]))


def _objects(rng: random.Random, rows: int) -> Any:
    missing = rng.choice([None, np.nan, pd.NA])
    return pd.Series([missing if rng.random() < 0.2 else rng.choice(_WORDS) for _ in range(rows)], dtype=object).array


def _categories(rng: random.Random, rows: int) -> Any:
    known: Any = rng.choice(
        [
            ["N", "A", "Q", "unused"],
            [3, 1, 2],
            [1.5, -0.5, 2.5],
            pd.to_datetime(["2024-01-02", "2024-01-01"]).tolist(),
            [True, False],
        ]
    )
    known = rng.sample(list(known), len(known))
    codes = [rng.randrange(-1, len(known)) for _ in range(rows)]
    return pd.Categorical.from_codes(codes, categories=known, ordered=rng.random() < 0.3)


def _instants(rng: random.Random, rows: int) -> Any:
    unit = rng.choice(["s", "ms", "us", "ns"])
    base = pd.Timestamp("2024-03-08 09:30").value // 10**9
    seconds = np.array([base + rng.randrange(10**6) for _ in range(rows)], dtype="M8[s]").astype(f"M8[{unit}]")
    if rows and rng.random() < 0.3:
        seconds[rng.randrange(rows)] = np.datetime64("NaT")
    times = pd.DatetimeIndex(seconds)
    return (times.tz_localize("UTC").tz_convert(rng.choice(_ZONES)) if rng.random() < 0.5 else times).array


def _spans(rng: random.Random, rows: int) -> Any:
    unit = rng.choice(["s", "ms", "us", "ns"])
    return pd.array(np.array([rng.randrange(-5, 10**6) for _ in range(rows)], dtype=f"m8[{unit}]"))


def _booleans(rng: random.Random, rows: int) -> Any:
    return np.array([rng.random() < 0.5 for _ in range(rows)], dtype=bool)


def _periods(rng: random.Random, rows: int) -> Any:
    return pd.period_range("2024-01", periods=rows, freq=rng.choice(["M", "D", "Q"])).array


def _intervals(rng: random.Random, rows: int) -> Any:
    return pd.interval_range(0, rows, closed=rng.choice(["left", "right", "both"])).array[:rows]


def _arrow(rng: random.Random, rows: int) -> Any:
    kind = rng.choice([pa.int32(), pa.float64(), pa.string(), pa.bool_(), pa.timestamp("ms"), pa.decimal128(9, 2)])
    made: dict[pa.DataType, Callable[[], Any]] = {
        pa.int32(): lambda: rng.randrange(99),
        pa.float64(): lambda: rng.choice([0.5, float("nan"), -0.0]),
        pa.string(): lambda: rng.choice(_WORDS),
        pa.bool_(): lambda: rng.random() < 0.5,
        pa.timestamp("ms"): lambda: pd.Timestamp("2024-01-01") + pd.Timedelta(rng.randrange(28), "D"),
        pa.decimal128(9, 2): lambda: Decimal(rng.randrange(9999)).scaleb(-2),
    }
    values = [None if rng.random() < 0.2 else made[kind]() for _ in range(rows)]
    return pd.arrays.ArrowExtensionArray(pa.array(values, type=kind, from_pandas=False))


def _zoned(rng: random.Random, rows: int) -> Any:
    zone: Any = rng.choice([*_ZONES, timezone(timedelta(hours=-3, minutes=-30)), "US/Eastern", "Etc/GMT+5"])
    seconds = np.array([rng.randrange(1_700_000_000, 1_800_000_000) for _ in range(rows)], dtype="M8[s]")
    return pd.DatetimeIndex(seconds, tz="UTC").as_unit(rng.choice(["s", "us", "ns"])).tz_convert(zone).array


def _nested(rng: random.Random, rows: int) -> Any:
    kind: pa.DataType = rng.choice(
        [pa.list_(pa.int16()), pa.struct([("a", pa.int64()), ("b", pa.string())]), pa.list_(pa.float64(), 2),
         pa.large_list(pa.string()), pa.map_(pa.string(), pa.int8())]
    )  # fmt: skip
    made: dict[str, Any] = {"struct": {"a": 1, "b": "x"}, "map": [("k", 1)], "large_list": ["x", None]}
    value = made.get(str(kind).partition("<")[0], [1, 2])
    return pd.arrays.ArrowExtensionArray(pa.array([None if rng.random() < 0.2 else value for _ in range(rows)], kind))


def _odd_text(rng: random.Random, rows: int) -> Any:
    words = ["a\0b", "\0", "\U0001f600", "e\u0301", "é", rng.choice(["plain", "\ud800"])]
    values = [rng.choice(words) for _ in range(rows)]
    return pd.Series(values, dtype=object).array


def _refused(rng: random.Random, rows: int) -> Any:
    made: list[Callable[[], Any]] = [
        lambda: pd.arrays.SparseArray(np.zeros(rows)),
        lambda: np.zeros(rows, "c16"),
        lambda: pd.arrays.ArrowExtensionArray(pa.array([[1]] * rows, pa.list_view(pa.int64()))),
        lambda: pd.Series([rng.choice([1, "a", None]) for _ in range(rows)], dtype=object).array,
        lambda: pd.Series([Decimal(at).scaleb(-(at % 2)) for at in range(rows)], dtype=object).astype("category").array,
        lambda: pd.cut(np.arange(rows), 2) if rows else pd.Categorical([]),
    ]
    return rng.choice(made)()


COLUMNS: tuple[Column, ...] = (
    _floats, _floats, _integers, _masked, _text, _objects, _categories, _instants, _spans, _booleans, _periods,
    _intervals, _arrow, _zoned, _nested, _odd_text,
)  # fmt: skip


def random_frame(rng: random.Random) -> pd.DataFrame:
    """Make a frame of up to six columns and thirty rows; a third of them empty or of one row."""
    rows = rng.choice([0, 1, 2, 7, 30])
    names: list[Any] = rng.sample(["price", "size", "venue", "bid", "ask", "ts", "a b", "0"], rng.randrange(1, 6))
    if rng.random() < 0.15:
        names = list(range(len(names)))
    columns = {name: rng.choice(COLUMNS)(rng, rows) for name in names}
    if rng.random() < 0.05:
        columns[names[0]] = _refused(rng, rows)
    index = _index(rng, rows)
    index = pd.RangeIndex(rows) if index is None else index
    frame = pd.DataFrame({name: pd.Series(values, index, values.dtype) for name, values in columns.items()}, index)
    if rng.random() < 0.15:
        frame.columns = _labels(rng, len(names))
    if rng.random() < 0.15:
        frame.attrs = {"unit": "USD", "scale": rng.choice([1, 1.0, True, [1, 2], {"a": None}])}
    return frame


def _labels(rng: random.Random, width: int) -> pd.Index:
    texts = [f"c{at}" for at in range(width)]
    made: list[Callable[[], pd.Index]] = [
        lambda: pd.MultiIndex.from_tuples([(text, f"{at % 2}") for at, text in enumerate(texts)], names=["a", None]),
        lambda: pd.MultiIndex.from_tuples([(text, at) for at, text in enumerate(texts)]),
        lambda: pd.CategoricalIndex(texts),
        lambda: pd.Index(texts, dtype=object, name="field"),
        lambda: pd.Index(texts, dtype="string"),
        lambda: pd.Index([*texts[:-1], 1], dtype=object),
        lambda: pd.RangeIndex(width, name="n"),
        lambda: pd.date_range("2024-01-01", periods=width),
        lambda: pd.Index([at / 2 for at in range(width)]),
        lambda: pd.Index([3 * at for at in range(width)], dtype="uint8"),
    ]
    return rng.choice(made)()


def other_table(table: pa.Table) -> pa.Table:
    """Lay a table out as another library might: cut, with views of texts and wide codes, under other metadata too."""
    columns = [_otherwise(column) for column in table.columns]
    fields = [
        pa.field(name, column.type, metadata={"note": "own"})
        for name, column in zip(table.column_names, columns, strict=True)
    ]
    made = pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata={**table.schema.metadata, b"scale": b"1"}))
    half = made.num_rows // 2
    return pa.concat_tables([made.slice(0, half), made.slice(half)]) if half else table


def _otherwise(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_large_string(column.type):
        return column.cast(pa.string_view() if len(column) % 2 else pa.string())
    if not pa.types.is_dictionary(column.type):
        return column
    is_ordered = column.type.ordered
    return pa.chunked_array(
        [
            pa.DictionaryArray.from_arrays(chunk.indices.cast(pa.int64()), chunk.dictionary, ordered=is_ordered)
            for chunk in column.chunks
        ]
    )


def _index(rng: random.Random, rows: int) -> pd.Index | None:
    kind = rng.randrange(12)
    if kind == 0:
        return pd.RangeIndex(5, 5 + 2 * rows, 2, name="n")
    if kind in (1, 2):
        step = rng.choice(["s", "min", "D"])
        zone = rng.choice([None, *_ZONES])
        return pd.date_range("2024-03-08", periods=rows, freq=step, tz=zone, name="time").as_unit(
            rng.choice(["s", "ns"])
        )
    if kind == 3:
        return pd.Index([rng.choice(_WORDS) for _ in range(rows)], dtype="str", name="symbol")
    if kind == 4:
        return pd.MultiIndex.from_arrays(
            [[rng.choice("AB") for _ in range(rows)], pd.date_range("2024-01-01", periods=rows)],
            names=["symbol", "day"],
        )
    if kind == 5:
        return pd.CategoricalIndex(_categories(rng, rows), name="venue")
    return _odd_index(rng, rows) if kind > 7 else None


def _odd_index(rng: random.Random, rows: int) -> pd.Index:
    made: list[Callable[[], pd.Index]] = [
        lambda: pd.DatetimeIndex(["2024-03-10 04:30"] * rows, tz=rng.choice([None, "America/New_York"]), name="time"),
        lambda: pd.MultiIndex.from_arrays([_categories(rng, rows), _periods(rng, rows)], names=[None, "period"]),
        lambda: pd.Index(rng.choice([_zoned, _intervals, _periods])(rng, rows), name="i"),
        lambda: pd.Index(rng.choice([_spans, _integers, _booleans])(rng, rows), name="i"),
    ]
    return rng.choice(made)()


def neighbours(rng: random.Random, frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Make frames that differ from this one in a thing that some function can see."""
    rows, width = frame.shape
    for at in range(width):
        column = frame.iloc[:, at]
        if isinstance(column.dtype, pd.CategoricalDtype):
            order = list(column.cat.categories)[::-1]
            yield "categories reversed", _with(frame, at, column.cat.reorder_categories(order))
            yield (
                "ordered",
                _with(frame, at, column.cat.as_ordered() if not column.cat.ordered else column.cat.as_unordered()),
            )
            if order and not isinstance(order[0], pd.Interval | Decimal):
                yield "a category more", _with(frame, at, column.cat.add_categories([_another(order)]))
        elif isinstance(column.dtype, pd.DatetimeTZDtype):
            yield "another zone", _with(frame, at, column.dt.tz_convert(ZoneInfo("Asia/Tokyo")))
        elif isinstance(column.dtype, np.dtype) and column.dtype.kind in "mM":
            other = "us" if "us" not in str(column.dtype) else "ms"
            yield "another unit", _with(frame, at, column.dt.as_unit(other))
        elif isinstance(column.dtype, np.dtype) and column.dtype.kind == "f" and rows:
            values = column.to_numpy(copy=True)
            values[rng.randrange(rows)] = rng.choice([-0.0, 0.0, np.nan, 100.0])
            yield "one value", _with(frame, at, pd.Series(values, index=frame.index))
    if rows > 1:
        yield "rows reversed", frame.iloc[::-1]
    if width > 1:
        yield "columns reversed", frame.iloc[:, ::-1]
    yield "another index name", frame.rename_axis(["other"] * frame.index.nlevels)
    yield "other attrs", _with_attrs(frame, {"unit": "EUR"})


def layouts(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Make other layouts of the same frame, which no function can tell apart from it."""
    yield "copy", frame.copy(deep=True)
    yield "a view of twice as many rows", _restored(pd.concat([frame, frame]).iloc[: len(frame)], frame)
    yield "column by column", _restored(pd.concat([frame.iloc[:, [at]] for at in range(frame.shape[1])], axis=1), frame)


def _restored(other: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    other = other.set_axis(frame.index, axis=0).set_axis(frame.columns, axis=1)
    other.attrs = frame.attrs
    return other


def _with(frame: pd.DataFrame, at: int, column: Any) -> pd.DataFrame:
    other = frame.copy()
    other.isetitem(at, column)
    return other


def _with_attrs(frame: pd.DataFrame, attrs: dict[Any, Any]) -> pd.DataFrame:
    other = frame.copy()
    other.attrs = attrs
    return other


def _another(known: list[Any]) -> Any:
    first = known[0]
    if isinstance(first, str):
        return "another"
    if isinstance(first, bool):
        return "neither"
    return first + pd.Timedelta("1000D") if isinstance(first, pd.Timestamp) else 77 + first
