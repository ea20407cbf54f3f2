"""What a frame or table shows, spelled out: two are the same if their portraits are equal.

Written without regard to how the product compares, so that the one checks the other.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa


def of_frame(frame: pd.DataFrame) -> dict[str, Any]:
    """Spell out labels, index, dtypes, every cell, attrs and flags."""
    return {
        "labels": of_index(frame.columns),
        "index": of_index(frame.index),
        "columns": [of_values(frame.iloc[:, at]) for at in range(frame.shape[1])],
        "attrs": of_cell(dict(frame.attrs)),
        "unique": frame.flags.allows_duplicate_labels,
    }


def of_index(index: pd.Index) -> Any:
    """Spell out an index: its class, names, frequency and values."""
    names = [of_cell(name) for name in index.names]
    if isinstance(index, pd.MultiIndex):
        return ["multi", names, [of_values(index.get_level_values(i).to_series()) for i in range(index.nlevels)]]
    if isinstance(index, pd.RangeIndex):
        return ["range", names, index.start, len(index), index.step]  # where it ends is no part of it
    freq = getattr(index, "freq", None)
    told = (
        None
        if freq is None or isinstance(index, pd.PeriodIndex)
        else [repr(freq), repr(sorted((k, repr(v)) for k, v in freq.kwds.items() if k != "calendar")), freq.normalize]
    )
    return [type(index).__name__, names, told, of_values(index.to_series())]


def of_values(values: pd.Series) -> Any:
    """Spell out a column: its dtype, then each cell; of plain numbers and times, which have nothing but bits, all bits."""
    if isinstance(values.dtype, np.dtype) and not values.dtype.hasobject:
        plain = values.to_numpy()
        return [of_dtype(values.dtype), str(plain.dtype), plain.shape, plain.tobytes()]
    return [of_dtype(values.dtype), [of_cell(value) for value in _cells(values)]]


def of_dtype(dtype: Any) -> Any:
    """Spell out a dtype with everything that pandas' text of it leaves out."""
    if isinstance(dtype, pd.CategoricalDtype):
        known = dtype.categories
        freq = None if isinstance(known, pd.PeriodIndex) else repr(getattr(known, "freq", None))
        return ["category", dtype.ordered, of_cell(known.name), freq, of_values(pd.Series(known.array))]
    if isinstance(dtype, pd.StringDtype):
        return ["string", dtype.storage, repr(dtype.na_value)]
    if isinstance(dtype, pd.ArrowDtype):
        return ["arrow", str(dtype.pyarrow_dtype)]
    zone = getattr(dtype, "tz", None)
    return [str(dtype), None if zone is None else [str(zone), repr(zone.utcoffset(None))]]


def _cells(values: pd.Series) -> list[Any]:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return [np.int64(code) for code in values.array.codes]
    if isinstance(values.dtype, pd.ArrowDtype):
        return pa.chunked_array(values.array.__arrow_array__()).to_pylist()
    return list(values.array)


def of_cell(value: Any) -> Any:
    """Spell out one value: its type and all its bits."""
    kind = type(value).__name__
    shown: Any = [repr(value), getattr(value, "unit", None), getattr(value, "fold", None)]
    if isinstance(value, np.generic) and not value.dtype.hasobject:
        shown = [str(value.dtype), value.tobytes().hex()]
    elif isinstance(value, float):
        shown = struct.pack("d", value).hex()
    elif isinstance(value, (list, tuple)):
        shown = [of_cell(item) for item in value]
    elif isinstance(value, dict):
        shown = [[of_cell(key), of_cell(item)] for key, item in value.items()]
    elif isinstance(value, (set, frozenset)):
        shown = sorted(repr(of_cell(item)) for item in value)
    elif isinstance(value, np.ndarray):
        shown = [str(value.dtype), value.shape, [of_cell(item) for item in value.ravel()]]
    elif isinstance(value, pd.Interval):
        shown = [value.closed, of_cell(value.left), of_cell(value.right)]
    return [kind, shown]


def of_table(table: pa.Table) -> dict[str, Any]:
    """Spell out a table: its schema with all metadata, and every cell."""
    return {
        "rows": table.num_rows,
        "metadata": dict(table.schema.metadata or {}),
        "fields": [[f.name, str(f.type), f.nullable, dict(f.metadata or {})] for f in table.schema],
        "columns": [[of_cell(value) for value in _plain(column).to_pylist()] for column in table.columns],
        "categories": [
            [of_cell(value) for value in column.unify_dictionaries().chunk(0).dictionary.to_pylist()]
            if pa.types.is_dictionary(column.type) and column.num_chunks
            else None
            for column in table.columns
        ],
    }


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if isinstance(column.type, pa.BaseExtensionType):
        return pa.chunked_array([chunk.storage for chunk in column.chunks], type=column.type.storage_type)
    if pa.types.is_dictionary(column.type):
        words = [chunk.dictionary.to_pylist() for chunk in column.chunks]
        codes = [chunk.indices.to_pylist() for chunk in column.chunks]
        cells = [None if c is None else w[c] for w, each in zip(words, codes, strict=True) for c in each]
        return pa.chunked_array([pa.array(cells, column.type.value_type)])
    if pa.types.is_timestamp(column.type):  # years that no datetime holds
        return column.cast(pa.int64())
    return column
