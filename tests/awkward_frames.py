"""Frames and tables that plain Parquet, plain JSON or pandas' own comparison would change."""

from __future__ import annotations

import datetime as dt
import decimal
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa

D = decimal.Decimal
_TIMES = pd.date_range("2024-03-08 14:30", periods=4, freq="min")
_NAIVE = dt.datetime.fromisoformat("2024-01-01T09:30:00")
_PRICES = [0.5, 1.5, 1.5, 2.5]


def _objects(*cells: object) -> pd.DataFrame:
    values = np.empty(len(cells), dtype=object)
    for at, cell in enumerate(cells):
        values[at] = cell
    return pd.DataFrame({"a": pd.Series(values, dtype=object)})


def _column(values: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": values})


def _indexed(index: pd.Index) -> pd.DataFrame:
    return pd.DataFrame({"x": np.arange(len(index), dtype="float64")}, index=index)


def _labelled(labels: Any) -> pd.DataFrame:
    return pd.DataFrame(np.arange(2.0 * len(labels)).reshape(2, -1), columns=labels)


def _attrs(attrs: dict[Any, Any]) -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1.0]})
    frame.attrs = attrs
    return frame


def _freq(index: Any) -> pd.DataFrame:
    return _indexed(index)


def _arrow(values: list[Any], kind: pa.DataType) -> pd.DataFrame:
    return _column(pd.arrays.ArrowExtensionArray(pa.chunked_array([pa.array(values, kind)])))


def _unique_labels() -> pd.DataFrame:
    return pd.DataFrame({"a": [1.0]}).set_flags(allows_duplicate_labels=False)


_CATEGORIES: Mapping[str, Any] = {
    "ints": [3, 1],
    "int8": np.array([3, 1], "int8"),
    "uint64": np.array([2**64 - 1, 1], "uint64"),
    "floats": [2.5, -1.0, 0.0],
    "infinite floats": [np.inf, 1.0],
    "float32": np.array([2.5, 1.0], "float32"),
    "bools": [True, False],
    "texts": ["b", "a"],
    "texts and unused": ["b", "a", "never"],
    "objects of text": pd.Index(["b", "a"], dtype=object),
    "arrow strings": pd.array(["b", "a"], dtype="string[pyarrow]"),
    "python strings": pd.array(["b", "a"], dtype="string[python]"),
    "arrow type strings": pd.array(["b", "a"], dtype=pd.ArrowDtype(pa.large_string())),
    "times": _TIMES[:2],
    "times in seconds": _TIMES[:2].as_unit("s"),
    "zoned times": _TIMES[:2].tz_localize("Asia/Tokyo"),
    "durations": pd.to_timedelta([2, 1], unit="s"),
    "periods": pd.period_range("2024-01", periods=2, freq="M"),
    "intervals": pd.interval_range(0, 2),
    "intervals of floats": pd.IntervalIndex.from_breaks([0.5, 1.5, 9.0], closed="left"),
    "intervals of times": pd.interval_range(_TIMES[0], periods=2, freq="h"),
    "nullable ints": pd.array([3, 1], dtype="Int64"),
    "dates": pd.Index([dt.date(2024, 1, 2), dt.date(2024, 1, 1)], dtype=object),
    "decimals": pd.Index([D("1.10"), D("2.25")], dtype=object),
    "a range": pd.RangeIndex(3),
    "tuples": pd.Index([("a", 1), ("b", 2)], tupleize_cols=False),
    "mixed": pd.Index(["a", 1], dtype=object),
    "named texts": pd.Index(["b", "a"], name="venue"),
    "named ints": pd.Index([3, 1], name=7),
    "named times": _TIMES[:2].rename("t"),
    "named objects": pd.Index(["a", 1], dtype=object, name=("m", 1)),
    "a named range": pd.RangeIndex(3, name="r"),
}


def _categorical(categories: Any, *, ordered: bool) -> pd.Categorical:
    return pd.Categorical.from_codes([1, -1, 0, 1], categories, ordered=ordered)


