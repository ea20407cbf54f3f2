"""pandas frames as Arrow: the schema a frame would have, its columns read in place, and a copy that restores it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.canonical import BLOCK_ROWS
from fstore.columns import ArrowColumn, Column, ConvertedColumn, NumpyColumn, missing_marker, object_strings
from fstore.description import describe_frame
from fstore.dtypes import NOTES_KEY, dtype_name, note_for, restore
from fstore.errors import UnhashableInput

_NUMPY_KINDS = "biuf"


@dataclass(frozen=True, slots=True)
class _Part:
    """A column or an index level; ``values`` can be sliced into pandas arrays without copying."""

    name: str
    dtype: Any
    values: Any

    def array(self, start: int, stop: int) -> Any:
        part = self.values[start:stop]
        return part.array if isinstance(part, pd.Index) else part


@dataclass(frozen=True, slots=True)
class _Level:
    """A level of a MultiIndex, which exists only as codes until a block of it is asked for."""

    name: str
    dtype: Any
    index: pd.MultiIndex
    position: int

    def array(self, start: int, stop: int) -> Any:
        return self.index[start:stop].get_level_values(self.position).array


def schema_of(frame: pd.DataFrame) -> pa.Schema:
    """Find the schema of the table that restores this frame, notes included.

    Raises ``UnhashableInput`` when there is none, so that nothing is ever computed
    from data that differ from what the caller holds.
    """
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise UnhashableInput(repr(twice), "two columns carry this label; rename one of them")
    shown = describe_frame(frame)
    parts = _parts(frame)
    missing = [
        missing_marker(np.asarray(part.array(0, len(frame))), part.name) if part.dtype == np.dtype(object) else None
        for part in parts
    ]
    schema = _arrow_schema(frame, parts)
    restored = restore(schema.empty_table())
    notes = _notes(frame, restored, missing)
    schema = schema.with_metadata({**schema.metadata, **({NOTES_KEY: json.dumps(notes).encode()} if notes else {})})
    restored = restore(schema.empty_table())
    _check_categories(parts)
    if isinstance(frame.index, pd.RangeIndex):
        restored = restored.reset_index(drop=True)
    _check_restored(shown, describe_frame(restored))
    return schema


def columns_of(frame: pd.DataFrame, schema: pa.Schema) -> list[Column]:
    """List the columns, then the index levels, in the order of ``schema``'s fields."""
    parts = _parts(frame)
    return [_column(part, field.type, len(frame)) for part, field in zip(parts, schema, strict=True)]


