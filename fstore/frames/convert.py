"""pandas frames as Arrow: their columns read in place, block by block, or whole as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.fingerprint.canonical import BLOCK_ROWS
from fstore.fingerprint.columns import ArrowColumn, Column, ConvertedColumn, NumpyColumn, object_strings, rows_alone
from fstore.frames.parts import Level, Part, parts_of
from fstore.frames.schema import schema_of
from fstore.frames.zones import is_plain, with_plain_zones

_NUMPY_KINDS = "biuf"


def columns_of(frame: pd.DataFrame, schema: pa.Schema | None = None) -> tuple[pa.Schema, list[Column]]:
    """Return the schema, found here unless it is given, and the columns, then the index levels, in the order of its fields."""
    frame, parts = _settled(frame)
    schema = schema_of(frame, parts) if schema is None else schema
    rows = len(frame)
    return schema, [_column(part, kind, rows) for part, kind in zip(parts, schema.types, strict=True)]


def batches_of(frame: pd.DataFrame, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Convert a frame of this schema block by block."""
    frame, parts = _settled(frame)
    known = [_categories(part, kind) for part, kind in zip(parts, schema.types, strict=True)]
    for start in range(0, len(frame) or 1, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(frame))
        arrays = [_convert(p, f.type, c, start, stop) for p, f, c in zip(parts, schema, known, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def table_of(frame: pd.DataFrame) -> pa.Table:
    """Copy a frame into a table that ``restore`` turns into an equal frame; numpy values are shared where possible.

    Unlike ``pa.Table.from_pandas`` this keeps NaN apart from null and keeps NaN bits.
    """
    frame, parts = _settled(frame)
    schema = schema_of(frame, parts)
    arrays = [_arrow(part, field.type, len(frame)) for part, field in zip(parts, schema, strict=True)]
    if not arrays:
        return pa.Table.from_batches([rows_alone(len(frame), schema.metadata)])
    return pa.Table.from_arrays(arrays, schema=schema)


def _settled(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Part | Level]]:
    """Return the parts of a frame, and itself, with zones that Arrow keeps."""
    parts = parts_of(frame)
    if all(is_plain(part.dtype) for part in parts):
        return frame, parts
    frame = with_plain_zones(frame)
    return frame, parts_of(frame)


def _column(part: Part | Level, kind: pa.DataType, rows: int) -> Column:
    dtype = part.dtype
    data_bytes = rows * 8
    if isinstance(part, Part):
        if isinstance(part.values, np.ndarray) and part.values.dtype.kind in _NUMPY_KINDS:
            return NumpyColumn(part.values)
        whole = part.array(0, rows)
        if isinstance(dtype, np.dtype) and dtype.kind in _NUMPY_KINDS:
            return NumpyColumn(np.asarray(whole))
        if isinstance(dtype, (pd.DatetimeTZDtype, pd.PeriodDtype)) or (
            isinstance(dtype, np.dtype) and dtype.kind in "mM"
        ):
            return NumpyColumn(whole.view("i8"), nat_is_null=True)
        if _is_arrow(dtype):
            return ArrowColumn(_chunked(whole.__arrow_array__()))
        data_bytes = int(whole.nbytes)
    categories = _categories(part, kind)
    return ConvertedColumn(lambda start, stop: _convert(part, kind, categories, start, stop), data_bytes, categories)


def _convert(part: Part | Level, kind: pa.DataType, categories: pa.Array | None, start: int, stop: int) -> pa.Array:
    values = part.array(start, stop)
    if categories is not None:
        codes = values.codes
        indices = pa.array(codes, kind.index_type, mask=codes < 0)
        return pa.DictionaryArray.from_arrays(indices, categories, ordered=values.ordered)
    if part.dtype == np.dtype(object):
        return object_strings(np.asarray(values), part.name)
    if isinstance(part.dtype, np.dtype) and part.dtype.kind in _NUMPY_KINDS:
        return pa.array(np.asarray(values), type=kind, from_pandas=False)
    array = pa.array(values, type=kind)
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.nulls(0, kind)
    return array if array.type == kind else array.cast(kind)


def _arrow(part: Part | Level, kind: pa.DataType, rows: int) -> pa.ChunkedArray:
    if _is_arrow(part.dtype):
        return _chunked(part.array(0, rows).__arrow_array__()).cast(kind)
    categories = _categories(part, kind)
    if part.dtype == np.dtype(object) or isinstance(part, Level):
        blocks: Iterator[int] = iter(range(0, rows, BLOCK_ROWS))
        return pa.chunked_array(
            [_convert(part, kind, categories, start, min(start + BLOCK_ROWS, rows)) for start in blocks], type=kind
        )
    return _chunked(_convert(part, kind, categories, 0, rows))


def _categories(part: Part | Level, kind: pa.DataType) -> pa.Array | None:
    if not isinstance(part.dtype, pd.CategoricalDtype):
        return None
    values = pa.array(part.dtype.categories)
    return values if values.type == kind.value_type else values.cast(kind.value_type)


def _is_arrow(dtype: Any) -> bool:
    return isinstance(dtype, pd.ArrowDtype) or (isinstance(dtype, pd.StringDtype) and dtype.storage == "pyarrow")


def _chunked(array: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
