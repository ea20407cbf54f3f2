"""Whether what was read back is what was returned, and if not, where it differs.

pandas' own ``equals`` forgives what a function can see: None where NaN was, ``1.0``
where ``1`` was in a column of objects, another ``freq``, other ``attrs``. Here floats
count by their bits, missing values by their kind, and objects by their type. Left out
is what has no meaning of its own: the levels of a MultiIndex that no row uses and what frequency
pandas says they have, chunks, bytes under nulls, and whether a frame was of a subclass of ``DataFrame``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.fingerprint import BLOCK_ROWS, ArrowColumn
from fstore.frames import dtypes_of, level_at
from fstore.results.python_values import same, same_zone

# Types of which Arrow's own ``equals`` tells all; it takes no NaN for another, and 0.0 for -0.0.
_EXACT = {
    kind.id
    for kind in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.bool_(), pa.string(), pa.large_string(), pa.string_view(), pa.date32(), pa.timestamp("s")),
    )
}
_FIELD_ID = b"PARQUET:field_id"  # a reader's addition


def frame_difference(one: pd.DataFrame, other: pd.DataFrame) -> str | None:
    """Say where two frames differ, or return None when a function could not tell them apart."""
    if one.shape != other.shape:
        return f"its shape {one.shape}"
    if fault := index_difference(one.columns, other.columns):
        return f"the column labels ({fault})"
    if fault := index_difference(one.index, other.index):
        return f"the index ({fault})"
    if not same(dict(one.attrs), dict(other.attrs)):
        return "its attrs"
    if one.flags.allows_duplicate_labels != other.flags.allows_duplicate_labels:
        return "its flags"
    return _differing_column(one, other)


def series_difference(one: pd.Series[Any], other: object) -> str | None:
    """Say where a Series differs from what came back.

    None when a function could not tell them apart.
    """
    if not isinstance(other, pd.Series):
        return f"a {type(other).__name__}"
    if not same(one.name, other.name):
        return f"the name {one.name!r}"
    if not same(dict(one.attrs), dict(other.attrs)):
        return "its attrs"
    frames = [pd.DataFrame({"x": series}) for series in (one, other)]
    if one.flags.allows_duplicate_labels != other.flags.allows_duplicate_labels:
        return "its flags"
    return frame_difference(*frames)


def index_difference(one: pd.Index, other: pd.Index) -> str | None:
    """Say how two indexes or sets of labels differ, or return None."""
    if type(one) is not type(other) or one.nlevels != other.nlevels:
        return f"a {type(one).__name__} of dtype {one.dtype}"
    if not same(list(one.names), list(other.names)):
        return f"the name {one.name!r}" if one.nlevels == 1 else f"the names {list(one.names)}"
    if isinstance(one, pd.MultiIndex):
        levels = ((i, level_at(one, i), level_at(other, i)) for i in range(one.nlevels))
        faults = ((i, _values_difference(mine, others)) for i, mine, others in levels)
        return next((f"level {i}: {fault}" for i, fault in faults if fault), None)
    if isinstance(one, pd.RangeIndex) and isinstance(other, pd.RangeIndex):
        spans = [(index.start, len(index), index.step) for index in (one, other)]  # it ends right behind its last value
        return None if spans[0] == spans[1] else "its range"
    freq, again = getattr(one, "freq", None), getattr(other, "freq", None)
    is_same = type(freq) is type(again) and freq == again
    return _values_difference(one, other) if is_same else f"the frequency {freq!r}"


def label_at(frame: pd.DataFrame, position: int) -> Any:
    """Return a label as its owner wrote it: ``0`` and no ``np.int64(0)``."""
    return frame.columns[position : position + 1].tolist()[0]


def table_difference(one: pa.Table, other: pa.Table) -> str | None:
    """Say where two tables differ, chunks aside, or return None."""
    if one.num_rows != other.num_rows or one.num_columns != other.num_columns:
        return f"its shape {one.shape}"
    if (one.schema.metadata or {}) != (other.schema.metadata or {}):
        return "the metadata of its schema"
    columns = zip(one.schema, other.schema, one.columns, other.columns, strict=True)
    faults = (_column_difference(*both) for both in columns)
    return next((fault for fault in faults if fault), None)


def _column_difference(mine: pa.Field, again: pa.Field, column: pa.ChunkedArray, back: pa.ChunkedArray) -> str | None:
    fault: str | None = None
    try:
        if mine.name != again.name or mine.type != again.type:
            fault = f"column {mine.name!r} of type {mine.type}"
        elif mine.nullable != again.nullable or _own_metadata(mine) != _own_metadata(again):
            fault = f"the nullability or metadata of column {mine.name!r}"
        elif not _same_chunks(column, back):
            fault = f"the values of column {mine.name!r}"
    except (pa.ArrowException, NotImplementedError, ValueError):
        fault = f"column {mine.name!r} of type {mine.type}, whose values cannot be compared"
    return fault


def _differing_column(one: pd.DataFrame, other: pd.DataFrame) -> str | None:
    dtypes, again = dtypes_of(one), dtypes_of(other)
    if _are_numbers(dtypes) and dtypes == again and _same_bits(one.to_numpy(), other.to_numpy()):
        return None
    # Under plain numbers as labels: pandas looks labels up at a high price.
    numbers = range(one.shape[1])
    columns = zip(one.set_axis(numbers, axis=1).items(), other.set_axis(numbers, axis=1).items(), strict=True)
    for at, ((_, mine), (_, back)) in enumerate(columns):
        if fault := _dtype_difference(mine.dtype, back.dtype):
            return f"column {label_at(one, at)!r} ({fault})"
        if not _same_values(mine.array, back.array):
            return f"the values of column {label_at(one, at)!r} of dtype {mine.dtype}"
    return None


def _values_difference(one: Any, other: Any) -> str | None:
    if fault := _dtype_difference(one.dtype, other.dtype):
        return fault
    return None if _same_values(one.array, other.array) else f"its values of dtype {one.dtype}"


def _are_numbers(dtypes: list[Any]) -> bool:
    return bool(dtypes) and isinstance(dtypes[0], np.dtype) and dtypes[0].kind in "iuf" and len(set(dtypes)) == 1


def _dtype_difference(one: Any, other: Any) -> str | None:
    if isinstance(one, pd.CategoricalDtype) and isinstance(other, pd.CategoricalDtype):
        if one.ordered != other.ordered:
            return "the order of its categories"
        return _categories_difference(one.categories, other.categories)
    if one != other:
        return f"dtype {one}"
    if isinstance(one, pd.DatetimeTZDtype) and not same_zone(one.tz, other.tz):
        return f"dtype {one}, time zone {one.tz!r}"
    return None


def _categories_difference(one: pd.Index, other: pd.Index) -> str | None:
    """Compare categories as the index that they are; a range is the integers that it stands for."""
    if not same(one.name, other.name):
        return f"categories that are called {one.name!r}"
    freq, again = getattr(one, "freq", None), getattr(other, "freq", None)
    is_same = type(freq) is type(again) and freq == again and not _values_difference(one, other)
    return None if is_same else f"categories of dtype {one.dtype}"


def _same_values(one: Any, other: Any) -> bool:
    """Compare two arrays of one dtype."""
    if len(one) != len(other):
        is_same = False
    elif isinstance(one, pd.Categorical):
        is_same = np.array_equal(one.codes, other.codes)
    elif isinstance(one, pd.arrays.IntervalArray):
        ends = ((one.left, other.left), (one.right, other.right))
        is_same = all(_same_values(pd.Index(mine).array, pd.Index(others).array) for mine, others in ends)
    elif hasattr(one, "asi8"):
        is_same = np.array_equal(one.asi8, other.asi8)
    elif isinstance(one.dtype, pd.ArrowDtype) or getattr(one.dtype, "storage", "") == "pyarrow":
        is_same = _same_chunks(_as_arrow(one), _as_arrow(other))
    elif isinstance(getattr(one, "_mask", None), np.ndarray):  # what lies under the mask does not count
        valid = ~one.isna()
        is_same = np.array_equal(valid, ~other.isna()) and _same_bits(one[valid].to_numpy(), other[valid].to_numpy())
    else:
        is_same = _same_bits(np.asarray(one), np.asarray(other))
    return bool(is_same)


def _same_bits(one: Any, other: Any) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.dtype == object:
        return all(map(same, one, other))
    whole = f"u{one.dtype.itemsize}"
    if one.dtype.itemsize in (1, 2, 4, 8):
        return bool(np.array_equal(one.view(whole), other.view(whole)))
    return bool(one.tobytes() == other.tobytes())


def _as_arrow(values: Any) -> pa.ChunkedArray:
    found = values.__arrow_array__()
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


def _own_metadata(field: pa.Field) -> dict[bytes, bytes]:
    return {key: value for key, value in (field.metadata or {}).items() if key != _FIELD_ID}


def _same_chunks(one: pa.ChunkedArray, other: pa.ChunkedArray) -> bool:
    if one.type != other.type or len(one) != len(other):
        return False
    if one.type.id in _EXACT:
        return bool(one.equals(other))
    mine, again = ArrowColumn(one), ArrowColumn(other)
    if pa.types.is_dictionary(one.type):
        known, back = mine.extra(), again.extra()
        if known is None or back is None or len(known) != len(back):
            return False
        if len(known) and not _same_chunks(pa.chunked_array([known]), pa.chunked_array([back])):
            return False
    stops = ((start, min(start + BLOCK_ROWS, len(one))) for start in range(0, len(one), BLOCK_ROWS))
    return all(mine.leaf(start, stop) == again.leaf(start, stop) for start, stop in stops)