def batches_of(frame: pd.DataFrame, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Convert a frame of this schema block by block."""
    parts = _parts(frame)
    known = [_categories(part) for part in parts]
    for start in range(0, len(frame), BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, len(frame))
        arrays = [_convert(p, f.type, c, start, stop) for p, f, c in zip(parts, schema, known, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def table_of(frame: pd.DataFrame) -> pa.Table:
    """Copy a frame into a table that ``restore`` turns into an equal frame; numpy values are shared where possible.

    Unlike ``pa.Table.from_pandas`` this keeps NaN apart from null and keeps NaN bits.
    """
    schema = schema_of(frame)
    arrays = [_arrow(part, field.type, len(frame)) for part, field in zip(_parts(frame), schema, strict=True)]
    if not arrays:
        return pa.Table.from_pandas(frame)
    return pa.Table.from_arrays(arrays, schema=schema)


def _parts(frame: pd.DataFrame) -> list[_Part | _Level]:
    parts: list[_Part | _Level] = [
        _Part(repr(name), dtype, frame.iloc[:, i].array) for i, (name, dtype) in enumerate(frame.dtypes.items())
    ]
    index = frame.index
    if isinstance(index, pd.MultiIndex):
        for i, name in enumerate(index.names):
            parts.append(_Level(f"index level {name!r}", index.levels[i].dtype, index, i))
    elif not isinstance(index, pd.RangeIndex):
        parts.append(_Part(f"index {index.name!r}", index.dtype, index))
    return parts


def _arrow_schema(frame: pd.DataFrame, parts: list[_Part | _Level]) -> pa.Schema:
    """Ask Arrow for the types of an empty slice; object columns are known to hold strings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            schema = pa.Table.from_pandas(frame.iloc[:0]).schema
        except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as exc:
            raise UnhashableInput(
                _culprit(parts), f"pandas cannot pass this dtype to Arrow ({exc}); convert it first"
            ) from exc
    for i, part in enumerate(parts):
        if part.dtype == np.dtype(object):
            schema = schema.set(i, pa.field(schema.field(i).name, pa.large_string()))
    described = json.loads(schema.metadata[b"pandas"])
    for entry, part in zip(described["columns"], parts, strict=True):
        if isinstance(part.dtype, pd.ArrowDtype):
            # pandas cannot parse the names of nested types; the note "arrow" brings these dtypes back instead.
            entry["numpy_type"] = "object"
    if isinstance(frame.index, pd.RangeIndex):
        index = frame.index
        described["index_columns"] = [
            {"kind": "range", "name": index.name, "start": index.start, "stop": index.stop, "step": index.step}
        ]
    return schema.with_metadata({**schema.metadata, b"pandas": json.dumps(described).encode()})


def _culprit(parts: list[_Part | _Level]) -> str:
    for part in parts:
        try:
            pa.array(part.array(0, 0))
        except (pa.ArrowException, TypeError, ValueError, NotImplementedError):
            return part.name
    return "frame"


def _notes(frame: pd.DataFrame, restored: pd.DataFrame, missing: list[str | None]) -> dict[str, Any]:
    notes: dict[str, Any] = {}
    for i, dtype in enumerate(frame.dtypes):
        if dtype_name(dtype) != dtype_name(restored.dtypes.iloc[i]) or _has_object_categories(dtype):
            notes.setdefault("columns", {})[str(i)] = note_for(dtype, missing[i])
    if not isinstance(frame.index, pd.RangeIndex):
        for i in range(frame.index.nlevels):
            dtype = frame.index.get_level_values(i)[:0].dtype
            if dtype_name(dtype) != dtype_name(restored.index.get_level_values(i).dtype) or _has_object_categories(
                dtype
            ):
                notes.setdefault("index", {})[str(i)] = note_for(dtype, missing[len(frame.columns) + i])
    if frame.columns.dtype != restored.columns.dtype and frame.columns.nlevels == 1 and frame.columns.dtype == object:
        notes["labels"] = "object"
    return notes


def _has_object_categories(dtype: Any) -> bool:
    return isinstance(dtype, pd.CategoricalDtype) and dtype.categories.dtype == object and len(dtype.categories) > 0


def _check_categories(parts: list[_Part | _Level]) -> None:
    for part in parts:
        if not isinstance(part.dtype, pd.CategoricalDtype) or _has_object_categories(part.dtype):
            continue
        categories = part.dtype.categories[:1]
        try:
            values = pa.DictionaryArray.from_arrays(pa.nulls(1, pa.int8()), pa.array(categories))
            back = values.to_pandas().dtype.categories.dtype
        except (pa.ArrowException, TypeError, ValueError, NotImplementedError):
            back = None
        if len(categories) and back != categories.dtype:
            raise UnhashableInput(
                part.name, f"categories of {categories.dtype} do not survive a passage through Arrow; make them strings"
            )


def _check_restored(shown: dict[str, Any], restored: dict[str, Any]) -> None:
    for aspect, wanted in shown.items():
        if wanted == restored[aspect]:
            continue
        where = aspect
        if aspect in ("labels", "dtypes") and len(wanted) == len(restored[aspect]):
            at = next(i for i, (a, b) in enumerate(zip(wanted, restored[aspect], strict=True)) if a != b)
            where = f"column {shown['labels'][at][-1]!r}"
        raise UnhashableInput(
            where,
            f"{wanted} would come back from Arrow as {restored[aspect]}; convert it to a dtype that Arrow restores",
        )


def _column(part: _Part | _Level, kind: pa.DataType, rows: int) -> Column:
    dtype = part.dtype
    data_bytes = rows * 8
    if isinstance(part, _Part):
        whole = part.array(0, rows)
        if isinstance(dtype, np.dtype) and dtype.kind in _NUMPY_KINDS:
            return NumpyColumn(whole.to_numpy())
        if isinstance(dtype, (pd.DatetimeTZDtype, pd.PeriodDtype)) or (
            isinstance(dtype, np.dtype) and dtype.kind in "mM"
        ):
            return NumpyColumn(whole.view("i8"), nat_is_null=True)
        if _is_arrow(dtype):
            return ArrowColumn(_chunked(whole.__arrow_array__()))
        data_bytes = int(whole.nbytes)
    categories = _categories(part)
    return ConvertedColumn(lambda start, stop: _convert(part, kind, categories, start, stop), data_bytes, categories)


def _convert(part: _Part | _Level, kind: pa.DataType, categories: pa.Array | None, start: int, stop: int) -> pa.Array:
    values = part.array(start, stop)
    if categories is not None:
        codes = values.codes
        return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), categories, ordered=values.ordered)
    if part.dtype == np.dtype(object):
        return object_strings(np.asarray(values), part.name)
    if isinstance(part.dtype, np.dtype) and part.dtype.kind in _NUMPY_KINDS:
        return pa.array(np.asarray(values), type=kind, from_pandas=False)
    array = pa.array(values, type=kind)
    return pa.concat_arrays(array.chunks) if isinstance(array, pa.ChunkedArray) else array


def _arrow(part: _Part | _Level, kind: pa.DataType, rows: int) -> pa.ChunkedArray:
    if _is_arrow(part.dtype):
        return _chunked(part.array(0, rows).__arrow_array__())
    categories = _categories(part)
    if part.dtype == np.dtype(object) or isinstance(part, _Level):
        blocks: Iterator[int] = iter(range(0, rows, BLOCK_ROWS))
        return pa.chunked_array(
            [_convert(part, kind, categories, start, min(start + BLOCK_ROWS, rows)) for start in blocks], type=kind
        )
    return _chunked(_convert(part, kind, categories, 0, rows))


def _categories(part: _Part | _Level) -> pa.Array | None:
    return pa.array(part.dtype.categories) if isinstance(part.dtype, pd.CategoricalDtype) else None


def _is_arrow(dtype: Any) -> bool:
    return isinstance(dtype, pd.ArrowDtype) or (isinstance(dtype, pd.StringDtype) and dtype.storage == "pyarrow")


def _chunked(array: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
