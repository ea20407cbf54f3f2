"""The comparison of what was read back with what was returned sees all that a function could see."""

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore.results.likeness import frame_difference, table_difference

DIFFERENT: dict[str, tuple[Any, Any]] = {
    "None for NaN": (pd.Series([True, np.nan], dtype=object), pd.Series([True, None], dtype=object)),
    "NaT for None": (pd.Series([None], dtype=object), pd.Series([pd.NaT], dtype=object)),
    "a float for an int": (pd.Series([1], dtype=object), pd.Series([1.0], dtype=object)),
    "True for 1": (pd.Series([1], dtype=object), pd.Series([True], dtype=object)),
    "minus zero": (pd.Series([0.0]), pd.Series([-0.0])),
    "minus zero among floats of two kinds": (pd.Series([0.0], dtype="float16"), pd.Series([-0.0], dtype="float16")),
    "minus zero under a mask": (pd.Series([0.0], dtype="Float64"), pd.Series([-0.0], dtype="Float64")),
    "NaN for null": (
        pd.Series(pd.arrays.ArrowExtensionArray(pa.array([float("nan")]))),
        pd.Series(pd.arrays.ArrowExtensionArray(pa.array([None], pa.float64()))),
    ),
    "another order of categories": (pd.Series(pd.Categorical(["a"], ["a", "b"])), pd.Series(pd.Categorical(["a"], ["b", "a"]))),
    "fewer categories": (pd.Series(pd.Categorical(["a"], ["a", "b"])), pd.Series(pd.Categorical(["a"], ["a"]))),
    "categories of objects": (
        pd.Series(pd.Categorical(["a"], pd.Index(["a"], dtype=object))), pd.Series(pd.Categorical(["a"])),
    ),
    "another name of categories": (
        pd.Series(pd.Categorical(["a"], pd.Index(["a"], name="venue"))), pd.Series(pd.Categorical(["a"])),
    ),
    "no frequency of categories": (
        pd.Series(pd.Categorical.from_codes([0], pd.date_range("2024", periods=3))),
        pd.Series(pd.Categorical.from_codes([0], pd.DatetimeIndex(["2024-01-01", "2024-01-02", "2024-01-03"]))),
    ),
    "a tuple for a list": (pd.Series([[1]]), pd.Series([(1,)])),
    "an array of another dtype": (pd.Series([np.array([1])]), pd.Series([np.array([1], "int32")])),
    "keys in another order": (pd.Series([{"a": 1, "b": 2}]), pd.Series([{"b": 2, "a": 1}])),
    "another unit": (pd.Series(pd.DatetimeIndex(["2024-01-01"]).as_unit("s")), pd.Series(pd.DatetimeIndex(["2024-01-01"]).as_unit("ns"))),
    "another storage of strings": (pd.Series(["a"], dtype="string[python]"), pd.Series(["a"], dtype="string[pyarrow]")),
}  # fmt: skip


@pytest.mark.parametrize("kind", DIFFERENT)
@pytest.mark.parametrize("where", ["columns", "index"])
def test_the_comparison_tells_apart_what_functions_can(kind: str, where: str) -> None:
    """What pandas' ``equals`` forgives is a difference here, in columns and in the index."""
    one, other = DIFFERENT[kind]
    if where == "columns":
        frames = [pd.DataFrame({"a": series}) for series in (one, other)]
    else:
        try:
            frames = [pd.DataFrame({"a": [0]}, index=pd.Index(series)) for series in (one, other)]
        except (TypeError, NotImplementedError):
            pytest.skip("it is no index")

    assert frame_difference(frames[0], frames[1]) is not None
    assert frame_difference(frames[1], frames[0]) is not None
    assert frame_difference(frames[0], frames[0].copy()) is None


_TIMES = pd.date_range("2024-01-02 10:00", periods=3, freq="h")


def _shown(**attrs: object) -> pd.DataFrame:
    frame = pd.DataFrame({"a": [1.0]})
    frame.attrs = attrs
    return frame


def _over(index: Any) -> pd.DataFrame:
    return pd.DataFrame({"a": np.zeros(len(index))}, index=index)


