"""pandas frames as Arrow, block by block or whole, and tables as the frames they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.errors import UnhashableInput
from fstore.frames.dtypes import restore
from fstore.frames.look import FrameLook
from fstore.frames.parts import PIECE_ROWS, Level, Part
from fstore.frames.refused_dtypes import no_unicode
from fstore.frames.texts import object_strings

NUMPY_KINDS = "biuf"
_FAULTS = (pa.ArrowException, NotImplementedError, TypeError, ValueError, OverflowError)


def batches_of(look: FrameLook) -> Iterator[pa.RecordBatch]:
    """Convert a frame block by block."""
    schema, parts = look.schema, look.parts
    known = [categories_of(part, kind) for part, kind in zip(parts, schema.types, strict=True)]
    for start in range(0, look.rows or 1, PIECE_ROWS):
        stop = min(start + PIECE_ROWS, look.rows)
        arrays = [convert_rows(p, f.type, c, start, stop) for p, f, c in zip(parts, schema, known, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def table_of(look: FrameLook) -> pa.Table:
    """Copy a frame into a table that ``to_frame`` turns into an equal frame.

    NumPy values are shared where possible. Unlike ``pa.Table.from_pandas`` this keeps NaN apart from null and keeps
    NaN bits.
    """
    arrays = [_arrow(part, field.type, look.rows) for part, field in zip(look.parts, look.schema, strict=True)]
    if not arrays:
        return pa.Table.from_batches([rows_alone(look.rows, look.schema.metadata)])
    return pa.Table.from_arrays(arrays, schema=look.schema)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Convert a table to the frame it stands for, with the dtypes ``table.to_pandas()`` alone would lose.

    Raises ``UnhashableInput`` for values that Arrow has and pandas has not.
    """
    try:
        return restore(table)
    except MemoryError:  # Arrow's own kind is one of its exceptions as well
        raise
    except (*_FAULTS, LookupError, AttributeError) as exc:
        raise _no_frame(table) from exc


def _no_frame(table: pa.Table) -> UnhashableInput:
    for at, field in enumerate(table.schema):
        try:
            table.select([at]).replace_schema_metadata(None).to_pandas()
        except (*_FAULTS, LookupError):
            return UnhashableInput(
                repr(field.name),
                f"pandas has no values like some of its {field.type}, such as nanoseconds of a day, or categories "
                "that are null or repeated; cast it",
            )
    return UnhashableInput(
        "pandas metadata", "they cannot be applied; drop them with table.replace_schema_metadata(None)"
    )


def convert_rows(part: Part | Level, kind: pa.DataType, categories: pa.Array | None, start: int, stop: int) -> pa.Array:
    """Convert the rows from ``start`` to ``stop`` of a column or an index level."""
    values = part.array(start, stop)
    if categories is not None:
        codes = values.codes
        indices = pa.array(codes, kind.index_type, mask=codes < 0)
        return pa.DictionaryArray.from_arrays(indices, categories, ordered=values.ordered)
    if part.dtype == np.dtype(object):
        return object_strings(np.asarray(values), part.name)
    if isinstance(part.dtype, np.dtype) and part.dtype.kind in NUMPY_KINDS:
        return pa.array(np.asarray(values), type=kind, from_pandas=False)
    try:
        array = pa.array(values, type=kind)
    except UnicodeEncodeError as exc:
        raise no_unicode(part.name) from exc
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.nulls(0, kind)
    return array if array.type == kind else array.cast(kind)


def _arrow(part: Part | Level, kind: pa.DataType, rows: int) -> pa.ChunkedArray:
    if is_arrow(part.dtype):
        return chunked(part.array(0, rows).__arrow_array__()).cast(kind)
    categories = categories_of(part, kind)
    if part.dtype == np.dtype(object) or isinstance(part, Level):
        blocks = range(0, rows or 1, PIECE_ROWS)  # one even of no rows, for it holds the categories
        return pa.chunked_array(
            [convert_rows(part, kind, categories, start, min(start + PIECE_ROWS, rows)) for start in blocks], type=kind
        )
    return chunked(convert_rows(part, kind, categories, 0, rows))


def categories_of(part: Part | Level, kind: pa.DataType) -> pa.Array | None:
    """Return the categories of a column as Arrow holds them, or None when it has none."""
    if not isinstance(part.dtype, pd.CategoricalDtype):
        return None
    values = pa.array(part.dtype.categories)
    return values if values.type == kind.value_type else values.cast(kind.value_type)


def is_arrow(dtype: Any) -> bool:
    """Do columns of this dtype lie in Arrow memory already."""
    return isinstance(dtype, pd.ArrowDtype) or (isinstance(dtype, pd.StringDtype) and dtype.storage == "pyarrow")


def chunked(array: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    """Take an array as chunks."""
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])


def rows_alone(rows: int, metadata: dict[bytes, bytes]) -> pa.RecordBatch:
    """Make a batch without columns that knows how many rows it has; most ways lead to one that forgets."""
    empty = pa.StructArray.from_buffers(pa.struct([]), rows, [None])
    return pa.RecordBatch.from_struct_array(empty).replace_schema_metadata(metadata)
