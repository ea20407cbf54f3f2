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

from fstore.frames import WIDEST_PLAIN, is_text_or_none, plain_index, plain_numbers, text_labels

_WIDTHS = {
    kind.id: kind.bit_width // 8
    for kind in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float32(), pa.float64(), *map(pa.timestamp, ("s", "ms", "us", "ns"))),
    )
}
_MOST_SHAPES, _MOST_LABELS = 512, 8


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
    if getattr(frame.index, "freq", None) is not None:
        return None
    named, indexed = _labels_of(frame.columns), plain_index(frame.index)
    if named is None or indexed is None or (found := plain_numbers(frame)) is None:
        return None
    values = [np.ascontiguousarray(each) for each in found[0]]
    if indexed[1] is not None:
        values.append(indexed[1])
    return _Look((found[1], rows, named[1], indexed[0]), named[0], values, rows)


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
    if type(labels) is not pd.RangeIndex:
        return text_labels(labels)
    if not 0 < len(labels) <= WIDEST_PLAIN or not is_text_or_none(labels.name):
        return None
    return None, (labels.start, labels.step, len(labels), labels.name)