FRAME_PAIRS: dict[str, tuple[pd.DataFrame, pd.DataFrame]] = {
    "a tuple in attrs": (_shown(a=(1,)), _shown(a=[1])),
    "True in attrs": (_shown(a=True), _shown(a=1)),
    "attrs in another order": (_shown(a=1, b=2), _shown(b=2, a=1)),
    "no attrs": (_shown(a=1), _shown()),
    "no freq": (_over(_TIMES), _over(pd.DatetimeIndex(list(_TIMES)))),
    "freq of other arguments": (
        _over(pd.DatetimeIndex(_TIMES, freq=pd.offsets.BusinessHour())),
        _over(pd.DatetimeIndex(_TIMES, freq=pd.offsets.BusinessHour(start="10:00"))),
    ),
    "freq of another class": (
        _over(pd.DatetimeIndex(_TIMES[:1], freq=pd.offsets.Hour(24))), _over(pd.DatetimeIndex(_TIMES[:1], freq="D")),
    ),
    "a range": (_over(pd.RangeIndex(3)), _over(pd.Index([0, 1, 2]))),
    "labels that are a range": (pd.DataFrame([[1.0]]), pd.DataFrame([[1.0]], columns=pd.Index([0]))),
    "a range without rows": (_over(pd.RangeIndex(0)), _over(pd.RangeIndex(5, 5))),
    "a name": (_over(pd.Index([1], name="1")), _over(pd.Index([1], name=1))),
    "a name of another type": (_over(pd.Index([1], name=True)), _over(pd.Index([1], name=1))),
    "the name of labels": (pd.DataFrame(columns=pd.Index(["a"], name="f")), pd.DataFrame(columns=pd.Index(["a"]))),
    "text as labels": (
        pd.DataFrame([[1.0]], columns=pd.Index(["a"], dtype=object)), pd.DataFrame([[1.0]], columns=pd.Index(["a"])),
    ),
    "one level": (_over(pd.MultiIndex.from_arrays([[1, 2]])), _over(pd.Index([1, 2]))),
    "a level of another dtype": (
        _over(pd.MultiIndex.from_arrays([[1, 2], [1, 2]])),
        _over(pd.MultiIndex.from_arrays([[1, 2], np.array([1, 2], "int8")])),
    ),
    "flags": (_shown(), _shown().set_flags(allows_duplicate_labels=False)),
    "an offset named like a zone": (
        _over(pd.DatetimeIndex(["2024-07-01"], tz="CET")),
        _over(pd.DatetimeIndex(["2024-07-01"], tz="CET").tz_convert(timezone(timedelta(hours=2), "CET"))),
    ),
    "one column more": (pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1], "b": [1]})),
}  # fmt: skip


@pytest.mark.parametrize("kind", FRAME_PAIRS)
def test_the_comparison_sees_all_that_a_frame_shows(kind: str) -> None:
    """Names, frequency, attrs, flags and the class of an index count beside the values."""
    one, other = FRAME_PAIRS[kind]

    assert frame_difference(one, other) is not None
    assert frame_difference(other, one) is not None
    assert frame_difference(one, one.copy()) is None


TABLE_PAIRS: dict[str, tuple[pa.Table, pa.Table]] = {
    "NaN for null": (pa.table({"a": [1.0, float("nan")]}), pa.table({"a": pa.array([1.0, None])})),
    "minus zero": (pa.table({"a": [0.0]}), pa.table({"a": [-0.0]})),
    "another width": (pa.table({"a": pa.array(["x"])}), pa.table({"a": pa.array(["x"], pa.large_string())})),
    "metadata": (pa.table({"a": [1]}), pa.table({"a": [1]}).replace_schema_metadata({"k": "v"})),
    "nullability": (
        pa.table({"a": [1]}), pa.table([pa.array([1])], schema=pa.schema([pa.field("a", pa.int64(), nullable=False)])),
    ),
    "an unused category": (
        pa.table({"a": pa.DictionaryArray.from_arrays(pa.array([0]), ["x"])}),
        pa.table({"a": pa.DictionaryArray.from_arrays(pa.array([0]), ["x", "y"])}),
    ),
    "rows": (pa.table({"a": [1, 2]}).select([]), pa.table({"a": [1]}).select([])),
    "a name": (pa.table({"a": [1]}), pa.table({"b": [1]})),
}  # fmt: skip


@pytest.mark.parametrize("kind", TABLE_PAIRS)
def test_the_comparison_sees_all_that_a_table_shows(kind: str) -> None:
    """Types, nullability, metadata and categories count beside the values; chunks do not."""
    one, other = TABLE_PAIRS[kind]

    assert table_difference(one, other) is not None
    assert table_difference(other, one) is not None
    assert table_difference(one, one) is None
    assert table_difference(pa.concat_tables([one, one]), pa.concat_tables([one, one]).combine_chunks()) is None
