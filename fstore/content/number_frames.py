"""Frames of plain numbers, the usual raw data and features, built without pandas' and Arrow's general machinery.

What a frame looks like without its values (labels, index) is asked of Arrow once for
each schema and then remembered. A table whose look is not simple enough, or whose
values need more than copying, is left to ``Table.to_pandas``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

_NUMBERS = {
    pa.int8(),
    pa.int16(),
    pa.int32(),
    pa.int64(),
    pa.uint8(),
    pa.uint16(),
    pa.uint32(),
    pa.uint64(),
    pa.float32(),
    pa.float64(),
}
_WIDEST = 2_000  # fields; beyond, remembering costs more memory than asking again costs time


@dataclass(frozen=True, slots=True)
class Look:
    """A frame without its values: ``count`` columns of one dtype, then a time index or a range."""

    labels: pd.Index
    dtype: np.dtype[Any]
    count: int
    times: pd.DatetimeIndex | None
    range: pd.RangeIndex | None


def number_frame(table: pa.Table) -> pd.DataFrame | None:
    """Return a frame with values of its own, equal to ``table.to_pandas()``, or None for a table that is not this simple."""
    metadata = table.schema.metadata or {}
    if b"pandas" not in metadata or table.num_columns > _WIDEST:
        return None
    look = _look(metadata[b"pandas"], tuple(table.schema.names), tuple(table.schema.types))
    if look is None:
        return None
    columns = table.columns
    if any(column.null_count for column in columns[: look.count]):
        return None  # integers become floats then
    index: pd.Index | None = look.range
    if look.times is not None:
        index = _time_index(columns[-1], look.times)
    if index is None or len(index) != table.num_rows:
        return None
    values = _values(columns[: look.count], look.dtype, table.num_rows)
    return pd.DataFrame(values, index=index, columns=look.labels.copy(), copy=False)


def _values(columns: Sequence[pa.ChunkedArray], dtype: np.dtype[Any], rows: int) -> np.ndarray[Any, Any]:
    """Copy columns into the one block that pandas would make of them."""
    block = np.empty((len(columns), rows), dtype)
    for row, column in zip(block, columns, strict=True):
        start = 0
        for chunk in column.chunks:
            row[start : start + len(chunk)] = chunk.to_numpy(zero_copy_only=True)
            start += len(chunk)
    return block.T


def _time_index(column: pa.ChunkedArray, like: pd.DatetimeIndex) -> pd.DatetimeIndex | None:
    index = pd.DatetimeIndex(column.to_numpy().copy(), name=like.name)
    if like.tz is not None:
        index = index.tz_localize("UTC").tz_convert(like.tz)
    return index if index.dtype == like.dtype else None


@lru_cache(maxsize=512)
def _look(described: bytes, names: tuple[str, ...], kinds: tuple[pa.DataType, ...]) -> Look | None:
    """Ask Arrow how a simple frame looks: numbers of one dtype, then a time index or none."""
    try:
        said = json.loads(described)
        timed = _has_time_index(said, names, kinds)
        if timed is None:
            return None
        empty = pa.schema(list(zip(names, kinds, strict=True))).empty_table()
        shown = empty.replace_schema_metadata({b"pandas": described}).to_pandas()
        span = None if timed else _range(said["index_columns"][0])
    except (pa.ArrowException, KeyError, TypeError, ValueError, AttributeError, NotImplementedError):
        return None  # the general way says what is wrong
    dtype, count = np.dtype(kinds[0].to_pandas_dtype()), len(kinds) - timed
    as_told = len(shown.columns) == count and shown.columns.is_unique and all(d == dtype for d in shown.dtypes.array)
    if not as_told or (timed and not isinstance(shown.index, pd.DatetimeIndex)):
        return None
    return Look(shown.columns, dtype, count, shown.index if timed else None, span)


def _has_time_index(said: dict[str, Any], names: tuple[str, ...], kinds: tuple[pa.DataType, ...]) -> bool | None:
    """Tell whether the last field is a time index; None for a table that is not simple."""
    (index,) = said["index_columns"]
    timed = isinstance(index, str)
    numbers = kinds[: len(kinds) - timed]
    if said.get("attributes") or len(set(names)) < len(names) or len(set(numbers)) != 1 or numbers[0] not in _NUMBERS:
        return None
    if timed and (index != names[-1] or not pa.types.is_timestamp(kinds[-1])):
        return None
    return timed


def _range(said: dict[str, Any]) -> pd.RangeIndex:
    if said["kind"] != "range":
        raise ValueError("an index of an unknown kind")
    return pd.RangeIndex(said["start"], said["stop"], said["step"], name=said["name"])