def _categorical_frames() -> Iterator[tuple[str, Callable[[], pd.DataFrame]]]:
    for name, categories in _CATEGORIES.items():
        for ordered in (False, True):
            made = partial(_categorical, categories, ordered=ordered)
            yield f"categories, {name}{', ordered' * ordered}", lambda m=made: _column(m())
        yield f"categories without rows, {name}", lambda m=made: _column(m()[:0])
        yield f"category index, {name}", lambda m=made: _indexed(pd.CategoricalIndex(m(), name="c"))
        yield (
            f"category level, {name}",
            lambda m=made: _indexed(pd.MultiIndex.from_arrays([m()[[0, 2]], [1, 2]], names=["c", "n"])),
        )
        yield f"category labels, {name}", lambda m=made: _labelled(pd.CategoricalIndex(m()[[0, 2]], name="c"))


_FRAMES: dict[str, Callable[[], pd.DataFrame]] = {
    # what analysts do
    "get_dummies": lambda: pd.get_dummies(pd.Series(["N", "A", "N"], dtype="category")),
    "get_dummies of a frame": lambda: pd.get_dummies(_column(pd.Categorical(["N", "A", "N"]))),
    "cut": lambda: _column(pd.cut(_PRICES, [0, 1, 2, 3])),
    "cut into equal bins": lambda: _column(pd.cut(_PRICES, 3)),
    "cut with numbers as labels": lambda: _column(pd.cut(_PRICES, 2, labels=[10, 20])),
    "cut with nothing inside": lambda: _column(pd.cut(_PRICES, [7, 8])),
    "cut of times": lambda: _column(pd.cut(_TIMES, 2)),
    "qcut": lambda: _column(pd.qcut(_PRICES, 2)),
    "grouped by cut": lambda: _column(_PRICES).groupby(pd.cut(_PRICES, [0, 1, 2, 3]), observed=False).mean(),
    "pivot over categories": lambda: pd.DataFrame(
        {"t": [1, 1, 2], "v": pd.Categorical(["N", "A", "N"]), "p": [1.0, 2.0, 3.0]}
    ).pivot(index="t", columns="v", values="p"),
    "pivot over times": lambda: pd.DataFrame({"t": [1, 2], "v": _TIMES[:2], "p": [1.0, 2.0]}).pivot(
        index="t", columns="v", values="p"
    ),
    "pivot of two values": lambda: pd.DataFrame({"t": [1, 2], "v": ["a", "b"], "p": [1.0, 2.0], "q": [3, 4]}).pivot(
        index="t", columns="v"
    ),
    "crosstab": lambda: pd.crosstab(pd.Series(["a", "b"], name="x"), pd.Series([True, False], name="y")),
    "describe": lambda: _column(_PRICES).describe(),
    "several aggregates": lambda: _column(_PRICES).groupby([1, 1, 2, 2]).agg(["mean", "max"]),
    "ohlc": lambda: _indexed(_TIMES)["x"].resample("2min").ohlc(),
    "transposed": lambda: _indexed(_TIMES).T,
    "transposed over intervals": lambda: _indexed(pd.interval_range(0, 2)).T,
    "transposed over periods": lambda: _indexed(pd.period_range("2024-01", periods=2, freq="Q")).T,
    "value_counts": lambda: pd.Series([1.5, 1.5, 2.5]).value_counts().to_frame(),
    "read without header": lambda: _indexed(pd.Index([7, 8], name=0)),
    "rows alone": lambda: pd.DataFrame(index=pd.RangeIndex(5)),
    "intervals of zoned times": lambda: _column(pd.interval_range(_TIMES[0].tz_localize("UTC"), periods=2, freq="h")),
    "no columns, range with a step": lambda: pd.DataFrame(index=pd.RangeIndex(9, 3, -2, name="r")),
    "no columns any more": lambda: _column(_PRICES)[[]],
    "no columns, named labels": lambda: pd.DataFrame(index=[1, 2], columns=pd.Index([], name="field", dtype="str")),
    "no columns over categories": lambda: pd.DataFrame(index=pd.CategoricalIndex([3, 1, 3])),
    "no columns and no rows": lambda: pd.DataFrame(index=pd.DatetimeIndex([], tz="UTC")),
    "no rows, seconds": lambda: _indexed(pd.DatetimeIndex([], tz="UTC")),
    "dates as index": lambda: _indexed(pd.DatetimeIndex([dt.date(2024, 1, 2)])),
    "a level that no row uses": lambda: _indexed(pd.MultiIndex.from_product([["a", "b"], [1, 2]]))[:2],
    "one level": lambda: _indexed(pd.MultiIndex.from_arrays([[1, 2]], names=["n"])),
    "one level of dates": lambda: _indexed(pd.MultiIndex.from_arrays([[dt.date(2024, 1, 1), dt.date(2024, 1, 2)]])),
    "unique labels": _unique_labels,
    # time
    **{f"column in {unit}": lambda u=unit: _column(_TIMES.as_unit(u)) for unit in ("s", "ms", "us", "ns")},
    **{f"index in {unit}": lambda u=unit: _indexed(_TIMES.as_unit(u)) for unit in ("s", "ms", "us", "ns")},
    **{f"zoned index in {unit}": lambda u=unit: _indexed(_TIMES.as_unit(u).tz_localize("Europe/Paris")) for unit in ("s", "ns")},
    **{f"durations in {unit}": lambda u=unit: _column(pd.to_timedelta([1, 2], unit="s").as_unit(u)) for unit in ("s", "ns")},
    "seconds with NaT": lambda: _column(pd.DatetimeIndex([None, "2024-01-01"]).as_unit("s")),
    "seconds far away": lambda: _column(np.array(["9999-12-31", "0001-01-01"], "M8[s]")),
    "year 10000": lambda: _column(np.array(["10000-01-01", "2024-01-01"], "M8[us]")),
    "before year 1": lambda: _column(np.array(["-0010-01-01"], "M8[s]")),
    "index in year 10000": lambda: _indexed(pd.DatetimeIndex(np.array(["10000-01-01"], "M8[us]"))),
    "utc by datetime": lambda: _column(_TIMES.tz_localize(dt.UTC)),
    "utc by zone": lambda: _column(_TIMES.tz_localize(ZoneInfo("UTC"))),
    "fixed offset": lambda: _column(_TIMES.tz_localize(dt.timezone(dt.timedelta(hours=5, minutes=30)))),
    "interval column": lambda: _column(pd.arrays.IntervalArray.from_breaks([0, 1, 2], closed="both")),
    "interval index of times": lambda: _indexed(pd.interval_range(_TIMES[0], periods=2, freq="h")),
    "period index": lambda: _indexed(pd.period_range("2024-01", periods=3, freq="W-TUE")),
    "period level": lambda: _indexed(
        pd.MultiIndex.from_product([["a"], pd.period_range("2024-01", periods=2, freq="M")], names=["s", "p"])
    ),
    # frequencies
    "business hours of an exchange": lambda: _freq(
        pd.date_range("2024-01-02 09:30", periods=8, freq=pd.offsets.BusinessHour(start="09:30", end="16:00"))
    ),
    "business hours with a break": lambda: _freq(
        pd.date_range(
            "2024-01-02 09:30",
            periods=8,
            freq=pd.offsets.BusinessHour(start=["09:30", "13:00"], end=["12:00", "16:00"]),
        )
    ),
    "business days with a holiday": lambda: _freq(
        pd.date_range("2024-01-02", periods=20, freq=pd.offsets.CustomBusinessDay(holidays=["2024-01-15"]))
    ),
    "business days of another week": lambda: _freq(
        pd.date_range("2024-01-02", periods=9, freq=pd.offsets.CustomBusinessDay(weekmask="Sun Mon Tue Wed Thu"))
    ),
    "custom business hours": lambda: _freq(
        pd.date_range("2024-01-02 10:00", periods=9, freq=pd.offsets.CustomBusinessHour(start="10:00", holidays=["2024-01-03"]))
    ),
    "a month and two days": lambda: _freq(pd.date_range("2024-01-02", periods=3, freq=pd.DateOffset(months=1, days=2))),
    "easter": lambda: _freq(pd.date_range("2020-01-01", periods=4, freq=pd.offsets.Easter())),
    "52 weeks": lambda: _freq(pd.date_range("2020-01-01", periods=4, freq=pd.offsets.FY5253(weekday=2, startingMonth=1))),
    "two weeks": lambda: _freq(pd.date_range("2020-01-01", periods=4, freq="2W-WED")),
    "midnights of business days": lambda: _freq(pd.date_range("2020-01-01", periods=4, freq=pd.offsets.BDay(normalize=True))),
    "zoned ticks": lambda: _freq(pd.date_range("2024-11-03 00:30", periods=4, freq="h", tz="America/New_York")),
    "zoned days": lambda: _freq(pd.date_range("2024-11-02", periods=4, freq="D", tz="America/New_York")),
    "durations with a frequency": lambda: _freq(pd.timedelta_range("1s", periods=4, freq="90s")),
    "durations without": lambda: _freq(pd.to_timedelta([1, 2, 3], unit="s")),
    "labels with a frequency": lambda: _labelled(pd.date_range("2024-01-01", periods=3, freq="ME")),
    "no rows with a frequency": lambda: _freq(_TIMES[:0]),
    # labels and names
    "range as labels": lambda: _labelled(pd.RangeIndex(3)),
    "range with a step as labels": lambda: _labelled(pd.RangeIndex(1, 9, 3, name="r")),
    "ints as labels": lambda: _labelled(pd.Index([3, 1])),
    "small ints as labels": lambda: _labelled(pd.Index([3, 1], dtype="int8")),
    "floats as labels": lambda: _labelled([0.5, np.nan]),
    "bools as labels": lambda: _labelled([True, False]),
    "times as labels": lambda: _labelled(_TIMES),
    "times of two precisions as labels": lambda: _labelled(pd.DatetimeIndex(["2024-01-01", "2024-01-01 00:00:00.5"])),
    "zoned times as labels": lambda: _labelled(_TIMES.tz_localize("America/New_York")),
    "seconds as labels": lambda: _labelled(_TIMES.as_unit("s")),
    "dates as labels": lambda: _labelled(pd.Index([dt.date(2024, 1, 1), dt.date(2024, 1, 2)], dtype=object)),
    "periods as labels": lambda: _labelled(pd.period_range("2024-01", periods=2, freq="M")),
    "intervals as labels": lambda: _labelled(pd.interval_range(0, 2)),
    "durations as labels": lambda: _labelled(pd.to_timedelta([1, 2], unit="s")),
    "objects of text as labels": lambda: _labelled(pd.Index(["a", "b"], dtype=object)),
    "a missing object as label": lambda: _labelled(pd.Index(["a", None], dtype=object)),
    "arrow strings as labels": lambda: _labelled(pd.Index(["a", "b"], dtype="string[pyarrow]")),
    "python strings as labels": lambda: _labelled(pd.Index(["a", "b"], dtype="string[python]")),
    "labels that are one text": lambda: _labelled(pd.Index(["1", "1 (2)", "x"], dtype=object)),
    "levels as labels": lambda: _labelled(pd.MultiIndex.from_product([["a"], [1, 2]], names=["x", None])),
    "levels with times as labels": lambda: _labelled(pd.MultiIndex.from_product([["a"], _TIMES[:2]], names=["x", "t"])),
    "levels with categories as labels": lambda: _labelled(
        pd.MultiIndex.from_arrays([pd.Categorical(["b", "a"], ["b", "a", "c"]), [1, 2]], names=["c", "n"])
    ),
    "levels with something missing as labels": lambda: _labelled(pd.MultiIndex.from_tuples([("a", 1.0), ("b", None)])),
    "one level as labels": lambda: _labelled(pd.MultiIndex.from_arrays([["a", "b"]])),
    **{
        f"index name {name!r}": lambda n=name: _indexed(pd.Index([1, 2], name=n))
        for name in (0, 1.5, True, ("a", 1), dt.date(2024, 1, 1), np.int64(3), pd.Timestamp("2024-01-01"), "")
    },
    **{
        f"range name {name!r}": lambda n=name: _indexed(pd.RangeIndex(2, name=n)) for name in (0, True, ("a", 1), np.int64(3))
    },
    **{
        f"name of labels {name!r}": lambda n=name: _labelled(pd.Index(["a", "b"], name=n)) for name in (0, ("a", 1), True)
    },
    "level names of all kinds": lambda: _indexed(pd.MultiIndex.from_product([[1], [2], [3]], names=[0, None, ("x", 1.5)])),
    # index values
    "dates as object index": lambda: _indexed(pd.Index([dt.date(2024, 1, 1), None], dtype=object, name="d")),
    "decimals as index": lambda: _indexed(pd.Index([D("1.0"), D("2.5")], dtype=object)),
    "bools as index": lambda: _indexed(pd.Index([True, False])),
    "objects of bool as index": lambda: _indexed(pd.Index([True, None], dtype=object)),
    "objects of int as index": lambda: _indexed(pd.Index([1, 2], dtype=object)),
    "nullable ints as index": lambda: _indexed(pd.Index([1, None], dtype="Int64")),
    "floats with NaN as index": lambda: _indexed(pd.Index([1.0, np.nan])),
    "level of dates": lambda: _indexed(
        pd.MultiIndex.from_arrays([[dt.date(2024, 1, 1), dt.date(2024, 1, 2)], ["a", "b"]], names=["d", "s"])
    ),
    # objects
    "True and NaN": lambda: _objects(True, np.nan),
    "True and None": lambda: _objects(True, None),
    "True and NA": lambda: _objects(True, pd.NA),
    "dates and NaN": lambda: _objects(dt.date(2024, 1, 1), np.nan),
    "dates and NaT": lambda: _objects(dt.date(2024, 1, 1), pd.NaT),
    "decimals and NaN": lambda: _objects(D("1.10"), np.nan),
    "bytes and NaN": lambda: _objects(b"x", np.nan),
    "times of day and NaN": lambda: _objects(dt.time(9, 30), np.nan),
    "None alone": lambda: _objects(None, None),
    "NaN alone": lambda: _objects(np.nan, np.nan),
    "NaT alone": lambda: _objects(pd.NaT),
    "ints as objects": lambda: _objects(1, 2),
    "ints and None": lambda: _objects(1, None),
    "ints and NaN": lambda: _objects(1, np.nan),
    "large ints": lambda: _objects(2**63, -(2**70), None),
    "unsigned ints": lambda: _objects(2**64 - 1, 1),
    "huge ints": lambda: _objects(10**75),
    "floats as objects": lambda: _objects(1.5, -0.0),
    "floats and None": lambda: _objects(1.5, None),
    "arrays": lambda: _objects(np.array([1, 2], "int32"), np.array([], "int32")),
    "lists of floats": lambda: _objects([1.0], [], None),
    "lists of texts": lambda: _objects(["a"], ["b", "c"]),
    "lists of lists": lambda: _objects([[1], []], [[2, 3]]),
    "dicts": lambda: _objects({"x": 1, "y": "a"}, {"x": 2, "y": "b"}),
    "lists of dicts": lambda: _objects([{"x": 1}], [{"x": 2}, {"x": 3}]),
    "moments": lambda: _objects(_NAIVE, None),
    "timestamps as objects": lambda: _objects(pd.Timestamp("2024-01-01 09:30"), pd.NaT),
    "zoned timestamps as objects": lambda: _objects(pd.Timestamp("2024-11-03 06:30", tz="UTC").tz_convert("America/New_York"), None),
    "timestamps in ns as objects": lambda: _objects(pd.Timestamp("2024-01-01 00:00:00.000000001")),
    "decimals of two scales": lambda: _objects(D("1.0"), D("1.25"), None, D("100")),
    "decimals that are none": lambda: _objects(D("1.0"), D("NaN"), D("-Infinity")),
    "tuples": lambda: _objects((1, 2), (), None),
    "numpy's ints": lambda: _objects(np.int8(1), None, np.int8(-3)),
    "numpy's floats": lambda: _objects(np.float32(1.5), np.float32(-0.0)),
    "numpy's bools": lambda: _objects(np.bool_(True), np.bool_(False)),
    "moments in UTC": lambda: _objects(dt.datetime(2024, 1, 1, 9, 30, tzinfo=dt.UTC), None),
    "moments in New York": lambda: _objects(dt.datetime(2024, 11, 3, 1, 30, tzinfo=ZoneInfo("America/New_York"), fold=1)),
    "durations as objects": lambda: _objects(dt.timedelta(seconds=1), None),
    # values
    "minus zero": lambda: _column([0.0, -0.0]),
    "payload of a NaN": lambda: _column(np.array([0x7FF8000000000123, 0x7FF8000000000000], "u8").view("f8")),
    "NaN beside null": lambda: _arrow([1.0, float("nan"), None], pa.float64()),
    "arrow ints": lambda: _arrow([1, None], pa.int32()),
    "arrow seconds": lambda: _arrow([_NAIVE], pa.timestamp("s")),
    "arrow date64": lambda: _arrow([dt.date(2024, 1, 1)], pa.date64()),
    "arrow time32": lambda: _arrow([dt.time(9, 30)], pa.time32("s")),
    "arrow dictionary of ints": lambda: _arrow([1, 2, None], pa.dictionary(pa.int8(), pa.int64())),
    "arrow type strings": lambda: _arrow(["a", None], pa.string()),
    "arrow large strings": lambda: _arrow(["a", None], pa.large_string()),
    "arrow views": lambda: _arrow(["a", None], pa.string_view()),
    "arrow lists": lambda: _arrow([[1], None], pa.list_(pa.int64())),
    "arrow structs": lambda: _arrow([{"x": 1}, None], pa.struct([("x", pa.int64())])),
    "arrow decimals": lambda: _arrow([D("1.10"), None], pa.decimal128(10, 2)),
    "nullable floats": lambda: _column(pd.array([1.5, None], dtype="Float32")),
    "python strings": lambda: _column(pd.array(["a", None], dtype="string[python]")),
    "strings of objects with NaN": lambda: _objects("a", np.nan),
    "half floats and NaN": lambda: _column(np.array([1.5, np.nan], "float16")),
    # attrs
    **{
        f"attrs {name}": lambda a=attrs: _attrs(a)
        for name, attrs in {
            "plain": {"a": [1, {"b": None}]},
            "of a tuple": {"a": (1, 2)},
            "with an int as key": {1: "a", "1": "b"},
            "with a tuple as key": {("a", 1): 1.5},
            "of numpy's numbers": {"a": np.int64(5), "b": np.float32(0.5), "c": np.bool_(True)},
            "of times": {"a": pd.Timestamp("2024-01-01", tz="UTC"), "b": dt.date(2024, 1, 1), "c": dt.timedelta(1)},
            "of moments": {"a": dt.datetime(2024, 1, 1, tzinfo=dt.UTC), "b": _NAIVE, "c": dt.time(9)},
            "of an array": {"a": np.arange(3.0)},
            "of a set": {"a": {1, 2}, "b": frozenset("xy")},
            "of NaN": {"a": float("nan"), "b": float("-inf"), "c": -0.0},
            "of missing values": {"a": pd.NaT, "b": pd.NA, "c": None},
            "of decimals and bytes": {"a": D("1.10"), "b": b"x"},
            "in an order": {"b": 1, "a": 2},
            "of large ints": {"a": 2**80},
            "nested": {"a": {"b": [(1, {"c": np.array([1])})]}},
        }.items()
    },
}  # fmt: skip

FRAMES: Mapping[str, Callable[[], pd.DataFrame]] = {**_FRAMES, **dict(_categorical_frames())}
