"""The quick way for everyday results, the same to the letter.

These are frames of numbers; the general machinery is not needed for them. What a frame of numbers is besides its
values (labels, dtypes, index) decides the schema of the table that stands for it, and whether a frame of that
schema comes back as it was. Both are found out by the general machinery for the first frame of a shape. Of later
ones the values alone are looked at, all of them and to the bit. What one cannot be sure of in little time goes the
long way.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from fstore.frames import is_plain, only_block_of

_KINDS = "iuf"
_WIDTHS = {
    kind.id: kind.bit_width // 8
    for kind in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float32(), pa.float64(), *map(pa.timestamp, ("s", "ms", "us", "ns"))),
    )
}
_WIDEST = 2_000  # columns; beyond, remembering costs more memory than finding out again costs time
_MOST_SHAPES, _MOST_LABELS = 512, 8
_NAT = np.iinfo(np.int64).min


@dataclass(slots=True)
class Shape:
    """What frames of one shape have in common.

    ``comes_back`` once one of them, read back, was what it had been.
    """

    labels: pa.ChunkedArray | None
    schema: pa.Schema
    comes_back: bool = False


@dataclass(slots=True)
class _Look:
    """A frame of numbers: what it is besides its values, and these, field by field."""

    mark: Hashable
    labels: pa.ChunkedArray | None
    values: list[npt.NDArray[Any]]
    rows: int


_shapes: dict[Hashable, list[Shape]] = {}


def plain_table(frame: pd.DataFrame) -> pa.Table | None:
    """Return the table that stands for a frame, over the frame's memory.

    None for a frame whose shape is not known to be plain.
    """
    look = _look_at(frame)
    shape = None if look is None else _known(look)
    return None if look is None or shape is None else _table_of(look, shape.schema)


def remember_table(frame: pd.DataFrame, table: pa.Table) -> None:
    """Take note of the table that stands for a frame.

    If others of its shape differ from it in their values alone.
    """
    look = _look_at(frame)
    if look is None or _known(look) is not None or len(table.schema) != len(look.values):
        return
    kinds = table.schema.types
    if any(_WIDTHS.get(kind.id) != each.itemsize for kind, each in zip(kinds, look.values, strict=True)):
        return
    if not _holds(table, look):
        return
    labels = None if look.labels is None else pa.chunked_array([pa.array(look.labels.to_pylist(), look.labels.type)])
    if len(_shapes) >= _MOST_SHAPES:
        _shapes.clear()
    _shapes[look.mark] = [Shape(labels, table.schema), *_shapes.get(look.mark, [])[: _MOST_LABELS - 1]]


def is_surely_same(frame: pd.DataFrame, restored: pa.Table) -> bool:
    """Tell whether a table was read back that stands for this very frame.

    False where only the long way can tell.
    """
    look = _look_at(frame)
    shape = None if look is None else _known(look)
    if look is None or shape is None or not shape.comes_back:
        return False
    return restored.schema.equals(shape.schema, check_metadata=True) and _holds(restored, look)


def remember_same(frame: pd.DataFrame, restored: pa.Table) -> None:
    """Take note that a frame came back as it was, by the long way."""
    look = _look_at(frame)
    shape = None if look is None else _known(look)
    if shape is not None and restored.schema.equals(shape.schema, check_metadata=True):
        shape.comes_back = True


def _look_at(frame: pd.DataFrame) -> _Look | None:
    rows = len(frame)
    if type(frame) is not pd.DataFrame or not rows or frame.attrs or not frame.flags.allows_duplicate_labels:
        return None
    named, indexed = _labels_of(frame.columns), _index_of(frame.index)
    if named is None or indexed is None or (columns := _columns_of(frame, rows)) is None:
        return None
    values, dtypes = columns
    if indexed[1] is not None:
        values.append(indexed[1])
    return _Look((dtypes, rows, named[1], indexed[0]), named[0], values, rows)


def _known(look: _Look) -> Shape | None:
    for shape in _shapes.get(look.mark, ()):
        if shape.labels is look.labels or (shape.labels is not None and shape.labels.equals(look.labels)):
            return shape
    return None


def _table_of(look: _Look, schema: pa.Schema) -> pa.Table:
    arrays = [
        pa.Array.from_buffers(kind, look.rows, [None, pa.py_buffer(each)], 0)
        for kind, each in zip(schema.types, look.values, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _holds(table: pa.Table, look: _Look) -> bool:
    """Tell whether a table's columns are these values, to the bit, each in one piece and none missing."""
    if table.num_rows != look.rows or table.num_columns != len(look.values):
        return False
    for column, values in zip(table.columns, look.values, strict=True):
        if column.num_chunks != 1 or column.null_count:
            return False
        chunk = column.chunk(0)
        data = chunk.buffers()[1]
        if not data.slice(chunk.offset * values.itemsize, values.nbytes).equals(pa.py_buffer(values)):
            return False
    return True


def _labels_of(labels: pd.Index) -> tuple[pa.ChunkedArray | None, Hashable] | None:
    """Return the labels as they lie in memory, and what they are besides.

    None for labels that are not plain.
    """
    if not 0 < len(labels) <= _WIDEST or not _is_text_or_none(labels.name):
        return None
    if type(labels) is pd.RangeIndex:
        return None, (labels.start, labels.step, len(labels), labels.name)
    dtype = labels.dtype
    if type(labels) is not pd.Index or type(dtype) is not pd.StringDtype or dtype.storage != "pyarrow":
        return None  # others may hold objects that only write themselves like texts
    return labels.array.__arrow_array__(), (dtype.na_value is pd.NA, labels.name)


def _index_of(index: pd.Index) -> tuple[Hashable, npt.NDArray[np.int64] | None] | None:
    """Return what an index is besides its values, and these if it has any.

    None for one that is not plain.
    """
    if not _is_text_or_none(index.name):
        return None
    if type(index) is pd.RangeIndex:
        return (index.start, index.step, index.name), None
    if type(index) is not pd.DatetimeIndex or index.freq is not None or not is_plain(index.dtype):
        return None
    times = np.ascontiguousarray(index.asi8)
    # Of a zone the object counts, and no name: two may call themselves alike.
    return None if times.min() == _NAT else ((index.unit, index.tz, type(index.tz), index.name), times)


def _is_text_or_none(name: object) -> bool:
    return name is None or type(name) is str


def _columns_of(frame: pd.DataFrame, rows: int) -> tuple[list[npt.NDArray[Any]], Hashable] | None:
    """Return the values of each column, and what their dtypes are; None if they are no plain numbers."""
    # pandas' own words, and no more than hints: without them a frame goes the long way.
    if (block := only_block_of(frame)) is not None:
        if block.dtype.kind not in _KINDS or not block.dtype.isnative or block.shape != frame.shape[::-1]:
            return None
        return list(np.ascontiguousarray(block)), block.dtype.str
    each = getattr(frame, "_iter_column_arrays", None)
    arrays: list[Any] = [] if each is None else list(each())
    if len(arrays) != frame.shape[1]:
        return None
    for array in arrays:
        if type(array) is not np.ndarray or array.dtype.kind not in _KINDS or not array.dtype.isnative:
            return None
        if array.ndim != 1 or len(array) != rows:
            return None
    return [np.ascontiguousarray(array) for array in arrays], tuple([array.dtype.str for array in arrays])
