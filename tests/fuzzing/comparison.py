"""A comparison that forgives nothing a function could see; it shares no code with the product's own."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa


def difference(left: Any, right: Any) -> str | None:
    """Say what differs between two frames or two tables, or return None when nothing does."""
    if isinstance(left, pa.Table) or isinstance(right, pa.Table):
        return _table_difference(left, right)
    faces = [_frame_face(frame) for frame in (left, right)]
    for aspect, wanted in faces[0].items():
        if wanted != faces[1].get(aspect):
            return f"{aspect}: {wanted!r:.300} != {faces[1].get(aspect)!r:.300}"
    return None


def _table_difference(left: Any, right: Any) -> str | None:
    if type(left) is not type(right):
        return f"{type(left).__name__} != {type(right).__name__}"
    if not left.schema.equals(right.schema, check_metadata=False):
        return f"schema: {left.schema} != {right.schema}"
    if left.num_rows != right.num_rows:
        return f"rows: {left.num_rows} != {right.num_rows}"
    for name, a, b in zip(left.column_names, left.columns, right.columns, strict=True):
        if list(map(_cell, a.to_pylist())) != list(map(_cell, b.to_pylist())):
            return f"values of {name}"
    return None


def _frame_face(frame: pd.DataFrame) -> dict[str, Any]:
    """Write down all that a function can see of a frame."""
    face: dict[str, Any] = {
        "type": type(frame).__name__,
        "shape": frame.shape,
        "labels": _index_face(frame.columns),
        "index": _index_face(frame.index),
        "attrs": _cell(dict(frame.attrs)),
    }
    for at in range(frame.shape[1]):
        column = frame.iloc[:, at]
        face[f"column {at}"] = (_dtype_face(column.dtype), _values(column.array))
    return face


def _index_face(index: pd.Index) -> Any:
    face: list[Any] = [type(index).__name__, _cell(list(index.names)), len(index)]
    if isinstance(index, pd.MultiIndex):
        return [*face, *([_values(index.get_level_values(i).array)] for i in range(index.nlevels))]
    if isinstance(index, pd.RangeIndex):
        return [*face, index.start, index.step]
    frequency = getattr(index, "freq", None)
    return [*face, _dtype_face(index.dtype), repr(frequency), type(frequency).__name__, _values(index.array)]


def _dtype_face(dtype: Any) -> Any:
    if isinstance(dtype, pd.CategoricalDtype):
        return ["category", dtype.ordered, _dtype_face(dtype.categories.dtype), _values(dtype.categories.array)]
    if isinstance(dtype, pd.DatetimeTZDtype):
        return ["datetime", dtype.unit, type(dtype.tz).__name__, str(dtype.tz)]
    if isinstance(dtype, pd.StringDtype):
        return ["str", dtype.storage, repr(dtype.na_value)]
    return [type(dtype).__name__, str(dtype)]


def _values(array: Any) -> Any:
    if isinstance(array, pd.Categorical):
        return ["codes", array.codes.tolist()]
    if isinstance(array, pd.arrays.NumpyExtensionArray):
        array = array.to_numpy()
    if isinstance(array, np.ndarray) and array.dtype.kind in "biufmM":
        return [array.dtype.str, np.ascontiguousarray(array).tobytes()]
    if hasattr(array, "asi8"):
        return ["i8", array.asi8.tobytes()]
    return [_cell(value) for value in list(array)]


def _cell(value: Any) -> Any:
    """Write down one value with its type; floats by their bits, containers recursively and in their order."""
    kind = type(value).__name__
    if isinstance(value, float):
        return [kind, struct.pack("<d", value)]
    if isinstance(value, dict):
        return [kind, [[_cell(key), _cell(item)] for key, item in value.items()]]
    if isinstance(value, list | tuple):
        return [kind, [_cell(item) for item in value]]
    if isinstance(value, np.ndarray):
        return [kind, str(value.dtype), [_cell(item) for item in value.tolist()]]
    if value is pd.NaT or value is pd.NA or value is None:
        return [kind]
    return [kind, repr(value)]
