"""The columns of a pandas frame, to be hashed where they lie: numpy memory, Arrow memory, or converted block by block."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.fingerprint.columns import ArrowColumn, Column, ConvertedColumn, NumpyColumn
from fstore.frames.convert import NUMPY_KINDS, categories_of, chunked, convert_rows, is_arrow, settled
from fstore.frames.parts import Level, Part
from fstore.frames.schema import schema_of


def columns_of(frame: pd.DataFrame, schema: pa.Schema | None = None) -> tuple[pa.Schema, list[Column]]:
    """Return the schema, found here unless it is given, and the columns, then the index levels, in the order of its fields."""
    frame, parts = settled(frame)
    schema = schema_of(frame, parts) if schema is None else schema
    rows = len(frame)
    return schema, [_column(part, kind, rows) for part, kind in zip(parts, schema.types, strict=True)]


def _column(part: Part | Level, kind: pa.DataType, rows: int) -> Column:
    dtype = part.dtype
    data_bytes = rows * 8
    if isinstance(part, Part):
        if isinstance(part.values, np.ndarray) and part.values.dtype.kind in NUMPY_KINDS:
            return NumpyColumn(part.values)
        whole = part.array(0, rows)
        if isinstance(dtype, np.dtype) and dtype.kind in NUMPY_KINDS:
            return NumpyColumn(np.asarray(whole))
        if isinstance(dtype, (pd.DatetimeTZDtype, pd.PeriodDtype)) or (
            isinstance(dtype, np.dtype) and dtype.kind in "mM"
        ):
            return NumpyColumn(whole.view("i8"), nat_is_null=True)
        if is_arrow(dtype):
            return ArrowColumn(chunked(whole.__arrow_array__()))
        data_bytes = int(whole.nbytes)
    categories = categories_of(part, kind)
    return ConvertedColumn(
        lambda start, stop: convert_rows(part, kind, categories, start, stop), data_bytes, categories
    )
