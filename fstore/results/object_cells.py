"""Columns of Python objects as Arrow, and the same objects again.

Arrow finds the type; what it does not tell is noted: which object stands for a missing
value, whether cells were arrays, and whether numbers are whole though too large for 64
bits. What no note can mend, such as mixtures, sets, and dicts of several shapes, is
written down cell by cell as JSON that tells types.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.errors import UnhashableInput
from fstore.frames import missing_marker
from fstore.results.python_values import from_json, same, to_json, zone_from_json, zone_to_json

_MARKERS = {"None": None, "nan": float("nan"), "NA": pd.NA, "NaT": pd.NaT}
_WIDEST = pa.decimal256(76, 0)
_CONTAINERS = (list, tuple, dict, set, frozenset, np.ndarray)
DEEPEST = 100  # levels, as many as Parquet's reader takes

_MAKERS: dict[str, Callable[[Any], Any]] = {
    "integers": int,
    "tuples": tuple,
    "decimals": Decimal,
    "json": lambda text: from_json(json.loads(text)),
}
_NOT_TYPED = (
    *(pa.ArrowException, NotImplementedError),
    *(TypeError, ValueError, AttributeError, KeyError, OverflowError, RecursionError),
)

Note = dict[str, Any]


def holds_texts(values: Any) -> bool:
    """Tell whether all objects are strings, with one kind of missing value: these need no note of ours."""
    objects = np.asarray(values, dtype=object)
    try:
        missing_marker(objects, "")
    except UnhashableInput:
        return False
    return not any(issubclass(kind, str) and kind is not str for kind in set(map(type, objects)))


def cells_to_arrow(values: np.ndarray[Any, Any]) -> tuple[pa.ChunkedArray, Note]:
    """Convert objects and note what brings them back.

    Raises ``TypeError`` or ``ValueError`` naming what cannot be stored.
    """
    missing = np.fromiter(map(_is_missing, values), np.bool_, len(values))
    markers = {_marker(value) for value in values[missing]}
    if len(markers) < 2:
        note: Note = {"missing": markers.pop() if markers else "None"}
        try:
            column, told = _typed(values, missing)
            if all(map(same, values, cells_of_arrow(column, note | told))) and _is_kept(column.type):
                return column, note | told
        except _NOT_TYPED:
            pass  # what it has no type for, or takes for something else, is written down
    try:
        written = [json.dumps(to_json(value)) for value in values]
    except RecursionError:
        raise ValueError("a cell holds itself, or nests too deep to be written down") from None
    return pa.chunked_array([pa.array(written, pa.large_string())]), {"missing": "None", "cells": "json"}


def _typed(values: np.ndarray[Any, Any], missing: np.ndarray[Any, Any]) -> tuple[pa.ChunkedArray, Note]:
    _check_depth(values)
    plain, kind, told = _plain_cells(values[~missing])
    cells = np.full(len(values), None, dtype=object)
    cells[~missing] = plain
    found = pa.array(cells, type=kind, mask=missing, from_pandas=False)
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found]), told


def _check_depth(values: np.ndarray[Any, Any]) -> None:
    """Raise ``ValueError`` for cells that hold themselves or nest very deep.

    Looking for their type, Arrow overruns the stack.
    """
    level = [cell for cell in values if isinstance(cell, _CONTAINERS)]
    for _ in range(DEEPEST):
        inner = (item for cell in level for item in _items_of(cell) if isinstance(item, _CONTAINERS))
        level = list({id(item): item for item in inner}.values())
        if not level:
            return
    raise ValueError(f"its cells hold themselves, or nest deeper than {DEEPEST} levels")


def _items_of(cell: Any) -> Iterable[Any]:
    if isinstance(cell, np.ndarray):
        return cell.ravel() if cell.dtype.hasobject else ()
    return cell.values() if isinstance(cell, dict) else cell


def _is_kept(kind: pa.DataType) -> bool:
    """Tell whether Parquet has this type: it has no structs without fields, at any depth."""
    if pa.types.is_struct(kind) and not kind.num_fields:
        return False
    return all(_is_kept(kind.field(at).type) for at in range(kind.num_fields))


def _plain_cells(present: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], pa.DataType | None, Note]:
    """Return objects that Arrow takes, and how to make the given ones of them.

    With them their type where it cannot be guessed.
    """
    kinds = set(map(type, present))
    kind = kinds.pop() if len(kinds) == 1 else None
    plain, arrow, note = present, None, {}
    if kind is np.ndarray:
        note = {"cells": "arrays"}
    elif kind is tuple:
        note = {"cells": "tuples"}
    elif kind is int and not all(-(1 << 63) <= value < 1 << 63 for value in present):
        plain, arrow, note = _each(Decimal, present), _WIDEST, {"cells": "integers"}
    elif kind is Decimal and len({value.as_tuple().exponent for value in present}) > 1:
        plain, arrow, note = _each(str, present), pa.large_string(), {"cells": "decimals"}  # a column has one scale
    elif kind is pd.Timestamp and len({(value.unit, value.tzinfo) for value in present}) == 1:
        times = pd.DatetimeIndex(list(present))
        plain, arrow, note = _each(int, times.asi8), pa.array(times[:0]).type, {"cells": "timestamps"}
    elif kind is not None and issubclass(kind, np.generic) and present[0].dtype.kind in "biuf":
        plain, arrow = _each(lambda value: value.item(), present), pa.from_numpy_dtype(present[0].dtype)
        note = {"cells": present[0].dtype.str}
    elif kind is datetime and len(zones := {value.tzinfo for value in present}) == 1:
        note = {"zone": zone_to_json(zones.pop())}
    return plain, arrow, note


def cells_of_arrow(column: pa.ChunkedArray, note: Note) -> np.ndarray[Any, Any]:
    """Make the objects again."""
    how = note.get("cells")
    valid = column.is_valid().to_numpy(zero_copy_only=False)
    marker = _MARKERS[note["missing"]]
    if how in ("arrays", "timestamps") or (how is None and _is_quick(column.type)):
        cells = np.array(column.to_pandas().astype(object).array, dtype=object)
        cells[~valid] = marker
        return cells
    make = _maker(note)
    cells = np.empty(len(column), dtype=object)
    for at, (value, is_there) in enumerate(zip(column.to_pylist(), valid.tolist(), strict=True)):
        cells[at] = make(value) if is_there else marker
    return cells


def _maker(note: Note) -> Callable[[Any], Any]:
    how = note.get("cells")
    zone = zone_from_json(note.get("zone"))
    if zone is not None:
        return lambda value: value.astimezone(zone)
    if how in _MAKERS:
        return _MAKERS[how]
    return (lambda value: value) if how is None else np.dtype(how).type


def _is_quick(kind: pa.DataType) -> bool:
    """Tell whether pandas makes the very objects of it that Arrow makes, at once."""
    types = pa.types
    tests = (types.is_boolean, types.is_date32, types.is_time64, types.is_decimal128, types.is_binary)
    return any(test(kind) for test in tests)


def _each(make: Callable[[Any], Any], present: Any) -> np.ndarray[Any, Any]:
    made = np.empty(len(present), dtype=object)
    made[:] = [make(value) for value in present]
    return made


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (type(value) is float and value != value)  # noqa: PLR0124 - only NaN


def _marker(value: object) -> str:
    if value is None:
        return "None"
    return "NA" if value is pd.NA else "NaT" if value is pd.NaT else "nan"
