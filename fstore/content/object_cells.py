"""Columns of Python objects as Arrow, and the same objects again.

Arrow finds the type; what it does not tell is noted: which object stands for a missing
value, whether cells were arrays, and whether numbers are whole though too large for 64
bits. Mixtures that no note can mend come back changed and are refused by the comparison.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.content.columns import missing_marker
from fstore.content.python_values import zone_from_json, zone_to_json
from fstore.errors import UnhashableInput

_MARKERS = {"None": None, "nan": float("nan"), "NA": pd.NA, "NaT": pd.NaT}
_WIDEST = pa.decimal256(76, 0)

Note = dict[str, Any]


def holds_texts(values: Any) -> bool:
    """Tell whether all objects are strings, with one kind of missing value: these need no note of ours."""
    try:
        missing_marker(np.asarray(values, dtype=object), "")
    except UnhashableInput:
        return False
    return True


def cells_to_arrow(values: np.ndarray[Any, Any]) -> tuple[pa.ChunkedArray, Note]:
    """Convert objects and note what brings them back; raises Arrow's errors, ``ValueError`` or ``TypeError`` where none can."""
    missing = np.fromiter(map(_is_missing, values), np.bool_, len(values))
    present = values[~missing]
    markers = {_marker(value) for value in values[missing]}
    if len(markers) > 1:
        raise ValueError(f"it says in {len(markers)} ways that a value is missing: {', '.join(sorted(markers))}")
    note: Note = {"missing": markers.pop() if markers else "None"}
    if len(present) and all(isinstance(value, np.ndarray) for value in present):
        note["cells"] = "arrays"
    elif len(present) and all(type(value) is int for value in present) and _is_wide(present):
        note["cells"] = "integers"
        values = np.array(
            [value if gone else Decimal(value) for value, gone in zip(values, missing, strict=True)], object
        )
        found = pa.array(values, type=_WIDEST, mask=missing)
        return pa.chunked_array([found]), note
    elif len(zones := {value.tzinfo for value in present if type(value) is datetime}) == 1:
        note["zone"] = zone_to_json(zones.pop())
    found = pa.array(values, mask=missing, from_pandas=False)
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found]), note


def cells_of_arrow(column: pa.ChunkedArray, note: Note) -> np.ndarray[Any, Any]:
    """Make the objects again."""
    cells = np.empty(len(column), dtype=object)
    found = column.to_pandas().tolist() if note.get("cells") == "arrays" else column.to_pylist()
    make = _maker(note)
    marker = _MARKERS[note["missing"]]
    for at, (value, is_there) in enumerate(zip(found, column.is_valid().to_pylist(), strict=True)):
        cells[at] = make(value) if is_there else marker
    return cells


def _maker(note: Note) -> Callable[[Any], Any]:
    if note.get("cells") == "integers":
        return int
    zone = zone_from_json(note.get("zone"))
    return (lambda value: value) if zone is None else (lambda value: value.astimezone(zone))


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or value is pd.NaT or (type(value) is float and value != value)  # noqa: PLR0124 - only NaN


def _marker(value: object) -> str:
    if value is None:
        return "None"
    return "NA" if value is pd.NA else "NaT" if value is pd.NaT else "nan"


def _is_wide(values: np.ndarray[Any, Any]) -> bool:
    return bool(min(values) < -(1 << 63) or max(values) >= 1 << 63)
