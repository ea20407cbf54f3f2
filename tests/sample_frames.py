"""Frames of every kind that a feature function may return."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping
from datetime import date, time

import numpy as np
import pandas as pd

_TIMES = pd.date_range("2024-03-08 14:30", periods=4, freq="min")


def _columns(**columns: object) -> pd.DataFrame:
    return pd.DataFrame(columns)


def _indexed(index: pd.Index) -> pd.DataFrame:
    return pd.DataFrame({"x": np.arange(len(index), dtype="float64")}, index=index)


KINDS: Mapping[str, Callable[[], pd.DataFrame]] = {
    "floats": lambda: _columns(a=[1.5, np.nan, np.inf, -np.inf], b=np.array([0.0, -0.0, 1e-320, 1], dtype="float32")),
    "integers": lambda: _columns(
        **{kind: np.array([0, 1, 2], dtype=kind) for kind in ("int8", "int16", "int32", "int64", "uint8", "uint64")}
    ),
    "a missing label": lambda: pd.DataFrame([[1.0, 2.0]], columns=pd.Index(["a", None], dtype="str")),
    "half floats": lambda: _columns(a=np.array([1, 2.5], dtype="float16")),
    "booleans": lambda: _columns(a=[True, False, True]),
    "text": lambda: _columns(a=["", "é", None], b=["x", "y", "z"]),
    "objects of text": lambda: _columns(a=pd.Series(["x", None, "z"], dtype="object")),
    "bytes": lambda: _columns(a=pd.Series([b"x", b"\0", None], dtype="object")),
    "dates": lambda: _columns(a=pd.Series([date(2024, 1, 1), None, date(1969, 12, 31)], dtype="object")),
    "times of day": lambda: _columns(a=pd.Series([time(9, 30), time(16, 0, 0, 1), None], dtype="object")),
    "decimals": lambda: _columns(a=pd.Series([decimal.Decimal("1.10"), decimal.Decimal("2.25"), None], dtype="object")),
    "lists": lambda: _columns(a=[[1.0, 2.0], [], [3.0]]),
    "nullable": lambda: _columns(
        a=pd.array([1, None, 3], dtype="Int64"),
        b=pd.array([True, None, False], dtype="boolean"),
        c=pd.array([1.5, None, 2.5], dtype="Float64"),
        d=pd.array([1, None, 3], dtype="UInt8"),
    ),
    "arrow strings": lambda: _columns(a=pd.array(["x", None], dtype="string")),
    "categories": lambda: _columns(
        a=pd.Categorical(["b", None, "a"], categories=["b", "a", "unused"], ordered=True),
        b=pd.Categorical(["x", "x", "y"]),
    ),
    "categories of numbers": lambda: _columns(a=pd.Categorical([2, 1, 2], categories=[2, 1, 3])),
    "instants": lambda: _columns(
        a=_TIMES, b=_TIMES.tz_localize("America/New_York"), c=_TIMES.as_unit("ns"), d=_TIMES.as_unit("ms")
    ),
    "instants in seconds": lambda: _columns(a=_TIMES.as_unit("s")),
    "not a time": lambda: _columns(a=pd.to_datetime(["2024-01-01", None]), b=pd.to_timedelta([None, 1], unit="s")),
    "durations": lambda: _columns(a=pd.to_timedelta([1, 2], unit="s"), b=pd.to_timedelta([1, 2], unit="ns")),
    "periods": lambda: _columns(a=pd.period_range("2024-01", periods=3, freq="M")),
    "intervals": lambda: _columns(a=pd.interval_range(0, 3)),
    "zoned index": lambda: _indexed(_TIMES.tz_localize("America/New_York").rename("when")),
    "utc index": lambda: _indexed(_TIMES.tz_localize("UTC")),
    "index with a frequency": lambda: _indexed(_TIMES),
    "index without a frequency": lambda: _indexed(pd.DatetimeIndex(list(_TIMES))),
    "index over a change of the clock": lambda: _indexed(
        pd.date_range("2024-11-03 00:30", periods=4, freq="h", tz="America/New_York")
    ),
    "index with repeats": lambda: _indexed(pd.Index([3, 1, 1, 2], name="n")),
    "text index": lambda: _indexed(pd.Index(["b", "a"], name="symbol")),
    "category index": lambda: _indexed(pd.CategoricalIndex(["b", "a", "b"])),
    "duration index": lambda: _indexed(pd.to_timedelta([1, 2], unit="s")),
    "range with a step": lambda: _indexed(pd.RangeIndex(10, 2, -3, name="r")),
    "several levels": lambda: _indexed(
        pd.MultiIndex.from_product([["AAPL", "MSFT"], _TIMES[:2]], names=["symbol", "when"])
    ),
    "several levels without names": lambda: _indexed(pd.MultiIndex.from_product([["a", "b"], [1, 2]])),
    "no rows": lambda: _columns(a=np.array([], dtype="float64"), b=np.array([], dtype="int32")),
    "no rows with a zoned index": lambda: _indexed(_TIMES[:0].tz_localize("Europe/Paris")),
    "no columns": lambda: pd.DataFrame(index=_TIMES),
    "nothing at all": pd.DataFrame,
    "one row": lambda: _columns(a=[1]),
    "odd column names": lambda: _columns(
        **{"": [1], "a.b": [2], "__index_level_0__": [3], "ü 'x\"": [4], "a" * 500: [5]}
    ),
    "numbers as column names": lambda: pd.DataFrame([[1, 2], [3, 4]], columns=[10, 20]),
    "named columns": lambda: pd.DataFrame([[1, 2]], columns=pd.Index(["a", "b"], name="field")),
    "range of column names": lambda: pd.DataFrame(np.eye(3)),
    "index named like a column": lambda: pd.DataFrame({"t": [1, 2]}, index=pd.Index([7, 8], name="t")),
    "many columns": lambda: pd.DataFrame(np.ones((3, 300)), columns=[f"c{i}" for i in range(300)]),
    "more rows than a row group": lambda: _columns(a=np.arange(1_200_000, dtype="int32")),
}
